"""FedLAMA against its formulae by loops, against a whole run written out, and against FedAvg."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close
from helpers import (
    CNN,
    LSTM,
    RESNET,
    TASKS,
    assert_equal,
    cohort_of,
    federation,
    initial,
    method_of,
    numbers,
    run,
    run_with,
    selections_of,
    small_task,
    values_of,
)
from torch import Tensor, nn

from bench.api import Client, Method, Server, Update, copy_of
from bench.engine import InlineEngine
from bench.errors import BenchError
from bench.families.layerwise import Piece, SpreadMean, kernels_of, layers_of, less_critical
from bench.federation import Federation
from bench.runtime import prepared
from bench.schema import rank_rows
from bench.simulator import Round, Simulation
from bench.training import Job, train_client

TRAINING: dict[str, Any] = {
    "rounds": 6,
    "clients": 6,
    "cohort": 3,
    "samples_per_client": 16,
    "batch_size": 8,
    "lr": 0.05,
}
CNN_LAYERS = {
    "conv1": ("conv1.weight", "conv1.bias"),
    "conv2": ("conv2.weight", "conv2.bias"),
    "classifier": ("classifier.weight", "classifier.bias"),
}


def fedlama(task: str = CNN, training: dict[str, Any] | None = None, **parameters: Any) -> Federation:
    return federation("fedlama", task, parameters=parameters, training={**TRAINING, **(training or {})})


def steps(built: Federation) -> Iterator[tuple[Round, Server]]:
    """Run a federation round by round."""
    simulation = Simulation(built, InlineEngine(built))
    with prepared():
        for this in simulation.rounds():
            yield this, simulation.server


def prefixes(discrepancy: list[float], sizes: list[int], eligible: list[bool]) -> set[int]:
    """Return the least critical pieces by trying every prefix of the sorted order, each summed anew."""
    order = sorted((place for place in range(len(sizes)) if eligible[place]), key=lambda place: discrepancy[place])
    numbers_of_eligible = sum(sizes[place] for place in order)
    everything = sum(d * size for d, size in zip(discrepancy, sizes, strict=True))
    crossing = []
    for length in range(1, len(order) + 1):
        delta = sum(discrepancy[place] * sizes[place] for place in order[:length]) / everything
        left = sum(sizes[place] for place in order[length:]) / numbers_of_eligible
        if left < delta:
            crossing.append(length)
    return set(order[: min(crossing)] if crossing else order)


def test_less_critical_layers_are_those_of_the_shortest_prefix_that_crosses() -> None:
    rng = np.random.default_rng(0)
    lengths = set()
    for _ in range(300):
        count = int(rng.integers(2, 9))
        sizes, discrepancy = rng.integers(1, 1000, count).tolist(), rng.lognormal(0, 2, count).tolist()
        eligible = (rng.random(count) < 0.7).tolist()
        eligible[int(rng.integers(count))] = True
        pieces = [Piece("", (), size, free) for size, free in zip(sizes, eligible, strict=True)]
        taken = less_critical(discrepancy, pieces)
        assert taken == prefixes(discrepancy, sizes, eligible)
        lengths.add(len(taken))
    assert len(lengths) > 4


def test_less_critical_layers_of_an_example_worked_by_hand() -> None:
    # Sorted by d: c (delta 10/100, left 40/100), a (delta 30/100, left 20/100: crossed), b.
    pieces = [Piece("a", (), 20), Piece("b", (), 20), Piece("c", (), 60)]
    assert less_critical([1.0, 3.5, 1 / 6], pieces) == {0, 2}
    # All discrepancy in a bias that may not be chosen: delta stays 0 and never crosses.
    assert less_critical([0.0, 0.0, 5.0], [*pieces[:2], Piece("bias", (), 4, False)]) == {0, 1}
    assert less_critical([0.0, 0.0, 0.0], pieces) == {0, 1, 2}


def test_spread_is_the_mean_squared_distance_from_the_mean() -> None:
    rng = np.random.default_rng(1)
    # Far from the base and near to each other: sums of squares of the values themselves would cancel.
    base, clients = torch.zeros(7, 5), [torch.from_numpy(1000 + rng.normal(size=(7, 5))).float() for _ in range(4)]
    weights = [10.0, 1.0, 5.0, 4.0]
    spread = SpreadMean(base)
    for values, weight in zip(clients, weights, strict=True):
        spread.add(values, weight)
    arrays = [values.double().numpy() for values in clients]
    mean = sum(weight * array for weight, array in zip(weights, arrays, strict=True)) / 20
    expected = sum(w * ((array - mean) ** 2).sum() for w, array in zip(weights, arrays, strict=True)) / 20
    assert spread.spread() == pytest.approx(expected, rel=1e-3)
    assert_close(spread.mean.result(), mean)
    assert SpreadMean(base).spread() == 0


def test_a_layer_is_a_modules_own_parameters() -> None:
    assert {piece.name: piece.tensors for piece in layers_of(initial(small_task(CNN)))} == CNN_LAYERS
    lstm = {piece.name: piece for piece in layers_of(initial(small_task(LSTM)))}
    assert list(lstm) == ["embedding", "lstm.0", "lstm.1", "classifier"]
    assert lstm["lstm.1"].tensors == tuple(
        f"lstm.{kind}_l1" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    assert lstm["lstm.1"].size == 4 * 8 * (8 + 8 + 2)
    for name in TASKS:
        model = initial(small_task(name))
        named = dict(model.named_parameters())
        for pieces in (layers_of(model), kernels_of(model)):
            assert sorted(tensor for piece in pieces for tensor in piece.tensors) == sorted(named)
            assert all(piece.size == sum(named[tensor].numel() for tensor in piece.tensors) for piece in pieces)
        assert {piece.name for piece in kernels_of(model) if piece.eligible} == {
            tensor for tensor, value in named.items() if value.ndim > 1
        }


def server_of(name: str, **parameters: Any) -> tuple[Any, Server]:
    task, method = small_task(name), method_of("fedlama", **parameters)
    return method, method.setup(initial(task), task)


def moved(method: Method, server: Server, round_number: int, seed: int) -> list[Update]:
    """Return updates of clients with 10, 20 and 30 samples that move by noise, of another size in each parameter."""
    generator = torch.Generator().manual_seed(seed)
    updates = []
    for selection in selections_of(method, server, cohort_of(1.0, 1.0, 1.0, round_number=round_number)):
        submodel = method.extract(server, selection)
        with torch.no_grad():
            for place, tensor in enumerate(submodel.parameters()):
                tensor += 0.03 * (1 + place % 4) * torch.randn(tensor.shape, generator=generator)
        updates.append(Update(selection, method.upload(submodel), local=method.local_state(submodel)))
    return updates


@pytest.mark.parametrize("weights", ["uniform", "samples"])
@pytest.mark.parametrize("name", TASKS)
def test_discrepancy_and_means_are_those_of_the_formula(name: str, weights: str) -> None:
    method, server = server_of(name, weights=weights)
    shares = [1 / 6, 2 / 6, 3 / 6] if weights == "samples" else [1 / 3] * 3
    for round_number in range(1, 5):
        intervals = server.memory["intervals"].tolist()
        before = values_of(server.model)
        updates = moved(method, server, round_number, round_number)
        method.aggregate(server, updates, STREAMS)
        clients = [{**update.parameters, **update.local} for update in updates]
        means = {
            tensor: sum(share * client[tensor].double().numpy() for share, client in zip(shares, clients, strict=True))
            for tensor in before
        }
        evaluated = values_of(method.full_model(server))
        for tensor, mean in means.items():
            assert_close(evaluated[tensor], mean)
        expected = []
        for piece, interval in zip(layers_of(server.model), intervals, strict=True):
            synchronised = round_number % 2 == 0 or interval == 1
            for tensor in piece.tensors:
                assert (tensor in updates[0].parameters) == synchronised
                assert_close(
                    server.model.get_parameter(tensor).detach(),
                    means[tensor] if synchronised else before[tensor].numpy(),
                )
            squares = 0.0
            for share, client in zip(shares, clients, strict=True):
                for tensor in piece.tensors:
                    difference = client[tensor].double().numpy() - means[tensor]
                    squares += share * float((difference**2).sum())
            expected.append(squares / (interval * piece.size))
        if round_number % 2 == 0:
            np.testing.assert_allclose(server.memory["discrepancy"].numpy(), expected, rtol=1e-4)
            sizes = [piece.size for piece in layers_of(server.model)]
            relaxed = prefixes(expected, sizes, [True] * len(sizes))
            assert server.memory["intervals"].tolist() == [2 if place in relaxed else 1 for place in range(len(sizes))]
            assert set(server.memory) == {"intervals", "discrepancy"}
            assert method.full_model(server) is server.model
        elif round_number == 3:
            assert 1 in intervals and 2 in intervals
            kept = {
                tensor
                for p, i in zip(layers_of(server.model), intervals, strict=True)
                if i == 2
                for tensor in p.tensors
            }
            clients_memory = {f"client/{number}/{tensor}" for number in range(3) for tensor in kept}
            weights_memory = {f"weight/{number}" for number in range(3)}
            assert set(server.memory) == {"intervals", "discrepancy"} | clients_memory | weights_memory


def test_in_the_released_code_only_kernels_wait_and_the_discrepancy_of_all_counts() -> None:
    method, server = server_of(RESNET, layers="kernels")
    names = [name for name, _ in server.model.named_parameters()]
    for round_number in (1, 2):
        updates = moved(method, server, round_number, round_number)
        clients = [{**update.parameters, **update.local} for update in updates]
        method.aggregate(server, updates, STREAMS)
    sizes, discrepancy = [], []
    for name in names:
        values = np.stack([client[name].double().numpy() for client in clients])
        sizes.append(values[0].size)
        discrepancy.append(float(((values - values.mean(0)) ** 2).sum()) / 3 / values[0].size)
    kernels = [server.model.get_parameter(name).ndim > 1 for name in names]
    relaxed = prefixes(discrepancy, sizes, kernels)
    assert server.memory["intervals"].tolist() == [2 if place in relaxed else 1 for place in range(len(names))]
    assert 0 < len(relaxed) < sum(kernels)


@pytest.mark.parametrize(("base", "phi", "first"), [(1, 2, 6), (2, 2, 6), (1, 4, 6)])
def test_the_released_code_adjusts_once_the_index_of_the_average_exceeds_five(base: int, phi: int, first: int) -> None:
    method, server = server_of(CNN, base_interval=base, phi=phi, first_adjustment=first)
    adjusted = []
    for round_number in range(1, 16 * base + 1):
        method.aggregate(server, moved(method, server, round_number, round_number), STREAMS)
        average = round_number // base - 1  # as the code counts
        if round_number % base == 0 and (average + 1) % phi == 0:
            assert (max(server.memory["intervals"].tolist()) > base) == (average > 5)
            adjusted.append(average > 5)
        elif average <= 5:
            assert set(server.memory["intervals"].tolist()) == {base}
    assert True in adjusted and False in adjusted


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
        due = {layer for layer, interval in self.intervals.items() if number % interval == 0}
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


@pytest.mark.parametrize(("task", "parameters"), [(CNN, {}), (RESNET, KERNELS), (LSTM, {}), (LSTM, KERNELS)])
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
    inline, parallel = (run_with(fedlama(training=training), workers) for workers in (1, 2))
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


def test_a_client_that_is_alone_has_no_discrepancy() -> None:
    method, server = server_of(CNN)
    for round_number in (1, 2):
        method.aggregate(server, moved(method, server, round_number, 0)[:1], STREAMS)
    assert server.memory["discrepancy"].tolist() == [0.0] * 3 and server.memory["intervals"].tolist() == [2] * 3
    assert Client(0, 10, 1.0) == moved(method, server, 3, 0)[0].selection.client
