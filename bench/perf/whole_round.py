"""The part "round": a real round at the paper's setting, by phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import numpy as np
from rich.table import Table

from bench.perf.apart import Apart
from bench.perf.plan import Plan
from bench.perf.report import Say, filled, ranged, split_by
from bench.perf.rounds import Passed, Rounds, next_round
from bench.perf.targets import ROUND_SHARES, at_most
from bench.perf.turns import spread_of, take_turns
from bench.perf.workloads import PAPER_SAMPLES, SUBMODEL_KEEP, TEST_IMAGES, round_cell
from bench.tasks.resnet18_cifar10 import ResNet18Cifar10

SERVER = ("select", "extract", "aggregate", "diagnose", "count", "other")
PHASES = ("train", *SERVER, "evaluate")
EVALUATE_EVERY = ResNet18Cifar10.tiers["paper"].evaluate_every


def measure(plan: Plan, say: Say) -> list[dict[str, Any]]:
    """Return the rows of all precisions.

    The paper's round, which takes minutes, is run once and without one to warm up but for the initial model's
    evaluation. With fewer samples a client, rounds are repeated and the precisions take turns.
    """
    with ExitStack() as stack:
        turns = {}
        for precision in plan.precisions:
            say(f"{precision}: the initial model is evaluated")
            runner = Apart(Rounds, round_cell(plan.samples, precision), plan.device, plan.workers)
            stack.enter_context(closing(runner))
            turns[precision] = partial(next_round, runner)
        if plan.samples == PAPER_SAMPLES:
            say("one round at the paper's setting in each precision, which takes minutes")
            passed = {precision: [turn(1)] for precision, turn in turns.items()}
        else:
            passed = take_turns(turns, plan.repetitions, say)
    return [row for precision, rounds in passed.items() for row in rows_of(precision, plan, rounds)]


def rows_of(precision: str, plan: Plan, rounds: Sequence[Passed]) -> list[dict[str, Any]]:
    """Return a row for each phase, and for the sums "server" and "round".

    Training takes time in proportion to a client's samples and the other phases do not depend on them: so the seconds
    at the paper's setting follow from those measured.
    """
    measured = [_summed(passed.seconds) for passed in rounds]
    scaled = [_at_paper(phases, PAPER_SAMPLES / plan.samples) for phases in measured]
    paper = {phase: float(np.median([phases[phase] for phases in scaled])) for phase in scaled[0]}
    mean_round = paper["round"] - paper["evaluate"] * (1 - 1 / EVALUATE_EVERY)
    return [
        {
            "precision": precision,
            "phase": phase,
            "samples_per_client": plan.samples,
            "repetitions": len(rounds),
            **spread_of([phases[phase] for phases in measured]),
            "seconds_at_paper": seconds,
            "share": seconds / paper["round"],
            "share_target": ROUND_SHARES.get(phase) if plan.device == "cpu" else None,
            "share_of_mean_round": 1.0 if phase == "round" else _per_round(phase, seconds) / mean_round,
        }
        for phase, seconds in paper.items()
    ]


def _summed(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return the seconds of all phases and sums; "other" is what a round spends outside of the phases it times."""
    timed = {phase: seconds.get(phase, 0.0) for phase in PHASES}
    timed["other"] = seconds["round"] - sum(timed.values())
    return {**timed, "server": sum(timed[phase] for phase in SERVER), "round": seconds["round"]}


def _at_paper(phases: Mapping[str, float], factor: float) -> dict[str, float]:
    """Return the seconds with clients that hold so many times the samples."""
    train = phases["train"] * factor
    return {**phases, "train": train, "round": phases["round"] - phases["train"] + train}


def _per_round(phase: str, seconds: float) -> float:
    return seconds / EVALUATE_EVERY if phase == "evaluate" else seconds


def shown(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Return the tables that are printed, one a precision."""
    tables = []
    for precision, here in split_by("precision", rows):
        samples = here[0]["samples_per_client"]
        table = filled(
            f"A round at the paper's setting, PriSM on ResNet-18, keep {SUBMODEL_KEEP:g}, {precision}",
            here,
            ("phase", "seconds", "at paper's size", "share", "of mean round"),
            f"20 of 100 clients x {PAPER_SAMPLES} samples x 2 epochs, {TEST_IMAGES:,} test images. Server: the sum of "
            f"{', '.join(SERVER)}; select has the decomposition in it. The mean round is of rounds of which every "
            f"{EVALUATE_EVERY}th is evaluated, as in the paper's recipe."
            + ("" if samples == PAPER_SAMPLES else f" Training was measured with {samples} samples a client."),
            _line,
        )
        tables.append(table)
    return tables


def _line(row: Mapping[str, Any]) -> list[str]:
    shares = [f"{row[name]:.3f}" for name in ("share", "share_of_mean_round")]
    return [row["phase"], ranged(row), f"{row['seconds_at_paper']:.2f}", *shares]


def verdicts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return two lines for each target: of a round that is evaluated, and of the mean round."""
    return [
        f"{row['precision']}, {row['phase']}: share of {round_} {at_most(row[share], row['share_target'], digits=3)}"
        for row in rows
        if row["share_target"] is not None
        for round_, share in (("an evaluated round", "share"), ("the mean round", "share_of_mean_round"))
    ]
