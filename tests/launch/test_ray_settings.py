"""What a user says of a cluster, and what comes from one: checked before anything is run or put in place."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny import CommandLine, cell_of, sweep_of

from bench.data import cache
from bench.data.dataset import Split
from bench.errors import BenchError
from bench.launch.events import Again, Ended, Lost
from bench.launch.ray_settings import Settings, settings_of
from bench.launch.running import run_cell
from bench.store.cells import Store
from bench.store.leases import Leases
from bench.store.made import made


def test_resources() -> None:
    settings = settings_of("auto", "cpus=2, gpus=0.5,memory=4e9,big=1", None, "auto")
    assert settings == Settings("auto", 2.0, 0.5, 4e9, {"big": 1.0}) and settings.workers == 2
    assert settings.options == {"num_cpus": 2.0, "num_gpus": 0.5, "memory": 4 * 10**9, "resources": {"big": 1.0}}
    node = {"CPU": 8.0, "GPU": 1.0, "memory": 30e9, "big": 5.0}
    assert [settings.slots({**node, **less}) for less in ({}, {"CPU": 3.0}, {"memory": 4e9}, {"big": 0.0})] == [
        2,
        1,
        1,
        0,
    ]
    assert settings.slots({"CPU": 8.0}) == 0
    assert settings_of("auto", "", None, "cuda").gpus == 1.0 and settings_of("auto", "", None, "auto").gpus == 0.0


@pytest.mark.parametrize(
    ("resources", "device", "words"),
    [
        ("cpus", "auto", "'cpus': it reads name=number"),
        ("cpus=two", "auto", "'cpus=two': it reads"),
        ("cpus=nan", "auto", "it reads"),
        ("memory=-1", "auto", "it reads"),
        ("cpus=0", "auto", "a cell needs some of a core"),
        ("gpus=2", "auto", "on one GPU at most"),
        ("gpus=1", "cpu", "no use for them"),
        ("gpus=0", "cuda", "a cell needs a part of a GPU"),
        ("", "mps", "auto, cpu or cuda"),
    ],
)
def test_wrong_resources(resources: str, device: str, words: str) -> None:
    with pytest.raises(BenchError) as refused:
        settings_of("auto", resources, None, device)
    assert words in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["py_modules: [a.whl]\n", '{"py_modules": ["a.whl"]}'])
def test_runtime_environment(text: str, tmp_path: Path) -> None:
    path = tmp_path / "environment"
    path.write_text(text)
    assert settings_of("auto", "", path, "auto").runtime_env == {"py_modules": ["a.whl"]}


@pytest.mark.parametrize("text", [None, "- a\n", "a: [", "\x00"])
def test_wrong_runtime_environment(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "environment"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BenchError, match="--runtime-env") as refused:
        settings_of("auto", "", path, "auto")
    assert "\n" not in str(refused.value)


def test_a_missing_runtime_environment_is_said_with_those_that_there_are(tmp_path: Path) -> None:
    for name in ("nodes.yaml", "pyproject.toml"):
        (tmp_path / name).touch()
    for path, why in ((tmp_path / "node.yaml", "No such file"), (tmp_path, "it is a folder")):
        with pytest.raises(BenchError, match=rf"cannot be read \({why}.*\); allowed: '\S+nodes.yaml'(; did|$)"):
            settings_of("auto", "", path, "auto")


def test_a_node_with_other_code_refuses_in_one_sentence_that_names_both(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from bench.launch.ray_task import Order, _Run, made_with

    cell = cell_of("orthdrop", keep=0.5)
    mine = made_with(cell, ())
    _Run(Order(cell, "", mine, "cpu", 1, 0.0, (), {}), None, tmp_path)._same_code(())
    theirs = "code 0123-4567 with torch 1.0"
    with pytest.raises(BenchError) as refused:
        _Run(Order(cell, "", theirs, "cpu", 1, 0.0, (), {}), None, tmp_path)._same_code(())
    said = str(refused.value)
    assert mine in said and theirs in said and "\n" not in said


@pytest.mark.parametrize("words", [("--address", "local"), ("--resources", "cpus=2"), ("--runtime-env", "a.yaml")])
def test_words_about_a_cluster_need_one(
    words: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = sweep_of(tmp_path, '[[cells]]\nmethod = "orthdrop"\nkeep = 0.5\n')
    said = CommandLine(monkeypatch, capsys).refused("sweep", file, *words, "--dry-run")
    assert words[0] in said and "only --engine ray" in said


def test_folders_of_other_machines_and_of_live_tasks_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    from bench.launch import ray_task

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ray_task, "_HOST", "a-node")
    dead = next(number for number in range(400_000, 500_000) if not Path(f"/proc/{number}").exists())
    kept = {f"submodel-bench-task-{dead}-abc-{host}" for host in ("node", "another-a-node", "a-node-2")}
    for name in (*kept, f"submodel-bench-task-{dead}-abc-a-node"):
        (tmp_path / name).mkdir()
    with ray_task._own_folder() as mine:
        ray_task._sweep_up()
        assert {path.name for path in tmp_path.iterdir()} == {*kept, Path(mine).name}


class Once:
    """A desk that one asks as if it were an actor, of which another try has begun meanwhile."""

    def __getattr__(self, name: str) -> Any:
        values = {"begin": (1, None), "stopping": True, "keep": None, "tell": None, "is_current": False}
        answer: Future[Any] = Future()
        answer.set_result(values[name])
        return SimpleNamespace(remote=lambda *_: SimpleNamespace(future=lambda: answer))


def test_a_try_that_was_given_up_ends_as_lost_and_its_answer_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    from bench.launch import ray_cluster
    from bench.launch.ray_task import TRIES, Answer, Order, made_with, run_order

    cell = cell_of("orthdrop", keep=0.5)
    answer = run_order(Order(cell, "", made_with(cell, ()), "cpu", 1, 0.0, (), {}), Once())
    assert answer.event == Lost(cell.folder) and answer.try_ and not answer.files

    there = Store(tmp_path / "there")
    run_cell(cell, store=there)
    whole = Answer(Ended(cell.folder, "done", "", 1.0), "an earlier try", files_of(there.path(cell)))
    monkeypatch.setattr(ray, "get", lambda ref: ref.future().result() if ref is not whole else whole)
    crew = object.__new__(ray_cluster.RayCrew)  # without a cluster
    crew.store, crew.plugins, crew.device, crew.desk = Store(tmp_path / "here"), (), "cpu", Once()
    crew._again = Counter()
    for _ in range(TRIES - 1):
        lease = Leases(crew.store.unfinished).take(cell.folder, os.getpid())
        assert lease is not None
        event = crew._ended(whole, ray_cluster._Running(cell, lease))
        assert isinstance(event, Again) and "given up" in event.line
        lease.release()
    assert not crew.store.path(cell).exists()
    lease = Leases(crew.store.unfinished).take(cell.folder, os.getpid())
    assert lease is not None
    event = crew._ended(whole, ray_cluster._Running(cell, lease))
    assert isinstance(event, Ended) and event.status == "failed" and f"{TRIES} times" in event.reason
    assert crew.store.record(cell, made(cell), None).state == "failed"


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_cell_from_elsewhere_is_taken_only_if_it_is_whole(tmp_path: Path) -> None:
    cell, other = cell_of("orthdrop", keep=0.5), cell_of("orthdrop", keep=0.2)
    there, here = Store(tmp_path / "there"), Store(tmp_path / "here")
    assert run_cell(cell, store=there).status == "done"
    files = files_of(there.path(cell))
    torn = {**files, "rounds.parquet": files["rounds.parquet"][:-1]}
    lacking = {name: content for name, content in files.items() if name != "log.txt"}
    for wrong, words in ((torn, "rounds.parquet"), (lacking, "log.txt"), ({}, "cell.json")):
        with pytest.raises(ValueError, match=words):
            here.adopt(cell, wrong)
    with pytest.raises(ValueError, match="another cell"):
        here.adopt(other, files)
    assert list(here.cells.iterdir()) == []
    here.adopt(cell, files)
    assert files_of(here.path(cell)) == files and here.record(cell, made(cell), None).state == "done"
    assert [path.name for path in here.cells.iterdir()] == [cell.folder]


def small(rows: int, **change: Any) -> Split:
    return Split(np.full((rows, 2, 2), change.get("value", 7), np.uint8), np.arange(rows) % 3)


def test_data_from_elsewhere_is_taken_only_if_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "there"))
    fingerprint = cache.write("small", small(9), small(3), title="Small", classes=3).fingerprint
    files = files_of(cache.folder("small"))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "here"))
    flipped = bytearray(files["train_inputs.npy"])
    flipped[-1] ^= 1
    facts = json.loads(files["manifest.json"])
    assert facts["fingerprint"] == fingerprint
    for wrong in ({**files, "train_inputs.npy": bytes(flipped)}, {"manifest.json": files["manifest.json"]}):
        with pytest.raises(BenchError):
            cache.adopt("small", wrong, fingerprint)
    with pytest.raises(BenchError, match="another data set"):
        cache.adopt("small", files, "0" * 64)
    assert not cache.exists("small")
    assert cache.adopt("small", files, fingerprint).fingerprint == fingerprint
    assert files_of(cache.folder("small")) == files
