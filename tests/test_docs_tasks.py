"""The way from images to a task in docs/add-a-task.md works as it is written."""

from __future__ import annotations

import gzip
import re
import runpy
import struct
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from pictures import save
from tiny import TRAINING

import bench
from bench.conformance import TASK_CHECKS, check_task
from bench.data import cache, sources
from bench.data.dataset import Dataset
from bench.data.image_shape import Images

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "add-a-task.md"
BLOCKS = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
SAMPLES = {"train": 240, "t10k": 80}


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what is imported out of the cache of the other tests, whose compiled loops stay where they are."""
    monkeypatch.setattr(cache, "root", lambda: tmp_path / "cache")


def clothes() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return bright bars at a place for each class, which anything can learn, as images and labels of each half."""
    rng, halves = np.random.default_rng(0), {}
    for half, count in SAMPLES.items():
        labels = rng.permutation(np.arange(count) % 10).astype(np.uint8)
        images = rng.integers(0, 60, (count, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label + 3 : 2 * label + 6] += 150
        halves[half] = images, labels
    return halves


def write_idx(folder: Path) -> Path:
    """Write the four files of Fashion-MNIST, as small ones."""
    folder.mkdir()
    for half, (images, labels) in clothes().items():
        header = struct.pack(">IIII", 2051, *images.shape)
        (folder / f"{half}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + images.tobytes()))
        header = struct.pack(">II", 2049, len(labels))
        (folder / f"{half}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(header + labels.tobytes()))
    return folder


def imported(folder: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> Dataset:
    """Go the documented way from IDX files to a data set."""
    script = folder / "from_idx.py"
    script.write_text(BLOCKS[0], encoding="utf-8")
    monkeypatch.setattr(sys, "argv", [str(script), str(write_idx(folder / "idx")), str(folder / "fashion.npz")])
    runpy.run_path(str(script))
    return sources.import_own("fashion", folder / "fashion.npz", "npz", lines.append)


@pytest.mark.usefixtures("own_cache")
def test_idx_files_become_the_data_set_and_the_last_line_is_what_the_task_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    dataset = imported(tmp_path, monkeypatch, lines)
    for split, (images, labels) in zip((dataset.train, dataset.test), clothes().values(), strict=True):
        np.testing.assert_array_equal(split.inputs[:, 0], images)
        np.testing.assert_array_equal(split.labels, labels)
    said = lines[-1].removeprefix("a task of it says: ")
    assert said == f"images = {Images(10, 1, 28, 28)}"
    assert said in BLOCKS[1] and f"`{said}`" in DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.usefixtures("own_cache")
def test_the_same_pictures_in_folders_serve_the_same_task(tmp_path: Path) -> None:
    for half, (images, labels) in clothes().items():
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            split = {"train": "train", "t10k": "test"}[half]
            save(tmp_path / "pictures" / split / str(label) / f"{number}.png", image[None])
    dataset = sources.import_own("fashion", tmp_path / "pictures", "images")
    Images(10, 1, 28, 28).check(dataset)
    assert {len(dataset.train), len(dataset.test)} == set(SAMPLES.values())
    assert dataset.class_names == tuple(map(str, range(10)))


@pytest.mark.usefixtures("own_cache")
def test_the_task_passes_its_checks_and_each_family_trains_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported(tmp_path, monkeypatch, [])
    plugin = tmp_path / "three_convolutions.py"
    # The tier "paper" needs 50,000 samples, which the small set has not.
    source = BLOCKS[1].replace("samples_per_client=500", "samples_per_client=2")
    # What the page shows of exits belongs into the model's class.
    source = source.replace("    def channels(self):", f"{textwrap.indent(BLOCKS[2], '    ')}\n    def channels(self):")
    source = source.replace("import Axis, Model", "import Axis, Exit, Model, still_there")
    plugin.write_text(source, encoding="utf-8")
    report = check_task("convolutions-fashion", [plugin])
    assert report.failures == []
    found = {result.check: result for result in report.results}
    assert found["data declared"].reason == "stand-in data and the data set"
    assert found["families of methods"].reason.endswith("spectral, width, layer, exits")
    assert found["partition possible"].reason == "tier paper, quick"
    settings = {**TRAINING, "rounds": 1, "data": "real", "partition": "iid", "plugin": plugin, "inline": True}
    sent = {}
    for method in ("fedavg", "orthdrop", "origdrop", "inclusive_kdd"):
        rounds = bench.run(task="convolutions-fashion", method=method, keep=0.5, **settings)
        assert list(rounds["status"]) == ["done"] * 2 and rounds["train_loss"].iloc[1:].notna().all()
        sent[method] = rounds["up_bytes"].iloc[1]
    assert max(sent["orthdrop"], sent["origdrop"], sent["inclusive_kdd"]) < sent["fedavg"]


def test_the_table_of_checks_is_complete() -> None:
    rows = re.findall(r"^\| ([^|]+) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(TASK_CHECKS) <= {name.strip() for name in rows}
    assert len(BLOCKS) == 3
