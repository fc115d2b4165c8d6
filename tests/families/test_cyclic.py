"""Cyclic draws: every unit once before any again, each as likely as in independent draws, whatever interrupts a run."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from helpers import CNN, LSTM, assert_equal, federation, method_of, numbers, run, run_sent, run_with, values_of
from scipy import stats
from torch import Tensor
from toy import WEIGHT, toy

from bench.api import Client, Cohort, Streams, Update
from bench.config.cells import make_cell
from bench.errors import BenchError
from bench.families.cyclic import CYCLE, Cycle, remembered
from bench.simulation.simulator import Simulation
from bench.training.engine import InlineEngine


def test_no_unit_is_dealt_twice_before_all_are_dealt_once() -> None:
    for seed, units in itertools.product(range(20), (1, 2, 7, 10)):
        rng = np.random.default_rng(seed)
        cycle, counts = Cycle({}, rng), np.zeros(units, np.int64)
        for _ in range(40):
            size = int(rng.integers(1, units + 1))
            drawn = cycle.draw("piece", units, size)
            assert len(set(drawn.tolist())) == size and (np.diff(drawn) > 0).all() and drawn.dtype == np.int64
            counts[drawn] += 1
            assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(("units", "size"), [(10, 3), (12, 4), (5, 5), (7, 1)])
def test_after_as_many_draws_as_it_takes_every_unit_was_trained(units: int, size: int) -> None:
    cycle = Cycle({}, np.random.default_rng(1))
    seen: set[int] = set()
    for draw in range(1, -(-units // size) + 1):
        seen |= set(cycle.draw("piece", units, size).tolist())
        assert len(seen) == min(draw * size, units)


def test_every_set_is_as_likely_as_any_other_in_each_draw() -> None:
    """Five units, two a draw: the third draw goes over the end of a permutation."""
    sets, runs = list(itertools.combinations(range(5), 2)), 2000
    counts = np.zeros((6, len(sets)))
    rng = np.random.default_rng(0)
    for _ in range(runs):
        cycle = Cycle({}, rng)
        for draw in range(6):
            counts[draw, sets.index(tuple(cycle.draw("piece", 5, 2).tolist()))] += 1
    for of_draw in counts:
        score = np.sum((of_draw - runs / 10) ** 2 / (runs / 10))
        assert stats.chi2(9).ppf(1e-4) < score < stats.chi2(9).ppf(1 - 1e-4)
        included = np.array([of_draw[[unit in kept for kept in sets]].sum() for unit in range(5)]) / runs
        assert (np.abs(included - 2 / 5) < 4.5 * np.sqrt(0.4 * 0.6 / runs)).all()  # r / R


def test_what_is_left_is_remembered_and_the_servers_memory_is_not_changed() -> None:
    whole = Cycle({}, np.random.default_rng(2))
    wanted = [whole.draw("piece", 10, 3).tolist() for _ in range(3)]
    memory: dict[str, Tensor] = {}
    drawn = []
    for _ in range(3):
        cycle = Cycle(memory, np.random.default_rng(2))
        drawn.append(cycle.draw("piece", 10, 3).tolist())
        before = {name: tensor.clone() for name, tensor in memory.items()}
        (selection,) = cycle.noted([_selection()])
        assert memory.keys() == before.keys()
        memory = {}
        list(remembered([Update(selection, {})], memory))
        assert list(memory) == [f"{CYCLE}piece"]
    assert drawn == wanted


def _selection() -> Any:
    from bench.api import Selection

    return Selection(Client(0, 1, 0.3))


CELLS: list[tuple[str, str, dict[str, Any]]] = [
    ("federated_dropout", LSTM, {"draws": "cyclic"}),
    ("prism", LSTM, {"draws": "cyclic", "sampling": "uniform"}),
]


@pytest.mark.parametrize(("name", "task", "parameters"), CELLS)
def test_coverage_is_complete_as_soon_as_it_can_be(name: str, task: str, parameters: dict[str, Any]) -> None:
    """Two clients a round with a quarter each: all units after two rounds; drawn at random hardly ever."""
    values: dict[str, Any] = {"keep": 0.25, "training": {"rounds": 3}}
    cyclic, _ = run(federation(name, task, **values, parameters=parameters))
    first = 16 / 30 if name == "prism" else 0.5  # of 6, 8, 8 and 8 kernels, twice 2 each
    assert [this.coverage for this in cyclic[1:]] == [first, 1.0, 1.0]
    assert all(this.coverage_expected is None for this in cyclic)
    anew, _ = run(federation(name, task, **values, parameters={**parameters, "draws": "client"}))
    assert anew[2].coverage is not None and anew[2].coverage < 1


def test_clients_of_mixed_capacity_share_the_buffers() -> None:
    method = method_of("federated_dropout", draws="cyclic")
    built = federation("federated_dropout", CNN)
    server = method.setup(built.initial_model(), built.task)
    clients = tuple(Client(number, 1, keep) for number, keep in enumerate((0.5, 0.25, 0.25, 0.75)))
    selections = method.select(server, Cohort(1, clients), Streams(0, "selection", 1))
    first = torch.cat([selection.indices["conv1"] for selection in selections[:3]])
    assert sorted(first.tolist()) == list(range(64))
    assert len(selections[3].draws[f"{CYCLE}conv1"]) == 16
    last = selections[3]
    assert sorted(last.indices["conv1"].tolist() + last.draws[f"{CYCLE}conv1"].tolist()) == list(range(64))
    assert [s.indices["conv2"].tolist() for s in selections] != [s.indices["conv1"].tolist() for s in selections]


@pytest.mark.parametrize(("name", "task", "parameters"), CELLS)
def test_a_run_is_the_same_with_workers_and_when_it_is_resumed(
    name: str, task: str, parameters: dict[str, Any]
) -> None:
    values: dict[str, Any] = {"keep": "0.25:0.5,0.5:0.5", "parameters": parameters, "training": {"rounds": 4}}
    rounds, after = run_with(federation(name, task, **values), 1)
    assert_equal(after, run_sent(federation(name, task, **values))[1])
    for stop in (1, 2) if name == "prism" else (3,):  # within a cycle, and behind it
        built = federation(name, task, **values)
        simulation = Simulation(built, InlineEngine(built))
        for this in simulation.rounds():
            if this.number == stop:
                break
        state = simulation.state()
        assert any(key.startswith(CYCLE) for key in state["memory"])
        again = federation(name, task, **values)
        resumed = Simulation(again, InlineEngine(again))
        rest = numbers(resumed.rounds(state))
        assert [this["coverage"] for this in rest] == [this["coverage"] for this in rounds[stop + 1 :]]
        assert_equal(values_of(resumed.method.full_model(resumed.server)), after)


def test_multipliers_stay_one_over_the_share_and_the_mean_sub_model_is_the_layer() -> None:
    """Over the permutations, for each client of three, the last of whom goes over the end of the buffer."""
    method, server = toy("prism", draws="cyclic", sampling="uniform", multipliers="wallenius")
    assert not method.unbiased  # given what is left in the buffer, a draw is not
    weight = server.model.get_parameter(WEIGHT).detach().numpy()
    clients = tuple(Client(number, 1, 0.4) for number in range(3))
    draws = []
    for seed in range(800):
        selections = method.select(server, Cohort(1, clients), Streams(seed, "selection", 1))
        for selection in selections:
            assert torch.equal(selection.multipliers[WEIGHT], torch.full((2,), 2.5, dtype=torch.float64))
        draws.append([method.factors(server, selection, WEIGHT).product().numpy() for selection in selections])
    taken = np.array(draws)
    error = taken.std(0, ddof=1) / np.sqrt(len(taken))
    assert (np.abs(taken.mean(0) - weight) < 4.5 * error + 1e-12).all()
    assert not method.designs(server, selections) and set(method.expected_errors(server, selections)[WEIGHT]) == {
        "weight_norm2"
    }


def test_warm_up_rounds_leave_the_buffers_alone() -> None:
    method, server = toy("prism", draws="cyclic", sampling="uniform", warmup_rounds=1)
    client = (Client(0, 1, 0.4),)
    (first,) = method.select(server, Cohort(1, client), Streams(0, "selection", 1))
    (second,) = method.select(server, Cohort(2, client), Streams(0, "selection", 2))
    assert first.indices[WEIGHT].tolist() == [0, 1] and not first.draws
    assert len(second.draws[f"{CYCLE}{WEIGHT}"]) == 3


def cell(**parameters: Any) -> Any:
    return make_cell({"task": CNN, "method": "prism", "keep": 0.4, "parameters": parameters}, "test")


def test_kernels_that_are_not_drawn_alike_have_no_cycle() -> None:
    for parameters in ({}, {"sampling": "softmax"}, {"as_released": True, "sampling": "softmax"}, {"kappa": 0.0}):
        with pytest.raises(BenchError, match=r"draws = 'cyclic' deals all kernels alike, .*sampling = 'uniform'"):
            cell(draws="cyclic", **parameters)
    assert cell(draws="cyclic", as_released=True).parameters and cell(draws="cyclic", sampling="uniform").parameters
    with pytest.raises(BenchError, match="did you mean 'cyclic'"):
        cell(draws="cylic")
