"""Where a sweep stands: how many cells are in each state, which are running, and how long the rest will take."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import revisions
from bench.cell import Cell
from bench.config.duration import in_words
from bench.plugins import registry
from bench.store.cells import FINISHED, Record, Store
from bench.store.checkpoint import reached
from bench.store.leases import Leases

SHOWN = ("done", "running", "failed", "diverged", "skipped", "stale", "damaged", "to do")
UNTIMED = ("rounds", "lr", "lr_end", "momentum", "weight_decay", "clip_norm")
"""Settings of a training that change the time of no round."""
Group = tuple[str, ...]


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

    @property
    def again(self) -> str:
        """What the next sweep runs again, in words; empty where it is nothing."""
        ways = {"failed": " (--leave-failed leaves them)", "stale": " (--stale keep leaves them)", "damaged": ""}
        parts = [f"{self.counts[state]} {state}{way}" for state, way in ways.items() if state in self.counts]
        return f"the next sweep runs again: {', '.join(parts)}" if parts else ""

    def time_left(self, jobs: int) -> str:
        """Return the estimate in words; empty if nothing is left to run.

        Args:
            jobs: cells that run at once.
        """
        parts = []
        if self.seconds:
            parts.append(f"about {in_words(max(self.seconds / jobs, self.longest))} left with {jobs} at once")
        if self.unknown:
            noun = "cell" if self.unknown == 1 else "cells"
            parts.append(f"no estimate for {self.unknown} {noun}: none of the same task and family is done")
        return "; ".join(parts)


def standing(known: Iterable[Record], store: Store, plugins: Iterable[Path], any_family: bool = False) -> Standing:
    """Return where a sweep stands.

    The time left comes from the seconds per round of done cells that are as much alike as there are any, see
    :func:`_groups`.

    Args:
        known: what is known of its cells.
        store: where its results are.
        plugins: files of methods and tasks the user named.
        any_family: whether cells of another family are taken where none of the same is done.
    """
    known, plugins = list(known), tuple(plugins)
    families, tasks = _families({record.cell.method for record in known}, plugins), registry.tasks(plugins)
    pace = _pace(known, families, tasks, any_family)
    begun, leases = {path.name for path in store.unfinished.glob("[!.]*")}, Leases(store.unfinished)
    found: Counter[str] = Counter()
    lines, left, unknown = [], [0.0], 0
    for record in known:
        cell, state, line = record.cell, record.state, record.reason
        if record.state not in FINISHED:
            rounds, done = _rounds(cell, tasks), 0
            if cell.folder in begun:
                state, line, done = _begun(record, rounds, store, leases)
            seconds = next((pace[group] for group in _groups(cell, families, any_family) if group in pace), None)
            if seconds is None:
                unknown += 1
            else:
                left.append((rounds - done) * seconds)
        found[state] += 1
        if line:
            lines.append(f"{state}: {cell.folder}: {line}")
    counts = {state: found[state] for state in SHOWN if found[state]}
    return Standing(counts, [*lines, *_otherwise_made(known)], sum(left), max(left), unknown)


def _begun(record: Record, rounds: int, store: Store, leases: Leases) -> tuple[str, str, int]:
    """Return state, words and rounds done of a cell that has begun: who runs it, and where its checkpoint is."""
    holder = leases.holder(record.cell.folder)
    done = int(reached(store.checkpoint(record.cell)).get("round", 0))
    checkpoint = f"checkpoint after round {done}/{rounds}" if done else ""
    line = ", ".join(words for words in (holder or record.reason, checkpoint) if words)
    return "running" if holder else record.state, line, done


def _otherwise_made(known: Iterable[Record]) -> Iterator[str]:
    """Yield a line each on finished cells that other code made, or that were measured in another way."""
    finished = [record for record in known if record.state in FINISHED]
    other = sum(not record.same_code for record in finished)
    if other:
        yield (
            f"{other} {'was' if other == 1 else 'were'} made by other code of the same revisions, which stands for the "
            "same numbers: 'make test' says whether it does"
        )
    older = sum(record.facts.get("measures") != revisions.MEASURES for record in finished)
    if older:
        yield (
            f"{older} {'was' if older == 1 else 'were'} measured under another revision than {revisions.MEASURES}: "
            "their costs and diagnostics are not to be compared with those of newer cells (docs/revisions.md)"
        )


def _families(methods: Iterable[str], plugins: tuple[Path, ...]) -> dict[str, str]:
    kinds = {name: registry.method(name, plugins).kind for name in methods}
    return {name: kind.family for name, kind in kinds.items() if kind is not None}


def _pace(
    known: Iterable[Record], families: Mapping[str, str], tasks: Mapping[str, registry.TaskEntry], any_family: bool
) -> dict[Group, float]:
    """Return the mean seconds per round of done cells by group."""
    seconds: dict[Group, list[float]] = defaultdict(list)
    for record in known:
        if record.state == "done":
            each = record.facts["seconds"] / _rounds(record.cell, tasks)
            for group in _groups(record.cell, families, any_family):
                seconds[group].append(each)
    return {group: sum(values) / len(values) for group, values in seconds.items()}


def _groups(cell: Cell, families: Mapping[str, str], any_family: bool) -> Iterator[Group]:
    """Yield groups of cells whose rounds take alike long, the closest first.

    Cells of the same task, tier and family of methods; among them those whose other settings change no round's time;
    among them those of the same keep ratios; and among them those of the same method. Last, if asked for, cells of the
    same task, tier and such settings, whatever the family.
    """
    alike = cell.task, cell.tier, families[cell.method]
    timed = {name: value for name, value in cell.training.items() if name not in UNTIMED}
    settings = repr(timed), repr(cell.model), cell.diagnostics
    # Drawn anew each round or not: the clients of a round have the same keep ratios on average.
    keeps = str(cell.keep), cell.mixture
    yield (*alike, *settings, *keeps, cell.method)
    yield (*alike, *settings, *keeps)
    yield (*alike, *settings)
    yield alike
    if any_family:
        yield (cell.task, cell.tier, *settings)


def _rounds(cell: Cell, tasks: Mapping[str, registry.TaskEntry]) -> int:
    return int(cell.training.get("rounds", tasks[cell.task].kind.tiers[cell.tier].rounds))
