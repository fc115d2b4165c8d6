"""The engine for GPUs gives the numbers of plain training, on the CPU to the bit.

There the replica's memory, its warm-up and the engine's queue are the same; only streams and graphs are missing.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from helpers import assert_equal, numbers, run, values_of
from thinned import every, thinned
from torch import Tensor, nn
from trained import CASES, assert_trained_alike, build, jobs_of

from bench.federation.federation import Federation
from bench.numerics import runtime
from bench.simulation.simulator import Simulation
from bench.training import captured, replica
from bench.training.captured import CapturedEngine
from bench.training.engine import InlineEngine, open_engine
from bench.training.local import Diverged, Job, train_client


def simulated(built: Federation, engine: Any) -> tuple[list[Any], dict[str, Tensor]]:
    """Run a federation with an engine; return its rounds and the parameters of the last server."""
    with runtime.prepared():
        simulation = Simulation(built, engine)
        rounds = numbers(simulation.rounds())
        engine.close()
    return rounds, values_of(simulation.server.model)


@pytest.mark.parametrize(("method", "task", "values"), thinned(CASES, every(3)), ids=str)
def test_runs_are_those_of_plain_training(method: str, task: str, values: dict[str, Any]) -> None:
    built = build(method, task, **values)
    engine = CapturedEngine(built, clients_at_once=2)
    ours = simulated(built, engine)
    theirs = run(build(method, task, **values))
    assert ours[0] == numbers(theirs[0])
    assert_equal(ours[1], theirs[1])
    assert engine.refused == {}


@pytest.mark.parametrize("part", ["all", "some"])
def test_clients_start_from_their_momentum_and_follow_their_learning_rates(part: str) -> None:
    """One replica does all: with and without momentum, and with rates that change from one epoch to the next."""
    built = build("prism", parameters={"client_momentum": "carry"})
    engine = CapturedEngine(built, clients_at_once=1)
    generator = torch.Generator().manual_seed(0)
    submodel = jobs_of(built)[0].submodel
    momentum = {name: 0.1 * torch.randn(p.shape, generator=generator) for name, p in submodel.named_parameters()}
    if part == "some":
        momentum = {name: value for name, value in momentum.items() if name.startswith("conv2")}
    for values in ({}, {"momentum": momentum}, {"learning_rates": [0.1, 0.001]}, {}):
        (ours,) = engine.train(jobs_of(built, **values))
        assert_trained_alike(ours, train_client(jobs_of(built, **values)[0], built))
    assert engine.refused == {} and len(engine._replicas) == 1


def test_what_clients_send_may_change_from_round_to_round_within_one_kind() -> None:
    """FedLAMA sends other layers whenever its intervals change, of sub-models that are all trained alike."""
    values: dict[str, Any] = {"training": {"rounds": 12}, "parameters": {"phi": 3}}
    built, sent = build("fedlama", **values), set()
    upload = built.method.upload

    def noted(submodel: nn.Module) -> dict[str, Tensor]:
        sent.add(tuple(upload(submodel)))
        return upload(submodel)

    built.method.upload = noted  # type: ignore[method-assign]
    engine, kinds = CapturedEngine(built, clients_at_once=2), set()
    with runtime.prepared():
        simulation = Simulation(built, engine)
        rounds = []
        for this in simulation.rounds():
            rounds.append(this)
            kinds |= engine._replicas.keys()
    theirs = run(build("fedlama", **values))
    assert numbers(rounds) == numbers(theirs[0])
    assert_equal(values_of(simulation.server.model), theirs[1])
    assert len(kinds) == 1 and engine.refused == {} and len(sent) > 2


def test_results_stay_as_they_are_when_the_next_client_is_trained() -> None:
    built = build("fedavg")
    trained = list(CapturedEngine(built, clients_at_once=1).train(jobs_of(built, 2)))
    for ours, job in zip(trained, jobs_of(built, 2), strict=True):
        assert_trained_alike(ours, train_client(job, built))


def test_few_submodels_are_alive_and_results_come_in_order() -> None:
    built = build("prism", training={"clients": 9, "cohort": 9, "samples_per_client": 16, "local_epochs": 1})
    alive: weakref.WeakSet[nn.Module] = weakref.WeakSet()
    most = 0

    def drawn() -> Iterator[Job]:
        nonlocal most
        server = built.method.setup(built.initial_model(), built.task)
        for selection in built.method.select(server, built.cohort(1), built.streams("selection", 1)):
            submodel = built.method.extract(server, selection)
            alive.add(submodel)
            most = max(most, len(alive))
            yield Job(selection.client.number, 1, submodel)
            del submodel

    engine = CapturedEngine(built, clients_at_once=2)
    results = list(engine.train(drawn()))
    assert most <= 2 * captured.QUEUED + 1  # and the one that is being drawn
    for ours, job in zip(results, jobs_of(built, 9), strict=True):
        assert_trained_alike(ours, train_client(job, built))


def test_a_loss_that_is_not_finite_is_divergence_and_those_before_it_count() -> None:
    built = build("prism")
    jobs = jobs_of(built, 2)
    with torch.no_grad():
        next(jobs[1].submodel.parameters()).fill_(float("nan"))
    trained = CapturedEngine(built).train(jobs)
    assert_trained_alike(next(trained), train_client(jobs_of(built)[0], built))
    with pytest.raises(Diverged, match=rf"^round 1: the training loss of client {jobs[1].client} is nan$"):
        next(trained)


def test_training_works_within_no_grad() -> None:
    built = build("prism")
    with torch.no_grad():
        (inner,) = CapturedEngine(built).train(jobs_of(built))
    assert_trained_alike(inner, train_client(jobs_of(built)[0], built))


def test_further_batch_sizes_are_trained_without_a_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica, "RECORDED_SIZES", 1)
    built = build("prism")
    engine = CapturedEngine(built, clients_at_once=1)
    for ours, job in zip(engine.train(jobs_of(built, 2)), jobs_of(built, 2), strict=True):
        assert_trained_alike(ours, train_client(job, built))
    ((only,),) = (replicas.values() for replicas in engine._replicas.values())
    assert list(only._steps) == [8] and engine.refused == {}


def test_the_engine_is_chosen_by_the_device() -> None:
    built = build("fedavg")
    assert isinstance(open_engine(built, (), 1), InlineEngine)
    built.device = torch.device("mps")
    assert isinstance(open_engine(built, (), 2), InlineEngine)
