"""Count what a client of each built-in method takes anew: writes ``bench/budget/shares.csv``."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator

from bench.budget.fitting import Counted, Scale
from bench.budget.shares import FILE, KEEP, QUANTITIES, TASK, TIER
from bench.cell import Cell
from bench.plugins import registry


def counted(names: Iterable[str]) -> Iterator[dict[str, str]]:
    """Yield a row for each method: its name, and its client's shares of the full model's costs."""
    scale = Scale(registry.task(TASK).build(Cell(TASK, "fedavg", tier=TIER)))
    for name in names:
        entry = registry.method(name)
        taken = Counted(lambda entry=entry, name=name: entry.build(Cell(TASK, name, tier=TIER)), scale).at(KEEP)
        yield {"method": name} | {of: f"{taken.of(of) / scale.full.of(of):.2f}" for of in QUANTITIES}


def main() -> None:
    names = sorted(name for name, entry in registry.methods().items() if entry.kind is not None)
    with FILE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["method", *QUANTITIES], lineterminator="\n")
        writer.writeheader()
        for row in counted(names):
            print(row, flush=True)
            writer.writerow(row)


if __name__ == "__main__":
    sys.exit(main())
