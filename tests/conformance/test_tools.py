"""What the checks of the conformance kit are made of: comparing runs, following tensors, reading a source."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from tiny import LSTM

from bench.api import Server
from bench.conformance import Subject
from bench.conformance.compare import Run, difference
from bench.conformance.placement import Placement
from bench.conformance.randomness import disturbed, global_states
from bench.conformance.source import fixed_devices, global_seeds
from bench.cost.cost import Cost
from bench.simulation.diagnostics.rank import LayerRank
from bench.simulation.round import Round
from bench.training.evaluation import Score


def test_whole_runs_have_mixed_keep_ratios_and_all_diagnostics() -> None:
    first, second = Subject("prism", LSTM).usual_run.rounds[1:]
    assert len({cost.parameters for cost in first.costs}) == 2 and len({cost.parameters for cost in second.costs}) == 1
    assert first.cosine_fedavg is not None and first.coverage_expected is not None
    assert {"anme", "submodel_error", "coverage_expected"} <= set(next(iter(first.layers.values())))


def test_runs_differ_in_whatever_is_recorded_but_time_and_memory() -> None:
    server = Server(torch.nn.Linear(1, 1))
    nothing = Round(1, layers={"piece": {"anme": float("nan")}}, ranks=[LayerRank("piece", 4, float("nan"), 1.0)])
    something: dict[str, Any] = {
        "ranks": [LayerRank("piece", 4, float("nan"), 2.0)],
        "layers": {"piece": {"anme": float("nan"), "coverage": 0.5}},
        "costs": [Cost(1, 2, 3, 4, 5, 6, 7, 8)],
        "score": Score(0.5, 0.25),
        "seconds": {"train": 1.0},
    }
    unlike = {}
    for field in dataclasses.fields(Round):
        other = dataclasses.replace(nothing, **{field.name: something.get(field.name, 7)})
        if field.name != "number":
            unlike[field.name] = difference(Run([nothing], server, ()), Run([other], server, ()))
    assert {name for name, words in unlike.items() if not words} == {"seconds", "peak_memory_bytes"}
    assert unlike["layers"] == "layers piece coverage of round 1 is None and 0.5"
    assert unlike["ranks"] == "ranks 0 required_kernels_renyi of round 1 is 1.0 and 2.0"
    assert unlike["cosine_fedavg"] == "cosine_fedavg of round 1 is None and 7"


def test_tensors_made_without_a_device_are_followed_until_they_are_moved() -> None:
    home = torch.ones(4, 4)
    with Placement() as placement:
        strays = [
            torch.zeros(3),
            torch.nn.Parameter(torch.ones(2)),
            torch.as_tensor(np.ones(3)).to(torch.float32),
            home * torch.arange(4),
            torch.cat([home[0], torch.ones(2)]),
            home.cpu(),
            *torch.nn.Linear(2, 2).parameters(),
        ]
        placed = [
            home,
            torch.tensor([1.0]).to(home),
            torch.as_tensor(np.ones(3)).to(home.device),
            home[torch.arange(2)],
            home.clone().copy_(torch.ones(4)),
            home * torch.tensor(2.0),
            torch.zeros(3, device=home.device),
            torch.zeros_like(home),
            torch.as_tensor(home),
            *torch.nn.Linear(2, 2).to(home.device).parameters(),
        ]
    assert [len(placement.strays(tensor)) for tensor in strays] == [1] * len(strays)
    assert placement.strays(placed) == []


def test_devices_and_seeds_are_found_in_the_source() -> None:
    source = '''
    """A docstring may say cuda and torch.manual_seed(0)."""
    import random as dice
    import numpy as np, torch
    from numpy import random
    from torch import manual_seed as fix
    def f(model, rng):
        model.cuda(); model.to("cuda:1"); model.to("cpu"); torch.device("mps")
        torch.manual_seed(0); np.random.seed(1); dice.seed(2); random.seed(3); fix(4)
        torch.Generator().manual_seed(5); rng.seed(6); torch.cuda.is_available()
    '''
    code = "\n".join(line[4:] for line in source.splitlines())
    assert sorted(fixed_devices(code)) == ["line 8: 'cuda:1'", "line 8: 'mps'", "line 8: .cuda()"]
    assert sorted(global_seeds(code)) == [
        "line 9: numpy.random.seed()",
        "line 9: numpy.random.seed()",
        "line 9: random.seed()",
        "line 9: torch.manual_seed()",
        "line 9: torch.manual_seed()",
    ]


def test_global_states_are_set_watched_and_put_back() -> None:
    with global_states(5) as outer:
        with global_states(1) as before:
            assert disturbed(before) == ()
            first = torch.rand(2).tolist(), np.random.random()
            assert disturbed(before) == ("numpy", "torch")
        assert disturbed(outer) == ()
        with global_states(1):
            assert (torch.rand(2).tolist(), np.random.random()) == first
        with global_states(2):
            assert (torch.rand(2).tolist(), np.random.random()) != first
