"""Residual networks whose blocks take steps of learned sizes, and some of which lack their last blocks (NeFL)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.models.base import Axes, Model, blank, still_there
from bench.models.factorise import cut
from bench.models.resnet import Block, ResNet


class SteppedBlock(nn.Module):
    """A residual block ``y = relu(x + s F(x))`` with a step size s that is learned.

    Args:
        block: a block, whose layers it takes over. The step size is 1.
    """

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.conv1, self.norm1 = block.conv1, block.norm1
        self.conv2, self.norm2 = block.conv2, block.norm2
        self.project, self.project_norm = block.project, block.project_norm
        self.step = nn.Parameter(block.conv1.weight.new_ones(1))

    def forward(self, inputs: Tensor) -> Tensor:
        shortcut = inputs
        if self.project is not None and self.project_norm is not None:
            shortcut = self.project_norm(self.project(inputs))
        hidden = self.norm1(self.conv1(inputs), relu=True)
        return functional.relu(shortcut + self.step * self.norm2(self.conv2(hidden)))


class Stepped(Model):
    """A residual network with the first blocks of each stage.

    Args:
        net: the network, which is taken over and changed in place.
        blocks: how many blocks of each stage are kept, at least the one that changes the shape.
        learned: whether blocks have step sizes; without any they compute as they did.
    """

    def __init__(self, net: ResNet, blocks: int, learned: bool) -> None:
        super().__init__()
        self.net, self.blocks, self.learned = net, blocks, learned
        for stage in net.stages:
            assert isinstance(stage, nn.ModuleList)
            del stage[blocks:]
            for place, block in enumerate(stage):
                if learned:
                    assert isinstance(block, Block)
                    stage[place] = SteppedBlock(block)
        net.factorable = still_there(net, net.factorable)
        self.factorable = tuple(f"net.{name}" for name in net.factorable)
        self.outputs = tuple(f"net.{name}" for name in net.outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.net(inputs)

    def channels(self) -> dict[str, int]:
        return self.net.channels()

    def axes(self) -> dict[str, Axes]:
        known: dict[str, Axes] = {f"net.{name}": axes for name, axes in self.net.axes().items()}
        return {name: known.get(name, (None,)) for name, _ in self.named_parameters()}

    def parts(self) -> list[tuple[str, ...]]:
        names = [name for name, _ in self.named_parameters()]
        inner = [tuple(f"net.{prefix}" for prefix in prefixes) for prefixes in self.net.parts()]
        return [prefixes for prefixes in inner if any(name.startswith(prefixes) for name in names)]

    def narrow(self, channels: Mapping[str, int]) -> Self:
        return self.shaped(self.blocks, channels)

    def shaped(self, blocks: int, channels: Mapping[str, int]) -> Self:
        """Return a model with these numbers of blocks and channels, its parameters on "meta"."""
        with torch.device("meta"):
            return type(self)(self.net.narrow(channels), blocks, self.learned)


@torch.no_grad()
def scaled(model: Stepped, blocks: int, counts: Mapping[str, int]) -> Stepped:
    """Return a model of the first blocks of each stage and the first channels of each layer, as a copy.

    Args:
        model: with at least as many of both; it is not changed.
        blocks: how many blocks of each stage.
        counts: how many channels of each group.
    """
    sizes, axes, full = model.channels(), model.axes(), dict(model.named_parameters())
    kept = {group: torch.arange(count, device=full["net.stem.weight"].device) for group, count in counts.items()}
    small = model.shaped(blocks, counts)
    blank(small)
    for name, tensor in small.named_parameters():
        tensor.data = cut(full[name], axes[name], kept, sizes)
    return small


def step_names(model: nn.Module) -> set[str]:
    """Return the names of a model's step sizes."""
    return {f"{name}.step" for name, module in model.named_modules() if isinstance(module, SteppedBlock)}
