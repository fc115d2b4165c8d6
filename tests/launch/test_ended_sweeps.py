"""Sweeps that are interrupted or killed keep what is finished."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from patience import PATIENCE_S, wait_until
from tiny import plugin, start, sweep_of

from bench.config.cells import read_sweep
from bench.launch import inline
from bench.launch.sweep import counts, records, run, to_run
from bench.store.cells import Store

SLEEPER = """import os, time
        open({asleep!r}, "w").close()
        while not os.path.exists({awake!r}): time.sleep(0.05)"""


@pytest.fixture
def sleeper(tmp_path: Path) -> Path:
    """A sweep of a quick cell and one whose method waits in round 1, once "asleep" is there, for the file "awake"."""
    names = {name: str(tmp_path / name) for name in ("asleep", "awake")}
    plugin(tmp_path, "sleeper", select=SLEEPER.format(**names))
    return sweep_of(tmp_path, '[[cells]]\nmethod = ["orthdrop", "sleeper"]\nkeep = 0.5\n', "figures = []\n")


def started(file: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the sweep, yield its process once the sleeper is asleep, and end what is left of it."""
    folder = file.parent
    words = ("--jobs", 1, "--plugin", folder / "sleeper.py", "--device", "cpu")
    process = start(folder, "sweep", file, *words, one_core=True)
    assert process.stdout is not None
    try:
        wait_until((folder / "asleep").exists, lambda: process.poll() is None)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def said_first(err: IO[str]) -> str:
    return next(line for line in err if line.strip())


def state_of(file: Path) -> dict[str, int]:
    plugins = (file.parent / "sleeper.py",)
    sweep = read_sweep(file, plugins)
    return counts(records(sweep, Store(file.parent / "results" / file.stem), plugins))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_keeps_finished_cells(sleeper: Path, number: signal.Signals) -> None:
    """The round that is under way never ends: a second Ctrl-C ends it, and after ten seconds so does the first."""
    for process in started(sleeper):
        assert process.stderr is not None
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
            asked = said_first(process.stderr)
            assert process.poll() is None
            os.killpg(process.pid, number)
        else:
            os.kill(process.pid, number)
            asked = said_first(process.stderr)
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 130
        (ended,) = err.strip().splitlines()
        assert asked.startswith("stopping: ") and "a second Ctrl-C ends at once" in asked
        assert "finished cells are kept" in ended
    assert state_of(sleeper) == {"done": 1, "to do": 1}
    assert not list((sleeper.parent / "results" / "tiny" / "cells").glob(".*"))


def test_kill_of_the_whole_sweep_loses_only_what_was_running(sleeper: Path) -> None:
    for process in started(sleeper):
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        # The orphan finishes its round, finds nobody to tell, and leaves without a result.
        (sleeper.parent / "awake").touch()
        wait_for_the_end_of(process.pid)
    assert state_of(sleeper) == {"done": 1, "to do": 1}
    plugins = (sleeper.parent / "sleeper.py",)
    sweep, store = read_sweep(sleeper, plugins), Store(sleeper.parent / "results" / "tiny")
    left = to_run(records(sweep, store, plugins))
    assert [cell.method for cell in left] == ["sleeper"]
    ended = run(left, store, plugins=plugins, device="cpu", jobs=1, on_event=lambda event: None, hire=inline.hire)
    assert ended == {"done": 1}
    assert state_of(sleeper) == {"done": 2}


def wait_for_the_end_of(group: int) -> None:
    wait_until(lambda: not group_is_alive(group))


def group_is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
