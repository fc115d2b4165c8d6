"""Where a sweep stands: how many cells are in each state, which are running, and how long the rest will take."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench import registry
from bench.cell import Cell
from bench.checkpoint import reached
from bench.leases import Leases
from bench.store import FINISHED, Record, Store

SHOWN = ("done", "running", "failed", "diverged", "skipped", "stale", "damaged", "to do")


@dataclass(frozen=True)
class Standing:
    """Where a sweep stands.

    Attributes:
        counts: number of cells in each state of ``SHOWN`` that occurs.
        lines: one for each cell of which more is known than that it is done or to do.
        seconds: what is left of all cells together, one after the other.
        longest: what is left of the cell of which most is left: no number of processes is quicker.
        unknown: number of cells left that are not in the estimate, none of their task and family being done.
    """

    counts: dict[str, int]
    lines: list[str]
    seconds: float
    longest: float
    unknown: int

    def time_left(self, jobs: int) -> str:
        """Return the estimate in words; empty if nothing is left to run.

        Args:
            jobs: cells that run at once.
        """
        parts = []
        if self.seconds:
            parts.append(f"about {_duration(max(self.seconds / jobs, self.longest))} left with {jobs} at once")
        if self.unknown:
            noun = "cell" if self.unknown == 1 else "cells"
            parts.append(f"no estimate for {self.unknown} {noun}: none of the same task and family is done")
        return "; ".join(parts)


def standing(known: Iterable[Record], store: Store, plugins: Iterable[Path]) -> Standing:
    """Return where a sweep stands.

    The time left comes from the seconds per round of done cells of the same task, tier and family of methods.
    """
    known, plugins, leases = list(known), tuple(plugins), Leases(store.unfinished)
    pace = _pace(known, plugins)
    found: Counter[str] = Counter()
    lines, left, unknown = [], [0.0], 0
    for record in known:
        cell = record.cell
        holder = None if record.state in FINISHED else leases.holder(cell.folder)
        state = "running" if holder else record.state
        found[state] += 1
        line, done = record.reason, 0
        if record.state not in FINISHED:
            done = reached(store.checkpoint(cell)).get("round", 0)
            begun = f"checkpoint after round {done}/{_rounds(cell)}" if done else ""
            line = ", ".join(words for words in (holder or record.reason, begun) if words)
            if _group(cell, plugins) in pace:
                left.append((_rounds(cell) - done) * pace[_group(cell, plugins)])
            else:
                unknown += 1
        if line:
            lines.append(f"{state}: {cell.folder}: {line}")
    counts = {state: found[state] for state in SHOWN if found[state]}
    return Standing(counts, lines, sum(left), max(left), unknown)


def _pace(known: Iterable[Record], plugins: tuple[Path, ...]) -> dict[tuple[str, ...], float]:
    """Return the mean seconds per round of done cells by group."""
    seconds: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for record in known:
        if record.state == "done":
            seconds[_group(record.cell, plugins)].append(record.facts["seconds"] / _rounds(record.cell))
    return {group: sum(values) / len(values) for group, values in seconds.items()}


def _group(cell: Cell, plugins: tuple[Path, ...]) -> tuple[str, ...]:
    kind = registry.method(cell.method, plugins).kind
    assert kind is not None
    return cell.task, cell.tier, kind.family


def _rounds(cell: Cell) -> int:
    return registry.task(cell.task).build(cell).recipe.rounds


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes == 0:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
