"""Whole runs of FedLAMA: against one written out, against FedAvg, their bytes, their states."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from critical import CNN_LAYERS, prefixes
from helpers import (
    CNN,
    LSTM,
    RESNET,
    assert_equal,
    federation,
    initial,
    numbers,
    run,
    run_sent,
    run_with,
    small_task,
    values_of,
)
from thinned import every, thinned
from torch import Tensor, nn

from bench.api import Server, copy_of
from bench.errors import BenchError
from bench.families.layerwise import layers_of
from bench.federation.federation import Federation
from bench.numerics.runtime import prepared
from bench.simulation.rows import rank_rows
from bench.simulation.simulator import Round, Simulation
from bench.training.engine import InlineEngine
from bench.training.local import Job, train_client

TRAINING: dict[str, Any] = {
    "rounds": 6,
    "clients": 6,
    "cohort": 3,
    "samples_per_client": 16,
    "batch_size": 8,
    "lr": 0.05,
}


def fedlama(task: str = CNN, training: dict[str, Any] | None = None, **parameters: Any) -> Federation:
    return federation("fedlama", task, parameters=parameters, training={**TRAINING, **(training or {})})


def steps(built: Federation) -> Iterator[tuple[Round, Server]]:
    """Run a federation round by round."""
    simulation = Simulation(built, InlineEngine(built))
    with prepared():
        for this in simulation.rounds():
            yield this, simulation.server


class Written:
    """A run of FedLAMA written out: whole models that stay with the clients, layers averaged when they are due."""

    def __init__(self, built: Federation, base: int, phi: int) -> None:
        self.built, self.base, self.phi = built, base, phi
        self.global_model: nn.Module = built.initial_model()
        self.clients: dict[int, nn.Module] = {}
        self.intervals = dict.fromkeys(CNN_LAYERS, base)
        self.sent_before: set[str] = set()

    def round(self, number: int) -> tuple[int, int, dict[str, Tensor]]:
        """Return the bytes up and down of a round, and the mean of the clients' models after it."""
        cohort = self.built.cohort(number).clients
        if (number - 1) % (self.phi * self.base) == 0:
            self.clients = {client.number: copy_of(self.global_model) for client in cohort}
            self.sent_before = set(CNN_LAYERS)
        assert list(self.clients) == [client.number for client in cohort]
        sizes = {
            layer: sum(self.parameter(layer_tensor).numel() for layer_tensor in CNN_LAYERS[layer])
            for layer in CNN_LAYERS
        }
        down = sum(4 * sizes[layer] * len(cohort) for layer in self.sent_before)
        for client, model in self.clients.items():
            train_client(Job(client, number, model, reference=True), self.built)
        mean = {}
        for tensor in values_of(self.global_model):
            mean[tensor] = torch.stack([model.get_parameter(tensor).detach() for model in self.clients.values()]).mean(
                0
            )
        last = number == self.built.task.recipe.rounds  # what has waited until the end of a run is sent all the same
        due = {layer for layer, interval in self.intervals.items() if last or number % interval == 0}
        distances = self.distances(mean)
        for tensor in (tensor for layer in due for tensor in CNN_LAYERS[layer]):
            for model in (self.global_model, *self.clients.values()):
                model.get_parameter(tensor).data.copy_(mean[tensor])
        if number % (self.phi * self.base) == 0:
            discrepancy = [distances[layer] / (self.intervals[layer] * sizes[layer]) for layer in CNN_LAYERS]
            relaxed = prefixes(discrepancy, list(sizes.values()), [True] * 3)
            self.intervals = {
                layer: self.base * (self.phi if place in relaxed else 1) for place, layer in enumerate(CNN_LAYERS)
            }
        self.sent_before = due
        return sum(4 * sizes[layer] * len(cohort) for layer in due), down, mean

    def distances(self, mean: dict[str, Tensor]) -> dict[str, float]:
        return {
            layer: float(
                np.mean(
                    [
                        sum(float((model.get_parameter(t) - mean[t]).detach().double().square().sum()) for t in tensors)
                        for model in self.clients.values()
                    ]
                )
            )
            for layer, tensors in CNN_LAYERS.items()
        }

    def parameter(self, name: str) -> Tensor:
        return self.global_model.get_parameter(name)


