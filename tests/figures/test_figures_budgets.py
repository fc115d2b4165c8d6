"""Figures of budgets: quantities in their order, and methods that learnt nothing do not squeeze the others together."""

from __future__ import annotations

import pandas as pd
import pytest
from figure_tables import at_budgets, figures_of, make_fits, make_rounds, panels, words

from bench.figures.base import Skip

TASK = "cnn-femnist"
LABELS = [(name, name) for name in ("fedavg", "prism", "orthdrop", "heterofl", "fjord", "depthfl")]
BUDGETS = ("macs=0.3", "bytes=0.2", "memory=0.4", "memory=0.2")


def rounds_with(accuracies: dict[str, float]) -> pd.DataFrame:
    rounds = at_budgets(make_rounds((TASK,), LABELS, (0.2,), stand_in=False, rounds=5), BUDGETS)
    known = rounds["method"].astype(str).map(accuracies)
    return rounds.assign(test_acc=known.where(rounds["test_acc"].notna()))


@pytest.fixture(scope="module")
def accuracies() -> dict[str, float]:
    return {"fedavg": 0.93, "prism": 0.9, "orthdrop": 0.91, "heterofl": 0.89, "fjord": 0.88, "depthfl": 0.22}


def test_quantities_stand_in_their_order(accuracies: dict[str, float]) -> None:
    figure = next(iter(figures_of("accuracy-budget", {"rounds": rounds_with(accuracies)}).values()))
    axes = [panel.get_xlabel().partition(" ")[0] for panel in figure.axes if panel.get_xlabel()]
    assert list(dict.fromkeys(axes)) == ["memory", "bytes", "multiply-accumulates"]
    table = make_fits(LABELS[1:], BUDGETS, TASK)
    fits = next(iter(figures_of("fits", {"fits": table}).values()))
    found = [text for text in words(fits).split("\n") if text in BUDGETS]
    assert list(dict.fromkeys(found)) == ["memory=0.2", "memory=0.4", "bytes=0.2", "macs=0.3"]


def test_who_is_far_below_stands_at_the_foot_with_the_number(accuracies: dict[str, float]) -> None:
    figure = next(iter(figures_of("accuracy-budget", {"rounds": rounds_with(accuracies)}).values()))
    for panel in panels(figure).values():
        assert panel.get_ylim()[0] > 80
        assert [text.get_text() for text in panel.texts if text.get_text() == "22"]
    assert "far below the others" in " ".join(words(figure).split())


def test_nobody_is_far_where_all_are_near(accuracies: dict[str, float]) -> None:
    near = accuracies | {"depthfl": 0.85}
    figure = next(iter(figures_of("accuracy-budget", {"rounds": rounds_with(near)}).values()))
    assert "far below the others" not in " ".join(words(figure).split())
    assert all(panel.get_ylim()[0] < 85 for panel in panels(figure).values())


def test_budgets_of_one_quantity_stand_in_their_own_figure_alone(accuracies: dict[str, float]) -> None:
    mixed = at_budgets(make_rounds((TASK,), LABELS, (0.2,), stand_in=False, rounds=5), ("memory=0.1:0.5,0.4:0.5",))
    together = pd.concat([rounds_with(accuracies), mixed[mixed["method"] != "fedavg"]], ignore_index=True)
    figure = next(iter(figures_of("profiles", {"rounds": together}).values()))
    said = " ".join(words(figure).split())
    assert "0.1" in said and not any(budget in said for budget in BUDGETS)
    with pytest.raises(Skip):
        figures_of("profiles", {"rounds": rounds_with(accuracies)})
