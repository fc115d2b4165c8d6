"""Help and listings: what there is, in wide and narrow terminals."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny import CommandLine, sweep_of, write
from typer.testing import CliRunner

import methods
from bench.cli.main import app
from bench.federation.profiles import listed
from bench.figures import FIGURES
from bench.plugins import registry


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    return CommandLine(monkeypatch, capsys)


COMMANDS = {
    (): ["list", "run", "sweep", "status", "plot", "partition", "perf", "check", "new", "data", "gc",
         "results"],
    ("check",): ["NAME", "--plugin", "--task", "--set"],
    ("new",): ["NAME", "--family", "--folder", "spectral", "width", "plain"],
    ("list",): ["--plugin", "methods", "tasks", "sweeps", "figures", "profiles"],
    ("run",): ["--task", "--method", "--keep", "--capacity", "--alpha", "--partition", "--seed", "--rounds", "--tier",
               "--data", "--diagnostics", "--set", "--plugin", "--device", "--workers", "--results"],
    ("sweep",): ["FILE", "--jobs", "--only", "--dry-run", "--stale", "--retry-failed", "--leave-failed",
                 "--stop-after", "--plugin", "--device", "--results"],
    ("estimate",): ["FILE", "--jobs", "--only", "--plugin", "--device", "--results"],
    ("status",): ["FILE", "--plugin", "--results"],
    ("gc",): ["FILE", "--yes", "--plugin", "--results"],
    ("results", "merge"): ["A", "B"],
    ("results", "check"): ["FOLDER"],
    ("plot",): ["FILE", "--x", "round", "bytes", "--results"],
    ("partition",): ["--task", "--alpha", "--partition", "--seed", "--tier", "--data", "--results"],
    ("perf",): ["--device", "--repetitions", "--part", "--task", "--precision", "--samples", "--results"],
    ("data",): ["list", "fetch", "import", "verify"],
    ("data", "list"): [],
    ("data", "fetch"): ["NAME"],
    ("data", "import"): ["NAME", "PATH"],
    ("data", "verify"): ["NAME"],
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("width", [100, 40])
def test_help_names_every_option(command: tuple[str, ...], width: int) -> None:
    result = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": str(width), "TERMINAL_WIDTH": str(width)})
    assert result.exit_code == 0
    if width == 100:
        assert [word for word in COMMANDS[command] if word not in result.stdout] == []


def test_no_command_shows_the_help() -> None:
    assert "Usage" in CliRunner().invoke(app, []).output


@pytest.mark.parametrize("width", ["120", "30"])
def test_listings(bench: CommandLine, monkeypatch: pytest.MonkeyPatch, width: str) -> None:
    monkeypatch.setenv("COLUMNS", width)
    Path("sweeps").mkdir()
    sweep_of(Path("sweeps"))
    write(Path("sweeps/wrong.toml"), "x = 1")
    known = {
        "methods": [path.stem for path in Path(methods.__path__[0]).glob("[!_]*.py")],
        "tasks": list(registry.tasks()),
        "figures": list(FIGURES),
        "profiles": [profile.name for profile in listed()],
        "sweeps": ["tiny.toml", "wrong.toml"] if width == "120" else [],
    }
    for kind, names in known.items():
        shown = bench("list", kind)
        assert shown.code == 0 and [name for name in names if name not in shown.out] == []
    assert "unknown key" in bench("list", "sweeps").out or width == "30"
    everything = bench("list").out
    assert [kind for kind in known if kind not in everything] == []


@pytest.mark.parametrize("width", [40, 80])
def test_a_method_is_one_line_in_the_listing(
    bench: CommandLine, monkeypatch: pytest.MonkeyPatch, width: int, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    broken = write(tmp_path / "broken.py", "raise ValueError('it is not finished yet')\n")
    lines = bench("list", "methods", "--plugin", broken).out.splitlines()
    assert max(map(len, lines)) <= width
    for entry in registry.methods().values():
        assert entry.kind is not None
        (line,) = [line for line in lines if line.split()[:1] == [entry.name]]
        start = line.removeprefix(entry.name).strip().rstrip("…")
        costs = rf"^{entry.kind.family} +([0-9.]+ +){{3}}"  # which cost a client takes stands before what it does
        shown = start if width == 40 else re.sub(costs, "", start)
        assert len(shown) >= 10 and entry.kind.summary.startswith(shown)
        assert start != shown or width == 40
    assert "it is not finished yet" in " ".join(lines)


def test_one_method_or_task_is_shown_with_all_that_is_known_of_it(
    bench: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "240")  # no cell of the tables is in two lines
    shown = " ".join(bench("list", "methods", "fedhm").out.split())
    kind = registry.method("fedhm").kind
    assert kind is not None and kind.paper in shown and kind.deviations
    assert [words for words in kind.deviations if words not in shown] == []
    assert "label_rows" in shown and "mean, sum, all" in shown
    task = " ".join(bench("list", "tasks", "resnet18-cifar10").out.split())
    assert "resnet18, resnet20" in task and "rounds │ 1000 │ 1000 │ 30 │ communication rounds" in task
    assert "true" in shown and ":func:" not in " ".join(bench("list", "methods", "inclusivefl").out.split())
    for name in registry.methods():
        assert bench("list", "methods", name).code == 0
    assert "did you mean 'fedhm'" in bench.refused("list", "methods", "fedhn")
    assert "did you mean 'lstm-imdb'" in bench.refused("list", "tasks", "lstm-imbd")
    assert "did you mean 'methods'" in bench.refused("list", "method")
    assert "'methods' or 'tasks'" in bench.refused("list", "figures", "levels")


def test_broken_plugin_is_a_row_of_the_listing(bench: CommandLine) -> None:
    write(Path("broken.py"), "def f(:\n")
    shown = bench("list", "methods", "--plugin", "broken.py")
    assert shown.code == 0 and "broken" in shown.out and "SyntaxError" in shown.out and "prism" in shown.out
