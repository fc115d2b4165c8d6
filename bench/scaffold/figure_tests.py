"""The figure sketch has a dot for each seed, and is drawn with the data that it rests on above it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bench.figures import Options, draw_all
from bench.report.figures import figures_with

PLUGIN = Path(__file__).resolve().parents[1] / "figures" / "sketch.py"
CELLS = pd.DataFrame(
    {
        "cell": ["a", "b"],
        "task": "cnn-femnist",
        "label": "prism",
        "method": "prism",
        "keep": 0.5,
        "partition": "iid",
        "alpha": None,
        "seed": [0, 1],
        "data_title": "FEMNIST-like stand-in data",
        "stand_in": True,
        "status": "done",
        "final_acc": [0.25, 0.5],
    }
)


def test_every_seed_is_a_dot() -> None:
    [(suffix, figure)] = figures_with([PLUGIN])["sketch"].draw({"cells": CELLS}, Options())
    [line] = figure.axes[0].get_lines()
    assert suffix == "cnn-femnist" and np.asarray(line.get_xdata()).tolist() == [25, 50]


def test_it_is_drawn_from_the_tables_of_a_sweep(tmp_path: Path) -> None:
    tables = {"cells": CELLS, "rounds": CELLS.assign(round=5)}
    written = draw_all(tables, tmp_path, ["sketch"], known=figures_with([PLUGIN]))
    assert [path.name for path in written] == ["sketch-cnn-femnist.png", "sketch-cnn-femnist.pdf"]
