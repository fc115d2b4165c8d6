"""Wrong usage is one sentence, exit code 2, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import CELLS, CNN, TRAINING, CommandLine, sweep_of, write

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
