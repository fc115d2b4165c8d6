"""The figures of ranks, exploration, errors and ablations show the numbers of the tables."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from figure_tables import diverge, figures_of, lines, make_ranks, make_rounds, panels, words

from bench.figures import FIGURES, Options, draw_all
from bench.figures.base import Skip
from bench.figures.curve_panels import limits
from bench.figures.style import METHODS

TASK = "cnn-femnist"
LABELS = [("fedavg", "fedavg"), ("prism", "prism"), ("unbiased", "unbiased")]
SETTINGS = ["prism", "prism (kappa=4)", "prism (clip_tau=10, multipliers=wallenius)", "prism (aggregate=product)"]
SKEWED = (("lda", 0.1),)
PANEL = "keep 0.2; LDA, $\\alpha$ = 0.1"
OF_PANEL = "partition == 'lda' and keep == 0.2 and label == 'prism'"


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    rounds = make_rounds(tasks=(TASK,), labels=LABELS, keeps=(0.2,), partitions=SKEWED, seeds=(0, 1, 2), rounds=30)
    ranks = make_ranks(rounds)
    # A second layer, of another size and with other values.
    second = ranks.assign(
        layer="conv3", kernels=200, anme=ranks["anme"] / 2, submodel_error=3 * ranks["submodel_error"]
    )
    return {"rounds": rounds, "ranks": pd.concat([ranks, second], ignore_index=True)}


def drawn(name: str, tables: dict[str, pd.DataFrame], suffix: str = TASK) -> list[tuple[str, list[float], list[float]]]:
    """Return the lines of the panel that the tests look at."""
    return lines(panels(figures_of(name, tables)[suffix])[PANEL])


def prism_lines(name: str, tables: dict[str, pd.DataFrame], suffix: str = TASK) -> list[list[float]]:
    """Return the heights of PriSM's lines, in the order in which they were drawn."""
    return [y for colour, _, y in drawn(name, tables, suffix) if colour == METHODS["prism"][0]]


def by_round(rows: pd.DataFrame, value: str) -> list[float]:
    """Return the mean over seeds of ``value`` in each round, by plain loops."""
    numbers = sorted(set(rows["round"]))
    per_round = [rows.loc[rows["round"] == number, value].dropna().tolist() for number in numbers]
    return [sum(values) / len(values) for values in per_round if values]


def cells_of(table: pd.DataFrame) -> list[pd.DataFrame]:
    rows = table.query(OF_PANEL)
    return [rows[rows["cell"] == cell] for cell in sorted(rows["cell"].unique())]


def mean_of_layers(ranks: pd.DataFrame, function: str) -> list[float]:
    """Return the mean over seeds of an expression of two layers, ``a`` and ``b``, in each round after the first."""
    seeds = []
    for rows in cells_of(ranks):
        rows = rows[rows["round"] > 0]
        a, b = (rows[rows["layer"] == layer].sort_values("round").reset_index() for layer in ("conv2", "conv3"))
        seeds.append(eval(function, {"a": a, "b": b}).to_numpy())
    return list(np.mean(seeds, axis=0))


def test_anme_is_the_plain_mean_over_layers(tables: dict[str, pd.DataFrame]) -> None:
    [y] = prism_lines("anme", tables)
    assert y == pytest.approx(mean_of_layers(tables["ranks"], "(a.anme + b.anme) / 2"))
    figure = figures_of("anme", tables)[TASK]
    assert "fedavg" not in words(figure)
    low, high = figure.axes[0].get_ylim()
    assert low < min(y) and high > max(y)


def test_exploration_draws_what_was_seen_and_what_was_expected(tables: dict[str, pd.DataFrame]) -> None:
    rows = tables["rounds"].query(OF_PANEL)
    seen, expected = prism_lines("exploration", tables)
    assert seen == pytest.approx([100 * value for value in by_round(rows, "coverage")])
    assert expected == pytest.approx([100 * value for value in by_round(rows, "coverage_expected")])
    assert all(x[0] == 1 and x[-1] == 30 for _, x, _ in drawn("exploration", tables))


