"""What is to be measured, as the user asked for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.errors import BenchError, choices
from bench.numerics.runtime import cores
from bench.perf.workloads import PAPER_SAMPLES, WORKLOADS, cohort_of

PARTS = ("training", "keep", "round", "clients", "mixed", "memory")
DEFAULT_PRECISIONS = ("fp32", "bf16")
MOST_WORKERS = 8
"""All who take turns live at the same time, each with its workers: more would not fit the memory of usual machines."""


@dataclass(frozen=True)
class Plan:
    """What is to be measured, checked.

    Attributes:
        device: where models are trained: "cpu", "cuda" or "mps".
        repetitions: how often everything is timed; those who are compared take turns, and medians count.
        parts: of :data:`PARTS`, in that order.
        tasks: of the parts "training" and "memory".
        precisions: of the harness.
        samples: of a client in the part "round".
        workers: processes that train, and threads of the bare loop: all cores, up to :data:`MOST_WORKERS`.
        cohort: clients of a cohort in the parts "training" and "keep".
    """

    device: str
    repetitions: int
    parts: tuple[str, ...]
    tasks: tuple[str, ...]
    precisions: tuple[str, ...]
    samples: int
    workers: int
    cohort: int


def plan_of(
    device: str,
    repetitions: int = 5,
    parts: Sequence[str] = (),
    tasks: Sequence[str] = (),
    precisions: Sequence[str] = (),
    samples: int = PAPER_SAMPLES,
) -> Plan:
    """Return what is to be measured; where nothing is named, all parts and tasks, in fp32 and bf16.

    Raises:
        BenchError: a part, task or precision is unknown or not of this device, or a client cannot have so many samples.
    """
    known = ("fp32", "tf32", "bf16") if device == "cuda" else DEFAULT_PRECISIONS
    if not 1 <= samples <= PAPER_SAMPLES:
        raise BenchError(f"--samples {samples} is not possible; allowed: 1 to the paper's {PAPER_SAMPLES}")
    workers = min(cores(), MOST_WORKERS) if device == "cpu" else 1
    return Plan(
        device,
        repetitions,
        _chosen("--part", parts, PARTS, PARTS),
        _chosen("--task", tasks, WORKLOADS, WORKLOADS),
        _chosen("--precision", precisions, known, DEFAULT_PRECISIONS, f" on {device}"),
        samples,
        workers,
        cohort_of(device, workers),
    )


def _chosen(
    option: str, named: Sequence[str], allowed: Iterable[str], default: Iterable[str], where: str = ""
) -> tuple[str, ...]:
    """Return what was named, each once and in the order of ``allowed``; the default where nothing was."""
    for name in named:
        if name not in allowed:
            raise BenchError(f"{option} {name!r} cannot be measured{where}; {choices(name, allowed)}")
    return tuple(name for name in allowed if name in (named or default))
