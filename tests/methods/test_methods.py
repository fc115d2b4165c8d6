"""What each method gives its clients, and how methods agree where they must."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from helpers import (
    CNN,
    LSTM,
    RESNET,
    TASKS,
    batch_of,
    cohort_of,
    federation,
    global_states,
    initial,
    method_of,
    run,
    selections_of,
    small_task,
    update_of,
    used_global_states,
)
from torch import Tensor, nn

from bench.api import Server, Skip, Streams
from bench.models.base import Model
from bench.simulation.diagnostics.coverage import Coverage

METHODS: list[tuple[str, dict[str, Any]]] = [
    ("fedavg", {}),
    ("prism", {}),
    ("prism", {"sigma": "absorbed", "client_momentum": "carry"}),
    ("orthdrop", {}),
    ("prism", {"multipliers": "wallenius"}),
    ("orthdrop", {"tail": "drop"}),
    ("unbiased", {}),
    ("collective", {"sigma": "frozen"}),
    ("origdrop", {}),
    ("origdrop", {"variant": "released"}),
    ("fedlama", {}),
    ("fedlama", {"base_interval": 2, "layers": "kernels"}),
    ("small_model", {}),
    ("inclusivefl", {}),
    ("depthfl", {}),
    ("depthfl", {"heads": "linear"}),
    ("scalefl", {}),
    ("inclusive_kdd", {}),
    ("nefl", {}),
    ("splitmix", {"rescale": False}),
    ("fedhm", {}),
    ("fedhm", {"bands": "holders"}),
    ("fedlmt", {}),
    ("pfedlmt", {}),
    ("fedpara", {}),
    ("fedpara", {"rank_rule": "share"}),
    ("pfedpara", {}),
    ("heterofl", {}),
    ("fedrolex", {}),
    ("federated_dropout", {}),
    ("federated_dropout", {"draws": "cyclic"}),
    ("fiarse", {}),
    ("fiarse_channels", {}),
    ("flanc", {}),
    ("fjord", {}),
    ("fjord", {"distillation": True, "statistics": "batch"}),
]
NOT_FOR_SMALL_LSTMS = ("nefl", "scalefl", "flanc", "fedhm", "fedpara", "pfedpara", "heterofl", "fedrolex")
DEFINED = [
    (task, name, parameters)
    for task in TASKS
    for name, parameters in METHODS
    if (task, name) != (CNN, "nefl")
    if task != LSTM or (parameters.get("variant") != "released" and name not in NOT_FOR_SMALL_LSTMS)
]

NAMES = list(dict.fromkeys(name for name, _ in METHODS))
SPECTRAL, WIDTH = ("prism", "orthdrop", "unbiased", "collective"), ("origdrop", "heterofl", "fedrolex", "fjord")
UNITS = [*SPECTRAL, *WIDTH, "federated_dropout"]
"""Methods whose clients get ceil(keep * units) of the units of each piece."""


@pytest.mark.parametrize(("name", "method_name", "parameters"), DEFINED)
def test_a_sub_model_with_everything_is_the_full_function(
    name: str, method_name: str, parameters: dict[str, Any]
) -> None:
    task, method = small_task(name), method_of(method_name, **parameters)
    server = method.setup(initial(task), task)
    (selection,) = selections_of(method, server, cohort_of(1.0))
    inputs = batch_of(task, 4)
    submodel = method.extract(server, selection)
    # A normalised network multiplies the rounding of single precision.
    torch.testing.assert_close(submodel(inputs), server.model(inputs), rtol=2e-4, atol=2e-4)
    assert all(tensor.requires_grad for tensor in submodel.parameters())


@pytest.mark.parametrize("keep", [0.25, 1.0])
@pytest.mark.parametrize(("method_name", "parameters"), METHODS)
def test_a_sub_model_shares_no_memory_with_the_server(
    method_name: str, parameters: dict[str, Any], keep: float
) -> None:
    task, method = small_task(RESNET), method_of(method_name, **parameters)
    server = method.setup(initial(task), task)
    (selection,) = selections_of(method, server, cohort_of(keep))
    submodel = method.extract(server, selection)
    before = [tensor.detach().clone() for tensor in _tensors(server)]
    for tensor in [*submodel.parameters(), *submodel.buffers()]:
        tensor.data.fill_(7)
    assert all(torch.equal(a, b) for a, b in zip(before, _tensors(server), strict=True))


def _tensors(server: Server) -> list[Tensor]:
    """Return all tensors of a server: the model's, those it remembers and, of a spectral one, those of its spectra."""
    spectra = vars(server).get("spectra", {}).values()
    return [
        *server.model.parameters(),
        *server.memory.values(),
        *(part for spectrum in spectra for part in (spectrum.u, spectrum.s, spectrum.v)),
    ]