def test_exploration_of_older_tables_has_no_expectation(tables: dict[str, pd.DataFrame]) -> None:
    older = {"rounds": tables["rounds"].drop(columns=["coverage_expected", "capacities", "cosine_fedavg"])}
    assert len(prism_lines("exploration", older)) == 1
    assert "expected" not in words(figures_of("exploration", older)[TASK])
    [(_, numbers), (_, until)] = FIGURES["exploration"].numbers(older, Options())  # type: ignore[misc]
    assert numbers["expected"].isna().all()
    assert numbers["round"].unique().tolist() == [1, 5, 10, 25]
    assert until["reach"].unique().tolist() == [0.5, 0.9, 0.99]


@pytest.mark.parametrize(("suffix", "column"), [("entropy", "required_kernels"), ("renyi", "required_kernels_renyi")])
def test_required_share_of_each_method_and_of_the_full_model(
    tables: dict[str, pd.DataFrame], suffix: str, column: str
) -> None:
    ranks = tables["ranks"].assign(share=lambda rows: 100 * rows[column] / rows["kernels"])
    [y] = prism_lines("rank-methods", tables, f"{TASK}-{suffix}")
    assert y == pytest.approx(by_round(ranks.query(OF_PANEL), "share"))
    full = [y for colour, _, y in drawn("rank-methods", tables, f"{TASK}-{suffix}") if colour == METHODS["fedavg"][0]]
    assert full == [pytest.approx(by_round(ranks.query("partition == 'lda' and label == 'fedavg'"), "share"))]


def test_required_shares_are_tabled_at_three_moments_by_both_measures(tables: dict[str, pd.DataFrame]) -> None:
    [(_, numbers)] = FIGURES["rank-methods"].numbers(tables, Options())  # type: ignore[misc]
    rows = numbers.query(OF_PANEL)
    assert rows["measure"].tolist() == ["entropy"] * 3 + ["renyi"] * 3
    assert rows["round"].tolist() == [0, 15, 30] * 2


@pytest.mark.parametrize("error", ["submodel", "cohort"])
def test_errors_lie_beside_their_closed_form(tables: dict[str, pd.DataFrame], error: str) -> None:
    measured, expected = prism_lines("approximation-error", tables, f"{TASK}-{error}")
    norm = "(a.weight_norm2 + b.weight_norm2)"
    sums = f"(a.{error}_error + b.{error}_error) / {norm}"
    closed = f"(a.{error}_error_expected + b.{error}_error_expected) / {norm}"
    assert measured == pytest.approx(mean_of_layers(tables["ranks"], sums))
    assert expected == pytest.approx(mean_of_layers(tables["ranks"], closed))
    numbers = dict(FIGURES["approximation-error"].numbers(tables, Options()))[f"{TASK}-{error}"]  # type: ignore[misc]
    row = numbers.query(OF_PANEL).iloc[0]
    assert row["measured"] == pytest.approx(np.mean(measured))
    assert row["ratio"] == pytest.approx(np.mean(measured) / np.mean(expected))


def test_an_error_that_nobody_measured_has_no_figure(tables: dict[str, pd.DataFrame]) -> None:
    ranks = tables["ranks"].assign(cohort_error=np.nan, cohort_error_expected=np.nan)
    assert list(figures_of("approximation-error", {"ranks": ranks})) == [f"{TASK}-submodel"]


def test_errors_of_very_different_size_are_drawn_on_a_logarithmic_axis(tables: dict[str, pd.DataFrame]) -> None:
    ranks = tables["ranks"]
    near = {"submodel_error": 0.5 * ranks["weight_norm2"], "submodel_error_expected": 0.4 * ranks["weight_norm2"]}
    far = {"cohort_error": ranks["cohort_error"] * np.exp(-ranks["round"] / 3)}
    figures = figures_of("approximation-error", {"ranks": ranks.assign(**near, **far)})
    scales = {name: figure.axes[0].get_yscale() for name, figure in figures.items()}
    assert scales == {f"{TASK}-submodel": "linear", f"{TASK}-cohort": "log"}


