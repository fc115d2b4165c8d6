"""The figure of the part "clients": seconds and memory of a round by the number of clients and the cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from bench.figures.panels import finish, grid
from bench.figures.style import METHODS
from bench.figures.units import prefixed
from bench.perf.clients import USUAL
from bench.perf.lines import look, with_range

COLOUR, MARKER = METHODS["prism"]


def draw(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Return three panels: seconds and memory with ever more clients and the same cohort, seconds by the cohort."""
    figure, axes = grid(1, 3, panel=(2.5, 2.1))
    by_clients, memory, by_cohort = axes[0]
    divisor, unit = prefixed(max(row["peak_memory_bytes"] for row in rows), "B")
    rows = [{**row, "memory": row["peak_memory_bytes"] / divisor} for row in rows]
    precisions = list(dict.fromkeys(row["precision"] for row in rows))
    for precision in precisions:
        here = [row for row in rows if row["precision"] == precision]
        many = [row for row in here if row["cohort"] == USUAL.cohort]
        cohorts = [row for row in here if row["clients"] == USUAL.clients]
        style = {"color": COLOUR, "marker": MARKER, **look(precision)}
        with_range(by_clients, many, "clients", "seconds", ("seconds_min", "seconds_max"), **style)
        with_range(memory, many, "clients", "memory", ("memory", "memory"), **style)
        with_range(by_cohort, cohorts, "cohort", "seconds", ("seconds_min", "seconds_max"), **style)
    for panel in (by_clients, memory):
        panel.set(xscale="log", xlabel=f"clients (cohort of {USUAL.cohort})")
        panel.xaxis.set_minor_locator(NullLocator())
    by_clients.set_ylabel("seconds per round")
    memory.set_ylabel(f"peak memory ({unit})")
    by_cohort.set(xlabel=f"cohort (of {USUAL.clients} clients)", ylabel="seconds per round", xlim=(0, None))
    for panel in axes[0]:
        panel.set_ylim(0, 1.15 * panel.get_ylim()[1])
    entries = [Line2D([], [], label=name, color=COLOUR, marker=MARKER, **look(name)) for name in precisions]
    first = rows[0]
    note = (
        f"Stand-in data; PriSM on the CNN, {first['accelerator'] or first['processor']}, {first['cores']} cores. "
        f"Median and range of {first['repetitions']} repetitions; memory of all processes."
    )
    return finish(figure, entries, {}, "Cost of a round by the size of federation and cohort (stand-in data)", note)
