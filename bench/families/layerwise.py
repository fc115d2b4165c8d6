"""Layers as pieces that are averaged by themselves, and how far clients are from each other in them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.families.averaging import CoverageMean

_RECURRENT = re.compile(r"_l(\d+)(_reverse)?$")


@dataclass(frozen=True)
class Piece:
    """Tensors of a model that are averaged together.

    Attributes:
        name: of the layer or of its one tensor.
        tensors: names of its parameters.
        size: how many numbers they hold.
        eligible: whether its interval may be increased.
    """

    name: str
    tensors: tuple[str, ...]
    size: int
    eligible: bool = True


def layers_of(model: nn.Module) -> list[Piece]:
    """Return the layers of a model in its own order: a layer is a module's own parameters.

    The stacked layers of a recurrent module are a piece each.
    """
    tensors: dict[str, list[str]] = {}
    for name, _ in model.named_parameters():
        owner, _, own = name.rpartition(".")
        stacked = _RECURRENT.search(own) if isinstance(model.get_submodule(owner), nn.RNNBase) else None
        tensors.setdefault(f"{owner}.{stacked[1]}" if stacked else owner, []).append(name)
    sizes = {name: tensor.numel() for name, tensor in model.named_parameters()}
    return [Piece(layer, tuple(names), sum(sizes[name] for name in names)) for layer, names in tensors.items()]


def kernels_of(model: nn.Module) -> list[Piece]:
    """Return each tensor as a piece of its own, of which those of two and more dimensions are eligible."""
    return [Piece(name, (name,), tensor.numel(), tensor.ndim >= 2) for name, tensor in model.named_parameters()]


class SpreadMean:
    """The weighted mean of clients' tensors and their mean squared distance from it, one client after the other.

    The squares are summed around the mean so far (Welford), so that nothing cancels and no client is kept.

    Args:
        base: the server's tensor before the round.
    """

    def __init__(self, base: Tensor) -> None:
        self.mean = CoverageMean(base)
        self.weight = 0.0
        self.squares = base.new_zeros(())

    @torch.no_grad()
    def add(self, values: Tensor, weight: float = 1.0, spreads: bool = True) -> None:
        """Add a client's tensor; its distance is left out where nobody will ask for the spread."""
        if self.weight and spreads:
            apart = values.to(self.mean.base) - self.mean.base - self.mean.change / self.weight
            self.squares += weight * self.weight / (weight + self.weight) * apart.square().sum()
        self.mean.add(values, weight=weight)
        self.weight += weight

    def spread(self) -> float:
        """Return ``sum_i a_i ||u - x_i||^2 / sum_i a_i`` with u the mean; 0 without clients."""
        return float(self.squares) / self.weight if self.weight else 0.0


def discrepancies(pieces: Sequence[Piece], intervals: Sequence[int], spreads: Mapping[str, float]) -> list[float]:
    """Return d_l of each piece: the clients' mean squared distance from the mean, by numbers and rounds.

    Args:
        pieces: the layers, or single tensors, of the model.
        intervals: the aggregation interval tau_l that each had, in rounds.
        spreads: (1/m) sum_i ||u - x^i||^2 of each parameter, by name.
    """
    return [
        sum(spreads[name] for name in piece.tensors) / (interval * piece.size)
        for piece, interval in zip(pieces, intervals, strict=True)
    ]


def less_critical(discrepancy: Sequence[float], pieces: Sequence[Piece]) -> set[int]:
    """Return which pieces may be averaged less often (FedLAMA, Algorithm 2).

    Eligible pieces are taken in the order of their discrepancy, smallest first, until the share of all discrepancy that
    they have (delta) exceeds the share of eligible parameters that is left (1 - lambda); the piece with which it does
    is among them. Where clients do not differ at all, all eligible pieces are.

    Args:
        discrepancy: d_l of each piece.
        pieces: what it is known of.
    """
    total = sum(d * piece.size for d, piece in zip(discrepancy, pieces, strict=True))
    eligible = [place for place, piece in enumerate(pieces) if piece.eligible]
    parameters = sum(pieces[place].size for place in eligible)
    taken, delta, held = set(), 0.0, 0
    for place in sorted(eligible, key=lambda place: discrepancy[place]):
        taken.add(place)
        delta += discrepancy[place] * pieces[place].size
        held += pieces[place].size
        if total and 1 - held / parameters < delta / total:
            break
    return taken
