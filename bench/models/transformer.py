"""What transformers share: a residual stream through equal blocks, a last normalisation and a classifier."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.models.attention import Attention, Scaled
from bench.models.base import Axes, Axis, Exit, Model, still_there

Factored = Literal["all", "mlp"]
STREAM = "embedding"
"""The channels of the residual stream, which all blocks read and write."""
DEVIATION = 0.02
"""Of the initial weights of linear layers: GPT-2's and the compact transformers'."""
PROJECTIONS = ("attention.query", "attention.key", "attention.value", "attention.output")
MLP = ("expand", "contract")


class Block(Scaled):
    """Attention, then two linear layers around a GELU, each with normalisation before and a shortcut around it.

    Args:
        embedding, head, hidden: channels of the residual stream, of each head and between the two linear layers.
        heads: number of heads.
        causal: whether a position sees none behind it.
        bias: whether queries, keys and values have biases.
        gelu: by the error function, or by a hyperbolic tangent (GPT-2).
        normed_shortcut: the second shortcut begins behind the normalisation (the released code of compact
            transformers) instead of before it.
    """

    def __init__(
        self,
        embedding: int,
        head: int,
        hidden: int,
        heads: int,
        causal: bool,
        bias: bool,
        gelu: Literal["none", "tanh"],
        normed_shortcut: bool,
    ) -> None:
        super().__init__()
        self.gelu, self.normed_shortcut = gelu, normed_shortcut
        self.norm1 = nn.LayerNorm(embedding)
        self.attention = Attention(embedding, heads, head, causal, bias)
        self.norm2 = nn.LayerNorm(embedding)
        self.expand = nn.Linear(embedding, hidden)
        self.contract = nn.Linear(hidden, embedding)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = inputs + self.attention(self.norm1(inputs))
        normed = self.norm2(hidden)
        return (normed if self.normed_shortcut else hidden) + self.widened(normed)

    def widened(self, normed: Tensor) -> Tensor:
        """Return what the two linear layers add."""
        wide = functional.gelu(self.scaled(self.expand(normed)), approximate=self.gelu)
        return self.scaled(self.contract(wide))


class Transformer(Model, Scaled):
    """Blocks on a residual stream ``[samples, positions, channels]``.

    The groups of channels are ``embedding``, the residual stream, and of each block ``block<i>.head``, the channels of
    a head, of which each head keeps the same, and ``block<i>.mlp``, those between its two linear layers. All heads
    stay. There are as many blocks as have such groups.

    Class attributes:
        causal, bias, gelu, normed_shortcut: of the blocks, see :class:`Block`.

    Args:
        channels: number of channels of each group.
        heads: heads of each block.
        classes: number of outputs.
        factored: which weights spectral methods factor: "all" affine layers between the first and the last, queries,
            keys and values apart (Korzhenkov and Louizos, 2024), or those of the "mlp" alone (PriSM's code).
        before, after: the layers before the blocks, and those between the last normalisation and the classifier.
    """

    causal: ClassVar[bool]
    bias: ClassVar[bool]
    gelu: ClassVar[Literal["none", "tanh"]]
    normed_shortcut: ClassVar[bool]
    outputs = ("classifier.weight", "classifier.bias")

    def __init__(
        self,
        channels: Mapping[str, int],
        heads: int,
        classes: int,
        factored: Factored,
        before: Mapping[str, nn.Module],
        after: Mapping[str, nn.Module],
    ) -> None:
        super().__init__()
        self._channels, self.heads, self.classes, self.factored = dict(channels), heads, classes, factored
        self.depth = sum(group.endswith(".mlp") for group in channels)
        self._before, self._after = tuple(before), tuple(after)
        for name, layer in before.items():
            self.add_module(name, layer)
        self.blocks = nn.ModuleList(
            Block(
                channels[STREAM],
                channels[f"block{number}.head"],
                channels[f"block{number}.mlp"],
                heads,
                self.causal,
                self.bias,
                self.gelu,
                self.normed_shortcut,
            )
            for number in range(self.depth)
        )
        self.norm = nn.LayerNorm(channels[STREAM])
        for name, layer in after.items():
            self.add_module(name, layer)
        self.classifier = nn.Linear(channels[STREAM], classes)
        within = MLP if factored == "mlp" else (*PROJECTIONS, *MLP)
        self.factorable = self._factored_before() if factored == "all" else ()
        self.factorable += tuple(f"blocks.{i}.{name}.weight" for i in range(self.depth) for name in within)

    @staticmethod
    def block_channels(embedding: int, heads: int, layers: int, ratio: int) -> dict[str, int]:
        """Return the channels of the residual stream and of equal blocks.

        Args:
            embedding: channels of the residual stream, which the heads share evenly.
            heads: a divisor of them.
            layers: number of blocks.
            ratio: channels between the linear layers of a block, relative to those of the stream.
        """
        sizes = {"head": embedding // heads, "mlp": ratio * embedding}
        return {STREAM: embedding} | {f"block{i}.{kind}": size for i in range(layers) for kind, size in sizes.items()}

    @abstractmethod
    def _embedded(self, inputs: Tensor) -> Tensor:
        """Return what the first block reads, ``[samples, positions, embedding]``."""

    @abstractmethod
    def _outer_axes(self) -> dict[str, Axes]:
        """Return the axes of the layers that are given to the constructor."""

    @abstractmethod
    def _like(self, channels: Mapping[str, int]) -> Self:
        """Return a model of the same architecture with these channels, on the current default device."""

    def _factored_before(self) -> tuple[str, ...]:
        """Return the names of the weights before the blocks that are factored."""
        return ()

    def _read(self, hidden: Tensor, ends: bool) -> Tensor:
        """Return what a classifier reads of normalised hidden states, at the end of the model or before it."""
        return hidden

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self._embedded(inputs)
        for block in self.blocks:
            hidden = block(hidden)
        return self.classifier(self._read(self.norm(hidden), ends=True))

    def hidden_states(self, inputs: Tensor) -> Iterator[Tensor]:
        hidden = self._embedded(inputs)
        for number, block in enumerate(self.blocks, 1):
            hidden = block(hidden)
            ends = number == self.depth
            normed = self.norm(hidden) if ends else functional.layer_norm(hidden, hidden.shape[-1:])
            yield self._read(normed, ends)

    def exits(self) -> tuple[Exit, ...]:
        """Behind each block.

        Before the end hidden states are normalised without gain and bias, which belong to the last normalisation.
        """
        return (Exit(Axis(STREAM)),) * self.depth

    def shorten(self, exits: int) -> None:
        if exits < self.depth:
            del self.blocks[exits:]
            for name in ("norm", *self._after, "classifier"):
                delattr(self, name)
        else:
            del self.classifier
        self.factorable = still_there(self, self.factorable)

    def channels(self) -> dict[str, int]:
        return dict(self._channels)

    def axes(self) -> dict[str, Axes]:
        stream = Axis(STREAM)
        axes = self._outer_axes()
        for number in range(self.depth):
            prefix = f"blocks.{number}"
            head, hidden = Axis(f"block{number}.head", outer=self.heads), Axis(f"block{number}.mlp")
            axes |= _norm_axes(f"{prefix}.norm1", stream) | _norm_axes(f"{prefix}.norm2", stream)
            for kind in ("query", "key", "value"):
                axes |= _linear_axes(f"{prefix}.attention.{kind}", head, stream, self.bias)
            axes |= _linear_axes(f"{prefix}.attention.output", stream, head)
            axes |= _linear_axes(f"{prefix}.expand", hidden, stream)
            axes |= _linear_axes(f"{prefix}.contract", stream, hidden)
        return axes | _norm_axes("norm", stream) | _linear_axes("classifier", None, stream)

    def parts(self) -> list[tuple[str, ...]]:
        first, last = self._before, ("norm", *self._after, "classifier")
        blocks = [(f"blocks.{number}",) for number in range(self.depth)]
        return [tuple(f"{name}." for name in part) for part in (first, *blocks, last)]

    def narrow(self, channels: Mapping[str, int]) -> Self:
        with torch.device("meta"):
            return self._like(channels)

    def shallower(self) -> tuple[Self, ...]:
        """With fewer blocks, the last ones left out, down to one."""
        return tuple(self._with_blocks(blocks) for blocks in range(self.depth - 1, 0, -1))

    def _with_blocks(self, blocks: int) -> Self:
        left_out = tuple(f"block{number}." for number in range(blocks, self.depth))
        return self.narrow({group: size for group, size in self._channels.items() if not group.startswith(left_out)})

    def drawn_by_inputs(self, name: str) -> bool:
        """Of convolutions: linear layers and embeddings begin alike at every width."""
        return isinstance(self.get_submodule(name.rpartition(".")[0]), nn.Conv2d)

    def scale_hidden(self, rate: float) -> None:
        """Divide embeddings and the outputs of convolutions, projections and linear layers, as HeteroFL's code does."""
        for module in self.modules():
            if isinstance(module, Scaled):
                module.hidden_scale = rate


def is_hidden_linear(model: nn.Module, layer: nn.Module) -> bool:
    """Return whether a layer is a linear one of a transformer's blocks, given one of those that are factored."""
    return isinstance(model, Transformer) and isinstance(layer, nn.Linear)


def _linear_axes(name: str, outputs: Axis | None, inputs: Axis | None, bias: bool = True) -> dict[str, Axes]:
    axes: dict[str, Axes] = {f"{name}.weight": (outputs, inputs)}
    return axes | {f"{name}.bias": (outputs,)} if bias else axes


def _norm_axes(name: str, axis: Axis) -> dict[str, Axes]:
    return {f"{name}.weight": (axis,), f"{name}.bias": (axis,)}


def rows_of(count: int, size: int) -> nn.Embedding:
    """Return a table of vectors; its own constructor draws numbers, see :class:`bench.models.lstm.SentimentLSTM`."""
    return nn.Embedding.from_pretrained(torch.empty(count, size), freeze=False)


def check_heads(embedding: int, heads: int) -> None:
    """Refuse heads that cannot share an embedding evenly.

    Raises:
        ValueError: in one sentence.
    """
    if embedding % heads:
        fitting = [number for number in range(1, embedding + 1) if embedding % number == 0]
        nearest = min(fitting, key=lambda number: abs(number - heads))
        raise ValueError(
            f"heads = {heads} do not share an embedding of {embedding} channels evenly; allowed: divisors of "
            f"{embedding}, the nearest is {nearest}"
        )
