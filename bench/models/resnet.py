"""ResNet-18 for 32 x 32 images: 3 x 3 stem, no max-pool (PriSM, Table 2; 11,173,962 parameters at width 64)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, Self

import torch
from torch import Tensor, nn

from bench.models.base import Axes, Axis, Model
from bench.models.convolution import Conv2d
from bench.models.normalisation import BatchNorm, GroupNorm

Norm = Literal["batch", "group"]
Factored = Literal["3x3", "all"]
STAGES, BLOCKS = 4, 2
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
        self.project = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if project else None
        self.project_norm = norm_layer(norm, outputs) if project else None

    def forward(self, inputs: Tensor) -> Tensor:
        shortcut = inputs
        if self.project is not None and self.project_norm is not None:
            shortcut = self.project_norm(self.project(inputs))
        hidden = self.norm1(self.conv1(inputs), relu=True)
        return self.norm2(self.conv2(hidden), shortcut, relu=True)


class ResNet18(Model):
    """Stem, four stages of two blocks, global average pool, classifier.

    The groups of channels are ``stage<i>`` (the residual stream of a stage; the stem writes into ``stage0``) and
    ``stage<i>.<j>`` (the hidden channels of a block).

    Args:
        channels: number of channels of each group; see :meth:`default_channels`.
        classes: number of outputs.
        norm: "batch" (statistics of the current batch) or "group".
        factored: which weights spectral methods factor: the "3x3" convolutions behind the stem (PriSM's code), or "all"
            affine layers between the first and the last, the 1 x 1 projections too (Korzhenkov and Louizos, 2024).
    """

    outputs = ("classifier.weight", "classifier.bias")

    def __init__(
        self, channels: Mapping[str, int], classes: int = 10, norm: Norm = "batch", factored: Factored = "3x3"
    ) -> None:
        super().__init__()
        self._channels, self.classes, self.norm, self.factored = dict(channels), classes, norm, factored
        self.stem = nn.Conv2d(3, channels["stage0"], 3, 1, 1, bias=False)
        self.stem_norm = norm_layer(norm, channels["stage0"])
        self.stages = nn.ModuleList()
        inputs = channels["stage0"]
        for stage in range(STAGES):
            outputs = channels[f"stage{stage}"]
            blocks = nn.ModuleList()
            for block in range(BLOCKS):
                first = stage > 0 and block == 0
                hidden = channels[f"stage{stage}.{block}"]
                blocks.append(Block(inputs, hidden, outputs, 2 if first else 1, first, norm))
                inputs = outputs
            self.stages.append(blocks)
        self.classifier = nn.Linear(inputs, classes)
        within = ("conv1", "conv2") if factored == "3x3" else ("conv1", "conv2", "project")
        self.factorable = tuple(
            f"{name}.weight"
            for name, module in self.named_modules()
            if isinstance(module, nn.Conv2d) and name.rpartition(".")[2] in within
        )

    @staticmethod
    def default_channels(width: int = 64) -> dict[str, int]:
        """Return the channels of each group for a stem of ``width`` channels, doubling from stage to stage."""
        stages = {f"stage{stage}": width * 2**stage for stage in range(STAGES)}
        hidden = {f"{stage}.{block}": size for stage, size in stages.items() for block in range(BLOCKS)}
        return stages | hidden

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.stem_norm(self.stem(images), relu=True)
        for stage in self.stages:
            for block in stage:  # type: ignore[attr-defined]
                hidden = block(hidden)
        return self.classifier(hidden.mean((2, 3)))

    def channels(self) -> dict[str, int]:
        return dict(self._channels)

    def axes(self) -> dict[str, Axes]:
        axes: dict[str, Axes] = {"stem.weight": (Axis("stage0"), None, None, None)}
        axes |= _norm_axes("stem_norm", "stage0")
        before = "stage0"
        for stage in range(STAGES):
            for block in range(BLOCKS):
                prefix, hidden, after = f"stages.{stage}.{block}", f"stage{stage}.{block}", f"stage{stage}"
                axes[f"{prefix}.conv1.weight"] = (Axis(hidden), Axis(before), None, None)
                axes[f"{prefix}.conv2.weight"] = (Axis(after), Axis(hidden), None, None)
                axes |= _norm_axes(f"{prefix}.norm1", hidden) | _norm_axes(f"{prefix}.norm2", after)
                if stage > 0 and block == 0:
                    axes[f"{prefix}.project.weight"] = (Axis(after), Axis(before), None, None)
                    axes |= _norm_axes(f"{prefix}.project_norm", after)
                before = after
        return axes | {"classifier.weight": (None, Axis(before)), "classifier.bias": (None,)}

    def narrow(self, channels: Mapping[str, int]) -> Self:
        with torch.device("meta"):
            return type(self)(channels, self.classes, self.norm, self.factored)

    def scale_hidden(self, rate: float) -> None:
        for module in self.modules():
            if isinstance(module, BatchNorm | GroupNorm):
                module.input_scale = rate


def _norm_axes(name: str, group: str) -> dict[str, Axes]:
    return {f"{name}.weight": (Axis(group),), f"{name}.bias": (Axis(group),)}
