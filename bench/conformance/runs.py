"""Checks of whole runs."""

from __future__ import annotations

import io
import pickle
from typing import Any

import torch

from bench.conformance.compare import difference, values_of
from bench.conformance.outcome import Declared, Failure, Undefined
from bench.conformance.source import global_seeds
from bench.conformance.subject import Subject, fedavg, simulate
from bench.errors import words_of
from bench.simulation.simulator import Simulation
from bench.training.engine import InlineEngine, open_engine

RUN_TOLERANCE = 1e-3
"""Of the distance that the server model travelled; a mean that is off by a hundredth shows."""


def everything_equals_fedavg(subject: Subject) -> None:
    """At keep ratio 1 the server model after a run of two rounds is FedAvg's, to rounding.

    All clients hold as many samples, so that averages by samples and by clients are the same.
    """
    federation = subject.federation(keep=1.0)
    if not subject.stage(keep=1.0).method.equals_fedavg:  # which may follow from the parameters, in setup
        raise Declared("local training has other dynamics than the full model's (equals_fedavg is False)")
    mine, theirs = values_of(simulate(federation).server.model), fedavg(subject.task, subject.plugins)
    if mine.keys() != theirs.keys():
        raise Failure(
            "at keep ratio 1 the server model has other parameters than FedAvg's",
            "the same names",
            "the server keeps the full model in its original space",
        )
    start = values_of(federation.initial_model())
    travelled = sum(float((theirs[name] - value).square().sum()) for name, value in start.items())
    apart = sum(float((mine[name] - value).square().sum()) for name, value in theirs.items())
    off = (apart / travelled) ** 0.5
    if not off <= RUN_TOLERANCE:
        raise Failure(
            f"at keep ratio 1 the run ends {off:.1g} of the way that FedAvg's model travels away from FedAvg's",
            f"at most {RUN_TOLERANCE:g}",
            "if local training is meant to have other dynamics, say so with equals_fedavg = False",
        )


def two_runs_agree(subject: Subject) -> None:
    """Two runs of the same cell are equal, bit for bit, in all that is recorded beside time and memory."""
    # Under another global random state first: most methods pass that, and then a third run is not needed.
    if difference(subject.usual_run, subject.other_run):
        _same(difference(subject.usual_run, subject.same_run), "two runs of the same cell are not equal")


def no_global_randomness(subject: Subject) -> None:
    """A run neither changes the states of torch's, numpy's and Python's global generators nor depends on them.

    The method's source seeds none of them either.
    """
    seeds = list(global_seeds(subject.source.read_text(encoding="utf-8")))
    hint = "draw from streams.client(number) or streams.server(); make modules under torch.device('meta') or skip_init"
    if seeds:
        raise Failure(f"{subject.source.name} seeds a global generator, {', '.join(seeds)}", "none", hint)
    usual = subject.usual_run
    if usual.disturbed:
        raise Failure(
            f"a run changes the global random state of {' and '.join(usual.disturbed)}", "that it leaves it alone", hint
        )
    unlike = difference(usual, subject.other_run)
    if unlike and not difference(usual, subject.same_run):
        raise Failure(f"with other global random states a run is another: {unlike}", "the same run", hint)


def two_workers_agree(subject: Subject) -> None:
    """A run with two worker processes equals the run in one process, bit for bit."""
    if not subject.spawns:
        raise Undefined("worker processes take long to start: one task is enough")
    usual, federation = subject.usual_run, subject.measured_federation()
    engine = open_engine(federation, subject.plugins, 2)
    try:
        run = simulate(federation, engine)
    finally:
        engine.close()
    _same(difference(usual, run), "with two worker processes a run is another")


def resumed_equals_uninterrupted(subject: Subject) -> None:
    """A run that is interrupted after its first round, saved and resumed ends as the uninterrupted one, bit for bit."""
    federation = subject.measured_federation()
    simulation = Simulation(federation, InlineEngine(federation))
    rounds = simulation.rounds()
    while next(rounds).number < 1:
        pass
    resumed = simulate(subject.measured_federation(), resume=_saved_and_loaded(simulation))
    _same(difference(subject.usual_run, resumed), "after an interruption a run goes on otherwise")


def _saved_and_loaded(simulation: Simulation) -> Any:
    file = io.BytesIO()
    try:
        torch.save(simulation.state(), file)
        file.seek(0)
        return torch.load(file, weights_only=True)
    except (pickle.PickleError, AttributeError, TypeError, RuntimeError) as error:
        raise Failure(
            f"the state after a round cannot be saved and loaded: {words_of(error)}",
            "tensors alone in server.memory",
            "what a method carries from round to round is tensors; anything else must follow from them",
        ) from None


def _same(unlike: str, found: str) -> None:
    if unlike:
        raise Failure(
            f"{found}: {unlike}",
            "the same run to the bit",
            "keep what a method remembers in server.memory and what training needs in the sub-model, nothing in self; "
            "draw from the given streams; go through dictionaries and lists, not sets",
        )
