"""Small CIFAR-10: six batches of generated pictures."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pyarrow
from PIL import Image
from pyarrow import parquet

NAMES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
PER_BATCH = 20
LABELS = np.arange(6 * PER_BATCH) * 7 % 10


def write_parquet(path: Path, encoded: list[bytes | None], labels: object, column: str = "img") -> None:
    cells = [{"bytes": content, "path": None} for content in encoded]
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table({column: cells, "label": labels}), path, row_group_size=16)


def encode(picture: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture.transpose(1, 2, 0)).save(file, kind, lossless=True)
    return file.getvalue()


def generated() -> np.ndarray:
    """Return pictures [120, 3, 32, 32]; the last 20 are the test split."""
    return np.random.default_rng(3).integers(0, 256, (6 * PER_BATCH, 3, 32, 32), dtype=np.uint8)


def pickled(folder: Path, pictures: np.ndarray) -> Path:
    """Write pictures as the six batches that are published, and return their folder."""
    batches = folder / "cifar-10-batches-py"
    batches.mkdir()
    for number, name in enumerate(NAMES):
        rows = slice(number * PER_BATCH, (number + 1) * PER_BATCH)
        content = {b"data": pictures[rows].reshape(PER_BATCH, 3072), b"labels": LABELS[rows].tolist()}
        (batches / name).write_bytes(pickle.dumps(content, protocol=2))
    return batches
