"""``compare`` as a user meets it, and ``bench.compare``."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from compared import GRID, UNIFORM, finish, no_footprint, sweep_in
from rich.console import Console
from tiny import CommandLine, write

import bench as package
from bench.cell import Cell
from bench.comparison import comparing, figure, shown
from bench.comparison.own_method import own_method
from bench.comparison.plan import Choice, plan_of
from bench.config.cells import read_sweep
from bench.errors import BenchError
from bench.launch import inline, local
from bench.report import plotting
from bench.report.manifest import differences
from bench.store.cells import Store

SWEEP = ("--sweep", "tiny.toml")
LONG = GRID.replace('"prism"]', '"prism", "federated_dropout"]') + (
    '[[cells]]\nmethod = "prism"\nkeep = 0.2\nseed = [0, 1, 2]\n'
    "parameters = { prism = { multipliers = 'wallenius', clip_tau = 10 } }\n"
)


def acc_of(cell: Cell) -> float | None:
    if cell.method == "federated_dropout":
        return None
    return 0.4 + 0.1 * (cell.method == "prism") - 0.1 * (cell.method == "orthdrop") + cell.seed**2 / 90 * cell.keep


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local, "hire", inline.hire)
    monkeypatch.setattr(plotting, "write_footprint", no_footprint)
    monkeypatch.setattr(figure, "write", lambda *some: [])
    write(Path("uniform.py"), UNIFORM)
    return CommandLine(monkeypatch, capsys)


def finished(grid: str = GRID, mine: bool = True) -> None:
    """Finish the sweep's cells, and those of the file."""
    sweep = sweep_in(Path(), grid)
    plan = plan_of(sweep, own_method("uniform.py", sweep), Choice(), Path("results"))
    finish(plan.others, plan.store.behind, acc_of)
    if mine:
        finish(plan.mine, plan.store, acc_of, plan.plugins)


def test_a_comparison_of_finished_cells_is_a_line_for_each(bench: CommandLine) -> None:
    finished()
    result = bench("compare", "uniform.py", *SWEEP, "--device", "cpu")
    assert result.code == 0, result
    lines = result.out.splitlines()
    assert lines[0] == "uniform on tiny: 6 done; to be paired with 15 of 15 cells of other methods"
    assert "uniform on cnn-femnist, keep 0.2, natural: FEMNIST-like stand-in data, CNN of" in lines
    assert any(line.startswith("  prism: 40.4 % against 50.4 %, difference -10.0 [-10.0, -10.0]") for line in lines)
    assert sum(line.endswith(": behind") for line in lines) == sum(line.endswith(": ahead") for line in lines) == 2
    assert lines[-5:] == [
        "the comparison: compare.* in results/tiny-with-uniform/tables",
        "drawing the figures; the table above is complete, and Ctrl-C leaves it as it is",
        "4 tables and 0 figure files in results/tiny-with-uniform",
        "its differences: compare-* in results/tiny-with-uniform/figures",
        "report: results/tiny-with-uniform/report.html",
    ]
    assert all(len(line) <= 80 for line in lines if line.startswith(("uniform on cnn", "Accuracy", "Each", "Stand")))


