"""A model with a head at several of its exits, up to the last of which it reaches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from bench.models.base import Axes, Model, blank
from bench.models.factorise import cut
from bench.models.heads import Classifier, Head, Unnormalised, classifier_of
from bench.models.initialise import initialise
from bench.models.normalisation import BatchNorm, GroupNorm


class MultiExit(Model):
    """The parts of a model up to an exit, with heads there and at earlier exits.

    Its outputs are the mean of its heads' outputs, or the last one's.

    Attributes:
        places: the numbers of the exits that have a head, ascending.
        depth: how many of the model's exits lie within, with a head or without.

    Args:
        net: the model, which is shortened in place.
        places: as above. At the model's own end the head is a plain classifier.
        early: the kind of the other heads.
        ensemble: whether the outputs are the mean of all heads' outputs.
    """

    def __init__(self, net: Model, places: Sequence[int], early: type[Head], ensemble: bool) -> None:
        super().__init__()
        end = len(net.exits()) - 1
        self.places, self.early, self.ensemble, self.apart = tuple(places), early, ensemble, False
        self.net, self.depth = net, self.places[-1] + 1
        self.heads = nn.ModuleDict(
            {str(place): (Classifier if place == end else early)(net, place) for place in self.places}
        )
        net.shorten(self.depth)
        self.factorable = tuple(f"net.{name}" for name in net.factorable)

    def forward(self, inputs: Tensor) -> Tensor:
        states = enumerate(self.net.hidden_states(inputs))
        outputs = [self.heads[str(place)](hidden) for place, hidden in states if place in self.places]
        if self.apart:
            return torch.stack(outputs)
        if inputs.device.type == "meta":  # counted: all heads learn, whichever of them predicts
            return torch.stack(outputs).sum(0)
        return torch.stack(outputs).mean(0) if self.ensemble and len(outputs) > 1 else outputs[-1]

    @contextlib.contextmanager
    def each_head(self) -> Iterator[None]:
        """Return the outputs of all heads meanwhile, with a first dimension ``[heads]``."""
        self.apart = True
        try:
            yield
        finally:
            self.apart = False

    def channels(self) -> dict[str, int]:
        return self.net.channels()

    def axes(self) -> dict[str, Axes]:
        axes = {f"net.{name}": of for name, of in self.net.axes().items()}
        for place, head in self.heads.items():
            assert isinstance(head, Head)
            axes |= {f"heads.{place}.{name}": of for name, of in head.axes().items()}
        return {name: axes[name] for name, _ in self.named_parameters()}

    def parts(self) -> list[tuple[str, ...]]:
        names = [name for name, _ in self.net.named_parameters()]
        inner = [
            tuple(f"net.{prefix}" for prefix in prefixes if any(name.startswith(prefix) for name in names))
            for prefixes in self.net.parts()
        ]
        return [*(prefixes for prefixes in inner if prefixes), ("heads.",)]

    def narrow(self, channels: Mapping[str, int]) -> Self:
        return self.shaped(self.places, channels)

    def shaped(self, places: Sequence[int], channels: Mapping[str, int]) -> Self:
        """Return a model with heads at these exits alone and these numbers of channels, its parameters on "meta"."""
        with torch.device("meta"):
            return type(self)(self.net.narrow(channels), places, self.early, self.ensemble)

    def scale_hidden(self, rate: float) -> None:
        self.net.scale_hidden(rate)
        for module in self.heads.modules():
            if isinstance(module, BatchNorm | GroupNorm | Unnormalised):
                module.input_scale = rate


@torch.no_grad()
def with_heads(
    model: Model, places: Sequence[int], early: type[Head], ensemble: bool, generator: torch.Generator
) -> MultiExit:
    """Return a model with heads at some of its exits, which takes the model over.

    The head at the model's own end is its classifier; what others are made of is drawn: convolutions by He's normal
    law on the fan-out, linear layers by PyTorch's own.

    Args:
        model: with values, to be given up.
        places, early, ensemble: see :class:`MultiExit`.
        generator: the stream to draw from, on the CPU.
    """
    classifier, end = classifier_of(model), len(model.exits()) - 1
    with torch.device("meta"):
        whole = MultiExit(model, places, early, ensemble)
    blank(whole.heads)
    initialise(whole.heads, generator, conv="kaiming")
    whole.heads.to(classifier.weight.device)
    if end in whole.places:
        own = whole.heads[str(end)]
        assert isinstance(own, Classifier)
        own.linear.weight, own.linear.bias = classifier.weight, classifier.bias
    return whole


@torch.no_grad()
def ended(model: MultiExit, places: Sequence[int], kept: Mapping[str, Tensor] | None = None) -> MultiExit:
    """Return the part of a model up to an exit, which shares no memory with it.

    Args:
        model: the model; it is not changed.
        places: the exits that keep their heads; the part ends at the last of them.
        kept: for each group of channels the kept ones, int64 and ascending; None for all.
    """
    sizes, axes, full = model.channels(), model.axes(), dict(model.named_parameters())
    part = model.shaped(places, sizes if kept is None else {group: len(some) for group, some in kept.items()})
    blank(part)
    for name, tensor in part.named_parameters():
        tensor.data = full[name].detach().clone() if kept is None else cut(full[name], axes[name], kept, sizes)
    return part
