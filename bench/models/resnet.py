"""ResNets for 32 x 32 images, with 3 x 3 stem and without max-pool.

ResNet-18 is that of PriSM, Table 2 (11,173,962 parameters at width 64); ResNet-20 is that of EmbracingFL (Lee et al.,
arXiv 2406.15125; 272,762 parameters at width 16).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from bench.models.base import Axes, Axis, Exit, Model, still_there
from bench.models.convolution import Conv2d
from bench.models.normalisation import BatchNorm, GroupNorm

Norm = Literal["batch", "group"]
Factored = Literal["3x3", "all"]
MOST_GROUPS = 32


def norm_layer(kind: Norm, channels: int) -> BatchNorm | GroupNorm:
    """Return a normalisation layer, by the statistics of the current batch or of groups of channels.

    There are as many groups as the greatest common divisor of 32 and the number of channels, so that 13 channels are
    one group.
    """
    return BatchNorm(channels) if kind == "batch" else GroupNorm(math.gcd(channels, MOST_GROUPS), channels)


class Block(nn.Module):
    """Two 3 x 3 convolutions around a shortcut; a 1 x 1 projection where the shape changes."""

    def __init__(self, inputs: int, hidden: int, outputs: int, stride: int, project: bool, norm: Norm) -> None:
        super().__init__()
        self.conv1 = Conv2d(inputs, hidden, 3, stride, 1, bias=False)
        self.norm1 = norm_layer(norm, hidden)
        self.conv2 = Conv2d(hidden, outputs, 3, 1, 1, bias=False)
        self.norm2 = norm_layer(norm, outputs)
        self.project = Conv2d(inputs, outputs, 1, stride, bias=False) if project else None
        self.project_norm = norm_layer(norm, outputs) if project else None

    def forward(self, inputs: Tensor) -> Tensor:
        shortcut = inputs
        if self.project is not None and self.project_norm is not None:
            shortcut = self.project_norm(self.project(inputs))
        hidden = self.norm1(self.conv1(inputs), relu=True)
        return self.norm2(self.conv2(hidden), shortcut, relu=True)


class ResNet(Model):
    """Stem, stages of blocks, global average pool, classifier.

    The groups of channels are ``stage<i>`` (the residual stream of a stage) and ``stage<i>.<j>`` (the hidden channels
    of a block). Where the first block adds the stem's output to its own, the stem writes into ``stage0``; where a
    projection lies in between, nothing ties the channels of the two together, and the stem's are a group ``stem``.

    Class attributes:
        stage_count: number of stages; from the second on each halves the map and has twice the channels.
        block_count: number of blocks of a stage; a shallower model has its own.
        projects_first: True where the first stage too begins with a projection, though its shape does not change.
        default_width: channels of the stem in the paper.

    Args:
        channels: number of channels of each group; see :meth:`default_channels`.
        classes: number of outputs.
        norm: "batch" (statistics of the current batch) or "group".
        factored: which weights spectral methods factor: the "3x3" convolutions behind the stem (PriSM's code), or "all"
            affine layers between the first and the last, the 1 x 1 projections too (Korzhenkov and Louizos, 2024).
        image_channels: 3 for colours, 1 for grey images; of any height and width.
        depth: blocks of each stage; the architecture's own number if not given.
    """

    stage_count: ClassVar[int]
    block_count: int
    projects_first: ClassVar[bool] = False
    default_width: ClassVar[int]
    outputs = ("classifier.weight", "classifier.bias")

    def __init__(
        self,
        channels: Mapping[str, int],
        classes: int = 10,
        norm: Norm = "batch",
        factored: Factored = "3x3",
        image_channels: int = 3,
        depth: int | None = None,
    ) -> None:
        super().__init__()
        self.block_count = type(self).block_count if depth is None else depth
        self._channels, self.classes, self.norm, self.factored = dict(channels), classes, norm, factored
        self.image_channels = image_channels
        inputs = channels[self._stem_group()]
        self.stem = nn.Conv2d(image_channels, inputs, 3, 1, 1, bias=False)
        self.stem_norm = norm_layer(norm, inputs)
        self.stages = nn.ModuleList()
        for stage in range(self.stage_count):
            outputs = channels[f"stage{stage}"]
            blocks = nn.ModuleList()
            for block in range(self.block_count):
                hidden, stride = channels[f"stage{stage}.{block}"], 2 if stage > 0 and block == 0 else 1
                blocks.append(Block(inputs, hidden, outputs, stride, self._projects(stage, block), norm))
                inputs = outputs
            self.stages.append(blocks)
        self.classifier = nn.Linear(inputs, classes)
        within = ("conv1", "conv2") if factored == "3x3" else ("conv1", "conv2", "project")
        self.factorable = tuple(
            f"{name}.weight"
            for name, module in self.named_modules()
            if isinstance(module, nn.Conv2d) and name.rpartition(".")[2] in within
        )

    @classmethod
    def default_channels(cls, width: int | None = None) -> dict[str, int]:
        """Return the channels of each group for a stem of ``width`` channels, doubling from stage to stage."""
        width = cls.default_width if width is None else width
        stages = {f"stage{stage}": width * 2**stage for stage in range(cls.stage_count)}
        hidden = {f"{stage}.{block}": size for stage, size in stages.items() for block in range(cls.block_count)}
        return {cls._stem_group(): width} | stages | hidden

    @classmethod
    def _stem_group(cls) -> str:
        return "stem" if cls.projects_first else "stage0"

    @classmethod
    def _projects(cls, stage: int, block: int) -> bool:
        return block == 0 and (stage > 0 or cls.projects_first)

    def forward(self, images: Tensor) -> Tensor:
        for hidden in self.hidden_states(images):  # noqa: B007 - the last one is what is needed
            pass
        return self.classifier(hidden.mean((2, 3)))

    def hidden_states(self, inputs: Tensor) -> Iterator[Tensor]:
        hidden = self.stem_norm(self.stem(inputs), relu=True)
        for stage in self.stages:
            for block in stage:  # type: ignore[attr-defined]
                hidden = block(hidden)
                yield hidden

    def exits(self) -> tuple[Exit, ...]:
        """Behind each block."""
        last = self.block_count - 1
        return tuple(
            Exit(Axis(f"stage{stage}"), ends_stage=block == last)
            for stage in range(self.stage_count)
            for block in range(self.block_count)
        )

    def shorten(self, exits: int) -> None:
        whole, rest = divmod(exits, self.block_count)
        if rest:
            del self.stages[whole][rest:]  # type: ignore[operator]
        del self.stages[whole + (rest > 0) :], self.classifier
        self.factorable = still_there(self, self.factorable)

    def channels(self) -> dict[str, int]:
        return dict(self._channels)

    def axes(self) -> dict[str, Axes]:
        before = self._stem_group()
        axes: dict[str, Axes] = {"stem.weight": (Axis(before), None, None, None)}
        axes |= _norm_axes("stem_norm", before)
        for stage in range(self.stage_count):
            for block in range(self.block_count):
                prefix, hidden, after = f"stages.{stage}.{block}", f"stage{stage}.{block}", f"stage{stage}"
                axes[f"{prefix}.conv1.weight"] = (Axis(hidden), Axis(before), None, None)
                axes[f"{prefix}.conv2.weight"] = (Axis(after), Axis(hidden), None, None)
                axes |= _norm_axes(f"{prefix}.norm1", hidden) | _norm_axes(f"{prefix}.norm2", after)
                if self._projects(stage, block):
                    axes[f"{prefix}.project.weight"] = (Axis(after), Axis(before), None, None)
                    axes |= _norm_axes(f"{prefix}.project_norm", after)
                before = after
        return axes | {"classifier.weight": (None, Axis(before)), "classifier.bias": (None,)}

    def parts(self) -> list[tuple[str, ...]]:
        blocks = [(f"stages.{i}.{j}.",) for i in range(self.stage_count) for j in range(self.block_count)]
        return [("stem.", "stem_norm."), *blocks, ("classifier.",)]

    def narrow(self, channels: Mapping[str, int]) -> Self:
        with torch.device("meta"):
            return type(self)(channels, self.classes, self.norm, self.factored, self.image_channels, self.block_count)

    def shallower(self) -> tuple[Self, ...]:
        """With fewer blocks in every stage, the last ones left out, down to one."""
        return tuple(self._with_blocks(blocks) for blocks in range(self.block_count - 1, 0, -1))

    def _with_blocks(self, blocks: int) -> Self:
        left_out = {f"stage{i}.{j}" for i in range(self.stage_count) for j in range(blocks, self.block_count)}
        channels = {group: size for group, size in self._channels.items() if group not in left_out}
        with torch.device("meta"):
            return type(self)(channels, self.classes, self.norm, self.factored, self.image_channels, blocks)

    def scale_hidden(self, rate: float) -> None:
        for module in self.modules():
            if isinstance(module, BatchNorm | GroupNorm):
                module.input_scale = rate


class ResNet18(ResNet):
    """Four stages of two blocks; projections where the shape changes."""

    stage_count, block_count, default_width = 4, 2, 64


class ResNet20(ResNet):
    """Three stages of three blocks, each beginning with a projection, the first one too."""

    stage_count, block_count, default_width = 3, 3, 16
    projects_first = True


def _norm_axes(name: str, group: str) -> dict[str, Axes]:
    return {f"{name}.weight": (Axis(group),), f"{name}.bias": (Axis(group),)}
