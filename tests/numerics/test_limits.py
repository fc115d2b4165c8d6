"""Requests that cannot end well are refused before they start; what will take hours is said to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tiny import CELLS, CNN, LSTM, SETTINGS, TRAINING, CommandLine, cell_of, sweep_of

import bench
from bench.cell import Cell
from bench.config.duration import in_words, least_seconds, long_waits
from bench.errors import BenchError
from bench.launch.apart import Seen
from bench.numerics import limits
from bench.terminal.display import RunDisplay

HUGE = 999_999_999_999


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (f"standin_train={HUGE}", "stand-in data of 999999999999 training and 60 test samples needs 1.6 PB of memory"),
        (f"standin_test={HUGE}", "stand-in data of 400 training and 999999999999 test samples needs 1.6 PB of memory"),
        (f"rounds={HUGE}", "rounds = 999999999999 needs 1000 TB of memory at least; this machine has "),
        (
            f"samples_per_client={HUGE}",
            "samples_per_client=999999999999 need 3999999999996 samples; the training split",
        ),
    ],
)
def test_what_cannot_fit_is_a_sentence(setting: str, said: str, command: CommandLine) -> None:
    own = setting.partition("=")[0]
    words = [word for name, value in TRAINING.items() if name != own for word in ("--set", f"{name}={value}")]
    run = ("run", "--task", CNN, "--method", "fedavg", "--partition", "iid", "--device", "cpu", *words)
    assert said in command.refused(*run, "--set", setting)
    name, _, value = setting.partition("=")
    with pytest.raises(BenchError) as refused:
        bench.run(**{**SETTINGS, "partition": "iid", name: int(value)}, inline=True)
    assert said in str(refused.value)


def test_a_sweep_that_cannot_fit_is_a_sentence(command: CommandLine, tmp_path: Path) -> None:
    file = sweep_of(tmp_path, CELLS)
    file.write_text(file.read_text().replace("rounds = 2", f"rounds = {HUGE}"))
    assert f"rounds = {HUGE} needs 1000 TB of memory" in command.refused("sweep", file, "--device", "cpu")


def test_a_model_that_cannot_fit_is_a_sentence(command: CommandLine) -> None:
    said = command.refused("run", "--task", LSTM, "--method", "fedavg", "--set", "hidden=100000000", "--device", "cpu")
    assert "the model, with 4e+16 parameters, needs " in said or (
        "the model, with " in said and " PB of memory" in said
    )


def test_memory_is_that_of_the_container(tmp_path: Path) -> None:
    whole = limits.memory_bytes(tmp_path)
    assert 1 << 28 < whole < 1 << 50
    (tmp_path / "memory.max").write_text("max\n")
    assert limits.memory_bytes(tmp_path) == whole
    (tmp_path / "memory.max").write_text("1000000\n")
    assert limits.memory_bytes(tmp_path) == 1_000_000
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("9000\n")
    assert limits.memory_bytes(tmp_path) == 9000


@pytest.mark.parametrize(
    ("size", "words"), [(999, "999 bytes"), (1500, "1.5 kB"), (25_000_000_000, "25 GB"), (783e15, "783 PB")]
)
def test_sizes_in_words(size: float, words: str) -> None:
    assert limits.in_words(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(20, "20 s"), (100, "2 min"), (7500, "2 h 5 min"), (864_000, "10 days"), (1e13, "3.2e+05 years")],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_long_waits_are_said(command: CommandLine) -> None:
    """Ten rounds of two clients of forty samples in batches of 32, that is, of two steps an epoch."""
    long: Cell = cell_of(training={"rounds": 10, "local_epochs": 10**9})
    assert least_seconds(long, "cpu") == 10 * 2 * 2 * 10**9 * 5e-4
    assert long_waits([cell_of()], "cpu", 1) == []
    assert long_waits([long], "cpu", 2)[0].startswith("it will take 116 days at the very least")
    assert long_waits([long, long], "cpu", 2)[0].startswith("these 2 cells will take 231 days at the very least")


def test_the_display_of_a_run_says_how_long_the_rest_will_take(capsys: pytest.CaptureFixture[str]) -> None:
    def seen(number: int, seconds: float) -> Seen:
        about: dict[str, Any] = {"title": "data", "evaluated_on": "data", "evaluated": 9, "validates": False}
        return Seen(number, 3, 0.5, 1.0, 1.0, 10**6, seconds, **about)

    with RunDisplay(Console(), "a run") as display:
        for number, seconds in ((0, 0.0), (1, 400.0), (2, 200.0), (3, 0.0)):
            display.show(seen(number, seconds))
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition(", ")[2] for line in lines[1:]] == ["data", "about 13 min left", "about 5 min left", "data"]
