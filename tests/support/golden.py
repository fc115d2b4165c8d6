"""Small cells whose numbers are kept in the repository, so that moving code about is seen to move no number.

Run as a script it records this machine's bits beside those that are there:

>>> # python tests/support/golden.py
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import torch
from helpers import CNN, LSTM, RESNET, federation, run

from bench import kernels
from bench.numerics import processor
from bench.simulation.rows import client_rows, level_rows, rank_rows, round_row

FILE = Path(__file__).resolve().parents[1] / "simulation" / "golden.json"
MIXED = "0.2:0.5,0.6:0.25,1:0.25"
CELLS: dict[str, tuple[str, str, dict[str, Any]]] = {
    f"{task}-{method}": (task, method, {"keep": keep})
    for task, methods in {
        RESNET: {"prism": 0.4, "heterofl": MIXED, "fedpara": 0.5, "fedlama": 1.0, "inclusivefl": MIXED, "fedhm": 0.4},
        CNN: {"collective": 0.4, "fjord": MIXED, "fedpara": 0.5, "fedlama": 1.0, "inclusivefl": MIXED, "fedavg": 1.0},
        LSTM: {"prism": 0.4, "origdrop": 0.4, "fedpara": 0.5, "fedlama": 1.0, "fedavg": 1.0},
    }.items()
    for method, keep in methods.items()
}
"""Each task with a method of each family that is defined for it."""


def machine() -> str:
    """Return what the bits of a run depend on beside the code: processor, library and compiled loops."""
    return f"{processor.described()}; torch {torch.__version__}; {kernels.described()}"


def numbers_of(name: str) -> dict[str, Any]:
    """Return what a cell computes: losses and accuracy of each round, norms of the final weights, and all its bits."""
    task, method, values = CELLS[name]
    rounds, weights = run(federation(method, task, diagnostics="all", **values))
    rows = [
        {key: value for key, value in row.items() if not key.endswith("_s") and key != "peak_memory_bytes"}
        for this in rounds
        for row in [round_row(this), *rank_rows(this), *level_rows(this), *client_rows(this)]
    ]
    digest = hashlib.sha256(json.dumps(rows, sort_keys=True).encode())
    for key in sorted(weights):
        digest.update(key.encode() + weights[key].detach().contiguous().numpy().tobytes())
    return {
        "losses": [[this.train_loss, this.score.loss, this.score.acc] for this in rounds if this.score],
        "norms": {key: float(weights[key].double().norm()) for key in sorted(weights)},
        "bits": digest.hexdigest()[:16],
    }


def kept() -> dict[str, Any]:
    """Return the numbers that are kept: for each cell its losses and norms, and its bits by machine."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}


def apart(actual: Any, expected: Any) -> float:
    """Return the largest relative difference between two collections of numbers of one shape."""
    if isinstance(expected, dict):
        assert actual.keys() == expected.keys()
        return max((apart(actual[key], expected[key]) for key in expected), default=0.0)
    if isinstance(expected, list):
        assert len(actual) == len(expected)
        return max((apart(one, other) for one, other in zip(actual, expected, strict=True)), default=0.0)
    if expected is None or actual is None:
        return 0.0 if expected is actual else math.inf
    return abs(actual - expected) / max(abs(expected), 1e-3)


def record() -> None:
    """Keep this machine's bits, and losses and norms where none are kept."""
    found = kept()
    for name in CELLS:
        numbers = numbers_of(name)
        entry = found.setdefault(name, {key: numbers[key] for key in ("losses", "norms")} | {"bits": {}})
        entry["bits"][machine()] = numbers["bits"]
    FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    record()
