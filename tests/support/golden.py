"""Small cells whose numbers are kept in the repository: each task with each method that is defined for it.

Run as a script, as ``make golden`` does, it records the cells anew whose revisions were raised, and this machine's
bits.

>>> # python tests/support/golden.py
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from helpers import (
    CCT,
    CHARACTERS,
    CIFAR100,
    CNN,
    GPT,
    LSTM,
    RESNET,
    TINY_IMAGENET,
    federation,
    run,
    small_cell,
    values_of,
)

from bench import kernels, revisions
from bench.api import Server
from bench.numerics import processor
from bench.plugins import registry
from bench.simulation.round import Round
from bench.simulation.rows import client_rows, level_rows, rank_rows, round_row
from bench.store.made import made
from bench.store.schema import LAYER_MEASURES
from bench.tasks.base import Task

FILE = Path(__file__).resolve().parents[1] / "simulation" / "golden.json"
NEAR: dict[str, dict[str, float]] = {
    RESNET: {"losses": 1e-3, "updates": 0.2, "diagnostics": math.inf, "costs": 0.0},
    CNN: {"losses": 1e-3, "updates": 1e-2, "diagnostics": 2e-2, "costs": 0.0},
    LSTM: {"losses": 1e-3, "updates": 1e-3, "diagnostics": 1e-3, "costs": 0.0},
    CHARACTERS: {"losses": 1e-3, "updates": 1e-3, "diagnostics": 1e-3, "costs": 0.0},
    GPT: {"losses": 1e-3, "updates": 0.2, "diagnostics": 0.2, "costs": 0.0},
    CCT: {"losses": 1e-3, "updates": 1e-2, "diagnostics": 0.2, "costs": 0.0},
    TINY_IMAGENET: {"losses": 1e-3, "updates": 1e-2, "diagnostics": 2e-2, "costs": 0.0},
    CIFAR100: {"losses": 1e-3, "updates": 0.2, "diagnostics": math.inf, "costs": 0.0},
}
"""How far roundings may take a number of a cell, relative to it.

Without the compiled loops and with the oldest instructions (``BENCH_KERNELS=off ONEDNN_MAX_CPU_ISA=SSE41
ATEN_CPU_CAPABILITY=default``) losses moved by up to 8e-5, updates by up to 4e-5 (LSTM), 6e-4 (CNN) and 5e-2 (ResNet),
diagnostics by 8e-6, 3e-3 and 1.4. Behind normalisation a rounding turns a ReLU now and then, which all later steps
enlarge: at ResNet's usual learning rate updates moved by half, hence that of ``TRAINING``; its diagnostics, which rest
on differences of nearly equal weights, are held by bits alone. Of the transformers HeteroFL moved most (losses 1.3e-4,
updates 6e-2, diagnostics 8e-2): a stream cut to two channels is nearly a sign behind its normalisation.
"""
TRAINING: dict[str, dict[str, Any]] = {
    RESNET: {"lr": 1e-3},
    CIFAR100: {"lr": 1e-3},
    GPT: {"lr": 1e-2},
    CCT: {"lr": 1e-2},
}
MIXED = "0.2:0.5,0.6:0.25,1:0.25"
KEEPS: dict[str, Any] = {
    **dict.fromkeys(("fedavg", "fedlama"), 1.0),
    **dict.fromkeys(("fedlmt", "fedpara", "pfedpara"), 0.5),
    **dict.fromkeys(("collective", "federated_dropout", "fedhm", "origdrop", "orthdrop", "prism", "unbiased"), 0.4),
    "small_model": 0.4,
    **dict.fromkeys(("fiarse", "fiarse_channels", "flanc", "pfedlmt"), MIXED),
    **dict.fromkeys(("fedrolex", "fjord", "heterofl", "inclusivefl"), MIXED),
    **dict.fromkeys(("depthfl", "inclusive_kdd", "nefl", "scalefl", "splitmix"), MIXED),
}
UNDEFINED = {
    (CNN, "nefl"),
    (LSTM, "nefl"),
    (LSTM, "splitmix"),
    (LSTM, "scalefl"),
    (LSTM, "flanc"),
    (LSTM, "fedhm"),
    (LSTM, "fedrolex"),
    (LSTM, "heterofl"),
}
FEW = {
    GPT: (
        "fedavg",
        "prism",
        "collective",
        "heterofl",
        "fjord",
        "fedhm",
        "fedlmt",
        "inclusivefl",
        "depthfl",
        "nefl",
        "splitmix",
    ),
    CCT: ("fedavg", "prism", "unbiased", "heterofl"),
    TINY_IMAGENET: ("fedavg",),
    CIFAR100: ("fedavg", "prism"),
    CHARACTERS: ("fedavg", "prism", "origdrop"),
}
"""Methods of tasks whose parts other tasks' cells hold too: one of each kind that does something else there."""
CELLS: dict[str, tuple[str, str]] = {
    f"{task}-{method}": (task, method)
    for task in (RESNET, CNN, LSTM)
    for method in sorted(KEEPS)
    if (task, method) not in UNDEFINED
} | {f"{task}-{method}": (task, method) for task, methods in FEW.items() for method in methods}
TRAINED, MEASURED = ("losses", "updates"), ("costs", "diagnostics")
COSTS = (
    "down_bytes",
    "up_bytes",
    "client_parameters",
    "client_macs",
    "client_trained_parameters",
    "client_activations",
    "forward_macs",
    "train_macs",
)

