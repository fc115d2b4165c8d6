"""Cells at a budget, from the sweep file to tables, figures and comparisons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pytest
from figure_tables import words
from tiny import CNN, TRAINING, cell_of, plugin, read, write

from bench.analysis.comparisons import comparisons
from bench.analysis.settings import with_settings
from bench.analysis.summary import final_accuracy
from bench.budget import finder as finding
from bench.budget.checking import counted_rows
from bench.budget.finder import Finder
from bench.budget.fitting import LEAST, Counted
from bench.budget.told import telling
from bench.bundle.pack import pack
from bench.cell import Cell, from_canonical
from bench.comparison.own_method import own_method
from bench.comparison.plan import Choice, plan_of
from bench.config.cells import Sweep
from bench.errors import BenchError
from bench.figures import FIGURES, Options
from bench.launch import inline
from bench.launch.sweep import only, records, run, write_tables
from bench.store.cells import Store

CELLS = """
[[cells]]
method = ["fedavg", "heterofl", "origdrop", "prism"]
budget = [{ memory = [0.3, 0.6] }, { memory = "0.3:0.5,0.9:0.5" }]
training = { momentum = 0.0 }
"""


class Ran(NamedTuple):
    """A sweep over budgets, its cells run, and its tables."""

    sweep: Sweep
    store: Store
    tables: dict[str, pa.Table]

    def frame(self, name: str) -> pd.DataFrame:
        return self.tables[name].to_pandas()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("budgets")
    sweep, store = read(folder, CELLS), Store(folder / "results" / "tiny")
    run(list(sweep.cells), store, plugins=(), device="cpu", jobs=1, on_event=lambda event: None, hire=inline.hire)
    return Ran(sweep, store, write_tables(sweep, store, records(sweep, store)))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Count anew where a test does not use the cells that all share."""
    if "ran" not in request.fixturenames:
        monkeypatch.setattr(finding, "root", lambda: tmp_path)


def test_a_cell_holds_the_budget_and_what_was_found(tmp_path: Path) -> None:
    cell = cell_of("heterofl", budget="memory=0.3")
    assert cell.budget == "memory=0.3" and 0 < cell.keep < 0.5 and cell.capacities == ()
    assert cell.label == "heterofl, budget memory=0.3"
    assert "-memory=0.3-" in cell.folder and from_canonical(cell.canonical()) == cell
    assert cell_of("heterofl", budget={"memory": 0.3}) == cell
    assert replace(cell, budget="").identity != cell.identity


def test_cells_without_a_budget_are_what_they_were() -> None:
    assert "budget" not in cell_of("heterofl", keep=0.2).canonical()
    assert Cell("cnn-femnist", "prism", keep=0.2).identity == "1b73d0add3"


def test_clients_that_differ_have_levels_of_their_own_and_the_same_clients_for_every_method() -> None:
    one = cell_of("heterofl", budget="memory=0.9:0.5,0.3:0.5")
    assert [share for _, share in one.capacities] == [0.5, 0.5]
    assert one.capacities[0][0] < one.capacities[1][0] and one.levels == tuple(keep for keep, _ in one.capacities)
    assert one.budget == "memory=0.3:0.5,0.9:0.5" and one.keep == pytest.approx(sum(one.levels) / 2)
    alike = cell_of("fjord", budget="memory=0.3:0.5,0.9:0.5", capacity="dynamic")
    assert alike.label.endswith(", budget memory=0.3:0.5,0.9:0.5 dynamic")


def test_the_full_model_has_no_budget_and_others_that_ignore_keep_ratios_must_fit() -> None:
    assert cell_of("fedavg", budget="memory=0.3") == cell_of("fedavg")
    assert cell_of("fedlama", budget="memory=0.3").keep == 1.0


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"budget": "memory=0.3", "keep": 0.2}, "keep and budget are both given"),
        ({"budget": {"memory": [0.1, 0.2]}}, "one budget for a cell"),
        ({"budget": "memory=0.1:0.1,0.4:0.9"}, "none of 4 clients"),
        ({"budget": "memroy=0.3"}, "did you mean 'memory'"),
    ],
)
def test_a_wrong_budget_is_one_sentence(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BenchError) as caught:
        cell_of("heterofl", **values)
    assert str(caught.value).startswith("test: ") and sentence in str(caught.value)


