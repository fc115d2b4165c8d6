"""Capacities that are dealt anew each round: the same sub-models as with fixed ones, for other clients."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from helpers import CNN, LSTM, federation
from scipy import stats
from tiny import cell_of

from bench.cell import from_canonical
from bench.errors import BenchError
from bench.federation.capacity import dealt_to
from bench.federation.profiles import in_numbers
from bench.simulation.simulator import Simulation
from bench.training.engine import InlineEngine

MIXED = "0.25:0.5,0.5:0.25,1:0.25"
MANY = {"clients": 12, "cohort": 5, "samples_per_client": 8}


def cohorts(method: str, capacity: str, rounds: int = 40, task: str = LSTM, **training: Any) -> list[Any]:
    built = federation(method, task, keep=MIXED, capacity=capacity, training={**MANY, "rounds": rounds, **training})
    return [built.cohort(number).clients for number in range(1, rounds + 1)]


def test_each_round_has_the_clients_and_the_keep_ratios_of_the_fixed_federation() -> None:
    fixed, dealt = cohorts("prism", "fixed"), cohorts("prism", "dealt")
    for before, after in zip(fixed, dealt, strict=True):
        assert [client.number for client in before] == [client.number for client in after]
        assert Counter(client.keep for client in before) == Counter(client.keep for client in after)
    assert fixed != dealt  # and somebody has another's
    counts = [Counter(client.keep for client in clients) for clients in fixed]
    assert any(count != counts[0] for count in counts)  # which is more than the same multiset in all rounds


def test_who_gets_which_is_independent_of_the_own_capacity() -> None:
    """Over many shuffles of one cohort each client has each of its five keep ratios equally often."""
    keeps = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    cell, cohort, rounds = cell_of("prism", keep=MIXED, capacity="dealt"), (3, 0, 5, 1, 4), 3000
    table = np.array([dealt_to(cell, cohort, keeps, number) for number in range(1, rounds + 1)])
    values = keeps[list(cohort)]
    counts = np.array([[np.sum(column == value) for value in values] for column in table.T])
    assert (counts.sum(1) == rounds).all() and (counts.sum(0) == rounds).all()
    expected = rounds / len(cohort)
    score = 0.8 * np.sum((counts - expected) ** 2 / expected)  # Anderson: of ranks, whose rows and columns are fixed
    assert stats.chi2(16).ppf(1e-4) < score < stats.chi2(16).ppf(1 - 1e-4)


def test_the_shuffle_depends_on_seed_and_round_and_not_on_the_method() -> None:
    cell, keeps = cell_of("prism", keep=MIXED, capacity="dealt"), np.linspace(0.1, 1, 10)
    once = [dealt_to(cell, range(10), keeps, number).tolist() for number in (1, 2, 1)]
    assert once[0] == once[2] != once[1]
    assert dealt_to(cell_of("prism", keep=MIXED, capacity="dealt", seed=1), range(10), keeps, 1).tolist() != once[0]
    assert cohorts("prism", "dealt", 6) == cohorts("origdrop", "dealt", 6)
    staying = cohorts("prism", "dealt", 6, cohort_rounds=3)
    assert staying[0] == staying[1] == staying[2] != staying[3]


COSTED = [
    *((method, LSTM) for method in ("prism", "federated_dropout")),  # of fjord's clients each step's width is drawn
    *((method, CNN) for method in ("heterofl", "fedhm", "pfedpara", "inclusivefl")),
]


@pytest.mark.parametrize(("method", "task"), COSTED)
def test_every_round_costs_what_it_costs_with_fixed_capacities(method: str, task: str) -> None:
    costs = {}
    for capacity in ("fixed", "dealt"):
        built = federation(method, task, keep="0.25:0.5,1:0.5", capacity=capacity)
        assert len(set(built.partition.sizes)) == 1  # with equally many samples each, operations are the same too
        rounds = [
            (sorted(map(repr, this.costs)), this.down_bytes, this.up_bytes, this.forward_macs, this.train_macs)
            for this in Simulation(built, InlineEngine(built)).rounds()
        ]
        costs[capacity] = rounds
        assert len(rounds) > 2
    assert costs["fixed"] == costs["dealt"]


def test_a_cell_of_dealt_capacities() -> None:
    cell, fixed = cell_of("prism", keep=MIXED, capacity="dealt"), cell_of("prism", keep=MIXED)
    assert cell.profile == f"{MIXED} dealt" and cell.label == f"prism, keep {MIXED} dealt"
    assert "-keep0.25x0.5+0.5x0.25+1x0.25-dealt-" in cell.folder
    again = from_canonical(json.loads(json.dumps(cell.canonical())))
    assert again == cell and again.identity == cell.identity != fixed.identity
    assert in_numbers("a-e dealt") == "0.0625:0.5,1:0.5 dealt"
    assert cell_of("prism", keep=0.3, capacity="dealt") == cell_of("prism", keep=0.3)
    assert cell_of("fedavg", keep=MIXED, capacity="dealt") == cell_of("fedavg")


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(BenchError, match=r"capacity = 'delt' is not possible; .*did you mean 'dealt'"):
        cell_of("prism", keep=MIXED, capacity="delt")
    with pytest.raises(BenchError, match="is said by capacity = 'dealt'"):
        cell_of("prism", keep=f"{MIXED} dealt")
    with pytest.raises(BenchError, match="none of 4 clients"):  # dealt are capacities that clients have
        cell_of("prism", keep="0.2:0.99,0.4:0.01", capacity="dealt")
