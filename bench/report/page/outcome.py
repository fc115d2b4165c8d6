"""How the cells ended: nothing is left out of a report without being counted."""

from __future__ import annotations

from collections import Counter, defaultdict

from bench.errors import several
from bench.report.known import KnownCell
from bench.report.page.grid import Column, Entry, Grid, Row
from bench.report.page.series import Index, colour_of
from bench.report.source import Source

STATES = ("done", "diverged", "skipped", "failed", "to do", "running", "stale", "damaged")


def outcome_grid(source: Source) -> Grid:
    """Return a row for each label: how many of its cells ended in which way."""
    by_label: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for cell in source.known:
        by_label[cell.label, cell.method][cell.state] += 1
    found = [state for state in STATES if any(counts[state] for counts in by_label.values())]
    columns = [Column("Label"), Column("Cells", numeric=True), *(Column(state, numeric=True) for state in found)]
    rows = tuple(
        Row(
            (
                Entry(label, label, swatch=colour_of(method)),
                Entry(str(counts.total()), float(counts.total())),
                *(
                    Entry(
                        str(counts[state]) if counts[state] else "–",
                        float(counts[state]),
                        mark="bad" if counts[state] and state != "done" else "" if counts[state] else "quiet",
                    )
                    for state in found
                ),
            ),
            {"method": method},
        )
        for (label, method), counts in sorted(by_label.items())
    )
    return Grid("outcomes-table", "How the cells of each label ended.", tuple(columns), rows, {"method": "Method"})


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