def test_what_was_counted_is_kept_until_the_method_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from methods.origdrop import OrigDrop\n\n\nclass Mine(OrigDrop):\n    summary = 'mine'\n"
    mine = write(tmp_path / "mine.py", source)
    found = cell_of("mine", (mine,), budget="memory=0.3").keep
    lines: list[str] = []

    def counting(self: Counted, keep: float) -> Any:
        raise AssertionError("counted again")

    with monkeypatch.context() as patched, telling(lines.append):
        patched.setattr(Counted, "at", counting)
        assert cell_of("mine", (mine,), budget="memory=0.3").keep == found and not lines
        write(mine, source + "\n    colour = '#123456'\n")
        assert cell_of("mine", (mine,), budget="memory=0.3").keep == LEAST  # it had to count, and could not
        assert lines == ["finding the keep ratios that fit the budgets; they are kept for later"]
    broken = next(iter((tmp_path / "budgets").glob("*.json")))
    broken.write_text("[")
    assert cell_of("mine", (mine,), budget="memory=0.3").keep == found


def test_a_method_that_cannot_be_counted_fails_where_it_is_run(tmp_path: Path) -> None:
    bad = plugin(tmp_path, "bad", extract="raise KeyError('no such part')")
    cell = cell_of("bad", (bad,), budget="memory=0.3")
    store = Store(tmp_path / "results")
    run([cell], store, plugins=(bad,), device="cpu", jobs=1, on_event=lambda event: None, hire=inline.hire)
    from bench.store.wholeness import whole

    facts = whole(store.path(cell))
    assert facts["status"] == "failed" and "no such part" in facts["reason"] and "bad.py" in facts["reason"]


def test_what_fits_runs_and_what_does_not_is_skipped_with_the_least_it_needs(ran: Ran) -> None:
    by_method = {(one.cell.method, one.cell.budget): one for one in records(ran.sweep, ran.store)}
    assert len(by_method) == 1 + 3 * 3
    for (method, budget), record in by_method.items():
        assert record.state == ("skipped" if method == "prism" else "done"), (method, budget, record.reason)
    reason = by_method["prism", "memory=0.6"].reason
    assert reason.startswith("no sub-model of prism fits memory=0.6: its smallest client takes 0.9")
    assert reason.endswith("of the full model's memory, allowed are 0.6")


def test_tables_say_what_each_client_takes(ran: Ran) -> None:
    fits, cells = ran.frame("fits"), ran.frame("cells")
    assert len(fits) == 3 * (1 + 1 + 2)
    assert set(fits.loc[~fits["fits"], "method"]) == {"prism"} and fits.loc[~fits["fits"], "keep"].isna().all()
    inside = fits[fits["fits"]]
    assert (inside["taken"] <= inside["allowed"]).all() and (inside["least"] <= inside["taken"]).all()
    of_heterofl = cells[cells["label"] == "heterofl, budget memory=0.3"].iloc[0]
    row = inside[(inside["label"] == "heterofl") & (inside["budget"] == "memory=0.3")].iloc[0]
    assert of_heterofl["budget_used"] == row["taken"] / row["allowed"] and of_heterofl["keep"] == row["keep"]
    assert set(cells.loc[cells["method"] == "fedavg", "budget_used"].isna()) == {True}
    clients = ran.frame("clients")
    mixed = clients[clients["label"] == "heterofl, budget memory=0.3:0.5,0.9:0.5"]
    levels = fits[(fits["label"] == "heterofl") & (fits["budget"] == "memory=0.3:0.5,0.9:0.5")]
    assert set(mixed["capacity"]) <= set(levels["keep"]) and levels["level"].tolist() == [0, 1]


def test_methods_are_compared_at_a_budget_whatever_their_keep_ratios(ran: Ran) -> None:
    cells = final_accuracy(ran.frame("rounds"))
    settings = with_settings(cells)
    words_of = [f"{CNN}, natural, budget memory={at}" for at in ("0.3", "0.3:0.5,0.9:0.5", "0.6")]
    assert list(dict.fromkeys(settings["setting"])) == words_of
    assert settings.groupby("setting")["label"].apply(set).tolist() == [{"fedavg", "heterofl", "origdrop"}] * 3
    pairs = comparisons(cells)
    assert len(pairs) == 3 * 3 and set(pairs["pairs"]) == {1}


