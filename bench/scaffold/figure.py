"""Sketch: the final accuracy of every run, a row for each label and a dot for each seed.

Say here what the figure shows and how it is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.figure_spec import FigureSpec, Options, Skip

if TYPE_CHECKING:  # what draws is imported where it draws: processes that train read this file too
    import pandas as pd
    from matplotlib.figure import Figure


def draw(tables: dict[str, pd.DataFrame], options: Options) -> list[tuple[str, Figure]]:
    """Return (suffix of the file name, figure) for each task; what data it rests on is written above by the harness."""
    from bench.figures.base import by_task

    finished = tables["cells"].dropna(subset="final_acc")
    if finished.empty:
        raise Skip("no cell has a final accuracy")
    return [(suffix, _figure(task, rows)) for suffix, task, rows in by_task(finished)]


def _figure(task: str, rows: pd.DataFrame) -> Figure:
    from bench.figures.panels import grid
    from bench.figures.style import series_styles

    figure, axes = grid(1, 1)
    for label, style in series_styles(rows).items():
        accuracies = 100 * rows.loc[rows["label"] == label, "final_acc"]
        axes[0, 0].plot(accuracies, [label] * len(accuracies), color=style.colour, marker=style.marker, linestyle="")
    axes[0, 0].set_xlabel("final accuracy (%)")
    figure.suptitle(f"Every run: {task}")
    return figure


SPEC = FigureSpec("sketch", "final accuracy of every run, a dot for each seed", ("cells",), draw)
