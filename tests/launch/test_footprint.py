"""PriSM's Table 1 from real sub-models of the full-size ResNet-18."""

from __future__ import annotations

import functools
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tiny import CNN, RESNET, cell_of, plugin, write

from bench import revisions
from bench.api import Method, Server
from bench.config.cells import read_sweep
from bench.cost.cost import Cost
from bench.launch import footprint
from bench.launch.counted import counted_in, made_by
from bench.launch.footprint import write_footprint
from bench.store.schema import FOOTPRINT
from bench.tasks.base import Task

TABLE_1 = {0.8: 9_916_352, 0.6: 7_447_488, 0.4: 4_964_992, 0.2: 2_496_128}
CONVOLUTIONS = [(64, 64)] * 4 + [(64, 128)] + [(128, 128)] * 3 + [(128, 256)] + [(256, 256)] * 3
CONVOLUTIONS += [(256, 512)] + [(512, 512)] * 3


@pytest.fixture(scope="module")
def resnet() -> pa.Table:
    cells = [cell_of("prism", task=RESNET), cell_of("prism", task=RESNET, model={"width": 4}), cell_of(task=RESNET)]
    return footprint.footprint(cells, keeps=(*TABLE_1, 1.0))


def test_table_1_of_prism(resnet: pa.Table) -> None:
    rows = {row["keep"]: row for row in resnet.to_pylist() if row["method"] == "prism"}
    assert {keep: rows[keep]["factored_parameters"] for keep in TABLE_1} == TABLE_1
    # By hand: a kernel of rank r costs r (9 inputs + outputs) in each of the 16 convolutions of 3 x 3.
    for keep, row in rows.items():
        by_hand = sum(-(-round(keep * 1000) * n // 1000) * (9 * m + n) for m, n in CONVOLUTIONS)
        assert row["factored_parameters"] == by_hand


def test_the_levels_of_a_profile_have_their_rows() -> None:
    cells = [
        cell_of("origdrop", keep="0.25:0.5,0.75:0.5"),
        cell_of("origdrop", keep="0.25:0.5,0.75:0.5", capacity="dynamic"),
        cell_of("origdrop", keep=0.5),
        cell_of(keep="0.3:0.5,1:0.5"),
    ]
    table = footprint.footprint(cells, keeps=(0.5,)).to_pylist()
    assert [row["keep"] for row in table if row["label"] == "origdrop"] == [0.25, 0.5, 0.75]
    assert {row["label"] for row in table} == {"fedavg", "origdrop"}


def test_the_kind_of_model_is_the_cells_and_its_size_the_papers() -> None:
    resnet20 = {"architecture": "resnet20", "width": 4}
    cells = [cell_of(method, keep=0.5, task=RESNET, model=resnet20) for method in ("fedavg", "origdrop")]
    table = footprint.footprint(cells, keeps=(0.5, 1.0)).to_pylist()
    assert {(row["model"], row["full_parameters"]) for row in table} == {("architecture=resnet20", 272_762)}
    both = footprint.footprint([*cells, cell_of("origdrop", keep=0.5, task=RESNET)], keeps=(0.5,)).to_pylist()
    assert {(row["model"], row["full_parameters"]) for row in both} == {("", 11_173_962)}


def test_full_model(resnet: pa.Table) -> None:
    (full,) = [row for row in resnet.to_pylist() if row["method"] == "fedavg"]
    assert full["keep"] == 1.0 and full["parameters"] == full["full_parameters"] == 11_173_962
    assert full["factored_parameters"] == sum(9 * m * n for m, n in CONVOLUTIONS)
    assert full["macs"] == full["full_macs"]


def test_costs_grow_with_the_keep_ratio(resnet: pa.Table) -> None:
    rows = sorted((row for row in resnet.to_pylist() if row["method"] == "prism"), key=lambda row: row["keep"])
    assert len(rows) == 5  # two widths of the cells are one model at full size
    for name in ("parameters", "macs", "down_bytes"):
        values = [row[name] for row in rows]
        assert values == sorted(set(values))
    assert rows[0]["parameters"] < rows[0]["full_parameters"] / 4
    assert resnet.schema.equals(FOOTPRINT)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """The method and keep ratio of each sub-model that is counted."""
    seen: list[tuple[str, float]] = []
    real = footprint.submodel_cost

    def count(method: Method, server: Server, task: Task, keep: float) -> Cost:
        seen.append((method.name, keep))
        return real(method, server, task, keep)

    monkeypatch.setattr(footprint, "submodel_cost", count)
    monkeypatch.setattr(footprint, "footprint", functools.partial(footprint.footprint, keeps=(0.5,)))
    return seen


def test_only_that_is_counted_which_no_earlier_table_has(tmp_path: Path, counted: list[tuple[str, float]]) -> None:
    path = tmp_path / "footprint.parquet"
    first = write_footprint(path, [cell_of("origdrop")])
    written = path.stat().st_mtime_ns
    assert write_footprint(path, [cell_of("origdrop", keep=0.2, seed=3)]).equals(first)
    assert counted == [("origdrop", 0.5)] and path.stat().st_mtime_ns == written
    write_footprint(path, [cell_of("origdrop"), cell_of("heterofl"), cell_of("origdrop", keep="0.25:0.5,0.75:0.5")])
    assert counted[1:] == [
        ("heterofl", 0.25),
        ("heterofl", 0.5),
        ("heterofl", 0.75),
        ("origdrop", 0.25),
        ("origdrop", 0.75),
    ]
    write_footprint(path, [cell_of("origdrop", parameters={"variant": "released"})])
    assert counted[6:] == [("origdrop", 0.5)]
    path.write_bytes(b"damaged")
    assert write_footprint(path, [cell_of("origdrop")]).equals(first) and len(counted) == 8


def test_a_table_of_another_folder_counts_too_and_one_of_other_revisions_does_not(
    tmp_path: Path, counted: list[tuple[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that beside a shipped bundle, for a method of the user's own that is compared with those in it."""
    shipped, here = tmp_path / "shipped.parquet", tmp_path / "here.parquet"
    whole = write_footprint(shipped, [cell_of("origdrop"), cell_of("orthdrop")])
    mine = plugin(tmp_path, "mine")
    cells = [cell_of("mine", (mine,)), cell_of("origdrop"), cell_of("orthdrop")]
    del counted[:]
    both = write_footprint(here, cells, (mine,), beside=[tmp_path / "none.parquet", shipped])
    assert counted == [("mine", 0.5)] and both.filter(pc.field("method") != "mine").to_pylist() == whole.to_pylist()
    del counted[:]
    write(mine, mine.read_text().replace("'a test'", "'b test'") + "EDITED = True\n")
    write_footprint(here, [cell_of("mine", (mine,)), *cells[1:]], (mine,))
    monkeypatch.setitem(revisions.METHODS, "origdrop", 2)
    write_footprint(here, cells, (mine,))
    assert counted == [("mine", 0.5), ("origdrop", 0.5)]
    monkeypatch.setattr(revisions, "MEASURES", 2)
    write_footprint(here, cells, (mine,))
    assert len(counted) == 5


def test_method_that_raises_is_left_out_with_its_reason(tmp_path: Path) -> None:
    raising = plugin(tmp_path, "raising", extract="raise ValueError('odd shape')")
    absent = plugin(tmp_path, "absent", extract="return 'no module'")
    plugins = (raising, absent)
    said: dict[str, str] = {}
    cells = [cell_of(name, plugins) for name in ("raising", "absent", "origdrop")]
    table = footprint.footprint(cells, plugins, keeps=(0.5,), on_skip=said.__setitem__)
    assert {row["method"] for row in table.to_pylist()} == {"fedavg", "origdrop"}
    assert set(said) == {f"{CNN}, raising", f"{CNN}, absent"} and "odd shape" in said[f"{CNN}, raising"]


def test_what_the_repository_ships_for_a_comparison_need_not_be_counted() -> None:
    """Where this fails, a revision was raised: ``plot sweeps/compare.toml`` counts anew; copy the table from there."""
    root = Path(__file__).resolve().parents[2]
    known = counted_in([root / "results" / "compare" / "footprint.parquet"])
    for cell in read_sweep(root / "sweeps" / "compare.toml").cells:
        keeps = {1.0} if cell.method in ("fedavg", "fedlama") else set(footprint.KEEPS)
        assert set(known[made_by(cell, "paper", {})]) >= keeps, cell.label
