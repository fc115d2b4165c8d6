"""The table of a comparison: who is compared with whom on which scale, as data, and as files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import torch

from bench.analysis.paired import versus
from bench.analysis.tables import markdown
from bench.cell import Cell
from bench.comparison.plan import Plan, setting_of
from bench.errors import StorageError
from bench.figures.files import in_words
from bench.files import write_whole
from bench.plugins import registry
from bench.store.table_files import write_table

NAME = "compare"
WORDS = ("setting", "task", "partition", "data_title", "model", "label", "method", "capacities")
OTHERS = ("other", "other_method", "other_capacities", "verdict")
NUMBERS = ("alpha", "keep", "other_keep", "acc", "other_acc", "difference", "low", "high", "std")
COUNTS = ("rounds", "pairs", "seeds", "other_seeds", "common", "diverged", "other_diverged")
ORDER = (
    *("task", "partition", "alpha", "data_title", "stand_in", "model", "rounds"),
    *("label", "method", "keep", "capacities", "other", "other_method", "other_keep", "other_capacities"),
    *("acc", "other_acc", "difference", "low", "high", "by_seed", "std", "pairs", "verdict"),
    *("seeds", "other_seeds", "common", "diverged", "other_diverged", "setting"),
)
"""The columns: where, who against whom, the difference as :func:`bench.analysis.paired.versus` has it, and counts."""
READ = (
    *("task", "partition", "alpha", "label", "keep", "capacities", "other", "acc", "other_acc"),
    *("difference", "low", "high", "by_seed", "pairs", "verdict", "diverged", "other_diverged"),
)
"""Those that are shown to readers of Markdown."""


def table_of(plan: Plan, cells: pd.DataFrame) -> pd.DataFrame:
    """Return the paired table of a comparison, a row for each other series that the method meets.

    Args:
        plan: what is compared.
        cells: the table of cells of both sides.
    """
    of_plan = {cell.folder: cell for cell in plan.sweep.cells}
    own = {cell.folder for cell in plan.mine}
    shown = [of_plan[name] for name in cells["cell"].astype(str)]
    rows = versus(
        cells.assign(
            setting=[setting_of(cell) for cell in shown],
            own=[cell.folder in own for cell in shown],
            whole=[plan.is_whole(cell) for cell in shown],
        )
    )
    scales = {
        setting_of(cell): _scale(cell, plan.plugins) for cell in {setting_of(cell): cell for cell in shown}.values()
    }
    rows["model"] = [scales[setting][0] for setting in rows["setting"]]
    rows["rounds"] = [scales[setting][1] for setting in rows["setting"]]
    return rows[list(ORDER)]


def _scale(cell: Cell, plugins: Iterable[Path]) -> tuple[str, int]:
    """Return a setting's full model in words, and its number of rounds."""
    task = registry.task(cell.task, plugins).build(cell)
    with torch.device("meta"):
        model = task.model()
    return (
        f"{type(model).__name__} of {sum(one.numel() for one in model.parameters()):,} parameters",
        task.recipe.rounds,
    )


def write(table: pd.DataFrame, lines: Iterable[str], folder: Path) -> None:
    """Write the table as parquet, CSV and Markdown, the latter below what a reader has to know.

    Raises:
        StorageError: the folder cannot be written.
    """
    fields: Mapping[str, pa.DataType] = {
        **dict.fromkeys((*WORDS, *OTHERS), pa.string()),
        **dict.fromkeys(NUMBERS, pa.float64()),
        **dict.fromkeys(COUNTS, pa.int64()),
        "stand_in": pa.bool_(),
        "by_seed": pa.list_(pa.float64()),
    }
    schema = pa.schema([pa.field(name, fields[name]) for name in ORDER])
    write_table(folder / f"{NAME}.parquet", pa.Table.from_pandas(table, schema, preserve_index=False))
    plain = table.assign(by_seed=table["by_seed"].map(in_words))
    head = "".join(f"- {line}\n" for line in lines)
    for kind, text in (
        ("csv", plain.to_csv(index=False)),
        ("md", f"{head}\n{markdown(plain[list(READ)])}".lstrip()),
    ):
        place = folder / f"{NAME}.{kind}"
        try:
            write_whole(place, text.encode())
        except OSError as error:
            raise StorageError(f"{place}: the table cannot be written: {error.strerror or error}") from None
