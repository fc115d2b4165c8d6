"""What people type and how they call their files: homes, marks, odd names, narrow terminals, other encodings."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from tiny import CNN, TRAINING, CommandLine, plugin, run_here, sweep_of, write

import bench as package
from bench.errors import BenchError

SET = [word for name, value in {**TRAINING, "rounds": 1}.items() for word in ("--set", f"{name}={value}")]
RUN = ("run", "--task", CNN, "--method", "mine", "--workers", 1, "--device", "cpu", *SET)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    run_here(monkeypatch)
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


def test_the_users_home_is_meant_by_its_sign(bench: CommandLine, home: Path) -> None:
    plugin(home, "mine")
    sweep_of(home, '[[cells]]\nmethod = "mine"\n')
    options = ("--plugin", "~/mine.py", "--results", "~/results")
    shown = bench(*RUN, *options)
    assert shown.code == 0 and f"saved in {home}/results/runs" in shown.out
    assert bench("status", "~/tiny.toml", *options).code == 0
    assert bench("gc", "~/tiny.toml", *options).code == 0
    assert "to do" in bench("sweep", "~/tiny.toml", *options, "--dry-run").out
    assert bench("results", "merge", "~/results/runs", "~/results/runs").code == 0
    assert bench("new", "fresh", "--folder", "~/code").code == 0 and (home / "code" / "methods" / "fresh.py").is_file()
    assert str(home / "study.toml") in bench.refused("tune", "~/study.toml")
    assert str(home / "env.yaml") in bench.refused(
        "sweep", "~/tiny.toml", "--engine", "ray", "--runtime-env", "~/env.yaml", *options
    )
    with pytest.raises(BenchError, match="there are no tables here"):
        package.load("~/results/runs")
    assert not Path("~").exists()


def test_a_home_that_is_not_there_is_a_sentence(bench: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no home folder" in bench.refused("list", "methods", "--plugin", "~nobody-of-this-name/mine.py")
    monkeypatch.setenv("BENCH_DATA", "~nobody-of-this-name/data")
    assert "BENCH_DATA, the folder of data: ~nobody" in bench.refused("data", "verify", "femnist")


TAKES_SWEEP = ("sweep", "status", "plot", "gc")


@pytest.fixture
def files(bench: CommandLine) -> Path:
    """A folder with a project, a sweep and a study, and another sweep and study in the folders for them."""
    study = 'trials = 2\n[common]\ntask = "cnn-femnist"\n[methods.prism]\n'
    Path("sweeps/studies").mkdir(parents=True)
    for folder, name in ((Path(), "mine"), (Path("sweeps"), "theirs")):
        sweep_of(folder, name=name)
    write(Path("my-study.toml"), study)
    write(Path("sweeps/studies/their-study.toml"), study)
    write(Path("pyproject.toml"), "[project]\nname = 'mine'\n")
    write(Path("broken.toml"), "[")
    return Path()


@pytest.mark.parametrize("command", [*TAKES_SWEEP, "tune"])
def test_a_missing_file_or_a_folder_is_said_with_the_files_that_there_are(
    bench: CommandLine, files: Path, command: str
) -> None:
    near = (
        "'my-study.toml', 'sweeps/studies/their-study.toml'"
        if command == "tune"
        else "'mine.toml', 'sweeps/theirs.toml'"
    )
    said = bench.refused(command, "missing.toml")
    assert f"missing.toml: the {'study' if command == 'tune' else 'sweep'} file cannot be read (No such file" in said
    assert f"; allowed: {near}" in said and "pyproject" not in said
    of_folder = "'sweeps/studies/their-study.toml'" if command == "tune" else "'sweeps/theirs.toml'"
    said = bench.refused(command, "sweeps")
    assert said.startswith("sweeps: ") and said.endswith(f"cannot be read (it is a folder); allowed: {of_folder}")


@pytest.mark.parametrize("command", [*TAKES_SWEEP, "tune"])
def test_a_study_is_no_sweep_and_a_sweep_no_study(bench: CommandLine, files: Path, command: str) -> None:
    if command == "tune":
        assert bench.refused("tune", "mine.toml") == "mine.toml: this is a sweep: use 'bench sweep'"
    else:
        assert bench.refused(command, "my-study.toml") == "my-study.toml: this is a study: use 'bench tune'"


def test_marks_in_names_of_files_are_printed_as_they_are(bench: CommandLine) -> None:
    folder = Path("[red]a[/]b")
    folder.mkdir(parents=True)
    path = plugin(folder, "mine")
    options = ("--plugin", path, "--results", folder / "[bold]results")
    shown = bench(*RUN, *options)
    assert shown.code == 0 and f"saved in {folder}/[bold]results/runs" in shown.out
    assert str(path) in bench("list", "methods", "mine", "--plugin", path).out.replace("\n", "")
    assert f"{folder}/[/]nowhere.toml" in bench.refused("sweep", folder / "[/]nowhere.toml")
    file = sweep_of(folder, '[[cells]]\nmethod = "mine"\n', head='title = "[/red] of [bold]mine"\n', name="[red]tiny")
    assert "[/red] of [bold]mine: 1 cell" in bench("status", file, *options).out
    assert f"{folder}/[bold]results/[red]tiny" in bench("gc", file, *options).out
    broken = write(folder / "[x].py", "raise ValueError('[/nope] [red]')\n")
    assert "[/nope] [red]" in bench("list", "methods", "--plugin", broken).out


HEADINGS = {"name", "family", "what", "it", "does", "is", "data", "set", "parameters", "tiers", "shows", "tables"}
HEADINGS |= {"stands", "for", "meaning", "ratio", "source"}
"""Left out in a block of a row that has nothing below them."""


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("kind", ["tasks", "figures", "profiles"])
def test_listings_break_no_word(bench: CommandLine, monkeypatch: pytest.MonkeyPatch, kind: str, width: int) -> None:
    def words(columns: int) -> set[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        shown = bench("list", kind).out
        assert max(map(len, shown.splitlines())) <= columns
        return {word.rstrip(":") for word in re.sub(r"[│┃┏┓┡┩└┘━─┴┳╇]", " ", shown).split()}

    # On a wide terminal every text is one line; what is longer than a narrow one has to be broken there.
    assert {word for word in words(5000) if len(word) < width - 2} - words(width) <= HEADINGS


def test_the_version_is_said(bench: CommandLine) -> None:
    assert bench("--version") == (0, f"submodel-bench {package.__version__}\n", "")


def started(folder: Path, *words: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    root = str(Path(__file__).resolve().parents[1])
    return subprocess.run(
        [sys.executable, "-m", "bench", *map(os.fsencode, map(str, words))],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root, **environment},
        capture_output=True,
        timeout=300,
    )


def test_names_that_a_terminal_cannot_show_are_no_traceback(tmp_path: Path) -> None:
    missing = os.fsdecode(b"caf\xe9\xff.toml")
    result = started(tmp_path, "status", missing, PYTHONIOENCODING="ascii")
    assert result.returncode == 2 and result.stderr.startswith(b"error: caf\\udce9\\udcff.toml: the sweep file")


def test_rich_marks_are_taken_from_no_cell_of_a_table() -> None:
    from bench.terminal.columns import Columns

    table = Columns("title [x]", "name", "what")
    table.add_row("one", r"\[red]two")
    console = Console(width=60, record=True, file=io.StringIO())
    console.print(table)
    text = console.export_text()
    assert "title [x]" in text and "[red]two" in text
