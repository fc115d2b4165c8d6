"""What may be paired with a method, and what a reader is told of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from compared import finish, no_footprint, sweep_in
from planned import acc_of, compared, finished, planned
from tiny import CNN

from bench.bundle.pack import pack
from bench.cell import Cell
from bench.comparison import comparing
from bench.comparison.pairable import pairable
from bench.comparison.plan import Choice, Plan, setting_of
from bench.errors import BenchError
from bench.launch import inline, local
from bench.report import plotting
from bench.store.cells import Record, Store
from bench.store.made import made


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a folder of the test's own, train in this process, and count no footprint of models of full size."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local, "hire", inline.hire)
    monkeypatch.setattr(plotting, "write_footprint", no_footprint)


def look_with(plan: Plan, **facts: Any) -> comparing.Look:
    finish(plan.mine, plan.store, acc_of, plan.plugins)
    for cell in plan.others:
        finish([cell], plan.store.behind, acc_of, where=facts.get("where"), **facts.get(cell.method, {}))
    return comparing.look_at(plan, "cpu")


def revisions_of(cell: Cell, **changes: int) -> dict[str, Any]:
    """Return the fact of a cell's revisions, some of which were others: ``method_prism=0``."""
    return {"revisions": {**made(cell).revisions, **{name.replace("_", " ", 1): at for name, at in changes.items()}}}


def test_another_revision_of_the_harness_is_not_paired_and_one_of_the_method_is(tmp_path: Path, uniform: Path) -> None:
    plan = planned(sweep_in(tmp_path), uniform)
    by = {cell.method: cell for cell in plan.others}
    look = look_with(
        plan,
        prism=revisions_of(by["prism"], method_prism=0),
        orthdrop=revisions_of(by["orthdrop"], harness=0),
        fedavg={"revisions": None},
    )
    assert {record.cell.method for record in look.pairable.records} == {"prism"}
    assert {record.state for record in look.pairable.records} == {"done"}
    lines = look.pairable.lines
    assert any(line.startswith("not paired: 6 cells (orthdrop): harness is at revision 1 and was at") for line in lines)
    assert any(line.startswith("not paired: 3 cells (fedavg): it was made before results had rev") for line in lines)
    assert any(line.startswith("paired all the same: 6 cells (prism): method prism is at revision") for line in lines)
    assert set(compared(plan).table["other"]) == {"prism"}
    assert {record.cell.method for record in look.pairable.missing} == {"orthdrop", "fedavg"}


def test_a_task_of_another_revision_is_not_paired(tmp_path: Path, uniform: Path) -> None:
    plan = planned(sweep_in(tmp_path), uniform, Choice(against=("prism",)))
    look = look_with(plan, prism={"revisions": {**revisions_of(plan.others[0])["revisions"], f"task {CNN}": 0}})
    assert look.pairable.records == []
    with pytest.raises(BenchError, match=r"nothing to compare with: .*6 stale.*task cnn-femnist is at revision 1"):
        comparing.check(plan, look, False, "sweeps/tiny.toml")


def test_other_data_is_not_paired(tmp_path: Path, uniform: Path) -> None:
    plan = planned(sweep_in(tmp_path), uniform)
    look = comparing.look_at(finished(plan), "cpu")

    def real(record: Record, data: str) -> Record:
        return replace(record, cell=replace(record.cell, data="real"), facts={**record.facts, "data": data})

    mine = [real(record, "a") for record in look.mine]
    others = [real(record, "b" if record.cell.method == "prism" else "a") for record in look.others]
    found = pairable(others, mine, plan.store, {}, lambda cell: {})
    assert {record.cell.method for record in found.records} == {"fedavg", "orthdrop"}
    assert "not paired: 6 cells (prism): it was made from other data than the method's cells" in found.lines
    generated = [replace(record, facts={**record.facts, "data": "c"}) for record in look.others]
    assert len(pairable(generated, look.mine, plan.store, {}, lambda cell: {}).records) == len(look.others)


def test_other_training_is_another_setting(tmp_path: Path, uniform: Path) -> None:
    grid = '[[cells]]\nmethod = "prism"\nseed = [0, 1]\ntraining = { lr = [0.1, 0.2] }\n'
    plan = planned(sweep_in(tmp_path, grid), uniform)
    assert len(plan.mine) == 4 and len({setting_of(cell) for cell in plan.mine}) == 2
    rows = compared(finished(plan)).table
    assert [(row["label"], row["other"], row["pairs"]) for row in rows.to_dict("records")] == [
        ("uniform", "prism", 2),
        ("uniform (lr=0.2)", "prism (lr=0.2)", 2),
    ]


def test_other_processors_and_versions_are_named(tmp_path: Path, uniform: Path) -> None:
    plan = planned(sweep_in(tmp_path), uniform)
    where = {"processor": "Abacus 9", "packages": {"torch": "1.0", "numpy": "1.0"}}
    lines = look_with(plan, where=where).pairable.lines
    assert any("another processor: of 15 cells compared with, 15 with Abacus 9" in line for line in lines)
    assert any("another torch: of 15 cells compared with, 15 with 1.0" in line for line in lines)
    assert not any("kernels" in line for line in lines)


def test_missing_cells_are_named_with_their_number(tmp_path: Path, uniform: Path) -> None:
    plan = planned(sweep_in(tmp_path), uniform)
    finish(plan.mine, plan.store, acc_of, plan.plugins)
    finish([cell for cell in plan.others if cell.method != "prism" and cell.seed], plan.store.behind, acc_of)
    look = comparing.look_at(plan, "cpu")
    [line] = [line for line in look.pairable.lines if line.startswith("missing")]
    assert line == (
        "missing: 9 of 15 cells of other methods: fedavg (1 to do); orthdrop (2 to do); prism (6 to do); "
        "--run-missing runs them"
    )
    assert {record.cell.method for record in look.pairable.missing} == {"fedavg", "orthdrop", "prism"}
    assert (compared(plan).table["pairs"] == 2).all()


def test_a_bundle_stands_for_the_cells_that_nobody_has_run_here(tmp_path: Path, uniform: Path) -> None:
    """As in a fresh clone: the others' cells are in one file, and their processor is known from it."""
    plan = planned(sweep_in(tmp_path), uniform)
    elsewhere = Store(tmp_path / "elsewhere")
    finish(plan.others, elsewhere, acc_of, where={"processor": "Abacus 9"})
    plan.store.behind.folder.mkdir(parents=True)
    pack(elsewhere, plan.store.behind.folder / "tiny.bench")
    finish(plan.mine, plan.store, acc_of, plan.plugins)
    plan = planned(sweep_in(tmp_path), uniform)
    look = comparing.look_at(plan, "cpu")
    assert look.to_run(run_missing=True) == []
    assert "15 of the cells compared with are what tiny.bench claims; nobody has run them here" in look.pairable.lines
    assert any("another processor: of 15 cells compared with, 15 with Abacus 9" in line for line in look.pairable.lines)
    table = compared(plan).table
    assert (table["pairs"] == 3).all() and len(table) == 6
    assert table.loc[table["other"] == "orthdrop", "difference"].tolist() == pytest.approx([0.1, 0.1], abs=0.01)
    assert [path.name for path in plan.store.behind.folder.iterdir()] == ["tiny.bench"]
