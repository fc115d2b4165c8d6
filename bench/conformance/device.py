"""Checks of where a method puts its tensors."""

from __future__ import annotations

import torch

from bench.conformance.compare import tensors_in
from bench.conformance.outcome import Failure
from bench.conformance.source import fixed_devices
from bench.conformance.subject import NOISE, Subject
from bench.runtime import device_named


def any_device(subject: Subject) -> None:
    """The source names no accelerator, and sub-models and server stay on the device of the server's model.

    That is looked at on the machine's accelerator if it has one, else on the CPU.
    """
    named = list(fixed_devices(subject.source.read_text(encoding="utf-8")))
    if named:
        raise Failure(
            f"{subject.source.name} names a device, {', '.join(named)}",
            "none",
            "take the device of a tensor of the server's model, or use zeros_like and to(tensor)",
        )
    stage = subject.stage(device_named("auto"))
    home = next(stage.server.model.parameters()).device
    selections = stage.select(0.5, 1.0)
    for selection in selections:
        _at_home(stage.method.extract(stage.server, selection), home, "the sub-model")
    stage.aggregate([stage.update(selection, NOISE) for selection in selections])
    _at_home([stage.server.model, stage.server.memory], home, "the server after a round")


def _at_home(holder: object, home: torch.device, what: str) -> None:
    elsewhere = {str(tensor.device) for tensor in tensors_in(holder)} - {str(home)}
    if elsewhere:
        raise Failure(
            f"{what} has tensors on {', '.join(sorted(elsewhere))}",
            f"all on {home}, where the server's model is",
            "make tensors with device=tensor.device, or use zeros_like and to(tensor)",
        )
