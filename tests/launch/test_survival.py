"""Sweeps that are killed, stopped, run twice at once or short of space: the tables are those of a quiet run."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from patience import PATIENCE_S, wait_until
from tiny import on_one_core, read, start, sweep_of, timeless

from bench.config.cells import read_sweep
from bench.launch.interruption import PATIENCE_SECONDS
from bench.launch.running import run_cell
from bench.launch.sweep import counts, records, write_tables
from bench.store.cells import Store

ROUNDS = 20
CELLS = f"""
    [[cells]]
    method = ["orthdrop", "fedavg"]
    keep = 0.5
    seed = [0, 1]
    [cells.training]
    rounds = {ROUNDS}
    samples_per_client = 8
    standin_test = 20
    evaluate_every = 4
"""
QUIET = "figures = []\n"
OPTIONS = ("--device", "cpu", "--jobs")


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The tables of a run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("quiet")
    sweep, store = read(folder, CELLS, QUIET), Store(folder / "results")
    for cell in sweep.cells:
        assert run_cell(cell, store=store).status == "done"
    tables = write_tables(sweep, store, records(sweep, store))
    return {name: timeless(table) for name, table in tables.items()}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return sweep_of(tmp_path, CELLS, QUIET)


def tables_of(folder: Path) -> dict[str, Any]:
    return {
        name: timeless(pq.read_table(folder / "tables" / f"{name}.parquet")) for name in ("cells", "rounds", "ranks")
    }


def states(file: Path) -> dict[str, int]:
    sweep = read_sweep(file)
    return counts(records(sweep, Store(file.parent / "results" / file.stem)))


def finish(file: Path) -> str:
    """Run the sweep to its end and return what it says."""
    process = start(file.parent, "sweep", file, *OPTIONS, 2)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, ""), err
    return out


def assert_quiet(file: Path, quiet: dict[str, Any]) -> None:
    """Compare the tables with those of a quiet run, and make sure that nothing else is left."""
    folder = file.parent / "results" / file.stem
    assert tables_of(folder) == quiet
    assert [path.name for path in (folder / "unfinished").iterdir()] == [".lock"]
    assert not list((folder / "cells").glob(".*"))


@contextlib.contextmanager
def running(file: Path, *words: object) -> Iterator[subprocess.Popen[str]]:
    """Start the sweep and wait until its first cell has begun; what is left of its processes is ended."""
    process = start(file.parent, "sweep", file, *OPTIONS, 2, *words)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("started"):
                break
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(11))
def test_killed_at_random_instants(seed: int, file: Path, quiet: dict[str, Any]) -> None:
    """Once, or twice in the slow tests."""
    rng, kills = np.random.default_rng(seed), 0
    for _ in range(1 + (seed > 0)):
        with running(file) as process:
            time.sleep(rng.uniform(0.5, 4.0))
            kills += process.poll() is None
    assert kills > 0
    finish(file)
    assert states(file) == {"done": 4}
    assert_quiet(file, quiet)


@pytest.mark.slow
def test_stop_after_leaves_checkpoints_and_goes_on(file: Path, quiet: dict[str, Any]) -> None:
    with running(file, "--stop-after", 9) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, "")
    left = 4 - states(file).get("done", 0)
    if left:  # a quick machine may be through
        assert "stopped after 9 s" in out and f"{left} cell" in out
        assert out.count(" after round ") == len(list((file.parent / "results").rglob("checkpoint.pt"))) > 0
    assert finish(file).count("goes on after round") == out.count(" after round ")
    assert_quiet(file, quiet)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("whole_group", [True, False])
def test_one_interruption_leaves_checkpoints(
    file: Path, quiet: dict[str, Any], number: signal.Signals, whole_group: bool
) -> None:
    """A terminal interrupts all processes of the sweep, and so do some who end it with SIGTERM."""
    with running(file) as process:
        wait_until(lambda: list((file.parent / "results").rglob("checkpoint.pt")), lambda: process.poll() is None)
        (os.killpg if whole_group else os.kill)(process.pid, number)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130 and "Traceback" not in err
    assert err.count("stopping: ") == err.count("interrupted; finished cells are kept") == 1
    assert states(file).keys() <= {"done", "to do"}
    if number == signal.SIGINT or not whole_group:
        assert out.count(" after round ") == len(list((file.parent / "results").rglob("checkpoint.pt"))) > 0
        assert finish(file).count("goes on after round") == out.count(" after round ")
    else:  # nobody was left to make a checkpoint, and none of the cells counts as failed
        words = "with signal SIGTERM: it was ended from outside, without a further checkpoint"
        assert "failed " not in out and out.count(words) > 0
        finish(file)
    assert_quiet(file, quiet)


def descendants(process: int) -> list[int]:
    """Return the processes that a process has started, and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").glob("*"):
        with contextlib.suppress(OSError):
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *descendants(child)]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("stop", ["--stop-after", "SIGINT"])
def test_a_stop_ends_whatever_has_died(seed: int, stop: str, file: Path, quiet: dict[str, Any]) -> None:
    """Processes of the sweep, those that train clients among them, are killed at random before it is to stop."""
    rng, words = np.random.default_rng(seed), ("--stop-after", 12) if stop == "--stop-after" else ()
    process = start(file.parent, "sweep", file, "--device", "cpu", "--jobs", 1, *words)
    try:
        for _ in range(int(rng.integers(1, 4))):
            time.sleep(rng.uniform(1.0, 4.0))
            alive = descendants(process.pid)
            if alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(rng.choice(alive)), signal.SIGKILL)
        if stop == "SIGINT":
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=12 + PATIENCE_SECONDS + 90)  # rounds, tables, a busy machine
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert process.returncode in (0, 1, 130) and "Traceback" not in err, (out, err)
    finish(file)
    assert states(file) == {"done": 4}
    assert_quiet(file, quiet)


