"""The masked cross entropy: in training, outputs of classes that a client lacks are 0, and teach nothing.

Diao et al., "HeteroFL", ICLR 2021, section 3.3, and its released code, on which others (FedRolex, FedHM) are built. The
outputs are set to 0, not to minus infinity: each absent class adds 1 to the softmax's denominator.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.api import Client
from bench.models.base import Model
from bench.tasks.base import Task

ABSENT = "absent_classes"


def mark_absent(submodel: nn.Module, client: Client) -> None:
    """Register which outputs a client lacks the class of, bool ``[outputs]``; none if its labels are not known.

    The buffer is not persistent, since it is not sent: a client knows best which classes it lacks. A method whose
    sub-models have it says so by a ``received`` of its own.
    """
    assert isinstance(submodel, Model)
    bias = submodel.get_parameter(submodel.outputs[-1])
    absent = torch.zeros(len(bias), dtype=torch.bool, device=bias.device)
    if client.labels:
        absent[:] = True
        absent[classes_of(client, bias.device)] = False
    submodel.register_buffer(ABSENT, absent, persistent=False)


def masked_loss(submodel: nn.Module, forward: Callable[[], Tensor], targets: Tensor, task: Task) -> Tensor:
    """Return the task's loss of a sub-model's outputs, those marked by :func:`mark_absent` being 0."""
    return task.loss(forward().masked_fill(submodel.get_buffer(ABSENT), 0.0), targets)


def classes_of(client: Client, device: torch.device) -> Tensor:
    """Return the classes among a client's samples, int64."""
    return torch.tensor(client.labels, dtype=torch.int64, device=device)
