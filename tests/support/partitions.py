"""A partition of each kind."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.federation.partition import Partition, split
from bench.seeding import stream

KINDS: dict[str, dict[str, Any]] = {
    "iid": {},
    "lda": {"alpha": 0.3},
    "lda-prior": {"alpha": 0.3},
    "pachinko": {"alpha": 0.3},
    "dirichlet": {"alpha": 0.3},
    "natural": {},
}


def made(kind: str, labels: np.ndarray, clients: int, seed: int = 0, **options: Any) -> Partition:
    if kind == "natural":
        options.setdefault("users", np.arange(len(labels)) % (3 * clients))
    if kind.startswith("pachinko"):
        options.setdefault("coarse", np.arange(labels.max() + 1) // 2)
    return split(kind, labels, clients=clients, rng=stream(seed, "partition"), **{**KINDS.get(kind, {}), **options})
