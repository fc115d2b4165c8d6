"""What explains a method's draws: their laws, what they cover, and the errors that follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from bench.api.values import Measures, Selection, Server, Update
    from bench.spectral.designs import Design


class Draws:
    """What the harness records of draws, where a method knows it. Nothing of it changes a run."""

    def designs(self, server: Server, selections: Sequence[Selection]) -> dict[str, list[Design]]:
        """Return for each piece of the model how each client's units were drawn; empty where that is not known.

        The harness records the diversity of the draws and the coverage to be expected from them.
        """
        return {}

    def coverage(self, server: Server, selection: Selection) -> dict[str, tuple[Tensor, int]]:
        """Return for each piece of the model the units this selection trains and how many units the piece has.

        The harness unites them over clients and rounds into the coverage it records. Empty: nothing to cover.
        """
        return {}

    def expected_errors(self, server: Server, selections: Sequence[Selection]) -> Measures:
        """Return by piece what follows from the laws of the draws before training, by column name; empty: nothing."""
        return {}

    def errors(self, server: Server, selections: Sequence[Selection], updates: Sequence[Update]) -> Measures:
        """Return by piece what is measured once the updates are there, by column name; empty: nothing.

        Args:
            server: as :meth:`select` got it; its model may have been changed in place by :meth:`aggregate`.
            selections: the parts the clients got.
            updates: what they sent back.
        """
        return {}
