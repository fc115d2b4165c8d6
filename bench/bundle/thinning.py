"""Tables by layer at fewer rounds: they have a row for each layer, and so are most of a bundle."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

LAYERS = "ranks"
"""The table that has a row for each layer of an evaluated round."""


def thinned(table: pa.Table, every: int) -> pa.Table:
    """Return the rows of every so manieth evaluated round, of the first and of the last one."""
    rounds = pc.unique(table.column("round")).sort()
    kept = [number for place, number in enumerate(rounds.to_pylist()) if place % every == 0 or place == len(rounds) - 1]
    return table.filter(pc.is_in(table.column("round"), pa.array(kept, rounds.type)))
