"""Checks of where a method puts its tensors."""

from __future__ import annotations

import torch

from bench.conformance.compare import tensors_in
from bench.conformance.outcome import Failure
from bench.conformance.placement import Placement
from bench.conformance.source import fixed_devices
from bench.conformance.subject import NOISE, Stage, Subject
from bench.numerics.runtime import device_named


def any_device(subject: Subject) -> None:
    """The source names no accelerator, and sub-models and server stay on the device of the server's model.

    That is looked at on the machine's accelerator if it has one. Tensors that are made without a device are found on
    the CPU too.
    """
    named = list(fixed_devices(subject.source.read_text(encoding="utf-8")))
    if named:
        raise Failure(
            f"{subject.source.name} names a device, {', '.join(named)}",
            "none",
            "take the device of a tensor of the server's model, or use zeros_like and to(tensor)",
        )
    federation = subject.federation(device=device_named("auto"))
    model, placement = federation.initial_model(), Placement()
    home = next(model.parameters()).device
    with placement:
        stage = Stage(federation, federation.method.setup(model, federation.task))
        selections = stage.select(0.5, 1.0)
        submodels = [stage.method.extract(stage.server, selection) for selection in selections]
    _at_home(submodels, home, placement, "the sub-model")
    updates = [stage.update(selection, NOISE) for selection in selections]
    with placement:
        stage.aggregate(updates)
    _at_home([stage.server.model, stage.server.memory], home, placement, "the server after a round")


def _at_home(holder: object, home: torch.device, placement: Placement, what: str) -> None:
    hint = "make tensors with device=tensor.device, or use zeros_like and to(tensor)"
    elsewhere = {str(tensor.device) for tensor in tensors_in(holder)} - {str(home)}
    if elsewhere:
        raise Failure(
            f"{what} has tensors on {', '.join(sorted(elsewhere))}", f"all on {home}, where the server's model is", hint
        )
    strays = placement.strays(holder)
    if strays:
        raise Failure(
            f"{what} has a tensor of shape {tuple(strays[0].shape)} that comes from one made without a device",
            "that all are where the server's model is: without a device a tensor is made on the CPU",
            hint,
        )
