"""What a user says of a cluster, and what comes from one: checked before anything is run or put in place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import cell_of

from bench.data import cache
from bench.data.dataset import Split
from bench.errors import BenchError
from bench.launch.ray_settings import Settings, settings_of
from bench.running import code_of, run_cell
from bench.store import Store


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
    assert files_of(here.path(cell)) == files and here.record(cell, code_of(cell), None).state == "done"
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
