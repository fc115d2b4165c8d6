"""A user's own results, and behind them those of a sweep, which are read and never written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from bench.cell import Cell
from bench.store.cells import Record, Store
from bench.store.made import Made


class Beside(Store):
    """Results of one's own that fall back on those of a sweep where they lack a cell.

    Args:
        folder: where cells, tables and figures of one's own go.
        behind: the results of the sweep.
    """

    def __init__(self, folder: Path, behind: Store) -> None:
        super().__init__(folder)
        self.behind = behind

    def record(self, cell: Cell, made: Made, data: str | None) -> Record:
        """Return what is known of a cell, from here where it is, else from the sweep's results."""
        own = super().record(cell, made, data)
        return own if own.state != "to do" else self.behind.record(cell, made, data)

    def table(self, record: Record, name: str) -> pa.Table:
        """Return a table of a cell from where :meth:`record` has found it."""
        return super().table(record, name) if self._is_here(record) else self.behind.table(record, name)

    def environment(self, record: Record) -> Mapping[str, Any]:
        """Return what a cell was made with from where :meth:`record` has found it."""
        return super().environment(record) if self._is_here(record) else self.behind.environment(record)

    def _is_here(self, record: Record) -> bool:
        return self.path(record.cell).exists()
