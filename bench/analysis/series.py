"""The columns that name a cell, and the columns that name a series: the cells that differ in their seed only."""

from __future__ import annotations

import pandas as pd

from bench.errors import BenchError

SERIES = ["task", "label", "method", "keep", "partition", "alpha", "data_title", "stand_in"]
CELL = ["cell", *SERIES, "seed", "status"]


def distinct_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per cell of ``table``, with the columns ``CELL``.

    Raises:
        BenchError: the table lacks one of these columns, or two cells share the series and the seed. Their mean would
            mix two experiments, and an interval over them would treat one seed as two.
    """
    lacking = [name for name in CELL if name not in table]
    if lacking:
        raise BenchError(
            f"the table has no column {lacking[0]!r}, which names cells in this version; allowed: tables with "
            f"{', '.join(CELL)}: 'python -m bench results upgrade FOLDER' brings earlier ones there"
        )
    cells = table.drop_duplicates("cell")[CELL].reset_index(drop=True)
    twins = cells[cells.duplicated([*SERIES, "seed"], keep=False)]
    if len(twins):
        first, second = twins.sort_values([*SERIES, "seed", "cell"]).iloc[:2].to_dict("records")
        raise BenchError(
            f"cells {first['cell']!r} and {second['cell']!r} are both {first['label']!r} at keep ratio "
            f"{first['keep']:g} with seed {first['seed']}: allowed is one cell per label, keep ratio, partition, "
            "data and seed, so give the two different labels or leave one out"
        )
    return cells
