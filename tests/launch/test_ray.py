"""Sweeps on a real Ray cluster of this machine's loopback, whose nodes are killed meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from patience import PATIENCE_S, wait_until
from ray_nodes import Nodes, cluster
from tiny import plugin, sentence, start, sweep_of, timeless

from bench.config.cells import read_sweep
from bench.data import cache
from bench.data.dataset import Split
from bench.launch import inline
from bench.launch.sweep import records, run, write_tables
from bench.store.cells import Store
from bench.store.made import made

TABLES = ("cells", "rounds", "ranks")


def cells_of(rounds: int, seeds: int) -> str:
    return f"""
        [[cells]]
        method = "orthdrop"
        keep = 0.5
        seed = {list(range(seeds))}
        [cells.training]
        rounds = {rounds}
        samples_per_client = 8
        standin_test = 20
        evaluate_every = 4
    """


def quiet(folder: Path, cells: str) -> dict[str, Any]:
    """Return the tables of a sweep in this very process."""
    folder.mkdir()
    sweep, store = read_sweep(sweep_of(folder, cells, "figures = []\n")), Store(folder / "results")
    ended = run(
        list(sweep.cells), store, plugins=(), device="cpu", jobs=1, on_event=lambda event: None, hire=inline.hire
    )
    assert ended == {"done": len(sweep.cells)}
    return {name: timeless(table) for name, table in write_tables(sweep, store, records(sweep, store)).items()}


def tables_of(folder: Path) -> dict[str, Any]:
    return {name: timeless(pq.read_table(folder / "tables" / f"{name}.parquet")) for name in TABLES}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with cluster(tmp_path_factory.mktemp("nodes"), nodes=1) as running:
        yield running


@contextlib.contextmanager
def sweeping(file: Path, nodes: Nodes, *words: object) -> Iterator[subprocess.Popen[str]]:
    process = start(file.parent, "sweep", file, "--engine", "ray", "--address", nodes.address, *words)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def finished(file: Path, nodes: Nodes, *words: object, code: int = 0) -> str:
    with sweeping(file, nodes, *words) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (code, ""), out + err
    return out


def unfinished(file: Path) -> list[str]:
    return sorted(path.name for path in (file.parent / "results" / file.stem / "unfinished").iterdir() if path.is_dir())


@pytest.mark.slow
def test_a_lost_node_loses_nothing(nodes: Nodes, tmp_path: Path) -> None:
    """The only node is killed once its cell has left a checkpoint; the cell goes on from there on one that joins."""
    cells = cells_of(rounds=80, seeds=2)
    expected = quiet(tmp_path / "quiet", cells)
    file = sweep_of(tmp_path, cells, "figures = []\n")
    folder = tmp_path / "results" / "tiny"
    with sweeping(file, nodes) as process:
        wait_until(lambda: list(folder.glob("unfinished/*/checkpoint.pt")), lambda: process.poll() is None)
        nodes.kill(nodes.oldest)
        nodes.add()
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, ""), out + err
    assert out.count("lost its process or node and begins again") == 1 == out.count("goes on after round")
    assert tables_of(folder) == expected
    assert unfinished(file) == [] and list((folder / "cells").glob(".*")) == []
    assert list((nodes.place / "tmp").glob("submodel-bench-*")) == []


@pytest.mark.slow
def test_a_process_that_always_dies_fails_its_cell_alone(nodes: Nodes, tmp_path: Path) -> None:
    """Plugins travel as sources, and the sweep's own file is on none of the nodes."""
    plugin(tmp_path, "dying", aggregate="__import__('os').kill(__import__('os').getpid(), 9)")
    plugin(tmp_path, "sound")
    file = sweep_of(tmp_path, '[[cells]]\nmethod = ["dying", "sound"]\n', "figures = []\n")
    words = ("--plugin", tmp_path / "dying.py", "--plugin", tmp_path / "sound.py")
    out = finished(file, nodes, *words, code=1)
    assert out.count("begins again") == 3 and "failed cells: 1" in out
    plugins = (tmp_path / "dying.py", tmp_path / "sound.py")
    known = records(read_sweep(file, plugins), Store(tmp_path / "results" / "tiny"), plugins)
    assert {record.cell.method: record.state for record in known} == {"dying": "failed", "sound": "done"}
    assert "died 4 times" in known[0].reason or "lost 4 times" in known[0].reason, known[0].reason


