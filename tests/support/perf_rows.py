"""Timings made up for the tests of the performance command."""

from __future__ import annotations

from typing import Any

from bench.perf import clients, keep, memory, mixed, training, whole_round
from bench.perf.clients import SIZES
from bench.perf.contenders import contenders
from bench.perf.machine import Load, facts_of
from bench.perf.plan import Plan, plan_of
from bench.perf.rounds import Footing, Passed
from bench.perf.workloads import KEEPS, PAPER_SAMPLES, RESNET

PHASES = {"train": 20.0, "select": 1.0, "extract": 0.5, "aggregate": 2.0, "diagnose": 0.25, "count": 0.05}
OTHER, EVALUATE = 0.2, 4.0


def plan(**changes: Any) -> Plan:
    """Return a plan of two workers, wherever the tests run."""
    values = {**vars(plan_of("cpu")), "workers": 2, "cohort": 2, "repetitions": 3, **changes}
    return Plan(**values)


def _with_facts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row | facts_of(Load(0.1, 2.0, 0.01), "cpu", 2) for row in rows]


def training_rows() -> list[dict[str, Any]]:
    """Return the rows of ResNet-18 where the n-th contender takes n + 1 seconds."""
    who = contenders("cpu", 2, ("fp32", "bf16"))
    timings = {contender: [number + 1.0, number + 1.5, number + 0.5] for number, contender in enumerate(who)}
    return _with_facts(training.rows_of(RESNET, plan(), timings))


def keep_rows() -> list[dict[str, Any]]:
    """Return the rows of sub-models that take a tenth of a second and four per keep ratio."""
    rows = []
    for precision in ("fp32", "bf16"):
        full = keep.Point("fedavg", 1.0, precision)
        points = [full, *(keep.Point(method, share, precision) for method in keep.METHODS for share in KEEPS)]
        timings = {point: [0.1 + 4 * point.keep, 4.2 * point.keep, 0.2 + 4 * point.keep] for point in points}
        macs = {point: round(1000 * (1.0 if point == full else point.keep**2)) for point in points}
        rows += keep.rows_of(macs, timings)
    return _with_facts(rows)


def passed(factor: float = 1.0, memory: int = 3_000_000) -> Passed:
    """Return a round of known phases, in which training takes some factor of its seconds."""
    seconds = {**PHASES, "train": PHASES["train"] * factor, "evaluate": EVALUATE}
    return Passed({**seconds, "round": sum(seconds.values()) + OTHER}, memory)


def round_rows(samples: int = PAPER_SAMPLES) -> list[dict[str, Any]]:
    """Return the rows of three rounds with so many samples a client."""
    rounds = [passed(factor * samples / PAPER_SAMPLES) for factor in (0.9, 1.0, 1.2)]
    rows = [row for name in ("fp32", "bf16") for row in whole_round.rows_of(name, plan(samples=samples), rounds)]
    return _with_facts(rows)


def clients_rows() -> list[dict[str, Any]]:
    """Return the rows of rounds that take a tenth of a second for each client of the cohort and for 1e5 clients."""
    rows = []
    for precision in ("fp32", "bf16"):
        rounds, footings = {}, {}
        for size in SIZES:
            seconds = size.cohort / 10 + size.clients / 1e6
            memory = 3_000_000 + size.clients
            rounds[size] = [Passed({"round": seconds * factor}, memory) for factor in (1.0, 0.9, 1.3)]
            footings[size] = Footing(0.5, 1_000_000, 900_000, 300_000, 150_000_000)
        rows += clients.rows_of(precision, plan(), rounds, footings)
    return _with_facts(rows)


def mixed_rows() -> list[dict[str, Any]]:
    """Return the rows of cohorts that take 4, 6 and 8 s in their order, and 2, 6 and 6 s longest first."""
    timings = {mixed.IN_ORDER: [4.0, 6.0, 8.0], mixed.LONGEST: [2.0, 6.0, 6.0]}
    rows = [row for name in ("fp32", "bf16") for row in mixed.rows_of(name, timings, [0.5, 0.9, 0.8])]
    return _with_facts(rows)


def memory_rows() -> list[dict[str, Any]]:
    """Return the rows of two clients: one that is as counted, and one that keeps and takes more."""
    held = {"fedavg": memory.Held(1_000_000, 1_050_000, 1_090_000), "prism": memory.Held(500_000, 600_000, 900_000)}
    return _with_facts([memory.row_of("cnn-femnist", name, 0.2, "fp32", of) for name, of in held.items()])
