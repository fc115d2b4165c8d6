"""The command line as a user meets it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from patience import PATIENCE_S
from tiny import CELLS, CNN, RESNET, TRAINING, CommandLine, cell_of, plugin, run_here, sentence, start, sweep_of

from bench import revisions
from bench.cli.partition_picture import draw
from bench.config.cells import read_sweep
from bench.launch.running import run_cell
from bench.store import provenance
from bench.store.cells import Store

SET = [word for name, value in TRAINING.items() for word in ("--set", f"{name}={value}")]
RUN = ("run", "--task", CNN, "--method", "orthdrop", "--keep", 0.5, "--workers", 1, "--device", "cpu", *SET)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    run_here(monkeypatch)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny sweep all of whose cells are done."""
    folder = tmp_path_factory.mktemp("finished")
    sweep = read_sweep(sweep_of(folder, CELLS, 'title = "Tiny"\nfigures = ["accuracy-keep"]\n'))
    for cell in sweep.cells:
        run_cell(cell, store=Store(folder / "results" / "tiny"))
    return folder


@pytest.fixture
def swept(finished: Path, bench: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(finished, tmp_path / "work"))
    monkeypatch.chdir(folder)
    return folder


def test_run_leaves_a_result_and_goes_by_plugin(bench: CommandLine) -> None:
    path = plugin(Path(), "mine")
    words = [{"orthdrop": "mine"}.get(str(word), word) for word in RUN]
    result = bench(*words, "--plugin", path)
    assert result.code == 0 and result.out.count("stand-in data") >= 3 and "saved in results/runs" in result.out
    (facts,) = [json.loads(file.read_text()) for file in Path("results/runs/cells").glob("*/cell.json")]
    assert (facts["status"], facts["cell"]["method"], facts["cell"]["keep"]) == ("done", "mine", 0.5)


@pytest.mark.usefixtures("here")
def test_run_of_mixed_keep_ratios(bench: CommandLine) -> None:
    result = bench(*RUN, "--keep", "0.25:0.5,0.75:0.5", "--alpha", 2, "--partition", "lda-prior")
    assert result.code == 0 and "orthdrop, keep 0.25:0.5,0.75:0.5, seed 0" in result.out
    (facts,) = [json.loads(file.read_text()) for file in Path("results/runs/cells").glob("*/cell.json")]
    assert facts["cell"]["capacities"] == [[0.25, 0.5], [0.75, 0.5]] and facts["cell"]["keep"] == 0.5
    assert facts["cell"]["partition"] == "lda-prior" and "concentration alpha times" in facts["alpha_convention"]


@pytest.mark.usefixtures("here")
def test_run_of_keep_ratios_that_are_drawn_anew(bench: CommandLine) -> None:
    result = bench(*RUN, "--keep", "b-c", "--capacity", "dynamic")
    assert result.code == 0 and "orthdrop, keep 0.25:0.5,0.5:0.5 dynamic, seed 0" in result.out
    (file,) = Path("results/runs/cells").glob("*/cell.json")
    assert "-keep0.25x0.5+0.5x0.5-dynamic-" in file.parent.name
    assert json.loads(file.read_text())["cell"]["capacity"] == "dynamic"
    assert "did you mean 'dynamic'" in bench.refused(*RUN, "--keep", "b-c", "--capacity", "dynmic")


@pytest.mark.usefixtures("here")
def test_failed_run_ends_with_code_1_and_its_reason(bench: CommandLine) -> None:
    path = plugin(Path(), "bad", aggregate="raise ValueError('[/] no')")
    result = bench(*[{"orthdrop": "bad"}.get(str(word), word) for word in RUN], "--plugin", path)
    assert result.code == 1 and "failed: round 1: ValueError: [/] no" in result.out
    assert "Traceback" not in result.out + result.err


def test_dry_run_writes_nothing(bench: CommandLine) -> None:
    result = bench("sweep", sweep_of(Path()), "--dry-run")
    assert result.code == 0 and result.out.count("would run") == 3 and "3 cells: 3 to do" in result.out
    only = bench("sweep", sweep_of(Path()), "--dry-run", "--only", "method=orthdrop", "--only", "keep=0.2")
    assert only.out.count("would run") == 1 and "1 cell: 1 to do" in only.out
    assert not Path("results").exists()


