"""How the cells ended: nothing is left out of a report without being counted."""

from __future__ import annotations

from collections import Counter, defaultdict

from bench.analysis.outcomes import USABLE, outcomes
from bench.analysis.profiles import split_label
from bench.errors import several
from bench.report.known import KnownCell
from bench.report.page.compute import Numbers
from bench.report.page.grid import Column, Entry, Grid, Row
from bench.report.page.series import Index
from bench.report.source import Source

STATES = ("done", "diverged", "skipped", "failed", "to do", "running", "stale", "damaged")
MISSING = "missing"


def outcome_grid(numbers: Numbers) -> Grid:
    """Return a row for each label: how many of its cells ended in which way, and how many are not there."""
    by_label: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for cell in numbers.source.known:
        by_label[split_label(cell.label, cell.method)[0], cell.method][cell.state] += 1
    absent = missing(numbers)
    found = [state for state in STATES if any(counts[state] for counts in by_label.values())]
    columns = (
        Column("Label"), Column("Cells", numeric=True), *(Column(state, numeric=True) for state in found),
        Column(MISSING, numeric=True, hint="that others have at the same setting and seed"),
    )  # fmt: skip
    rows = []
    for (label, method), counts in sorted(by_label.items()):
        ended = [_count(counts[state], bad=state != "done") for state in found]
        about = Entry(label, label, swatch=numbers.look(label, method).colour)
        entries = (about, Entry(str(counts.total()), float(counts.total())), *ended, _count(absent[label], bad=True))
        rows.append(Row(entries, {"method": method}))
    caption = (
        "How the cells of each label ended. Missing: nothing is known of a cell of this label, at a setting and a seed "
        "that some other label has."
    )
    return Grid("outcomes-table", caption, columns, tuple(rows), {"method": "Method"})


def _count(number: int, bad: bool) -> Entry:
    return Entry(str(number) if number else "–", float(number), mark=("bad" if bad else "") if number else "quiet")


def missing(numbers: Numbers) -> Counter[str]:
    """Return how many cells of each label nothing is known of, those of a full model once for each place."""
    ended = outcomes(numbers.cells, by=["place", "seed"])
    whole = numbers.cells.groupby("label")["whole"].all()
    absent = ended["missing"].mask(ended["label"].map(whole), ended["missing"].clip(upper=1))
    counts = Counter({str(label): int(number) for label, number in absent.groupby(ended["label"]).sum().items()})
    unfinished = Counter(
        split_label(cell.label, cell.method)[0] for cell in numbers.source.known if cell.state not in USABLE
    )
    return counts - unfinished


def troubles(source: Source) -> list[tuple[str, list[KnownCell]]]:
    """Return (what went wrong, the cells) for each state and reason other than done."""
    groups: dict[str, list[KnownCell]] = defaultdict(list)
    for cell in source.known:
        if cell.state != "done":
            groups[f"{cell.state}: {cell.reason}" if cell.reason else cell.state].append(cell)
    return sorted(groups.items(), key=lambda group: -len(group[1]))


def cells_by_label(source: Source, index: Index) -> list[tuple[str, Grid]]:
    """Return (heading, table) for each label: its cells by series, with their identities."""
    finals = source.cells.set_index("cell")["final_acc"]
    states = {cell.name: cell for cell in source.known}
    columns = (
        Column("Series"), Column("Place"), Column("Seed", numeric=True), Column("State"),
        Column("Accuracy, %", numeric=True), Column("Identity"), Column("Cell"),
    )  # fmt: skip
    parts = []
    for name in dict.fromkeys(series.name for series in index.all()):
        rows = []
        for series in index.of_label(name):
            for number, cell in enumerate(series.cells):
                known, final = states.get(cell), float(finals[cell])
                rows.append(
                    Row(
                        (
                            Entry(series.word, float(series.number)),
                            Entry(series.place, series.place),
                            Entry(str(known.seed) if known else "", float(known.seed) if known else None),
                            Entry(known.state if known else "", known.state if known else ""),
                            Entry("–" if final != final else f"{100 * final:.2f}", final),
                            Entry(cell.rsplit("-", 1)[-1]),
                            Entry(cell),
                        ),
                        id=series.id if number == 0 else "",
                    )
                )
        caption = f"Cells of {name}: every number of the page that is of it is made from these alone."
        grid = Grid(f"cells-{index.of_label(name)[0].number}", caption, columns, tuple(rows), sortable=False)
        parts.append((f"{name} ({several(len(rows), 'cell')})", grid))
    return parts