UNHASHED = ("peak_memory_bytes", "client_ideal_macs", "ideal_macs", "ideal_forward_macs", "ideal_train_macs")
"""Columns that are no part of a cell's bits: what memory it took, and what was added after bits were first kept."""


def machine() -> str:
    """Return what the bits of a run depend on beside the code: processor, library and compiled loops."""
    return f"{processor.described()}; torch {torch.__version__}; {kernels.described()}"


def numbers_of(name: str) -> dict[str, Any]:
    """Return what a cell computes.

    Training and test loss of each round, the norm of what training added to each weight, the costs of the last round,
    the mean of each diagnostic, and a hash of all bits.
    """
    task, method = CELLS[name]
    built = federation(method, task, keep=KEEPS[method], training=TRAINING.get(task, {}), diagnostics="all")
    initial: dict[str, torch.Tensor] = {}
    setup = built.method.setup

    def noting(model: torch.nn.Module, of_task: Task) -> Server:
        initial.update({key: tensor.detach().clone() for key, tensor in values_of(model).items()})
        server = setup(model, of_task)
        # A server may hold another network under the same names: a smaller one, or one of several.
        for key, tensor in values_of(server.model).items():
            if key in initial and initial[key].shape != tensor.shape:
                initial[key] = tensor.detach().clone()
        return server

    built.method.setup = noting  # type: ignore[method-assign]
    rounds, weights = run(built)
    digest = hashlib.sha256(json.dumps(_rows(rounds), sort_keys=True).encode())
    for key in sorted(weights):
        digest.update(key.encode() + weights[key].detach().contiguous().numpy().tobytes())
    last = round_row(rounds[-1])
    return {
        "losses": [[this.train_loss, this.score.loss] for this in rounds if this.score],
        "updates": {
            key: float((weights[key] - initial[key]).double().norm())
            for key in sorted(weights)
            if key in initial and weights[key].ndim > 1  # biases begin at nothing and stay small: roundings are large
        },
        "costs": {key: last[key] for key in COSTS},
        "diagnostics": _diagnostics(rounds),
        "bits": digest.hexdigest()[:16],
    }


def _rows(rounds: Iterable[Round]) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in row.items() if not key.endswith("_s") and key not in UNHASHED}
        for this in rounds
        for row in [round_row(this), *rank_rows(this), *level_rows(this), *client_rows(this)]
    ]


def _diagnostics(rounds: Iterable[Round]) -> dict[str, float]:
    """Return the mean of each measure over layers and rounds, of those that the cell has."""
    found: dict[str, list[float]] = defaultdict(list)
    for this in rounds:
        for row in rank_rows(this):
            for name in ("required_kernels", "required_kernels_renyi", *LAYER_MEASURES):
                if row.get(name) is not None:
                    found[name].append(float(row[name]))
    return {name: statistics.fmean(values) for name, values in sorted(found.items())}


def revisions_of(name: str) -> dict[str, int]:
    """Return the revisions that a cell is computed under now."""
    task, method = CELLS[name]
    cell = small_cell(method, task, TRAINING.get(task, {}), keep=KEEPS[method])
    return {**made(cell).revisions, "measures": revisions.MEASURES}


