"""Numbers that pages show, and the same computed again from the committed tables, without the benchmark's analysis."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

ROOT = Path(__file__).resolve().parents[2]
NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e-?\d+)?(?![\w])")
CELL = ["cell", "task", "method", "label", "keep", "capacities", "partition", "alpha", "seed", "status"]
FULL = "fedavg, full model"
NAMED = re.compile(r"`([^`]+)`")
LAST = 3  # evaluations that the headline averages


@dataclass(frozen=True)
class PageTable:
    """A Markdown table.

    Attributes:
        above: the last lines of text before it, as one line.
        section: all text from the heading on to the table.
        head: words of its columns.
        rows: words of its cells.
    """

    above: str
    section: str
    head: list[str]
    rows: list[list[str]]


def page_text(page: str) -> str:
    """Return a page's text with plain minus signs."""
    return (ROOT / page).read_text(encoding="utf-8").replace("\N{MINUS SIGN}", "-")


def page_tables(page: str) -> list[PageTable]:
    """Return the Markdown tables of a page in order."""
    found, text, block = [], [], list[str]()
    for line in [*page_text(page).splitlines(), ""]:
        if line.startswith("|"):
            block.append(line)
            continue
        if block:
            cells = [[cell.strip() for cell in row.strip().strip("|").split("|")] for row in block]
            section = "\n".join(text)
            above = section.rsplit("\n## ", 1)[-1].strip().rsplit("\n\n", 1)[-1].replace("\n", " ")
            found.append(PageTable(above, section.rsplit("\n## ", 1)[-1], cells[0], cells[2:]))
            block = []
        text.append(line)
    return found


def shown(words: str) -> list[str]:
    """Return the numbers in words, as they are written."""
    return NUMBER.findall(words.replace("**", ""))


def agree(words: str, values: Sequence[float]) -> bool:
    """Return whether words show exactly these numbers, each rounded to the digits that are shown."""
    numbers = shown(words)
    return len(numbers) == len(values) and all(map(rounds_to, numbers, values))


def rounds_to(number: str, value: float) -> bool:
    """Return whether a number as it is written is ``value`` rounded."""
    plain = number.replace(",", "").lstrip("+")
    mantissa, _, exponent = plain.partition("e")
    step = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return bool(abs(float(plain) - value) <= 0.5 * step * (1 + 1e-6))


@functools.cache
def table(sweep: str, name: str) -> pd.DataFrame:
    """Return a committed table; columns that older ones lack are added."""
    folder = ROOT / "results" / sweep
    place = folder / "tables" / f"{name}.parquet"
    frame = pd.read_parquet(place if place.exists() else folder / f"{name}.parquet")
    words = [column for column in frame if isinstance(frame[column].dtype, pd.CategoricalDtype)]
    frame = frame.astype(dict.fromkeys(words, str))
    return frame if "capacities" in frame or "cell" not in frame else frame.assign(capacities="")


@functools.cache
def finals(sweep: str) -> pd.DataFrame:
    """Return the cells of a sweep with ``acc`` (percent: mean of the last evaluations) and the costs of the run."""
    rounds = table(sweep, "rounds").sort_values(["cell", "round"])
    cells = rounds.drop_duplicates("cell")[CELL].set_index("cell")
    evaluated = rounds[(rounds["round"] > 0) & rounds["test_acc"].notna()]
    last = evaluated[evaluated.groupby("cell").cumcount(ascending=False) < LAST]
    cells["acc"] = 100 * last.groupby("cell")["test_acc"].mean()
    cells.loc[cells["status"] == "diverged", "acc"] = np.nan
    cells["bytes"] = (rounds["down_bytes"] + rounds["up_bytes"]).groupby(rounds["cell"]).sum()
    for name in ("forward_macs", "train_macs"):
        if name in rounds:
            cells[name] = rounds.groupby("cell")[name].sum()
    return cells.reset_index()


def chosen(sweep: str, **values: object) -> pd.DataFrame:
    """Return the cells of a sweep that have these values, by seed; a full model counts at every keep ratio."""
    cells = finals(sweep)
    for name, value in values.items():
        cells = cells[cells[name] == value]
    assert len(cells) and cells["seed"].is_unique, (sweep, values, len(cells))
    return cells.sort_values("seed").set_index("seed", drop=False)


def half_width(values: pd.Series[float]) -> float:
    """Return half the width of the 95 % t-interval of the mean."""
    return float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def headline(cells: pd.DataFrame) -> list[float]:
    """Return the numbers that a page shows of the seeds of one series: see the pages' own words.

    The mean and half the interval of three seeds or more; of two, or where some diverged, the mean, how many seeds it
    has and how many diverged; the mean alone of a single seed; how many diverged where all did.
    """
    done, diverged = cells["acc"].dropna(), int((cells["status"] == "diverged").sum())
    if done.empty:
        return [float(diverged)]
    if len(done) >= 3:
        return [float(done.mean()), half_width(done)]
    return [float(done.mean())] + ([float(len(done)), float(diverged)] if len(cells) > 1 else [])


def paired(cells: pd.DataFrame, others: pd.DataFrame) -> pd.Series[float]:
    """Return the differences of accuracies seed by seed, in points."""
    return (cells["acc"] - others["acc"]).dropna()


def over_layers(sweep: str, label: str, column: str, round_number: int, per: str | None = None) -> float:
    """Return the plain mean over layers of a measure in a round, as a share of another column where one is named."""
    ranks = table(sweep, "ranks")
    rows = ranks[(ranks["label"] == label) & (ranks["round"] == round_number)]
    return float((rows[column] / rows[per] if per else rows[column]).mean())


def over_rounds(values: pd.Series[float]) -> float:
    """Return the mean of values by round, each weighed by the rounds since the measurement before it."""
    numbers = values.index.to_numpy(float)
    return float(np.average(values, weights=np.diff(np.r_[0.0, numbers])))


def check(found: PageTable, expected: Callable[[str, str], list[float] | None], where: str) -> int:
    """Compare each cell with what is expected of its row and column; None where no number belongs."""
    count = 0
    for row in found.rows:
        for column, words in zip(found.head[1:], row[1:], strict=True):
            values = expected(row[0], column)
            assert agree(words, values or []), f"{where}: {row[0]} / {column}: shown {words!r}, computed {values}"
            count += len(values or [])
    return count


def only(page: str, **of: str) -> PageTable:
    """Return the one table of a page whose first column's head, or the text above, begins so."""
    found = [
        one
        for one in page_tables(page)
        if one.above.startswith(of.get("above", "")) and one.head[0].startswith(of.get("head", ""))
    ]
    assert len(found) == 1, (page, of, len(found))
    return found[0]
