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
import torch
from patience import PATIENCE_S
from tiny import CELLS, CNN, RESNET, TRAINING, CommandLine, cell_of, plugin, run_here, sentence, start, sweep_of, write
from typer.testing import CliRunner

import methods
from bench import revisions
from bench.cli.main import app
from bench.cli.partition_picture import draw
from bench.config.cells import read_sweep
from bench.federation.profiles import listed
from bench.figures import FIGURES
from bench.launch.running import run_cell
from bench.plugins import registry
from bench.store import provenance
from bench.store.cells import Store

SET = [word for name, value in TRAINING.items() for word in ("--set", f"{name}={value}")]
RUN = ("run", "--task", CNN, "--method", "orthdrop", "--keep", 0.5, "--workers", 1, "--device", "cpu", *SET)


def without(change: list[object]) -> list[object]:
    """Return the words of the tiny run but the settings that a change makes: none is made twice."""
    made = {str(word).partition("=")[0] for word in change}
    kept = [pair for pair in zip(SET[::2], SET[1::2], strict=True) if str(pair[1]).partition("=")[0] not in made]
    return [*RUN[: -len(SET)], *(word for pair in kept for word in pair)]


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
        shown = start if width == 40 else start.removeprefix(entry.kind.family).strip()
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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--task", "cnn-femnst"], ["command line", "did you mean 'cnn-femnist'"]),
        (["--method", "PRISM"], ["command line", "did you mean 'prism'"]),
        (["--keep", "A-E"], ["unknown level 'A'", "did you mean 'a'"]),
        (["--method", "orthdorp"], ["command line", "did you mean 'orthdrop'"]),
        (["--keep", 0], ["command line", "keep = 0.0", "above 0 and up to 1"]),
        (["--keep", "nan"], ["keep = 'nan'"]),
        (["--keep", "1e-300"], ["keep = 1e-300", "a keep ratio above 0 and up to 1 (at least 0.000001)"]),
        (["--keep", "\u0660.\u0662"], ["keep = '\u0660.\u0662'", "with the digits 0 to 9, as 0.25"]),
        (["--keep", "0.2 "], ["keep = '0.2 '", "without spaces"]),
        (["--seed", "\u0663"], ["--seed '\u0663'", "allowed: a whole number, as 12"]),
        (["--seed", "1_0"], ["--seed '1_0'", "allowed: a whole number, as 12"]),
        (["--seed", "9" * 5000], ["--seed '999", "allowed: a whole number up to 2**63 - 1"]),
        (["--seed", 2**63], [f"--seed '{2**63}'", "allowed: a whole number up to 2**63 - 1"]),
        (["--rounds", "9" * 20], ["--rounds '999", "allowed: a whole number up to 2**63 - 1"]),
        (["--workers", "9" * 20], ["--workers '999", "allowed: a whole number from 1 to 2**63 - 1"]),
        (["--set", "clients=" + "9" * 20], ["clients: a whole number of 67 bits is not possible; allowed: 64 bits"]),
        (["--alpha", "\u0663"], ["--alpha '\u0663'", "with the digits 0 to 9"]),
        (["--alpha", "nan"], ["--alpha 'nan'", "allowed: a number"]),
        (["--set", "lr=\u0663"], ["lr = '\u0663'", "allowed: a number above 0"]),
        (["--set", "lr=nan"], ["lr = nan", "allowed: a number above 0"]),
        (["--set", "clients=" + "9" * 5000], ["clients = '999", "allowed: a whole number"]),
        (["--set", "clients=0x" + "9" * 5000], ["a whole number of 20,000 bits is not possible"]),
        (["--set", "lr=" + "[" * 1000], ["lr = '[[[", "allowed: a number"]),
        (["--set", "lr=1\nmomentum=0"], ["lr = '1\\nmomentum=0'", "allowed: a number"]),
        (["--keep", "half"], ["command line", "keep = 'half'", "above 0 and up to 1", "'0.2:0.6,0.4:0.4'"]),
        (["--keep", "0.2:0.6,0.4:0.3"], ["command line", "keep = '0.2:0.6,0.4:0.3'", "add up to 0.9"]),
        (["--diagnostics", "eror"], ["diagnostics = 'eror'", "did you mean 'errors'"]),
        (["--partition", "iid-exact"], ["'iid-exact'", "samples_per_client=40 is not possible", "a multiple of"]),
        (["--alpha", 0], ["alpha = 0.0"]),
        (["--alpha", 1, "--partition", "natural"], ["alpha = 1.0", "'natural'"]),
        (["--partition", "dirichlet"], ["needs alpha"]),
        (["--seed", -1], ["seed = -1"]),
        (["--rounds", 0], ["rounds = 0 "]),
        (["--tier", "big"], ["tier = 'big'", "'paper', 'quick'"]),
        (["--data", "fake"], ["data = 'fake'"]),
        (["--set", "rounds"], ["--set 'rounds'", "name=value"]),
        (["--set", "=3"], ["--set '=3'", "name=value"]),
        (["--set", "lr=1", "--set", "training.lr=2"], ["--set 'training.lr=2'", "'lr' is set twice"]),
        (["--set", "training.cohort=2"], ["'cohort' is set twice"]),
        (["--set", "tial=keep"], ["--set 'tial=keep'", "did you mean 'tail'"]),
        (["--set", "tail=maybe"], ["tail = 'maybe'", "'keep', 'drop'"]),
        (["--set", "training.lrr=1"], ["'lrr'", "did you mean 'lr'"]),
        (["--set", "rounds=two"], ["rounds = 'two'", "a whole number"]),
        (["--set", "drop_last=1"], ["drop_last = 1 ", "true or false"]),
        (["--set", "cohort=5"], ["cohort = 5 ", "clients = 4"]),
        (["--set", "standin_train=10"], ["standin_train = 10 is not", "allowed: a whole number from 300, since"]),
        (["--set", "samples_per_client=400", "--partition", "iid"], ["need 1600 samples", "has 400"]),
        (["--device", "gpu"], ["--device 'gpu'", "'cuda'"]),
        (["--device", "cuda"], ["--device 'cuda' is not on this machine", "cpu"]),
        (["--plugin", "nowhere.py"], ["plugin nowhere.py", "no such file"]),
        (["--results", "a-file"], ["a-file/runs", "cannot be written"]),
        (["--data", "real"], ["data set 'femnist' is not here", "data import femnist PATH"]),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_wrong_run(
    bench: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: list[object], words: list[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if "real" in change:
        monkeypatch.setenv("BENCH_DATA", str(tmp_path / "no-data"))
    Path("a-file").touch()
    said = bench.refused(*without(change), *change)
    assert [word for word in words if word not in said] == [], said
    assert not Path("results").exists()


@pytest.mark.parametrize("keep", ["nan", "nan:1", "aa"])
def test_a_level_of_one_letter_is_near_to_a_letter_alone(bench: CommandLine, keep: str) -> None:
    said = bench.refused(*RUN, "--keep", keep)
    assert f"keep = {keep!r}" in said and "did you mean" not in said


def test_damaged_data_is_one_sentence(bench: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    (tmp_path / "femnist").mkdir()
    (tmp_path / "femnist" / "manifest.json").write_text("{")
    for words in (
        (*RUN, "--data", "real"),
        ("partition", "--task", CNN, "--data", "real"),
        ("data", "verify", "femnist"),
    ):
        assert "femnist" in bench.refused(*words)
    assert "corrupt" in bench("data", "list").out
    assert "did you mean 'femnist'" in bench.refused("data", "fetch", "femnits")
    assert "does not exist" in bench.refused("data", "import", "femnist", "nowhere")


@pytest.mark.parametrize("command", ["sweep", "status", "plot"])
def test_wrong_sweep_file(bench: CommandLine, command: str) -> None:
    assert "cannot be read" in bench.refused(command, "nowhere.toml")
    write(Path("wrong.toml"), "figures = ['x']\n" + sweep_of(Path()).read_text())
    assert "unknown figure 'x'" in bench.refused(command, "wrong.toml")
    assert not Path("results").exists()


def test_sweep_finds_out_before_it_runs(bench: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "no-data"))
    file = sweep_of(Path(), CELLS + 'data = "real"\n')
    assert "data set 'femnist' is not here" in bench.refused("sweep", file)
    file = sweep_of(Path(), CELLS + "partition = 'iid'\n[cells.training]\nsamples_per_client = 400\n")
    assert "need 1600 samples" in bench.refused("sweep", file)
    file = sweep_of(Path())
    assert "did you mean 'method'" in bench.refused("sweep", file, "--only", "metod=prism")
    assert "'gpu'" in bench.refused("sweep", file, "--device", "gpu")
    Path("results").touch()
    assert "cannot be written" in bench.refused("sweep", file)


@pytest.mark.parametrize("command", [["sweep", "--dry-run"], ["status"], ["plot"], ["gc"]], ids=" ".join)
@pytest.mark.parametrize("place", ["a-file", "a-file/x", "results"])
def test_results_where_a_file_is_are_refused_by_those_who_only_look(
    bench: CommandLine, command: list[str], place: str
) -> None:
    Path("a-file").touch()
    Path("results").mkdir()
    Path("results/tiny").touch()
    said = bench.refused(*command, sweep_of(Path()), "--results", place)
    assert said == f"{place}/tiny: results cannot be written here: Not a directory"


@pytest.mark.parametrize("words", [["--jobs", "0"], ["--jobs", "two"], ["--stale", "maybe"], ["--speed"]])
def test_wrong_options_end_with_code_2(bench: CommandLine, words: list[str]) -> None:
    result = bench("sweep", sweep_of(Path()), *words)
    assert result.code == 2 and "Traceback" not in result.err and words[0] in result.err


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        ("sweep tiny.toml --engine rya", "'local', 'inline', 'ray'; did you mean 'ray'?"),
        ("sweep tiny.toml --stale foo", "'rerun', 'keep'"),
        ("plot tiny.toml --x byte", "'round', 'bytes', 'macs', 'seconds'; did you mean 'bytes'?"),
        ("new mine --family widht", "'spectral', 'width', 'plain'; did you mean 'width'?"),
    ],
)
def test_a_wrong_choice_is_one_sentence_with_the_nearest(bench: CommandLine, words: str, allowed: str) -> None:
    *_, option, value = words.split()
    assert bench.refused(*words.split()) == f"{option} {value!r}: it is not possible; allowed: {allowed}"


def test_an_unknown_command_is_answered_with_those_that_there_are(bench: CommandLine) -> None:
    said = bench.refused("sweap")
    assert said.startswith("unknown command 'sweap'; allowed: 'list', 'run', 'sweep', 'tune', 'status', 'plot', ")
    assert said.endswith("; did you mean 'sweep'?")
    verbs = "'check', 'pack', 'unpack', 'show', 'merge', 'upgrade'"
    assert bench.refused("results", "x") == f"unknown command 'x'; allowed: {verbs}"
    assert bench.refused("data", "fech").startswith("unknown command 'fech'; allowed: 'list', 'fetch', 'import', ")
    assert "--wrong" in bench("--wrong").err  # an option is none


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
