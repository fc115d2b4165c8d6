"""What a sub-model costs, counted from the sub-model itself: parameters, operations, activations, bytes, memory."""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.cost.operations import operations
from bench.models.base import FactoredLayer, Model
from bench.tasks.base import Task


@dataclass(frozen=True)
class Cost:
    """The cost of one sub-model.

    Attributes:
        parameters: all parameters the client holds, trained or frozen; buffers such as frozen singular values are
            counted in ``down_bytes``.
        factored_parameters: those in factored weights, and in factorable ones that are held dense, the convention of
            PriSM's Table 1; biases and frozen scales are not counted.
        macs: multiply-accumulates of one sample's forward pass.
        down_bytes: bytes of all tensors the client receives, parameters and buffers.
        trained_parameters: those of ``parameters`` that the client trains, that is, which require gradients.
        activations: numbers per sample in the outputs of affine layers that are kept for the backward pass, see
            :class:`bench.cost.operations.Operations`.
        train_macs: multiply-accumulates of one sample's forward and backward pass.
        skipped_macs, skipped_train_macs: those of them that multiply by weights which a mask has set to zero.
        saved_bytes: what autograd keeps of one sample between the two passes, see
            :class:`bench.cost.operations.Operations`.
    """

    parameters: int
    factored_parameters: int
    macs: int
    down_bytes: int
    trained_parameters: int
    activations: int
    train_macs: int
    skipped_macs: int = 0
    skipped_train_macs: int = 0
    saved_bytes: int = 0

    @property
    def ideal_macs(self) -> int:
        """``macs`` without products with weights that are masked; those of a dense network are all of them."""
        return self.macs - self.skipped_macs

    @property
    def ideal_train_macs(self) -> int:
        """``train_macs`` of such kernels."""
        return self.train_macs - self.skipped_train_macs


class CostMeter:
    """Counts sub-models, each shape once: a count of operations takes longer than a batch of a small model."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._known: dict[tuple[tuple[str, torch.Size, bool], ...], Cost] = {}

    def of(self, submodel: nn.Module) -> Cost:
        """Return the cost of a sub-model."""
        trained = {name for name, tensor in submodel.named_parameters() if tensor.requires_grad}
        shape = tuple((name, tensor.shape, name in trained) for name, tensor in submodel.state_dict().items())
        if shape not in self._known:
            self._known[shape] = cost_of(submodel, self.task)
        return self._known[shape]


def cost_of(submodel: nn.Module, task: Task) -> Cost:
    """Count a sub-model's cost from its tensors and from passes on the meta device."""
    counted = operations(submodel, task)
    return Cost(
        parameters=sum(tensor.numel() for tensor in submodel.parameters()),
        factored_parameters=factored_parameters(submodel),
        macs=counted.macs,
        down_bytes=bytes_of(submodel.state_dict().values()),
        trained_parameters=sum(tensor.numel() for tensor in submodel.parameters() if tensor.requires_grad),
        activations=counted.activations,
        train_macs=counted.train_macs,
        skipped_macs=counted.skipped_macs,
        skipped_train_macs=counted.skipped_train_macs,
        saved_bytes=counted.saved_bytes,
    )


def capacity(cost: Cost, full: Cost, batch_size: int) -> float:
    """Return the memory that training a sub-model takes, relative to the full model's: 1 for the full model.

    Trained parameters and a batch's activations are counted in numbers and added up, as in Table 1 of the slides on
    InclusiveFL (EmbracingFL, Lee et al., arXiv 2406.15125), where ResNet-20 at batch 32 has 1.00, 0.42 and 0.16.
    Parameters that are held but not trained are not counted.

    Args:
        cost: of the sub-model.
        full: of the full model, all of it trained.
        batch_size: samples of a local batch, at least 1.
    """
    return _training_numbers(cost, batch_size) / _training_numbers(full, batch_size)


def _training_numbers(cost: Cost, batch_size: int) -> int:
    return cost.trained_parameters + cost.activations * batch_size


def factored_parameters(model: nn.Module) -> int:
    """Return the number of parameters in factors, and in factorable weights that a model holds dense."""
    factored = sum(module.factor_count() for module in model.modules() if isinstance(module, FactoredLayer))
    if isinstance(model, Model):
        named = dict(model.named_parameters())
        factored += sum(named[name].numel() for name in model.factorable if name in named)
    return factored


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of tensors as they are sent."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def reset_peak_memory(device: torch.device) -> None:
    """Start a new measurement of peak memory where the system allows it (CUDA, Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_bytes(device: torch.device) -> int:
    """Return the peak memory since the last reset: of the accelerator, else the resident memory of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
