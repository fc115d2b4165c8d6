"""Several networks of one kind whose outputs are averaged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Self

import torch
from torch import Tensor, nn

from bench.models.base import Axes, Model


class Ensemble(Model):
    """Networks by number; the output is the mean of theirs.

    None of its channels can be cut: its networks are as narrow as they are.

    Args:
        nets: the networks, which it takes over.
    """

    def __init__(self, nets: Mapping[int, Model]) -> None:
        super().__init__()
        self.nets = nn.ModuleDict({str(number): net for number, net in nets.items()})
        self.apart = False
        self.factorable = tuple(f"nets.{number}.{name}" for number, net in nets.items() for name in net.factorable)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = torch.stack([net(inputs) for net in self.nets.values()])
        return outputs if self.apart else outputs.mean(0)

    @contextlib.contextmanager
    def each_net(self) -> Iterator[None]:
        """Return the outputs of all networks meanwhile, with a first dimension ``[networks]``."""
        self.apart = True
        try:
            yield
        finally:
            self.apart = False

    def channels(self) -> dict[str, int]:
        return {}

    def axes(self) -> dict[str, Axes]:
        return {name: (None,) * tensor.ndim for name, tensor in self.named_parameters()}

    def parts(self) -> list[tuple[str, ...]]:
        return [("nets.",)]

    def narrow(self, channels: Mapping[str, int]) -> Self:
        raise NotImplementedError("the networks of an ensemble are not cut any more")

    def scale_hidden(self, rate: float) -> None:
        for net in self.nets.values():
            assert isinstance(net, Model)
            net.scale_hidden(rate)
