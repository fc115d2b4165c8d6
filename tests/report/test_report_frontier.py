"""The charts of accuracy against cost."""

from __future__ import annotations

from dataclasses import replace

from bench.figures.style import SeriesStyle
from bench.report.page.drawing import marker
from bench.report.page.frontier import BOTTOM, LEFT, LETTER, RIGHT, TOP, Point, _panel
from bench.report.page.series import Series

LOOK = SeriesStyle("#0072b2", "o", "-", "full")
SERIES = Series(1, "prism", "prism", "prism", "digits", ("a", "b"))


def points(*accuracies: float) -> list[Point]:
    return [Point("prism", SERIES, acc, acc - 0.2, acc + 0.2, cost + 1.0, LOOK) for cost, acc in enumerate(accuracies)]


def test_the_chance_level_is_where_its_accuracy_would_be() -> None:
    panel = _panel(points(0.1, 0.3), "bytes", (), 10.0)
    at_ten = panel["marks"][0]["y"]
    assert panel["chance"] == at_ten
    assert panel["chance_words"] == "chance (10 %)"


def test_it_is_left_out_where_the_axis_does_not_reach_it_or_nobody_knows_it() -> None:
    assert _panel(points(0.8, 0.9), "bytes", (), 10.0)["chance"] is None
    assert _panel(points(0.8, 0.9), "bytes", (), None)["chance"] is None


def test_no_axis_shows_accuracies_that_cannot_be() -> None:
    for accuracies in ((0.02, 0.05), (0.95, 0.98)):
        panel = _panel(points(*accuracies), "bytes", (), None)
        ticks = [float(words.replace("\N{MINUS SIGN}", "-")) for _, words in panel["y_ticks"]]
        assert min(ticks) >= 0
        assert max(ticks) <= 100
        assert all(TOP <= mark["high"] <= mark["low"] <= BOTTOM for mark in panel["marks"])


def test_variants_of_a_method_differ_in_the_fill_of_their_marker() -> None:
    drawn = [marker(SeriesStyle("#0072b2", "o", "-", fill)) for fill in ("full", "none", "left", "top")]
    assert len({(one["filled"], one["hollow"]) for one in drawn}) == 4
    assert drawn[0]["hollow"] == "" and drawn[1]["filled"] == ""


def test_long_names_stay_within_the_chart() -> None:
    label = "prism (clip_tau=32.39, frobenius_decay=0.0009548, kappa=6, multipliers=wallenius, sigma=absorbed)"
    some = [replace(point, name=label, on_front=True) for point in points(0.1, 0.3, 0.5)]
    for name in _panel(some, "bytes", (), None)["names"]:
        width = LETTER * len(name["text"])
        start = name["x"] - width if name["anchor"] == "end" else name["x"]
        assert start >= LEFT and start + width <= RIGHT and name["text"].endswith("…")