@pytest.mark.slow
def test_an_interruption_keeps_checkpoints_and_ends_all_tasks(nodes: Nodes, tmp_path: Path) -> None:
    cells = cells_of(rounds=40, seeds=1)
    expected = quiet(tmp_path / "quiet", cells)
    file = sweep_of(tmp_path, cells, "figures = []\n")
    folder = tmp_path / "results" / "tiny"
    with sweeping(file, nodes) as process:
        wait_until(lambda: list(folder.glob("unfinished/*/checkpoint.pt")), lambda: process.poll() is None)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130 and "Traceback" not in err and "finished cells are kept" in err
    assert list(folder.glob("unfinished/*/lease.json")) == [] and list(folder.glob("unfinished/*/checkpoint.pt"))
    assert "goes on after round" in finished(file, nodes)
    assert tables_of(folder) == expected


@pytest.mark.slow
def test_stop_after_leaves_checkpoints(nodes: Nodes, tmp_path: Path) -> None:
    file = sweep_of(tmp_path, cells_of(rounds=5000, seeds=2), "figures = []\n")
    out = finished(file, nodes, "--stop-after", 20)
    assert "stopped after 20 s: 2 cells are left" in out and unfinished(file) != []
    assert len(unfinished(file)) == out.count(" after round ")


@pytest.mark.slow
def test_data_travels_and_is_not_mixed(nodes: Nodes, tmp_path: Path) -> None:
    """The node's cache is empty at first; then it holds other data of the same name."""
    cell = '[[cells]]\nmethod = "orthdrop"\ndata = "real"\npartition = "iid"\nseed = {}\n'
    first = sweep_of(tmp_path, cell.format(0), "figures = []\n", "first")
    images = femnist(tmp_path / "data", seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_DATA", str(tmp_path / "data"))
        finished(first, nodes)
        assert state(first) == ("done", "")
        theirs = nodes.place / "data" / "femnist"
        assert sorted(path.name for path in theirs.iterdir()) == sorted(path.name for path in images.iterdir())
        femnist(nodes.place / "data", seed=1)
        second = sweep_of(tmp_path, cell.format(1), "figures = []\n", "second")
        finished(second, nodes, code=1)
        assert state(second)[0] == "failed" and "other data of the name 'femnist'" in state(second)[1]


def femnist(root: Path, seed: int) -> Path:
    """Put a small data set into a cache and return its folder."""
    rng = np.random.default_rng(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_DATA", str(root))
        train, test = (
            Split(rng.integers(0, 256, (n, 1, 28, 28), np.uint8), np.arange(n) % 62, np.arange(n, dtype=np.int32) % 20)
            for n in (400, 62)
        )
        cache.write("femnist", train, test, title="FEMNIST", classes=62)
        return cache.folder("femnist")


def state(file: Path) -> tuple[str, str]:
    store = Store(file.parent / "results" / file.stem)
    (record,) = (store.record(cell, made(cell), None) for cell in read_sweep(file).cells)
    return record.state, record.reason


@pytest.mark.slow
def test_many_lost_nodes_lose_nothing(tmp_path: Path) -> None:
    """A node is killed every few seconds, and a new one joins."""
    cells = cells_of(rounds=150, seeds=4)
    expected = quiet(tmp_path / "quiet", cells)
    file = sweep_of(tmp_path, cells, "figures = []\n")
    rng, kills = np.random.default_rng(0), 0
    with cluster(tmp_path / "nodes") as nodes, sweeping(file, nodes) as process:
        wait_until(
            lambda: list(tmp_path.glob("results/tiny/unfinished/*/checkpoint.pt")), lambda: process.poll() is None
        )
        while process.poll() is None and kills < 4:
            nodes.kill(nodes.oldest)
            kills += 1
            nodes.add()
            time.sleep(rng.uniform(1.0, 3.0))
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, ""), out + err
    assert kills >= 2 and out.count("begins again") >= 1
    assert tables_of(tmp_path / "results" / "tiny") == expected


def test_no_cluster_is_one_sentence(tmp_path: Path) -> None:
    file = sweep_of(tmp_path, cells_of(rounds=1, seeds=1), "figures = []\n")
    process = start(tmp_path, "sweep", file, "--engine", "ray", "--address", "127.0.0.1:9")
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2 and "nobody answers there" in sentence(err)