@pytest.mark.parametrize(("method_name", "parameters"), METHODS)
def test_selecting_and_extracting_leave_the_global_random_state_alone(
    method_name: str, parameters: dict[str, Any]
) -> None:
    before = used_global_states()
    task, method = small_task(RESNET), method_of(method_name, **parameters)
    server = method.setup(initial(task), task)
    for selection in selections_of(method, server, cohort_of(0.3, 0.6)):
        method.extract(server, selection)
    assert global_states() == before


@pytest.mark.parametrize("method_name", UNITS)
@pytest.mark.parametrize("name", TASKS)
def test_each_client_gets_the_ceiling_of_its_share(name: str, method_name: str) -> None:
    if (name, method_name, {}) not in DEFINED:
        pytest.skip(f"{method_name} is not defined for {name}")
    task, method = small_task(name), method_of(method_name)
    server = method.setup(initial(task), task)
    keeps = (0.1, 0.4, 1.0)
    for keep, selection in zip(keeps, selections_of(method, server, cohort_of(*keeps)), strict=True):
        units = method.coverage(server, selection)
        assert set(units) == set(selection.indices) and units
        for kept, size in units.values():
            assert len(kept) == math.ceil(round(keep * size, 9))
            assert kept.dtype == torch.int64 and (kept.diff() > 0).all() and kept[0] >= 0 and kept[-1] < size


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize(
    ("method_name", "parameters", "whole"),
    [
        ("origdrop", {}, False),
        ("origdrop", {"tail": "keep"}, True),
        ("heterofl", {}, False),
        ("fedrolex", {"tail": "drop"}, False),
        ("federated_dropout", {"tail": "drop"}, False),
        ("federated_dropout", {}, True),
    ],
)
def test_width_methods_evaluate_what_some_client_has_held(
    name: str, method_name: str, parameters: dict[str, Any], whole: bool
) -> None:
    if name == LSTM and method_name in ("heterofl", "fedrolex"):
        pytest.skip("not defined for LSTMs")
    task, method = small_task(name), method_of(method_name, **parameters)
    method.levels = (0.25, 0.5)
    server = method.setup(initial(task), task)
    assert method.full_model(server) is server.model  # nobody has held anything yet
    selections = selections_of(method, server, cohort_of(0.25, 0.5))
    after = method.aggregate(
        server, [update_of(method, server, selection) for selection in selections], Streams(0, "aggregation", 1)
    )
    evaluated = method.full_model(after)
    assert isinstance(after.model, Model) and isinstance(evaluated, Model)
    sizes = after.model.channels()
    held = {
        group: len({int(channel) for selection in selections for channel in selection.indices[group]})
        for group in sizes
    }
    assert held != sizes and evaluated.channels() == (sizes if whole else held)


@pytest.mark.parametrize("method_name", [name for name in NAMES if name not in ("fedavg", "fedlama", "fiarse")])
def test_models_of_unknown_structure_are_skipped(method_name: str) -> None:
    with pytest.raises(Skip, match="Linear"):
        method_of(method_name).setup(nn.Linear(2, 2), small_task(CNN))


def test_coverage_is_the_union_over_clients_and_rounds() -> None:
    task, method = small_task(RESNET), method_of("prism")
    server = method.setup(initial(task), task)
    coverage = Coverage()
    seen: dict[str, set[int]] = {}
    sizes: dict[str, int] = {}
    assert coverage.share() is None
    for round_number in (1, 2, 3):
        cohort = cohort_of(0.2, 0.3, round_number=round_number)
        for selection in method.select(server, cohort, Streams(0, "selection", round_number)):
            units = method.coverage(server, selection)
            coverage.add(units)
            for name, (kept, size) in units.items():
                seen.setdefault(name, set()).update(kept.tolist())
                sizes[name] = size
    assert coverage.share() == pytest.approx(sum(len(units) for units in seen.values()) / sum(sizes.values()))
    assert coverage.by_piece() == pytest.approx({name: len(units) / sizes[name] for name, units in seen.items()})
    assert 0.3 < (coverage.share() or 0) < 1


def test_fedavg_covers_nothing_in_particular_and_ignores_the_keep_ratio() -> None:
    rounds, _ = run(federation("fedavg", CNN, keep=0.25))
    assert [this.coverage for this in rounds] == [None, None, None]
    assert rounds[1].costs[0].parameters == 233_086