@pytest.mark.parametrize(("base", "phi", "rounds"), [(1, 2, 6), (2, 2, 9), (1, 3, 8)])
def test_a_run_is_the_run_written_out(base: int, phi: int, rounds: int) -> None:
    built = fedlama(base_interval=base, phi=phi, training={"rounds": rounds})
    written = Written(fedlama(base_interval=base, phi=phi, training={"rounds": rounds}), base, phi)
    partial = 0
    for this, server in steps(built):
        if this.number == 0:
            continue
        with prepared():
            up, down, mean = written.round(this.number)
        assert (this.up_bytes, this.down_bytes) == (up, down)
        partial += 0 < up < 4 * 3 * 233_086
        evaluated = values_of(built.method.full_model(server))
        for tensor, value in values_of(server.model).items():
            torch.testing.assert_close(evaluated[tensor], mean[tensor], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(value, values_of(written.global_model)[tensor], rtol=1e-4, atol=1e-5)
        assert server.memory["intervals"].tolist() == list(written.intervals.values())
        assert this.score == built_score(built, built.method.full_model(server))
    assert partial >= 1


def built_score(built: Federation, model: nn.Module) -> Any:
    return InlineEngine(built).evaluate(model)


def test_bytes_of_a_small_run_are_those_of_a_count_by_hand() -> None:
    built = fedlama()
    sizes = (64 * 25 + 64, 64 * 64 * 9 + 64, 62 * 3136 + 62)
    everything = 3 * 4 * sum(sizes)
    rounds, intervals = [], []
    for this, server in steps(built):
        rounds.append(this)
        intervals.append(server.memory["intervals"].tolist())
    assert [this.up_bytes for this in rounds[1:3]] == [everything] * 2 == [this.down_bytes for this in rounds[1:3]]
    for number in (3, 5):
        due = 3 * 4 * sum(size for size, interval in zip(sizes, intervals[number - 1], strict=True) if interval == 1)
        assert due < everything
        assert (rounds[number].up_bytes, rounds[number].down_bytes) == (due, everything)
        assert (rounds[number + 1].up_bytes, rounds[number + 1].down_bytes) == (everything, due)


@pytest.mark.parametrize(("task", "weights"), [(CNN, "samples"), (RESNET, "uniform"), (LSTM, "samples")])
def test_with_an_interval_of_one_round_it_is_fedavg(task: str, weights: str) -> None:
    reference, expected = run(federation("fedavg", task, parameters={"weights": weights}, training=TRAINING))
    rounds, after = run(fedlama(task, phi=1, weights=weights))
    assert_equal(after, expected)
    assert [this.score for this in rounds] == [this.score for this in reference]
    assert [this.up_bytes for this in rounds] == [this.up_bytes for this in reference]
    assert [this.down_bytes for this in rounds] == [this.down_bytes for this in reference]


def test_with_a_base_interval_of_two_rounds_half_as_much_is_sent() -> None:
    every, second = ([this for this, _ in steps(fedlama(phi=1, base_interval=base))][1:] for base in (1, 2))
    everything = every[0].up_bytes
    assert [this.up_bytes for this in second] == [0, everything] * 3
    assert [this.down_bytes for this in second] == [everything, 0] * 3
    assert 2 * sum(this.up_bytes + this.down_bytes for this in second) == sum(
        this.up_bytes + this.down_bytes for this in every
    )


def test_the_cohort_stays_for_a_period() -> None:
    built = fedlama(base_interval=2, phi=2)
    cohorts = [[client.number for client in built.cohort(number).clients] for number in range(1, 9)]
    assert cohorts[:4] == [cohorts[0]] * 4 and cohorts[4:] == [cohorts[4]] * 4 and cohorts[0] != cohorts[4]
    with pytest.raises(BenchError, match="cohort_rounds = 3"):
        fedlama(training={"cohort_rounds": 3}).cohort(1)


KERNELS: dict[str, Any] = {"base_interval": 2, "layers": "kernels", "weights": "samples"}


@pytest.mark.parametrize(
    ("task", "parameters"), thinned([(LSTM, KERNELS), (CNN, {}), (RESNET, KERNELS), (LSTM, {})], every(4))
)
def test_it_resumes_to_the_bit_within_a_period(task: str, parameters: dict[str, Any]) -> None:
    training = {"rounds": 5}
    whole = Simulation(*with_engine(fedlama(task, training, **parameters)))
    states, rounds = [], []
    with prepared():
        for this in whole.rounds():
            rounds.append(this)
            states.append(whole.state())
        within = [state for state in states if any(name.startswith("client/") for name in state["memory"])]
        assert within
        for state in within:
            resumed = Simulation(*with_engine(fedlama(task, training, **parameters)))
            rest = list(resumed.rounds(resume=state))
            assert numbers(rest) == numbers(rounds[state["round"] + 1 :])
            assert_equal(resumed.state()["memory"], states[-1]["memory"])
            assert_equal(resumed.state()["model"], states[-1]["model"])


def with_engine(built: Federation) -> tuple[Federation, InlineEngine]:
    return built, InlineEngine(built)


def test_two_workers_give_the_same_bits_as_this_process() -> None:
    training = {"rounds": 5}
    inline, parallel = run_with(fedlama(training=training), 1), run_sent(fedlama(training=training))
    assert inline[0] == parallel[0]
    assert_equal(inline[1], parallel[1])


def test_the_interval_of_each_factorable_layer_is_in_the_tables() -> None:
    recorded = []
    for this, server in steps(fedlama(RESNET)):
        rows = {row["layer"]: row["aggregation_interval"] for row in rank_rows(this)}
        recorded.append((set(rows.values()), rows, server.memory["intervals"].tolist()))
    assert recorded[0][0] == {None} and recorded[1][0] == {1.0} and recorded[2][0] == {1.0}
    layers = [piece.name for piece in layers_of(initial(small_task(RESNET)))]
    for before, this in itertools.pairwise(recorded[1:]):
        expected = dict(zip(layers, before[2], strict=True))
        assert this[1] == {layer: expected[layer] for layer in this[1]}
    assert recorded[3][0] == {1.0, 2.0}
