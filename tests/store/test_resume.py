"""A run that goes on from a state is the run that was never interrupted, to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import CNN, LSTM, RESNET, assert_equal, federation, numbers
from thinned import every, thinned
from torch import Tensor

from bench.numerics.runtime import prepared
from bench.simulation.simulator import Simulation
from bench.training.engine import InlineEngine

TRAINING = {"rounds": 3, "samples_per_client": 9, "batch_size": 8, "local_epochs": 1, "lr": 0.02, "standin_test": 20}
STATELESS: dict[str, Any] = {}
CARRIED = {"client_momentum": "carry", "first_epoch_lr": "stale", "u_rows": 0.5}
CASES: list[tuple[str, dict[str, Any], str]] = [
    ("prism", STATELESS, RESNET),
    ("prism", CARRIED, CNN),
    ("prism", {"as_released": True}, LSTM),
    ("prism", {"warmup_rounds": 2, "multipliers": "wallenius"}, CNN),
    ("unbiased", {"client_momentum": "carry"}, CNN),
    ("collective", {"aggregate": "product"}, LSTM),
    ("orthdrop", {"tail": "drop"}, CNN),
    ("origdrop", {}, LSTM),
    ("origdrop", {"variant": "released"}, CNN),
    ("fedavg", {}, CNN),
    ("fedlama", {"base_interval": 2}, RESNET),
]


def simulation(method: str, parameters: dict[str, Any], task: str) -> Simulation:
    built = federation(
        method, task, keep="0.3:0.5,0.6:0.5", parameters=parameters, training=TRAINING, diagnostics="errors"
    )
    return Simulation(built, InlineEngine(built))


@pytest.mark.parametrize(("method", "parameters", "task"), thinned(CASES, every(2)))
def test_a_resumed_run_is_the_whole_run(method: str, parameters: dict[str, Any], task: str, tmp_path: Path) -> None:
    whole = simulation(method, parameters, task)
    rounds, files = [], []
    with prepared():
        for this in whole.rounds():
            rounds.append(this)
            files.append(tmp_path / f"{this.number}.pt")
            torch.save(whole.state(), files[-1])
        end = whole.state()
        for done, file in enumerate(files):
            resumed = simulation(method, parameters, task)
            rest = list(resumed.rounds(resume=torch.load(file, weights_only=True)))
            assert [this.number for this in rest] == list(range(done + 1, 4))
            assert numbers(rest) == numbers(rounds[done + 1 :])
            assert_equal(flat(resumed.state()), flat(end))


def flat(state: dict[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a state under one name each."""
    return {f"{part}/{name}": tensor for part, tensors in state.items() if part != "round"
            for name, tensor in tensors.items()}  # fmt: skip


def test_a_state_holds_numbers_and_copies_of_tensors_alone() -> None:
    running = simulation("prism", CARRIED, CNN)
    rounds = running.rounds()
    next(rounds)
    next(rounds)
    state = running.state()
    kept = {name: tensor.clone() for name, tensor in flat(state).items()}
    assert state["round"] == 1
    assert {name.partition("/")[0] for name in kept} == {"model", "memory", "seen", "missed"}
    assert {"memory/last_round", "memory/momentum/conv2.weight_u", "seen/conv2.weight"} <= set(kept)
    next(rounds)
    assert_equal(flat(state), kept)
    later = flat(running.state())
    for name in ("model/conv1.weight", "memory/momentum/conv2.weight_u", "memory/last_round", "missed/conv2.weight"):
        assert not torch.equal(later[name], kept[name])


def test_resuming_leaves_the_state_it_was_given_alone() -> None:
    first = simulation("prism", CARRIED, CNN)
    rounds = first.rounds()
    next(rounds)
    next(rounds)
    state = first.state()
    kept = {name: tensor.clone() for name, tensor in flat(state).items()}
    list(simulation("prism", CARRIED, CNN).rounds(resume=state))
    assert_equal(flat(state), kept)
