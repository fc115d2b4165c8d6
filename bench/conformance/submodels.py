"""Checks of the sub-models that clients get."""

from __future__ import annotations

import torch

from bench.conformance.compare import tensors_in
from bench.conformance.outcome import Failure
from bench.conformance.subject import NOISE, Stage, Subject
from bench.training.local import Job, train_client

OUTPUT_TOLERANCE = 1e-3
"""Of the largest output: a normalised network multiplies the rounding of single precision."""


def everything_is_the_full_model(subject: Subject) -> None:
    """At keep ratio 1 a sub-model computes what the server's model computes, before the first round and after it."""
    stage = subject.stage()
    _compare_outputs(stage, "before the first round")
    stage.aggregate([stage.update(selection, NOISE) for selection in stage.select(0.25, 0.5, 1.0)])
    _compare_outputs(stage, "after a round")


@torch.no_grad()
def _compare_outputs(stage: Stage, when: str) -> None:
    inputs = stage.inputs(8)
    submodel, model = stage.submodel(1.0), stage.server.model
    mine, full = submodel.eval()(inputs), model.eval()(inputs)
    if mine.shape != full.shape:
        raise Failure(
            f"{when} the sub-model's outputs have the shape {tuple(mine.shape)}",
            f"that of the full model's, {tuple(full.shape)}",
            "the sub-model does the same task",
        )
    off = float((mine - full).abs().max() / full.abs().max())
    if not off <= OUTPUT_TOLERANCE:
        raise Failure(
            f"{when} the sub-model's outputs differ from the full model's by {off:.1g} of the largest",
            f"at most {OUTPUT_TOLERANCE:g} at keep ratio 1",
            "take every unit, each with its own value, from the server as it is in this round",
        )


def memory_of_its_own(subject: Subject) -> None:
    """A sub-model shares no memory with the server, and training it leaves every tensor of the server as it is."""
    for keep in (0.5, 1.0):
        stage = subject.stage()
        (selection,) = stage.select(keep)
        submodel = stage.method.extract(stage.server, selection)
        servers = list(tensors_in(stage.server))
        memory = {tensor.untyped_storage().data_ptr() for tensor in servers if tensor.numel()}
        held = dict(submodel.state_dict(keep_vars=True))
        shared = [name for name, tensor in held.items() if tensor.untyped_storage().data_ptr() in memory]
        if shared:
            raise Failure(
                f"at keep ratio {keep:g} the sub-model's {shared[0]!r} lies in the server's memory",
                "a copy",
                "use clone(), or bench.api.copy_of for whole models; a slice of a tensor is no copy",
            )
        before = [tensor.detach().clone() for tensor in servers]
        train_client(Job(selection.client.number, 1, submodel), stage.federation)
        if not all(torch.equal(tensor, copy) for tensor, copy in zip(servers, before, strict=True)):
            raise Failure(
                f"training a sub-model of keep ratio {keep:g} changed a tensor that the server holds",
                "that the server changes in aggregate alone",
                "give the sub-model copies of everything, plain attributes too",
            )
