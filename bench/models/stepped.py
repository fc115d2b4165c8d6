"""Networks whose residual blocks take steps of learned sizes, and some of which lack their last blocks (NeFL)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.models.base import Axes, Model, blank, still_there
from bench.models.factorise import cut
from bench.models.resnet import Block, ResNet
from bench.models.transformer import Block as AttentionBlock
from bench.models.transformer import Transformer


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


class SteppedAttentionBlock(AttentionBlock):
    """A transformer's block ``y = x + s F(x)``, then ``y + t G(y)``, with step sizes s and t that are learned.

    Args:
        block: a block, whose layers it takes over. The step sizes are 1.
    """

    def __init__(self, block: AttentionBlock) -> None:
        super(AttentionBlock, self).__init__()
        self.gelu, self.normed_shortcut = block.gelu, block.normed_shortcut
        self.norm1, self.attention = block.norm1, block.attention
        self.norm2, self.expand, self.contract = block.norm2, block.expand, block.contract
        self.attention_step = nn.Parameter(block.expand.weight.new_ones(1))
        self.mlp_step = nn.Parameter(block.expand.weight.new_ones(1))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = inputs + self.attention_step * self.attention(self.norm1(inputs))
        normed = self.norm2(hidden)
        return (normed if self.normed_shortcut else hidden) + self.mlp_step * self.widened(normed)


class Stepped(Model):
    """A residual network or a transformer with the first blocks of each stage.

    Args:
        net: the network, which is taken over and changed in place. A transformer is of one stage.
        blocks: how many blocks of each stage are kept, at least the one that changes the shape.
        learned: whether blocks have step sizes; without any they compute as they did.
    """

    def __init__(self, net: ResNet | Transformer, blocks: int, learned: bool) -> None:
        super().__init__()
        self.net, self.blocks, self.learned = net, blocks, learned
        for stage in [net.blocks] if isinstance(net, Transformer) else net.stages:
            assert isinstance(stage, nn.ModuleList)
            del stage[blocks:]
            for place, block in enumerate(stage):
                if learned and isinstance(block, AttentionBlock):
                    stage[place] = SteppedAttentionBlock(block)
                elif learned:
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

    def block_of(self, group: str) -> int | None:
        """Return in which block of its stage a group of channels lies; None for what blocks have in common."""
        if isinstance(self.net, Transformer):
            return int(group.partition(".")[0].removeprefix("block")) if group.startswith("block") else None
        return int(group.rpartition(".")[2]) if "." in group else None

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
    kept = {group: torch.arange(count, device=next(iter(full.values())).device) for group, count in counts.items()}
    small = model.shaped(blocks, counts)
    blank(small)
    for name, tensor in small.named_parameters():
        tensor.data = cut(full[name], axes[name], kept, sizes)
    return small


def step_names(model: nn.Module) -> set[str]:
    """Return the names of a model's step sizes."""
    kinds = {SteppedBlock: ("step",), SteppedAttentionBlock: ("attention_step", "mlp_step")}
    return {f"{name}.{own}" for name, module in model.named_modules() for own in kinds.get(type(module), ())}
