"""Which units of each piece of the model have been trained so far, seen and expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from bench.spectral.designs import Design


class Coverage:
    """Which units of each piece of the model (kernels of a layer, channels of a group) have been trained so far.

    Kernels are counted by their place in the spectrum, which is decomposed anew each round: kernel 3 is the third
    largest of its round.

    Attributes:
        seen: for each piece which units some client has trained, boolean ``[units]``.
        missed: for each piece the logarithm of the probability that no client has trained the unit,
            ``sum log(1 - pi)`` over rounds and clients, float64 ``[units]``; nan where some law was not known.
    """

    def __init__(self, seen: Mapping[str, Tensor] | None = None, missed: Mapping[str, Tensor] | None = None) -> None:
        self.seen = {piece: flags.clone() for piece, flags in (seen or {}).items()}
        self.missed = {piece: logs.clone() for piece, logs in (missed or {}).items()}

    def add(self, trained: Mapping[str, tuple[Tensor, int]]) -> None:
        """Add the units that one client trains; see :meth:`bench.api.Method.coverage`."""
        for piece, (units, size) in trained.items():
            seen = self.seen.setdefault(piece, torch.zeros(size, dtype=torch.bool))
            seen[units.cpu()] = True

    def expect(self, designs: Mapping[str, Sequence[Design]]) -> None:
        """Add how the clients of one round drew, after what they drew; see :meth:`bench.api.Method.designs`."""
        for piece, of_clients in designs.items():
            for design in of_clients:
                # Of an unknown law nothing is expected, now and later: nan stays.
                inclusion = design.inclusion
                if inclusion is None:
                    inclusion = np.full(len(self.seen[piece]), np.nan)
                with np.errstate(divide="ignore"):
                    missed = torch.from_numpy(np.log1p(-np.minimum(inclusion, 1.0)))
                self.missed[piece] = self.missed.get(piece, torch.zeros_like(missed)) + missed

    def share(self) -> float | None:
        """Return the share of all units trained so far; None where a method has nothing to cover."""
        return _mean(self.seen)

    def by_piece(self) -> dict[str, float]:
        """Return the share trained so far of each piece."""
        return {piece: float(seen.double().mean()) for piece, seen in self.seen.items()}

    def expected_share(self) -> float | None:
        """Return the share of all units to be expected by the laws of the draws; None where they are not known."""
        return _mean(self._expected()) if self._expected().keys() == self.seen.keys() else None

    def expected_by_piece(self) -> dict[str, float]:
        """Return the same for each piece whose laws are known."""
        return {piece: float(expected.mean()) for piece, expected in self._expected().items()}

    def _expected(self) -> dict[str, Tensor]:
        return {piece: -torch.expm1(missed) for piece, missed in self.missed.items() if not missed.isnan().any()}


def _mean(shares: Mapping[str, Tensor]) -> float | None:
    units = sum(len(share) for share in shares.values())
    return sum(float(share.double().sum()) for share in shares.values()) / units if units else None