@pytest.mark.slow
def test_two_sweeps_at_once_share_the_work(file: Path, quiet: dict[str, Any]) -> None:
    """Two engines that share a folder, and two leases of one cell, are tested faster in the rooms launch and store."""
    both = [start(file.parent, "sweep", file, *OPTIONS, 1, one_core=True) for _ in range(2)]
    said = [process.communicate(timeout=PATIENCE_S) for process in both]
    assert [(process.returncode, err) for process, (_, err) in zip(both, said, strict=True)] == [(0, "")] * 2
    begun = Counter(line.split()[1] for out, _ in said for line in out.splitlines() if line.startswith("started"))
    assert begun == {cell.folder: 1 for cell in read_sweep(file).cells}
    assert all("3 tables" in out or "4 tables" in out for out, _ in said)
    assert_quiet(file, quiet)


@pytest.mark.slow
def test_a_sweep_waits_for_cells_that_another_runs_and_takes_them_over(file: Path, quiet: dict[str, Any]) -> None:
    with running(file, "--only", "seed=0") as first:
        second = start(file.parent, "sweep", file, *OPTIONS, 2, "--only", "seed=0")
        assert second.stdout is not None
        for line in second.stdout:
            if line.startswith("waiting for 2 cells run elsewhere: ") and line.count("(process ") == 2:
                break
        os.killpg(first.pid, signal.SIGKILL)
        out, err = second.communicate(timeout=PATIENCE_S)
    assert (second.returncode, err) == (0, "") and out.count("started") == 2
    finish(file)
    assert_quiet(file, quiet)


SCARCE = """
set -e
mkdir results
mount -t tmpfs -o size={size} none results
set +e
bench() {{ {python} -m bench "$@"; echo "code $?"; }}
{commands}
cp -r results kept
"""


def in_a_file_system(folder: Path, size: str, commands: str) -> str:
    """Run commands with a small file system of their own as results; what they leave is copied to ``kept``."""
    if (
        not shutil.which("unshare")
        or subprocess.run(
            ["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(folder)], capture_output=True
        ).returncode
    ):
        pytest.skip("file systems cannot be mounted here")
    script = SCARCE.format(size=size, python=sys.executable, commands=commands)
    ran = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        preexec_fn=on_one_core,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout + ran.stderr


@pytest.mark.slow
def test_full_disk_ends_in_one_sentence_and_loses_nothing(file: Path, quiet: dict[str, Any]) -> None:
    """There is room for one checkpoint and not for its successor."""
    sweep = f"bench sweep {file} --device cpu --jobs 1"
    said = in_a_file_system(
        file.parent, "1400k", f"{sweep}; find results -name checkpoint.pt; mount -o remount,size=60m results; {sweep}"
    )
    assert "Traceback" not in said
    assert said.count("error: ") == 1 and "No space left on device" in said and said.count("code 2") == 1
    assert said.count("checkpoint.pt\n") == 1 and said.count("goes on after round") == 1 and said.count("code 0") == 1
    assert tables_of(file.parent / "kept" / file.stem) == quiet


@pytest.mark.slow
def test_read_only_folder_ends_in_one_sentence_and_can_be_looked_at(file: Path) -> None:
    said = in_a_file_system(
        file.parent, "9m", f"mount -o remount,ro results; bench sweep {file} --device cpu; bench status {file}"
    )
    assert "Traceback" not in said and said.count("error: ") == 1 and "Read-only file system" in said
    assert [line for line in said.splitlines() if line.startswith("code")] == ["code 2", "code 0"]
