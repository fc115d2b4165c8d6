"""Capacities that are drawn anew each round: with which frequencies, and on what a draw depends."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import CNN, LSTM, federation
from scipy import stats
from thinned import every, thinned
from tiny import cell_of

from bench.cell import Cell, from_canonical
from bench.errors import BenchError
from bench.federation.capacity import capacity_of_round
from bench.seeding import stream
from bench.simulation.simulator import Simulation
from bench.training.engine import InlineEngine

MIXED = "0.25:0.5,0.5:0.3,1:0.2"


def dynamic(method: str = "prism", **values: Any) -> Cell:
    return cell_of(method, keep=MIXED, capacity="dynamic", **values)


def drawn(cell: Cell, clients: int, rounds: int) -> np.ndarray:
    """Return what each client draws in each round, ``[rounds, clients]``."""
    return np.array([[capacity_of_round(cell, n, number) for n in range(clients)] for number in range(1, rounds + 1)])


def test_dynamic_draws_follow_the_shares_and_no_two_are_tied() -> None:
    keeps = drawn(dynamic(), 20, 400)
    for keep, share in dynamic().capacities:
        hits = keeps == keep
        error = np.sqrt(share * (1 - share))
        assert abs(hits.mean() - share) < 4 * error / np.sqrt(hits.size)
        # Over the rounds of each client and over the clients of each round alike: neither is dealt out exactly.
        for axis, size in ((0, 400), (1, 20)):
            scores = (hits.mean(axis) - share) * np.sqrt(size) / error
            freedom = scores.size
            assert stats.chi2(freedom).ppf(1e-4) < np.sum(scores**2) < stats.chi2(freedom).ppf(1 - 1e-4)
        # One round tells nothing of the next, and one client nothing of its neighbour.
        for first, second in ((hits[:-1], hits[1:]), (hits[:, :-1], hits[:, 1:])):
            together = np.mean(first & second)
            assert abs(together - share**2) < 4 * np.sqrt(share**2 * (1 - share**2) / first.size) * np.sqrt(3)


def test_a_dynamic_draw_is_the_quantile_of_its_own_uniform_number() -> None:
    for number, client in itertools.product((1, 2, 7), (0, 3)):
        uniform = stream(0, "capacity", number, client).random()
        wanted = 0.25 if uniform < 0.5 else 0.5 if uniform < 0.8 else 1.0
        assert capacity_of_round(dynamic(), client, number) == wanted


def test_dynamic_draws_depend_on_seed_round_and_client_alone() -> None:
    keeps = drawn(dynamic(), 10, 20)
    assert np.array_equal(drawn(dynamic("orthdrop", alpha=0.1, training={"clients": 9, "cohort": 9}), 10, 20), keeps)
    assert not np.array_equal(drawn(dynamic(seed=1), 10, 20), keeps)
    assert all(len(set(column)) > 1 for column in keeps.T) and all(len(set(row)) > 1 for row in keeps)


def test_cohorts_of_dynamic_capacities_are_the_same_for_every_method_and_whoever_else_takes_part() -> None:
    values: dict[str, Any] = {"keep": MIXED, "capacity": "dynamic"}
    small, other = federation("prism", LSTM, **values), federation("origdrop", LSTM, **values)
    large = federation("prism", LSTM, **values, training={"cohort": 4})
    seen: dict[int, set[float]] = {}
    for number in range(1, 25):
        everyone = {client.number: client.keep for client in large.cohort(number).clients}
        assert len(everyone) == 4
        assert small.cohort(number) == other.cohort(number) == small.cohort(number)
        for client in small.cohort(number).clients:
            assert everyone[client.number] == client.keep
            seen.setdefault(client.number, set()).add(client.keep)
    assert set(seen) == {0, 1, 2, 3} and all(len(keeps) > 1 for keeps in seen.values())


def test_the_cohort_is_that_of_fixed_capacities() -> None:
    numbers = [
        [[client.number for client in federation("prism", LSTM, keep=MIXED if kind else 0.5, **kind).cohort(t).clients]
         for t in range(1, 6)]
        for kind in ({"capacity": "dynamic"}, {})
    ]  # fmt: skip
    assert numbers[0] == numbers[1]


def test_a_cohort_that_stays_keeps_its_capacities() -> None:
    built = federation("prism", LSTM, keep=MIXED, capacity="dynamic", training={"cohort_rounds": 3, "rounds": 30})
    cohorts = [built.cohort(number).clients for number in range(1, 31)]
    blocks = [cohorts[start : start + 3] for start in range(0, 30, 3)]
    assert all(block[0] == block[1] == block[2] for block in blocks)
    for start, (first, *_) in zip(range(1, 31, 3), blocks, strict=True):
        assert [client.keep for client in first] == [capacity_of_round(built.cell, c.number, start) for c in first]
    assert len({client.keep for first, *_ in blocks for client in first if client.number == 0}) > 1


def test_shares_too_small_for_a_client_are_possible_probabilities() -> None:
    assert cell_of("prism", keep="0.2:0.99,0.4:0.01", capacity="dynamic").capacities == ((0.2, 0.99), (0.4, 0.01))
    with pytest.raises(BenchError, match="none of 4 clients"):
        cell_of("prism", keep="0.2:0.99,0.4:0.01")


def test_shares_that_add_up_to_a_little_less_than_one() -> None:
    """Numbers beyond the sum belong to the last level; here the sum is 0.2, so that many are."""
    cell = replace(dynamic(), capacities=((0.2, 0.1), (0.4, 0.1)))
    keeps, others = drawn(cell, 4, 50), drawn(replace(cell, capacities=((0.2, 0.1), (0.4, 0.9))), 4, 50)
    assert np.array_equal(keeps, others) and set(keeps.flat) == {0.2, 0.4}


def test_a_cell_of_dynamic_capacities() -> None:
    cell, fixed = dynamic(), cell_of("prism", keep=MIXED, capacity="fixed")
    assert cell.profile == f"{MIXED} dynamic" and cell.label == f"prism, keep {MIXED} dynamic"
    assert "-keep0.25x0.5+0.5x0.3+1x0.2-dynamic-" in cell.folder and " " not in cell.folder
    assert cell.canonical()["capacity"] == "dynamic" and "capacity" not in fixed.canonical()
    again = from_canonical(json.loads(json.dumps(cell.canonical())))
    assert again == cell and again.identity == cell.identity != fixed.identity
    assert fixed == cell_of("prism", keep=MIXED) and fixed.keep == cell.keep
    assert cell.keep == pytest.approx(0.475)


def test_dynamic_means_nothing_where_all_clients_are_alike() -> None:
    for keep in (0.3, "0.3:1", "weak"):
        assert cell_of("prism", keep=keep, capacity="dynamic") == cell_of("prism", keep=keep)
    assert dynamic("fedavg") == cell_of("fedavg")


def test_a_typo_of_capacity_and_dynamic_within_the_profile() -> None:
    with pytest.raises(BenchError, match=r"capacity = 'dynamc' is not possible; .*did you mean 'dynamic'"):
        cell_of("prism", keep=MIXED, capacity="dynamc")
    with pytest.raises(BenchError, match="is said by capacity = 'dynamic'"):
        cell_of("prism", keep=f"{MIXED} dynamic")


DYNAMIC = [
    *((method, LSTM) for method in ("orthdrop", "prism", "origdrop", "collective", "fjord", "federated_dropout")),
    *((method, CNN) for method in ("heterofl", "fedrolex", "fedhm", "fedpara", "pfedpara", "inclusivefl")),
    *((method, CNN) for method in ("fiarse", "fiarse_channels", "fedlmt", "pfedlmt", "flanc")),
    *((method, CNN) for method in ("depthfl", "scalefl", "inclusive_kdd", "splitmix")),
]


@pytest.mark.parametrize(("method", "task"), thinned(DYNAMIC, every(4)))
def test_dynamic_rounds_train_and_repeat(method: str, task: str) -> None:
    results = []
    for _ in range(2):
        built = federation(method, task, keep="0.25:0.5,1:0.5", capacity="dynamic", diagnostics="all")
        simulation = Simulation(built, InlineEngine(built))
        losses = [each.train_loss for each in simulation.rounds()]
        results.append((losses, [values.clone() for values in simulation.server.model.state_dict().values()]))
    assert results[0][0] == results[1][0] and all(map(torch.equal, results[0][1], results[1][1]))
