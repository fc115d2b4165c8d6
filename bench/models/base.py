"""What a model tells of its structure, so that methods can take parts of it without knowing its architecture.

Spectral methods need the names of the weights that may be factored; width methods need to know which dimensions of
which parameters belong to the same group of channels. A model that answers these works with every method.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Axis:
    """The channels along one dimension of a parameter.

    The dimension has ``outer * size * inner`` entries, ``size`` being the group's number of channels: an LSTM's stacked
    gates have ``outer=4``, the inputs of a linear layer behind a flattened 7 x 7 map have ``inner=49``.
    """

    group: str
    outer: int = 1
    inner: int = 1

    def positions(self, kept: Tensor, size: int) -> Tensor:
        """Return the entries along the dimension that belong to the kept channels (int64, ascending in each block).

        Args:
            kept: the kept channels, int64 ``[kept]``.
            size: the number of channels of the whole group.
        """
        if self.outer == self.inner == 1:
            return kept
        outer = torch.arange(self.outer, device=kept.device)[:, None, None]
        inner = torch.arange(self.inner, device=kept.device)[None, None, :]
        return ((outer * size + kept[None, :, None]) * self.inner + inner).flatten()


Axes = tuple[Axis | None, ...]


@dataclass(frozen=True)
class Exit:
    """A place where a model can end, with a classifier of the hidden state there.

    Attributes:
        axis: the channels of the hidden state as a linear classifier reads them. With ``inner=1`` that is the mean of
            each channel over the positions of a map, or the channel itself where there is no map; else the map,
            flattened.
        ends_stage: whether a stage ends here, behind which hidden states have another form.
    """

    axis: Axis
    ends_stage: bool = True


class Model(nn.Module, ABC):
    """A full model that methods can take parts of.

    Attributes:
        factorable: names of the weights that spectral methods factor (the rule of PriSM's code: k x k convolutions
            except the first; LSTM matrices; not 1 x 1 shortcuts, classifier, embedding or normalisation).
        outputs: names of the parameters whose rows are the classes, in their order: weight and bias of the classifier;
            none where one output tells two classes apart.
        computes_blocks: whether a pass computes the modules of ``parts`` as they are; False for a wrapper that computes
            others in their place.
    """

    factorable: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    computes_blocks: bool = True

    @abstractmethod
    def channels(self) -> dict[str, int]:
        """Return the number of channels of each group that width methods may cut."""

    @abstractmethod
    def axes(self) -> dict[str, Axes]:
        """Return for each parameter the group of each of its dimensions; None where a dimension is never cut."""

    @abstractmethod
    def parts(self) -> list[tuple[str, ...]]:
        """Return the model from input to output as consecutive parts, each a tuple of prefixes of parameter names.

        Between two parts a method may cut that trains the parts on the output's side and only passes samples through
        those on the input's. Each parameter's name begins with exactly one of all the prefixes.
        """

    @abstractmethod
    def narrow(self, channels: Mapping[str, int]) -> Self:
        """Return a model of the same architecture with these numbers of channels, its parameters uninitialised."""

    def shallower(self) -> tuple[Self, ...]:
        """Return the models of the same architecture that lack whole blocks, the deepest first, uninitialised.

        Each has fewer blocks than the one before it, and all of its channels. Empty where a model has no blocks of
        which it can do without some.
        """
        return ()

    def exits(self) -> tuple[Exit, ...]:
        """Return where the model can end, from input to output; the last is its own end.

        Empty for a model that ends nowhere else. One that has any has :meth:`channels`, holds its classifier, an
        ``nn.Linear``, as ``classifier``, and answers :meth:`hidden_states` and :meth:`shorten`.
        """
        return ()

    def hidden_states(self, inputs: Tensor) -> Iterator[Tensor]:
        """Yield the hidden state at each exit, ``[samples, channels]`` or maps ``[samples, channels, height, width]``.

        Of a model with outputs at each position it is ``[samples, positions, channels]``.

        Raises:
            NotImplementedError: the model has no exits.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say where it can end")

    def shorten(self, exits: int) -> None:
        """Drop all that lies behind the first so many exits, and the classifier: only hidden states are left.

        Raises:
            NotImplementedError: the model has no exits.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say where it can end")

    def drawn_by_inputs(self, name: str) -> bool:
        """Return whether a weight's initial values are the smaller the more inputs its layer has."""
        return True

    def scale_hidden(self, rate: float) -> None:
        """Divide the outputs of the hidden layers by a rate from now on, in training only and before normalisation.

        HeteroFL's scaler (Diao et al., ICLR 2021, section 3.2).

        Raises:
            NotImplementedError: it is not defined for this architecture.
        """
        raise NotImplementedError(f"{type(self).__name__} has no hidden layers that can be scaled")

    def lose_repeated_layers(self) -> bool:
        """Apply each layer once from now on, as what PriSM's released code converts a model into.

        Returns whether that changes the model.

        That code chains the layers of a model in their order, so that a ReLU that the model applies twice acts in its
        first place alone. Residual blocks are converted as a whole and lose nothing.
        """
        return False


class FactoredLayer(nn.Module, ABC):
    """A layer that holds weights as factors."""

    @abstractmethod
    def factor_count(self) -> int:
        """Return how many numbers its factors have."""


class SparseLayer(nn.Module, ABC):
    """A layer that multiplies by weights most of which may be zero, and computes as if they were not.

    What it computes is dense; an ideal kernel for sparse weights would leave out every product with a zero.
    """

    @abstractmethod
    def skipped(self, inputs: Tensor, outputs: Tensor) -> tuple[int, int]:
        """Return the multiply-accumulates that an ideal kernel leaves out, of a forward and of a backward pass.

        Args:
            inputs, outputs: of one call of the layer; their values are not read.
        """


def still_there(model: nn.Module, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return which of these names are parameters of a model, from which some were dropped."""
    named = dict(model.named_parameters())
    return tuple(name for name in names if name in named)


def blank(model: nn.Module) -> nn.Module:
    """Return a model built on the meta device with uninitialised memory on the CPU.

    Models are built under ``torch.device("meta")`` so that their constructors draw nothing from the global random
    state.
    """

    def memory(tensor: Tensor) -> Tensor:
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")

    # What 'to_empty' does, which asks for a tensor "like" one on the meta device and so imports a computer algebra.
    return model._apply(memory)


def matrix(weight: Tensor) -> Tensor:
    """Return a weight as the matrix that is decomposed: ``[outputs, inputs * k * k]``, row-major (a view)."""
    return weight.reshape(weight.shape[0], -1)
