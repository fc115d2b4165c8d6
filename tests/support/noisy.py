"""Finished cells that nobody ran, whose numbers are as noisy as a run's, for the tests of what bundles take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from tiny import cell_of

from bench.cell import Cell
from bench.store.cells import Store
from bench.store.made import made
from bench.store.schema import RANKS, ROUNDS, TABLES

LAYERS = tuple(f"layer{stage}.{block}.conv{number}" for stage in (1, 2, 3, 4) for block in (0, 1) for number in (1, 2))
LAYERS += ("layer2.0.shortcut", "layer3.0.shortcut", "layer4.0.shortcut", "head")
"""The layers of a ResNet-18 that are factored."""
NOISY = ("required_kernels", "required_kernels_renyi", "coverage_expected", "anme", "weight_norm2")
NOISY += ("submodel_error_expected", "cohort_error_expected")
"""What a spectral method without further diagnostics leaves of a layer, with no two values alike."""
FACTS: dict[str, Any] = {
    "data": None,
    "data_title": "FEMNIST",
    "stand_in": True,
    "classes": 62,
    "evaluated_samples": 60,
    "commonest_class": 0.05,
    "alpha_convention": "alpha per class",
    "classes_per_client": 12.5,
    "divergence_bits": 0.75,
    "local_training": "",
    "seconds": 12.5,
}
ENVIRONMENT = {"packages": {"torch": "2.11.0"}, "processor": "AMD EPYC", "device": "cpu", "workers": 2}


def rounds_of(rng: np.random.Generator, rounds: int) -> pa.Table:
    """Return a table of rounds with each evaluated: losses, cosines and seconds of full precision."""
    count = rounds + 1
    columns: dict[str, Any] = {}
    for field in ROUNDS:
        if pa.types.is_integer(field.type):
            columns[field.name] = np.full(count, 1234567)
        elif field.name.endswith(("_s", "_loss", "coverage", "cosine_fedavg")):
            columns[field.name] = rng.lognormal(size=count)
        else:
            columns[field.name] = np.round(rng.uniform(size=count), 4)
    columns |= {"round": np.arange(count), "peak_memory_bytes": np.sort(rng.integers(10**9, 2 * 10**9, count))}
    columns |= {name: np.full(count, 0.5) for name in columns if name.startswith(("client_", "lr"))}
    columns |= dict.fromkeys(("validation_loss", "validation_acc", "personal_acc", "personal_base_acc"), [None] * count)
    return pa.table([pa.array(columns[field.name], field.type) for field in ROUNDS], schema=ROUNDS)


def ranks_of(rng: np.random.Generator, rounds: int, layers: Iterable[str] = LAYERS) -> pa.Table:
    """Return a table of layers with each round evaluated."""
    layers = tuple(layers)
    count = (rounds + 1) * len(layers)
    columns: dict[str, Any] = {name: [None] * count for name in RANKS.names}
    columns |= {name: rng.lognormal(size=count) for name in NOISY}
    columns |= {"round": np.repeat(np.arange(rounds + 1), len(layers)), "layer": list(layers) * (rounds + 1)}
    columns |= {"kernels": [64, 128, 256, 512] * (count // 4) + [64] * (count % 4)}
    columns |= {"coverage": np.round(rng.uniform(size=count) * 64) / 64}
    return pa.table([pa.array(columns[field.name], field.type) for field in RANKS], schema=RANKS)


def finish(store: Store, cell: Cell, *, rounds: int = 3, layers: Iterable[str] = LAYERS, **changes: Any) -> Cell:
    """Put a finished cell in place whose numbers follow from its identity; ``changes`` are of its facts."""
    rng = np.random.default_rng(int(changes.pop("numbers", cell.identity), 16))
    status, reason = changes.pop("status", "done"), changes.pop("reason", "")
    environment = ENVIRONMENT | changes.pop("environment", {})
    tables = {"rounds": rounds_of(rng, rounds), "ranks": ranks_of(rng, rounds, layers)}
    facts = FACTS | made_by(cell) | changes
    store.write(cell, status=status, reason=reason, tables=tables, facts=facts, environment=environment, log=["forged"])
    return cell


def made_by(cell: Cell) -> dict[str, Any]:
    """Return the facts by which a cell is known to be of the present code."""
    return made(cell).facts()


def cells(count: int, **values: Any) -> list[Cell]:
    return [cell_of("orthdrop", keep=0.5, seed=seed, **values) for seed in range(count)]


def tables_of(store: Store, cell: Cell) -> dict[str, list[dict[str, Any]]]:
    return {name: store.read(cell, name).to_pylist() for name in TABLES}