HEAVY = {"submodel_error_expected": 1e6, "cohort_error_expected": 1e7}


def heavy_tailed(ranks: pd.DataFrame) -> pd.DataFrame:
    """Return ranks in which PriSM's closed forms are out of all proportion."""
    prism = ranks["label"] == "prism"
    return ranks.assign(**{name: ranks[name].mask(prism, factor * ranks[name]) for name, factor in HEAVY.items()})


@pytest.mark.parametrize("error", ["submodel", "cohort"])
def test_a_heavy_tailed_closed_form_leaves_the_axis_and_is_named(tables: dict[str, pd.DataFrame], error: str) -> None:
    heavy = {"ranks": heavy_tailed(tables["ranks"])}
    figure = figures_of("approximation-error", heavy)[f"{TASK}-{error}"]
    bottom, top = figure.axes[0].get_ylim()
    measured, expected = prism_lines("approximation-error", heavy, f"{TASK}-{error}")
    other_measured, other_expected = (
        y for colour, _, y in drawn("approximation-error", heavy, f"{TASK}-{error}") if colour != METHODS["prism"][0]
    )
    for shown in (measured, other_measured, other_expected):
        assert bottom <= min(shown) and max(shown) <= top
    assert top < 10 * max(measured + other_measured) < min(expected)
    note = words(figure).replace("\n", " ")
    assert "Closed form beyond the axis, in part or all: prism." in note
    near = words(figures_of("approximation-error", tables)[f"{TASK}-{error}"])
    assert "beyond the axis" not in near
    numbers = dict(FIGURES["approximation-error"].numbers(heavy, Options()))[f"{TASK}-{error}"]  # type: ignore[misc]
    ratios = numbers.set_index("label")["ratio"]
    assert math.isnan(ratios["prism"]) and 0.1 < ratios["unbiased"] < 10


def test_closed_forms_alone_are_drawn_where_nothing_was_measured(tables: dict[str, pd.DataFrame]) -> None:
    ranks = tables["ranks"].assign(submodel_error=np.nan, cohort_error=np.nan)
    figure = figures_of("approximation-error", {"ranks": ranks})[f"{TASK}-submodel"]
    [expected] = prism_lines("approximation-error", {"ranks": ranks}, f"{TASK}-submodel")
    bottom, top = figure.axes[0].get_ylim()
    assert bottom < min(expected) and max(expected) < top
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["prism", "unbiased", "closed form"]

    figure = figures_of("approximation-error", {"ranks": heavy_tailed(ranks)})[f"{TASK}-submodel"]
    assert figure.axes[0].get_ylim()[1] < 10
    assert "in part or all: prism." in words(figure).replace("\n", " ")


@pytest.mark.parametrize(
    ("name", "whole"), [("approximation-error", "weight_norm2"), ("aggregation-error", "update_norm2")]
)
def test_errors_without_the_norm_they_are_a_share_of_do_not_count(
    tables: dict[str, pd.DataFrame], tmp_path: Path, name: str, whole: str
) -> None:
    ranks = tables["ranks"]
    for without in (ranks.drop(columns=[whole]), ranks.assign(**{whole: np.nan})):
        skipped: dict[str, str] = {}
        assert draw_all({"ranks": without}, tmp_path, [name], on_skip=skipped.__setitem__) == []
        assert skipped[name].startswith("no finished cell has ")
    partly = {"ranks": ranks.assign(**{whole: ranks[whole].mask(ranks["label"] == "prism")})}
    for figure in figures_of(name, partly).values():
        assert "prism" not in words(figure) and "unbiased" in words(figure)
    for _, numbers in FIGURES[name].numbers(partly, Options()):  # type: ignore[misc]
        assert numbers["label"].tolist() == ["unbiased"]


