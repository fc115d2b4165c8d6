"""Tables of cells for the tests of statistics over many settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd


def series(label: str, accs: Sequence[float | None] | Mapping[int, float | None], **changes: Any) -> pd.DataFrame:
    """Return the cells of one series, by seed; one with the accuracy None has diverged."""
    by_seed = accs if isinstance(accs, Mapping) else dict(enumerate(accs))
    about: dict[str, Any] = {
        "task": "cnn-femnist",
        "method": label.partition(" (")[0].partition(",")[0],
        "label": label,
        "keep": 0.2,
        "partition": "natural",
        "alpha": math.nan,
        "data_title": "FEMNIST",
        "stand_in": False,
        "classes": 10,
        "last_acc": 0.05,
        **changes,
    }
    name = "-".join(
        str(about[one]) for one in ("task", "label", "keep", "partition", "alpha", "data_title", "stand_in")
    )
    rows = [
        {
            **about,
            "cell": f"{name}-{seed}",
            "seed": seed,
            "status": changes.get("status", "diverged" if acc is None else "done"),
            "final_acc": math.nan if acc is None else acc,
        }
        for seed, acc in by_seed.items()
    ]
    return pd.DataFrame(rows)


def joined(*parts: pd.DataFrame) -> pd.DataFrame:
    """Return the series as one table, as it is stored: words as categories."""
    words = ("cell", "task", "method", "label", "partition", "data_title", "status")
    return pd.concat(parts, ignore_index=True).astype(dict.fromkeys(words, "category"))


def grid(accs: npt.NDArray[np.float64], tasks: Sequence[int] | None = None, labels: str = "abcdefghij") -> pd.DataFrame:
    """Return cells of accuracies with the axes setting, label and seed; a setting is an alpha of one of the tasks."""
    of_task = tasks or [0] * len(accs)
    return joined(
        *(
            series(labels[label], list(values), task=f"task{of_task[number]}", partition="lda", alpha=float(number + 1))
            for number, setting in enumerate(accs)
            for label, values in enumerate(setting)
        )
    )
