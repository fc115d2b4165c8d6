"""A comparison from the sweep to its table: which cells it takes, what it pairs, and what it says of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from compared import UNIFORM, finish, no_footprint, sweep_in
from matplotlib.figure import Figure
from planned import QUIET, acc_of, compared, finished, planned
from tiny import CNN, plugin, write

from bench.comparison import comparing, figure, shown
from bench.comparison.plan import Choice
from bench.errors import BenchError
from bench.figures.looks import FRONT_COLOUR, METHODS, muted
from bench.figures.style import FRONT_WIDTH
from bench.launch import inline, local
from bench.report import plotting
from bench.report.manifest import differences
from bench.store.cells import Store


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a folder of the test's own, train in this process, and count no footprint of models of full size."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local, "hire", inline.hire)
    monkeypatch.setattr(plotting, "write_footprint", no_footprint)


# Which cells


def test_the_method_gets_the_settings_of_the_others_each_once(tmp_path: Path, uniform: Path) -> None:
    sweep = sweep_in(tmp_path)
    plan = planned(sweep, uniform)
    prism = [cell for cell in sweep.cells if cell.method == "prism"]
    assert list(plan.mine) == [replace(cell, method="uniform") for cell in prism]
    assert plan.others == sweep.cells
    assert plan.sweep.cells == (*plan.mine, *sweep.cells)


def test_a_method_without_keep_ratios_runs_once_a_seed(tmp_path: Path, uniform: Path) -> None:
    full = write(
        tmp_path / "full.py",
        UNIFORM.replace("class Uniform(Spectral):", "class Full(Spectral):\n    uses_keep = False"),
    )
    plan = planned(sweep_in(tmp_path), full)
    assert [(cell.keep, cell.seed) for cell in plan.mine] == [(1.0, 0), (1.0, 1), (1.0, 2)]
    rows = compared(finished(plan)).table
    assert sorted(zip(rows["other"], rows["other_keep"], strict=True)) == [
        ("fedavg", 1.0), ("orthdrop", 0.2), ("orthdrop", 0.5), ("prism", 0.2), ("prism", 0.5)
    ]  # fmt: skip


def test_against_full_models_alone_there_is_a_full_keep_ratio(tmp_path: Path, uniform: Path) -> None:
    plan = planned(sweep_in(tmp_path), uniform, Choice(against=("fedavg",), seeds=1))
    assert [cell.keep for cell in plan.mine] == [1.0]


def test_what_is_measured_beside_is_measured_once_and_in_full(tmp_path: Path, uniform: Path) -> None:
    grids = "".join(
        f'[[cells]]\nmethod = "{method}"\nkeep = 0.5\ndiagnostics = "{word}"\n'
        for method, word in (("prism", "errors"), ("orthdrop", "cosine"), ("unbiased", "basic"))
    )
    plan = planned(sweep_in(tmp_path, grids), uniform)
    assert [cell.diagnostics for cell in plan.mine] == ["all"]
    assert len(compared(finished(plan)).table) == 3


def test_choices_narrow_what_is_run(tmp_path: Path, uniform: Path) -> None:
    sweep = sweep_in(tmp_path)
    plan = planned(sweep, uniform, Choice(against=("prism", "fedavg"), keep=("0.50",), seeds=2))
    assert [(cell.keep, cell.seed) for cell in plan.mine] == [(0.5, 0), (0.5, 1)]
    assert {(cell.method, cell.keep, cell.seed) for cell in plan.others} == {
        ("prism", 0.5, 0), ("prism", 0.5, 1), ("fedavg", 1.0, 0), ("fedavg", 1.0, 1)
    }  # fmt: skip


def test_a_method_of_the_sweep_stands_beside_the_others_and_its_cells_are_taken_from_there(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path)
    finish(sweep.cells, Store(Path("results/tiny")), acc_of)
    plan = planned(sweep, "prism")
    assert {cell.method for cell in plan.others} == {"fedavg", "orthdrop"}
    look = comparing.look_at(plan, "cpu")
    assert look.to_run(run_missing=True) == []
    assert set(compared(plan).table["other"]) == {"fedavg", "orthdrop"}
    variant = planned(sweep, "prism", parameters=["kappa=4"])
    assert {cell.method for cell in variant.others} == {"fedavg", "orthdrop", "prism"}
    assert {cell.label for cell in variant.mine} == {"prism (kappa=4)"}
    assert len(comparing.look_at(variant, "cpu").to_run(run_missing=False)) == 6


# What comes of it


def test_differences_are_those_of_the_cells_and_nothing_is_written_beside_the_others(
    tmp_path: Path, uniform: Path
) -> None:
    plan = finished(planned(sweep_in(tmp_path), uniform))
    before = sorted(path for path in Path("results/tiny").rglob("*"))
    made = compared(plan)
    assert not list(plan.store.folder.glob("figures/*")) and differences(plan.store.folder) == []
    drawn: list[str] = []
    comparing.draw(plan, made, QUIET, drawn.append)
    assert drawn == comparing.figures_of(plan, made) == ["compare", "footprint"]
    assert differences(plan.store.folder) == []
    assert sorted(path for path in Path("results/tiny").rglob("*")) == before
    rows = {(row["other"], row["keep"]): row for row in made.table.to_dict("records")}
    assert set(rows) == {(other, keep) for other in ("fedavg", "orthdrop", "prism") for keep in (0.2, 0.5)}
    for (other, keep), row in rows.items():
        theirs = [cell for cell in plan.others if cell.method == other and cell.keep in (keep, 1.0)]
        mine = [cell for cell in plan.mine if cell.keep == keep]
        pairs = [acc_of(a) - acc_of(b) for a, b in zip(mine, theirs, strict=True)]
        assert row["by_seed"] == pytest.approx(tuple(pairs))
    assert rows["orthdrop", 0.2]["verdict"] == "ahead" and rows["prism", 0.2]["verdict"] == "behind"
    assert (made.table["label"] == "uniform").all() and (made.table["rounds"] == 2).all()
    assert (made.table["model"].str.startswith("CNN of ")).all()
    folder = Path("results/tiny-with-uniform")
    kept = pd.read_parquet(folder / "tables" / "compare.parquet")
    assert kept["difference"].tolist() == made.table["difference"].tolist()
    assert [tuple(values) for values in kept["by_seed"]] == made.table["by_seed"].tolist()
    text = (folder / "tables" / "compare.csv").read_text()
    assert text.splitlines()[0].startswith("task,partition,alpha,data_title,stand_in,model,rounds,label")
    assert "| orthdrop |" in (folder / "tables" / "compare.md").read_text()
    labels = pd.read_parquet(folder / "tables" / "cells.parquet")["label"].astype(str)
    assert labels.iloc[0] == "uniform"
    assert (folder / "figures" / f"compare-{CNN}.png").stat().st_size > 10_000


def test_the_figure_sets_ones_own_method_apart(tmp_path: Path, uniform: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(figure, "save_figure", lambda made, *place: drawn.append(made) or [])
    made = compared(finished(planned(sweep_in(tmp_path), uniform)))
    figure.write(made.table, made.written.tables["rounds"].to_pandas(), tmp_path, 3)
    panel = drawn[0].axes[0]
    (own,) = [line for line in panel.get_lines() if line.get_linewidth() == FRONT_WIDTH]
    assert own.get_color() == FRONT_COLOUR and own.get_xdata()[0] == 0  # type: ignore[index]
    dots = {line.get_color() for line in panel.get_lines() if line.get_marker() == "o"}
    assert dots == {METHODS["fedavg"][0], *(muted(METHODS[name][0]) for name in ("orthdrop", "prism"))}
    assert next(text.get_text() for text in drawn[0].legends[0].get_texts()) == "uniform"


def test_finished_cells_are_not_run_again_and_a_changed_file_is(tmp_path: Path, uniform: Path) -> None:
    plan = finished(planned(sweep_in(tmp_path), uniform))
    assert comparing.look_at(plan, "cpu").to_run(run_missing=True) == []
    write(uniform, UNIFORM.replace("np.sort(", "np.sort(1 * "))
    again = planned(sweep_in(tmp_path), uniform)
    assert comparing.look_at(again, "cpu").to_run(run_missing=True) == list(again.mine)


def test_one_common_seed_says_that_there_is_no_interval(tmp_path: Path, uniform: Path) -> None:
    plan = finished(planned(sweep_in(tmp_path), uniform, Choice(seeds=1)))
    table = compared(plan).table
    assert (table["pairs"] == 1).all() and table["low"].isna().all() and (table["verdict"] == "").all()
    words = shown.line_of(table.to_dict("records")[0])
    assert words.endswith("over 1 seed: no interval")
    assert "One seed in common has no interval" in shown.foot(table)


def test_seeds_without_a_partner_are_said_to_be_so(tmp_path: Path, uniform: Path) -> None:
    grid = '[[cells]]\nmethod = "prism"\nseed = [0, 1]\n[[cells]]\nmethod = "orthdrop"\nseed = 5\n'
    plan = planned(sweep_in(tmp_path, grid), uniform)
    finish(plan.mine[:2], plan.store, acc_of, plan.plugins)
    finish(plan.others, plan.store.behind, acc_of)
    rows = {row["other"]: row for row in compared(plan).table.to_dict("records")}
    assert rows["prism"]["pairs"] == 2
    assert shown.line_of(rows["orthdrop"]).endswith("no seed in common")


def test_a_method_that_diverges_everywhere_has_a_table_that_says_so(tmp_path: Path, uniform: Path) -> None:
    plan = finished(planned(sweep_in(tmp_path), uniform), mine=lambda cell: None)
    made = compared(plan)
    assert len(made.table) == 6 and made.table["difference"].isna().all()
    assert "own diverged in 3 of 3" in shown.line_of(made.table.to_dict("records")[0])
    assert made.lines[0].startswith("uniform: 6 of 6 cells diverged (6 on cnn-femnist)")


def test_a_method_that_is_defined_nowhere_is_one_sentence(tmp_path: Path) -> None:
    nowhere = plugin(tmp_path, "nowhere", select='raise Skip("it wants a Transformer")')
    plan = planned(sweep_in(tmp_path), nowhere, Choice(seeds=1))
    finish(plan.others, plan.store.behind, acc_of)
    ended = comparing.run(plan, list(plan.mine), device="cpu", jobs=1, on_event=lambda event: None)
    assert ended["skipped"] == 2
    with pytest.raises(BenchError, match=r"'nowhere' on tiny: .*not defined for any of the 2 cells: it wants a Transf"):
        compared(plan)


def test_nothing_to_compare_with_is_said_before_anything_runs(tmp_path: Path, uniform: Path) -> None:
    plan = planned(sweep_in(tmp_path), uniform)
    look = comparing.look_at(plan, "cpu")
    with pytest.raises(BenchError, match=r"nothing to compare with: of 15 cells of other methods none .*\(15 to do\)"):
        comparing.check(plan, look, False, "sweeps/tiny.toml")
    comparing.check(plan, look, True, "sweeps/tiny.toml")
    assert look.to_run(run_missing=True) == [*plan.mine, *plan.others]


# What may be paired


# How long


def test_the_estimate_comes_from_the_others_whatever_their_family(tmp_path: Path) -> None:
    mine = plugin(tmp_path, "mine")  # of a family of its own
    plan = planned(sweep_in(tmp_path), mine)
    finish(plan.others, plan.store.behind, acc_of)  # 4 s each
    look = comparing.look_at(plan, "cpu")
    now = comparing.standing_of(plan, look, run_missing=False)
    assert now.seconds == pytest.approx(6 * 4.0) and now.unknown == 0
    assert now.time_left(2) == "about 12 s left with 2 at once"


def test_no_estimate_where_nothing_is_finished(tmp_path: Path, uniform: Path) -> None:
    plan = planned(sweep_in(tmp_path), uniform)
    now = comparing.standing_of(plan, comparing.look_at(plan, "cpu"), run_missing=True)
    assert now.unknown == 21 and now.time_left(2).startswith("no estimate for 21 cells")


# One that is really run


def test_from_a_file_to_a_table(tmp_path: Path, uniform: Path) -> None:
    """The method's own cell and one of another that is missing are trained, and each lies in its own folder."""
    grid = '[[cells]]\nmethod = ["orthdrop", "prism"]\nkeep = 0.5\n'
    plan = planned(sweep_in(tmp_path, grid), uniform)
    finish([plan.others[1]], plan.store.behind, acc_of)
    look = comparing.look_at(plan, "cpu")
    cells = look.to_run(run_missing=True)
    assert [cell.method for cell in cells] == ["uniform", "orthdrop"]
    ended = comparing.run(plan, cells, device="cpu", jobs=1, on_event=lambda event: None)
    assert ended == {"done": 2}
    assert [path.name for path in plan.store.cells.iterdir()] == [plan.mine[0].folder]
    assert {path.name for path in plan.store.behind.cells.iterdir()} == {cell.folder for cell in plan.others}
    mine, other = (json.loads((store.path(cell) / "cell.json").read_text()) for store, cell in (
        (plan.store, plan.mine[0]), (plan.store.behind, plan.others[0])
    ))  # fmt: skip
    assert mine["data"] == other["data"] and mine["own_code"] and not other["own_code"]
    table = compared(plan).table
    assert table["other"].tolist() == ["orthdrop", "prism"] and (table["pairs"] == 1).all()
