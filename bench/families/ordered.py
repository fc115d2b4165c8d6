"""A sub-model that computes with its leading channels only, as many as it is told for each step."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.models.base import Axes, Model
from bench.models.factorise import leading
from bench.models.normalisation import BatchNorm, watched

MOMENTUM = 0.1
"""Share of a batch in the running statistics, as in torch's batch normalisation."""


class Ordered(Model):
    """A narrow model, and what its client needs for ordered dropout (FjORD).

    Attributes:
        model: the narrow model of the client's keep ratio; by itself this module computes what that does.
        remaining: the widths of the local steps to come. That this is a queue also keeps the engine for GPUs from
            recording a step and repeating it at one width for ever.
        used: the widths that steps were made at so far, if statistics are tracked.

    Args:
        model: the narrow model.
        widths: the width of each local step.
        keep: the client's keep ratio, the largest of its widths.
        statistics: for each of the client's widths the running mean and variance of each channel that is normalised by
            the statistics of the batch, ``[2, channels of all layers]``; empty where none are tracked.
    """

    computes_blocks = False  # but those of a narrower model in most steps

    def __init__(self, model: Model, widths: Iterable[float], keep: float, statistics: Mapping[float, Tensor]) -> None:
        super().__init__()
        self.model, self.remaining, self.keep = model, deque(widths), keep
        self.used: set[float] = set()
        self.factorable = tuple(f"model.{name}" for name in model.factorable)
        self.outputs = tuple(f"model.{name}" for name in model.outputs)
        self._lent: tuple[Model, ...] = ()
        for width, values in statistics.items():
            self.register_buffer(_buffer(width), values)

    def forward(self, inputs: Tensor) -> Tensor:
        if not self._lent:
            return self.model(inputs)
        (narrower,) = self._lent
        axes, counts = narrower.axes(), narrower.channels()
        tensors = {name: leading(tensor, axes[name], counts) for name, tensor in self.model.named_parameters()}
        return functional_call(narrower, tensors, (inputs,), tie_weights=False)

    @contextlib.contextmanager
    def at(self, width: float, narrower: Model | None, updates: int = 1) -> Iterator[None]:
        """Compute with the leading channels alone meanwhile, and track the statistics of the last batch.

        Args:
            width: the keep ratio of these channels.
            narrower: a model of that many channels, whose own parameters are not read; None for the whole sub-model.
            updates: how many times the batch enters the running statistics.
        """
        net, running = narrower or self.model, self.statistics(width)
        with watched(net) if running is not None else contextlib.nullcontext() as seen:
            self._lent = () if narrower is None else (narrower,)
            try:
                yield
            finally:
                self._lent = ()
            if running is not None and seen is not None:
                batch = seen()
                for _ in range(updates):
                    running.lerp_(batch, MOMENTUM)
                self.used.add(width)

    def statistics(self, width: float) -> Tensor | None:
        """Return the running statistics of a width; None where none are tracked."""
        return self._buffers.get(_buffer(width))

    def channels(self) -> dict[str, int]:
        return self.model.channels()

    def axes(self) -> dict[str, Axes]:
        return {f"model.{name}": axes for name, axes in self.model.axes().items()}

    def parts(self) -> list[tuple[str, ...]]:
        return [tuple(f"model.{prefix}" for prefix in prefixes) for prefixes in self.model.parts()]

    def narrow(self, channels: Mapping[str, int]) -> Self:
        return type(self)(self.model.narrow(channels), (), self.keep, {})


def normalised_channels(model: nn.Module) -> int:
    """Return how many channels, of all layers together, are normalised by the statistics of the batch."""
    return sum(module.num_features for module in model.modules() if isinstance(module, BatchNorm))


def initial_statistics(model: nn.Module, device: torch.device) -> Tensor:
    """Return mean 0 and variance 1 for each channel that is normalised by the statistics of the batch."""
    channels = normalised_channels(model)
    return torch.stack([torch.zeros(channels, device=device), torch.ones(channels, device=device)])


def _buffer(width: float) -> str:
    return f"statistics_{width}".replace(".", "_")