def test_the_table_is_there_before_anything_is_drawn_and_figures_can_be_left_out(
    bench: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished()

    def interrupted(*some: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(figure, "write", interrupted)
    folder, words = Path("results/tiny-with-uniform"), ("compare", "uniform.py", *SWEEP, "--device", "cpu")
    assert bench(*words).code == 130
    assert "| orthdrop |" in (folder / "tables" / "compare.md").read_text() and differences(folder) == []
    alone = bench(*words, "--no-figures")
    assert alone.code == 0 and alone.out.splitlines()[-2] == f"the comparison: compare.* in {folder}/tables"
    assert alone.out.splitlines()[-1] == f"report: {folder}/report.html"
    assert len(package.compare("uniform.py", sweep="tiny.toml", figures=False)) == 6
    assert not (folder / "figures").exists()


def test_the_table_fits_a_terminal_of_80_characters(bench: CommandLine) -> None:
    finished(LONG)
    read = read_sweep(Path("tiny.toml"))
    plan = plan_of(read, own_method("uniform.py", read), Choice(), Path("results"))
    made = comparing.compared(plan, comparing.look_at(plan, "cpu"), Console(quiet=True))
    screen = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    shown.show(made.table, screen)
    text = screen.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= 80
    assert "-10.0 [-10.0, -10.0]" in text and "multipliers=wallenius)" in text
    assert "it diverged" in text and "fedavg, full model" in text


def test_a_dry_run_says_what_would_be_run_and_how_long_and_writes_nothing(bench: CommandLine) -> None:
    finished(mine=False)
    before = sorted(Path("results").rglob("*"))
    result = bench("compare", "uniform.py", *SWEEP, "--dry-run", "--jobs", 2, "--keep", "0.2")
    assert result.code == 0, result
    lines = result.out.splitlines()
    assert lines[0] == "uniform on tiny: 3 to do; to be paired with 9 of 9 cells of other methods"
    assert [line.partition("-seed")[0] for line in lines[1:4]] == ["would run cnn-femnist-uniform-keep0.2-natural"] * 3
    assert lines[-1] == "about 6 s left with 2 at once"
    assert sorted(Path("results").rglob("*")) == before


def test_what_is_missing_is_run_and_a_second_time_it_is_there(bench: CommandLine) -> None:
    finished('[[cells]]\nmethod = ["orthdrop", "prism"]\nkeep = 0.5\n', mine=False)
    first = bench("compare", "uniform.py", *SWEEP, "--device", "cpu", "--jobs", 1)
    assert first.code == 0 and "runs 1 cell, about" in first.out, first
    assert first.out.count("over 1 seed: no interval") == 2
    again = bench("compare", "uniform.py", *SWEEP, "--device", "cpu")
    assert "uniform on tiny: 1 done" in again.out and "runs" not in again.out.split("uniform on cnn")[0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("unifrm.py", *SWEEP), "unifrm.py: there is no such file; allowed: 'uniform.py'; did you mean 'uniform.py'?"),
        (("uniform.py",), "sweeps/compare.toml: the sweep file cannot be read"),
        (
            ("uniform.py", *SWEEP, "--against", "prism,orthdrp"),
            "--against 'orthdrp': the sweep 'tiny' lacks it; allowed",
        ),
        (("uniform.py", *SWEEP, "--seeds", "7"), "--seeds 7: tiny has 3; allowed: 1 to 3"),
        (("uniform.py", *SWEEP, "--set", "lr=1"), "--set lr: it is a setting of the training, which all methods of"),
        (("uniform.py", *SWEEP), "results/tiny: there is nothing to compare with: of 15 cells of other methods none"),
    ],
)
def test_a_wrong_word_is_one_sentence_and_nothing_is_written(
    bench: CommandLine, words: tuple[str, ...], sentence: str
) -> None:
    sweep_in(Path())
    assert bench.refused("compare", *words).startswith(sentence)
    assert not Path("results").exists()


@pytest.mark.slow
def test_a_failure_is_named_and_the_code_is_1(bench: CommandLine) -> None:
    finished('[[cells]]\nmethod = "prism"\nkeep = 0.5\nseed = [0, 1]\n', mine=False)
    write(Path("uniform.py"), UNIFORM.replace("return np.sort(", "raise ValueError('odd')\n        return np.sort("))
    result = bench("compare", "uniform.py", *SWEEP, "--device", "cpu", "--jobs", 1)
    assert result.code == 1 and "there is nothing to compare: 2 failed: " in result.out, result
    assert "ValueError: odd" in result.out.splitlines()[-1]
    sweep = sweep_in(Path(), '[[cells]]\nmethod = "prism"\nkeep = 0.5\nseed = [0, 1]\n')
    plan = plan_of(sweep, own_method("uniform.py", sweep), Choice(), Path("results"))
    shutil.rmtree(plan.store.path(plan.mine[0]))
    finish(plan.mine[:1], Store(plan.store.folder), acc_of, plan.plugins)
    result = bench("compare", "uniform.py", *SWEEP, "--device", "cpu", "--jobs", 1)
    assert result.code == 1 and "uniform: 1 of 2 cells failed (1 on cnn-femnist)" in result.out, result


def test_from_python_the_table_comes_back_and_what_to_know_is_a_warning(bench: CommandLine) -> None:
    finished()
    sweep = read_sweep(Path("tiny.toml"))
    shutil.rmtree(Store(Path("results/tiny")).path(sweep.cells[-1]))
    with pytest.warns(UserWarning, match="missing: 1 of 6 cells of other methods: prism"):
        table = package.compare(Path("uniform.py"), sweep="tiny.toml", against="prism", keep=[0.2, "0.5"])
    assert table["other"].tolist() == ["prism", "prism"] and table["pairs"].tolist() == [3, 2]
    assert set(package.load("results/tiny-with-uniform")) >= {"compare", "cells", "rounds"}
    with pytest.raises(BenchError, match=r"^--keep '0.3': the sweep 'tiny' lacks it"):
        package.compare("uniform.py", sweep="tiny.toml", keep=0.3)