def test_aggregation_error_is_a_share_of_the_update(tables: dict[str, pd.DataFrame]) -> None:
    [y] = prism_lines("aggregation-error", tables)
    ratio = "100 * ((a.aggregation_error + b.aggregation_error) / (a.update_norm2 + b.update_norm2)) ** 0.5"
    expected = mean_of_layers(tables["ranks"], ratio)
    assert y == pytest.approx(expected)
    [(_, numbers)] = FIGURES["aggregation-error"].numbers(tables, Options())  # type: ignore[misc]
    assert numbers.query(OF_PANEL)["mean"].tolist() == pytest.approx([np.mean(expected) / 100])


def test_cosine_is_drawn_raw_and_smoothed(tables: dict[str, pd.DataFrame]) -> None:
    raw, smooth = prism_lines("cosine", tables)
    expected = by_round(tables["rounds"].query(OF_PANEL), "cosine_fedavg")
    assert raw == pytest.approx(expected)
    weights = [0.95 ** (29 - position) for position in range(30)]
    assert smooth[-1] == pytest.approx(np.average(expected, weights=weights))
    few = {"rounds": tables["rounds"][tables["rounds"]["round"] < 20]}
    raw, smooth = prism_lines("cosine", few)
    assert smooth == raw == pytest.approx(expected[:19])
    [(_, numbers)] = FIGURES["cosine"].numbers(tables, Options())  # type: ignore[misc]
    assert numbers.query(OF_PANEL)["mean"].tolist() == pytest.approx([np.mean(expected)])


def test_cosine_says_what_it_is_over_and_has_a_figure_of_the_factored_layers(tables: dict[str, pd.DataFrame]) -> None:
    noise = np.linspace(-0.5, 0.9, len(tables["ranks"]))
    drawn_in = tables["ranks"]["anme"].notna()
    ranks = tables["ranks"].assign(cosine_fedavg=np.where(drawn_in, noise, np.nan))
    both = {"rounds": tables["rounds"], "ranks": ranks}
    figures = figures_of("cosine", both)
    assert list(figures) == [TASK, f"{TASK}-factored"]
    whole, factored = (words(figure).replace("\n", " ") for figure in figures.values())
    assert "update, all parameters:" in whole and "also those that every method trains whole" in whole
    assert "update, factored layers:" in factored and "plain mean over layers" in factored

    raw, _ = prism_lines("cosine", both, f"{TASK}-factored")
    expected = mean_of_layers(ranks, "(a.cosine_fedavg + b.cosine_fedavg) / 2")
    assert raw == pytest.approx(expected)
    numbers = dict(FIGURES["cosine"].numbers(both, Options()))  # type: ignore[misc]
    assert list(numbers) == [TASK, f"{TASK}-factored"]
    assert numbers[f"{TASK}-factored"].query(OF_PANEL)["mean"].tolist() == pytest.approx([np.mean(expected)])
    for older in (ranks.drop(columns="cosine_fedavg"), ranks.assign(cosine_fedavg=np.nan)):
        assert list(figures_of("cosine", both | {"ranks": older})) == [TASK]


@pytest.mark.parametrize("name", ["anme", "exploration", "rank-methods", "aggregation-error", "cosine"])
def test_diverged_runs_are_in_the_stamp_and_not_in_the_lines(tables: dict[str, pd.DataFrame], name: str) -> None:
    gone = [str(tables["rounds"].query(OF_PANEL)["cell"].iloc[0])]
    some = {key: diverge(table, gone, last_round=7) for key, table in tables.items()}
    figure = next(iter(figures_of(name, some).values()))
    assert "1 of " in words(figure) and "runs diverged" in words(figure)
    rest = {key: table[~table["cell"].isin(gone)] for key, table in tables.items()}
    suffix = f"{TASK}-entropy" if name == "rank-methods" else TASK
    assert prism_lines(name, some, suffix) == prism_lines(name, rest, suffix)
    everything = {key: table.assign(status="diverged") for key, table in tables.items()}
    with pytest.raises(Skip, match="no finished cell"):
        figures_of(name, everything)


