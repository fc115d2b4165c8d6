"""The bundles of a folder of results: cells that others finished, below those that were finished here."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cell import Cell
from bench.errors import BenchError
from bench.store.difference import Result, difference, of_making

if TYPE_CHECKING:  # not read where there is none
    from bench.store.bundle import Bundle

PATTERN = "[!.]*.bench"


class Claims:
    """What the bundles of a folder say, each read once and only when a cell is asked for.

    Args:
        folder: the folder of results in which the bundles lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def bundles(self) -> dict[str, Bundle]:
        """The bundles by their names, in the order of these.

        Raises:
            BenchError: one of them cannot be used, see :class:`bench.store.bundle.Bundle`.
        """
        paths = sorted(path for path in self.folder.glob(PATTERN) if path.is_file())
        if not paths:
            return {}
        from bench.store.bundle import Bundle

        return {path.name: Bundle(path) for path in paths}

    def of(self, cell: Cell) -> list[Bundle]:
        """Return the bundles that hold a cell, one of those that say the same.

        Raises:
            BenchError: two of them say that it came from the same revisions and data, and give other numbers.
        """
        return self._holders.get(cell.identity, [])

    @cached_property
    def _holders(self) -> dict[str, list[Bundle]]:
        holders: dict[str, list[Bundle]] = defaultdict(list)
        for bundle in self.bundles.values():
            for identity, claim in bundle.claims.items():
                if not any(_same(claim.cell, known, bundle) for known in holders[identity]):
                    holders[identity].append(bundle)
        return dict(holders)


def _same(cell: Cell, known: Bundle, other: Bundle) -> bool:
    """Return whether two bundles say the same of a cell; False where they speak of other revisions or data."""
    first, second = (_result(bundle, cell) for bundle in (known, other))
    if of_making(first.facts, second.facts):
        return False
    words = difference(first, second)
    if words:
        raise BenchError(
            f"{known.path} and {other.path} disagree on the cell {cell.folder}: {words}; move one of them elsewhere"
        )
    return True


def _result(bundle: Bundle, cell: Cell) -> Result:
    return Result(bundle.claims[cell.identity].facts, lambda name: bundle.table(cell, name))