def kept() -> dict[str, Any]:
    """Return what is kept: for each cell its numbers, the revisions it had, and its bits by machine."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}


def apart(actual: Any, expected: Any) -> float:
    """Return the largest relative difference between two collections of numbers; inf where they hold other things."""
    if isinstance(expected, Mapping):
        if actual.keys() != expected.keys():
            return math.inf
        return max((apart(actual[key], expected[key]) for key in expected), default=0.0)
    if isinstance(expected, list):
        if len(actual) != len(expected):
            return math.inf
        return max((apart(one, other) for one, other in zip(actual, expected, strict=True)), default=0.0)
    if expected is None or actual is None:
        return 0.0 if expected is actual else math.inf
    distance = abs(actual - expected) / max(abs(expected), 1e-3)
    return distance if distance == distance else math.inf  # max() would pass a NaN over


def moved(name: str, numbers: Mapping[str, Any]) -> list[str]:
    """Return the parts of a cell's numbers that are not those kept, costs to the last digit and the rest nearly."""
    expected, near = kept()[name], NEAR[CELLS[name][0]]
    return [part for part in (*TRAINED, *MEASURED) if not apart(numbers[part], expected[part]) <= near[part]]


def complaint(name: str, parts: Iterable[str], has_moved: Callable[[str], bool] | None = None) -> str:
    """Return the sentence on a cell whose numbers moved, which names the revision to raise.

    Args:
        name: of the cell.
        parts: what of it moved.
        has_moved: tells whether training of another cell moved too; by default that is run.
    """
    parts = list(parts)
    trained = set(parts) & set(TRAINED)
    what = _to_raise(name, has_moved or _training_moved) if trained else "MEASURES"
    return (
        f"golden cell {name} moved: its {' and '.join(parts)} are not those kept. If the new numbers are meant, raise "
        f"{what} in bench/revisions.py, say in docs/revisions.md what changed, and run 'make golden'"
    )


def _to_raise(name: str, has_moved: Callable[[str], bool]) -> str:
    """Return the narrowest revision that stands for all cells that moved: of method, family, task or harness."""
    task, method = CELLS[name]
    family = _family(method)
    others = [(other, *of) for other, of in CELLS.items() if other != name]
    beyond = next(other for other, of_task, by in others if of_task == task and by != method and _family(by) != family)
    elsewhere = next((other for other, of_task, by in others if of_task != task and by == method), None)
    beside = next((other for other, of_task, by in others if of_task == task and _family(by) == family), None)
    if has_moved(beyond):
        return "HARNESS" if elsewhere is None or has_moved(elsewhere) else f"TASKS[{task!r}]"
    if beside and family in revisions.FAMILIES and has_moved(beside):
        return f"FAMILIES[{family!r}]"
    return f"METHODS[{method!r}]"


def _family(method: str) -> str:
    kind = registry.method(method).kind
    return kind.family if kind else ""


@functools.cache
def _training_moved(name: str) -> bool:
    return any(part in TRAINED for part in moved(name, numbers_of(name)))


def undocumented() -> list[str]:
    """Return the revisions beyond the first of which ``docs/revisions.md`` does not say what changed."""
    page = (FILE.parents[2] / "docs" / "revisions.md").read_text(encoding="utf-8")
    named = {
        "harness": revisions.HARNESS,
        "measures": revisions.MEASURES,
        **{f"family {name}": number for name, number in revisions.FAMILIES.items()},
        **{f"task {name}": number for name, number in revisions.TASKS.items()},
        **{f"method {name}": number for name, number in revisions.METHODS.items()},
    }
    return [
        f"{name} {number}" for name, number in named.items() if number > 1 and f"| `{name}` | {number} |" not in page
    ]


def record() -> list[str]:
    """Keep the numbers of cells that are new or whose revisions were raised, and this machine's bits of all.

    Returns:
        A sentence for each cell that moved though none of its revisions was raised; it is left as it was.
    """
    found, refused = kept(), []
    for name in CELLS:
        numbers, now = numbers_of(name), revisions_of(name)
        before = found.get(name)
        if before and before["revisions"] == now:
            parts = moved(name, numbers)
            if parts:
                refused.append(complaint(name, parts))
                continue
        else:
            before = found[name] = {part: numbers[part] for part in (*TRAINED, *MEASURED)}
            before |= {"revisions": now, "bits": {}}
        before["bits"][machine()] = numbers["bits"]
    kept_still = {name: found[name] for name in CELLS if name in found}
    FILE.write_text(json.dumps(kept_still, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return refused


if __name__ == "__main__":
    torch.set_num_threads(1)
    sentences = record()
    print(*sentences, sep="\n", file=sys.stderr)
    sys.exit(2 if sentences else 0)