@pytest.mark.parametrize("name", ["anme", "approximation-error", "aggregation-error"])
def test_tables_without_the_measures_are_skipped(tables: dict[str, pd.DataFrame], tmp_path: Path, name: str) -> None:
    columns = [column for column in tables["ranks"] if "error" in column or column in ("anme", "update_norm2")]
    for ranks in (tables["ranks"].drop(columns=columns), tables["ranks"].assign(**dict.fromkeys(columns, np.nan))):
        skipped: dict[str, str] = {}
        assert draw_all({"ranks": ranks}, tmp_path, [name], on_skip=skipped.__setitem__) == []
        assert skipped[name].startswith("no finished cell has ")


def test_mixed_capacities_are_drawn_at_their_mean() -> None:
    profile = "0.2:0.6,0.4:0.4"
    plain = make_rounds(tasks=(TASK,), labels=[("prism", "prism")], keeps=(0.2, 0.4), partitions=SKEWED, rounds=3)
    mixed = make_rounds(
        tasks=(TASK,), labels=[("prism", f"prism, keep {profile}")], keeps=(0.28,), partitions=SKEWED, rounds=3
    )
    words_of = {"method": str, "label": str}
    rounds = pd.concat([plain.astype(words_of), mixed.astype(words_of).assign(capacities=profile)])
    figure = figures_of("exploration", {"rounds": rounds})[TASK]
    assert [title.split(";")[0] for title in panels(figure)] == ["keep 0.2", "mean keep 0.28", "keep 0.4"]

    many = pd.concat(
        [rounds, make_rounds(tasks=(TASK,), labels=[("prism", "prism")], keeps=(0.8,), partitions=SKEWED, rounds=3)]
    )
    figure = figures_of("accuracy-keep", {"rounds": many})[TASK]
    panel = figure.axes[0]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["0.2", "0.4", "0.8"]
    assert any(list(line.get_xdata()) == pytest.approx([0.28], abs=0.02) for line in panel.get_lines())
    assert "at their mean" in words(figure).replace("\n", " ")


def test_legends_of_long_labels_stay_on_the_figure() -> None:
    label = "prism (clip_tau=10, multipliers=wallenius, warm_up_rounds=50), keep 0.2:0.6,0.4:0.4,0.6:0.2"
    rounds = make_rounds(
        tasks=(TASK,), labels=[("prism", label)], keeps=(0.2,), partitions=(("natural", math.nan),), rounds=2
    )
    figure = figures_of("exploration", {"rounds": rounds})[TASK]
    figure.draw_without_rendering()
    [legend] = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
    assert "".join(legend.get_texts()[0].get_text().split()) == "".join(label.split())


def test_limits_show_the_means_and_the_near_part_of_their_intervals() -> None:
    wide = pd.DataFrame({"mean": [0.4, 0.6], "low": [-9.0, 0.55], "high": [0.45, 9.0]})
    bottom, top = limits(wide)
    assert 0.3 < bottom < 0.4 and 0.6 < top < 0.7
    assert limits(wide.assign(low=wide["mean"], high=wide["mean"]), bounds=(0.4, 0.6)) == pytest.approx((0.388, 0.612))
    assert limits(wide.assign(mean=math.nan)) == (0.0, 1.0)
    constant = wide.assign(mean=0.0, low=0.0, high=0.0)
    assert limits(constant, bounds=(0.0, 1.0)) == pytest.approx((-0.0012, 0.0212))
    assert limits(constant.assign(mean=1.0), bounds=(0.0, 1.0)) == pytest.approx((0.9788, 1.0012))
