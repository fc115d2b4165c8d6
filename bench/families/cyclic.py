"""Cyclic draws: each unit is trained once before any is trained again.

The units of a piece (channels of a group, kernels of a layer) are shuffled once and dealt from the top, client after
client and round after round; when none is left they are shuffled anew. This is the coverage guarantee of FedEcover
(ICDE 2025), by the rule of its released code, with one buffer for each piece, kept by the server: after ``ceil(R / r)``
clients with r of R units each, all have been trained.

Each permutation is as likely as any other, and units are exchangeable, so that a client's set is as likely as any other
of its size, *over the permutations*: its inclusion probabilities are r / R, as in independent draws. Given what is left
in the buffer they are not, and the sets of two clients depend on each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bench.api import Selection, Update

CYCLE = "cycle/"
"""In the server's memory and in what was drawn for a client: the units of a piece that are left, in their order."""


class Cycle:
    """The buffers of all pieces during the selection of one round.

    Args:
        memory: the server's, which is not changed.
        rng: what new permutations are drawn from.
    """

    def __init__(self, memory: Mapping[str, Tensor], rng: np.random.Generator) -> None:
        self._rng = rng
        self._left = {
            name.removeprefix(CYCLE): tensor.cpu().numpy() for name, tensor in memory.items() if name.startswith(CYCLE)
        }

    def draw(self, piece: str, units: int, size: int) -> np.ndarray:
        """Return the next ``size`` of a piece's ``units`` units, ascending int64.

        Where fewer are left, the client gets these and the first of a new permutation that it has not got; of that one,
        those that it has got stay for the next.
        """
        left = self._left.get(piece, np.empty(0, np.int64))
        taken = left[:size]
        if len(taken) < size:
            order = self._rng.permutation(units)
            fresh = order[~np.isin(order, taken)][: size - len(taken)]
            left, taken = order[~np.isin(order, fresh)], np.concatenate([taken, fresh])
        else:
            left = left[size:]
        self._left[piece] = left
        return np.sort(taken)

    def noted(self, selections: Sequence[Selection]) -> list[Selection]:
        """Return the round's selections with what is left after them, which the server has to remember."""
        left = {f"{CYCLE}{piece}": torch.from_numpy(units.copy()) for piece, units in self._left.items()}
        return [replace(selection, draws={**selection.draws, **left}) for selection in selections]


def remembered(updates: Iterable[Update], memory: dict[str, Tensor]) -> Iterator[Update]:
    """Pass a round's updates on, and put what is left after its draws into ``memory``."""
    for update in updates:
        memory.update({name: left for name, left in update.selection.draws.items() if name.startswith(CYCLE)})
        yield update