def test_relaunch_does_nothing_but_draw(bench: CommandLine, swept: Path) -> None:
    cells = sorted(Path("results/tiny/cells").rglob("*"))
    before = [(path, path.stat().st_mtime_ns) for path in cells]
    result = bench("sweep", "tiny.toml")
    assert result.code == 0 and "Tiny: 3 cells: 3 done" in result.out and "nothing to run" in result.out
    assert [(path, path.stat().st_mtime_ns) for path in sorted(Path("results/tiny/cells").rglob("*"))] == before
    assert {path.stem for path in Path("results/tiny/tables").iterdir()} == {"cells", "rounds", "ranks", "footprint"}
    names = {path.name for path in Path("results/tiny/figures").iterdir()}
    assert names and all(name.startswith("accuracy-keep") for name in names)
    assert len(pd.read_parquet("results/tiny/tables/cells.parquet")) == 3
    again = bench("plot", "tiny.toml", "--x", "bytes")
    assert again.code == 0 and "4 tables" in again.out
    checked = bench("results", "check", "results/tiny")
    assert checked.code == 0 and checked.out.startswith("Tiny: 3 cells in ")
    assert checked.out.count("made on ") == 1 and ": 3 cells\n" in checked.out
    assert "harness 1" in checked.out and checked.out.endswith("all of them are as they were written\n")
    table = Path("results/tiny/tables/cells.parquet")
    table.write_bytes(table.read_bytes() + b" ")
    checked = bench("results", "check", "results/tiny")
    assert checked.code == 1 and "tables/cells.parquet: it was changed since it was written" in checked.out


def test_seeds_are_planned_from_the_finished_cells_of_a_sweep(bench: CommandLine, swept: Path) -> None:
    result = bench("power", "tiny.toml")
    assert result.code == 0 and "orthdrop" in result.out, result.err
    assert "of 1 pair nothing can be said: fewer than two seeds" in result.out


def test_stale_and_damaged_cells_are_said(bench: CommandLine, swept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = next(Path("results/tiny/cells").glob("*fedavg*")) / "log.txt"
    victim.write_text("other words")
    shown = bench("status", "tiny.toml")
    assert "2 done, 1 damaged" in shown.out and "log.txt is not as it was written" in shown.out
    assert bench("sweep", "tiny.toml", "--dry-run").out.count("would run") == 1
    monkeypatch.setattr(provenance, "simulation_code", lambda: "changed")
    shown = bench("status", "tiny.toml").out
    assert "2 done, 1 damaged" in shown and "2 were made by other code of the same revisions" in shown
    monkeypatch.setattr(revisions, "MEASURES", 2)
    assert "2 were measured under another revision than 2" in bench("status", "tiny.toml").out
    monkeypatch.setattr(revisions, "HARNESS", 2)
    assert "2 stale, 1 damaged" in bench("status", "tiny.toml").out
    assert bench("sweep", "tiny.toml", "--dry-run").out.count("would run") == 3
    assert bench("sweep", "tiny.toml", "--dry-run", "--stale", "keep").out.count("would run") == 1


def test_partition_picture(bench: CommandLine) -> None:
    result = bench("partition", "--task", CNN, "--alpha", 1, "--seed", 3)
    assert result.code == 0 and result.out.count("wrote results/partitions/") == 2
    assert " of 62 classes a client (" in result.out and " bits from the prior\n" in result.out
    assert len(list(Path("results/partitions").glob("*alpha1-seed3*"))) == 2


@pytest.mark.parametrize(
    ("partition", "name"),
    [
        ({"partition": "lda-prior", "alpha": 3}, "resnet18-cifar10-lda-prior-alpha3-seed0-quick-stand-in"),
        ({"partition": "iid-exact"}, "resnet18-cifar10-iid-exact-seed0-quick-stand-in"),
        ({"partition": "iid"}, "resnet18-cifar10-iid-seed0-quick-stand-in"),
    ],
)
def test_partition_pictures_are_named_by_kind_and_alpha(partition: dict[str, Any], name: str, tmp_path: Path) -> None:
    words, paths = draw(cell_of(task=RESNET, **partition), tmp_path)
    assert "stand-in data" in words and " of 10 classes a client (" in words and " bits from the prior" in words
    assert sorted(path.name for path in paths) == [f"{name}.pdf", f"{name}.png"]


def test_real_process_refuses_in_one_sentence(tmp_path: Path) -> None:
    process = start(tmp_path, "status", "nowhere.toml")
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (2, "") and "nowhere.toml" in sentence(err)


def test_real_sweep_with_a_failing_plugin(tmp_path: Path) -> None:
    """One failed cell: exit code 1, its reason in the output, the other cell done, tables and figures of what is."""
    plugin(tmp_path, "bad", extract="raise ValueError('[/] no')")
    file = sweep_of(tmp_path, '[[cells]]\nmethod = ["bad", "orthdrop"]\nkeep = 0.5\n', "figures = []\n")
    process = start(tmp_path, "sweep", file, "--plugin", "bad.py", "--device", "cpu", one_core=True)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1 and "Traceback" not in out + err
    assert "round 1: ValueError: [/] no" in out and "failed cells: 1" in out and "footprint of cnn-femnist, bad" in out
    assert pd.read_parquet(tmp_path / "results/tiny/tables/cells.parquet")["method"].tolist() == ["orthdrop"]


def test_start_is_quick() -> None:
    """The help needs none of the heavy libraries."""
    code = (
        "import sys, bench.cli.main; print([name for name in ('torch', 'pandas', 'matplotlib') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