def test_the_figures_show_them(ran: Ran) -> None:
    tables = {name: table.to_pandas() for name, table in ran.tables.items()}
    ((_, figure),) = FIGURES["accuracy-budget"].draw(tables, Options())
    (panel,) = figure.axes
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["30", "60"]
    assert panel.get_xlabel() == "memory of a local step (% of the full model)"
    ((_, numbers),) = FIGURES["accuracy-budget"].numbers(tables, Options())  # type: ignore[misc]
    assert set(numbers["budget"]) == {"", "memory=0.3", "memory=0.6"}
    ((_, matrix),) = FIGURES["fits"].draw(tables, Options())
    said = words(matrix)
    keep = tables["fits"].query("label == 'heterofl' and budget == 'memory=0.6'")["keep"].iloc[0]
    assert f"{keep:.3g} (" in said and "needs 0.9" in said and "prism" in said
    ((_, profiles),) = FIGURES["profiles"].draw(tables, Options())
    assert "memory=0.3:0.5,0.9:0.5" in words(profiles)


def test_a_bundle_has_what_was_counted(ran: Ran, tmp_path: Path) -> None:
    import bench

    pack(ran.store, tmp_path / "budgets.bench")
    packed, here = bench.load(tmp_path / "budgets.bench")["fits"], bench.load(ran.store.folder)["fits"]
    pd.testing.assert_frame_equal(packed, here)


def test_one_budget_of_a_sweep_can_be_picked(ran: Ran) -> None:
    picked = only(ran.sweep, "budget=memory=0.6").cells
    assert {cell.method for cell in picked} == {"heterofl", "origdrop", "prism"}
    with pytest.raises(BenchError, match=r"did you mean 'memory=0\.6'"):
        only(ran.sweep, "budget=memory=0.66")


def test_a_method_of_ones_own_is_compared_at_the_keep_ratio_that_fits_it(ran: Ran, tmp_path: Path) -> None:
    source = "from methods.fedhm import FedHM\n\n\nclass Mine(FedHM):\n    summary = 'mine'\n"
    own = own_method(str(write(tmp_path / "mine.py", source)), ran.sweep, None, [])
    plan = plan_of(ran.sweep, own, Choice(budget=("memory=0.6",)), tmp_path)
    (mine,) = plan.mine
    assert mine == Finder(own.plugins).at(replace(mine, keep=1.0)) and mine.budget == "memory=0.6"
    assert {cell.budget for cell in plan.others} == {"", "memory=0.6"}
    with pytest.raises(BenchError, match=r"--budget 'memory=0\.5': the sweep 'tiny' lacks it"):
        plan_of(ran.sweep, own, Choice(budget=("memory=0.5",)), tmp_path)


def test_training_settings_that_change_the_memory_are_counted() -> None:
    small, large = (cell_of("heterofl", budget="memory=2MB", training={"batch_size": size}) for size in (4, 32))
    assert small.keep > large.keep
    assert set(TRAINING) & {"batch_size", "momentum"} == set()


def test_activations_computed_anew_have_keep_ratios_of_their_own() -> None:
    found = [
        cell_of("prism", task="resnet18-cifar10", model={"width": 4}, budget="memory=0.97", training=training).keep
        for training in ({}, {"recompute": True}, {})
    ]
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize(
    "content", ["[]", "{}", "[3]", '[{"keep": 5.0, "used": {"memory": 1.0}}]', '[{"keep": 0.2, "used": {}}]']
)
def test_what_is_kept_wrongly_is_counted_anew(tmp_path: Path, content: str) -> None:
    found = cell_of("origdrop", budget="memory=0.3").keep
    (file,) = (tmp_path / "budgets").glob("*.json")
    file.write_text(content)
    assert cell_of("origdrop", budget="memory=0.3").keep == found


def test_clients_are_counted_among_those_who_are_there() -> None:
    """A small model for all is what the weakest client can train: the others' share lies idle."""
    rows = counted_rows(cell_of("small_model", budget="bytes=0.3:0.5,0.9:0.5"))
    weak, strong = rows
    assert weak["taken"] == strong["taken"] <= weak["allowed"] and strong["taken"] < 0.4 * strong["allowed"]
