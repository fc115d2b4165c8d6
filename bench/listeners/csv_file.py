"""A CSV file for each cell, a line a round, for spreadsheets and ``tail -f``."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.cell import Cell
from bench.listeners.base import place


class CsvFiles:
    """Writes ``log/csv/CELL.csv``; a round that is run again takes the place of its first line and of all after it."""

    def __init__(self, folder: Path) -> None:
        self.folder = place(folder, "csv")
        self.known: set[str] = set()

    def round(self, cell: Cell, row: Mapping[str, Any]) -> None:
        path = self.folder / f"{cell.folder}.csv"
        kept = _before(path, row) if cell.folder not in self.known else None
        self.known.add(cell.folder)
        with path.open("a" if kept is None else "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row))
            if kept is not None:
                writer.writeheader()
                writer.writerows(kept)
            writer.writerow(row)

    def ended(self, cell: Cell, status: str, reason: str) -> None:
        """Forget the cell: where it is run again, its file is looked at again."""
        self.known.discard(cell.folder)

    def close(self) -> None:
        """Nothing is held back."""


def _before(path: Path, row: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the lines of a file that are of earlier rounds than ``row``; none where it has other columns."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames is None or list(reader.fieldnames) != list(row):
            return []
        return [line for line in reader if line["round"].isdigit() and int(line["round"]) < row["round"]]
