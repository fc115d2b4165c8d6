"""What each method gives its clients, and how methods agree where they must."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
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
    values_of,
)
from torch import Tensor, nn
from torch.nn import functional

from bench.api import Server, Skip, Streams
from bench.models.base import Model
from bench.models.factorise import low_rank_layers
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
    ("inclusivefl", {}),
    ("fedhm", {}),
    ("fedpara", {}),
    ("fedpara", {"rank_rule": "share"}),
    ("pfedpara", {}),
    ("heterofl", {}),
    ("fedrolex", {}),
    ("federated_dropout", {}),
    ("fjord", {}),
    ("fjord", {"distillation": True, "statistics": "batch"}),
]
NOT_FOR_SMALL_LSTMS = ("fedhm", "fedpara", "pfedpara", "heterofl", "fedrolex")
DEFINED = [
    (task, name, parameters)
    for task in TASKS
    for name, parameters in METHODS
    if task != LSTM or (parameters.get("variant") != "released" and name not in NOT_FOR_SMALL_LSTMS)
]

NAMES = list(dict.fromkeys(name for name, _ in METHODS))
SPECTRAL, WIDTH = ("prism", "orthdrop", "unbiased", "collective"), ("origdrop", "heterofl", "fedrolex", "fjord")
UNITS = [*SPECTRAL, *WIDTH, "federated_dropout"]
"""Methods whose clients get ceil(keep * units) of the units of each piece."""


def spectra_of(server: Server) -> dict[str, Any]:
    return server.spectra  # type: ignore[attr-defined]


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
def test_frozen_singular_values_stand_apart_and_absorbed_ones_are_shared_by_both_factors(name: str) -> None:
    task = small_task(name)
    for sigma in ("frozen", "absorbed"):
        method = method_of("prism", sigma=sigma)
        server = method.setup(initial(task), task)
        (selection,) = selections_of(method, server, cohort_of(0.4))
        for layer_name, layer in low_rank_layers(method.extract(server, selection)).items():
            for weight in layer.factored_weights():
                factors, kept = layer.factors(weight), selection.indices[f"{layer_name}.{weight}"]
                s = torch.linalg.svdvals(server.model.get_parameter(f"{layer_name}.{weight}").flatten(1))[kept]
                lengths = torch.ones_like(s) if sigma == "frozen" else s
                torch.testing.assert_close(factors.u.T @ factors.u, lengths.diag(), rtol=1e-4, atol=1e-5)
                torch.testing.assert_close(factors.v @ factors.v.T, lengths.diag(), rtol=1e-4, atol=1e-5)
                if sigma == "frozen":
                    assert factors.scale is not None
                    torch.testing.assert_close(factors.scale, s, rtol=1e-4, atol=1e-5)
                else:
                    assert factors.scale is None


@pytest.mark.parametrize("name", TASKS)
def test_orthdrop_gives_the_largest_kernels(name: str) -> None:
    task, method = small_task(name), method_of("orthdrop")
    server = method.setup(initial(task), task)
    (selection,) = selections_of(method, server, cohort_of(0.4))
    submodel = method.extract(server, selection)
    weights = dict(server.model.named_parameters())
    for name_, layer in low_rank_layers(submodel).items():
        for weight in layer.factored_weights():
            full = weights[f"{name_}.{weight}"].detach().flatten(1)
            product = layer.factors(weight).product().detach()
            # Eckart and Young: no matrix of this rank is nearer to the weight.
            singular = torch.linalg.svdvals(full)
            rank = layer.factors(weight).u.shape[1]
            torch.testing.assert_close((full - product).square().sum(), singular[rank:].square().sum())


def test_prism_draws_anew_for_each_client_layer_and_round() -> None:
    task, method = small_task(RESNET), method_of("prism")
    server = method.setup(initial(task), task)
    first, second = selections_of(method, server, cohort_of(0.4, 0.4))
    (later, _) = selections_of(method, server, cohort_of(0.4, 0.4, round_number=2))
    (again, _) = selections_of(method, server, cohort_of(0.4, 0.4))
    name = "stages.3.1.conv2.weight"
    kernels = [tuple(selection.indices[name].tolist()) for selection in (first, second, later)]
    assert len(set(kernels)) == 3
    assert torch.equal(again.indices[name], first.indices[name])
    assert not torch.equal(first.indices["stages.3.1.conv1.weight"], first.indices[name])


def test_prism_draws_the_first_kernel_with_the_probability_of_equation_2() -> None:
    method = method_of("prism", kappa=3.0)
    method.setup(initial(small_task(CNN)), small_task(CNN))
    sigma = np.array([4.0, 3.0, 2.0, 1.0], dtype=np.float32)
    rng = np.random.default_rng(0)
    draws = [method.choose(sigma, 1, rng)[0] for _ in range(10_000)]  # type: ignore[attr-defined]
    shares = sigma**3 / (sigma**3).sum()
    for kernel, p in enumerate(shares):
        assert abs(np.mean(np.equal(draws, kernel)) - p) < 4.5 * math.sqrt(p * (1 - p) / 10_000)


@pytest.mark.parametrize(("name", "kappa"), [(RESNET, 2.5), (CNN, 2.0), (LSTM, 2.0)])
def test_prism_has_the_papers_smooth_factor(name: str, kappa: float) -> None:
    task = small_task(name)
    for given, expected in ((None, kappa), (0.0, 0.0), (4.0, 4.0)):
        method = method_of("prism", kappa=given)
        method.setup(initial(task), task)
        assert method.kappa == expected  # type: ignore[attr-defined]


@pytest.mark.parametrize(("given", "expected"), [(None, 5e-4), (0.0, 0.0), (0.02, 0.02)])
def test_the_penalty_is_half_the_decay_times_the_squared_norm_of_the_products(
    given: float | None, expected: float
) -> None:
    task, method = small_task(RESNET), method_of("prism", frobenius_decay=given)
    server = method.setup(initial(task), task)
    (selection,) = selections_of(method, server, cohort_of(0.4))
    spectra = spectra_of(server)
    energy = sum(float((spectra[name].s[kept] ** 2).sum()) for name, kept in selection.indices.items())
    penalty = method.penalty(method.extract(server, selection))
    if expected == 0:
        assert penalty is None
    else:
        assert penalty is not None
        assert penalty.item() == pytest.approx(expected / 2 * energy, rel=1e-4)


@pytest.mark.parametrize("name", TASKS)
def test_the_optimiser_decays_everything_but_the_factors_and_their_bias(name: str) -> None:
    task, method = small_task(name), method_of("prism")
    server = method.setup(initial(task), task)
    (selection,) = selections_of(method, server, cohort_of(0.4))
    names = {parameter for parameter, _ in method.extract(server, selection).named_parameters()}
    assert isinstance(server.model, Model)
    factors = {f"{weight}_{side}" for weight in server.model.factorable for side in "uv"}
    biases = {"conv2.bias"} if name == CNN else set()
    assert method.decay_free(method.extract(server, selection)) == factors | biases < names
    assert names - factors == {p for p, _ in server.model.named_parameters()} - set(server.model.factorable)


class MaskedConv2d(nn.Module):
    """The released code's way: a full convolution whose weights are masked, and a 0/1 map behind it."""

    def __init__(self, dense: nn.Conv2d, keep: float) -> None:
        super().__init__()
        self.stride, self.padding = dense.stride, dense.padding
        self.weight = nn.Parameter(dense.weight.detach().clone())
        self.bias = None if dense.bias is None else nn.Parameter(dense.bias.detach().clone())
        self.mask = torch.arange(dense.out_channels) < math.ceil(keep * dense.out_channels)

    def forward(self, inputs: Tensor) -> Tensor:
        weight, stride = self.weight * self.mask[:, None, None, None], self.stride
        if weight.shape[2:] == (1, 1):  # oneDNN's own strides of narrow 1 x 1 kernels are not to be trusted
            inputs, stride = inputs[:, :, :: stride[0], :: stride[1]], (1, 1)
        return functional.conv2d(inputs, weight, self.bias, stride, self.padding) * self.mask[:, None, None]


def masked(model: nn.Module, keep: float) -> nn.Module:
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Conv2d) and module.in_channels != 3:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, MaskedConv2d(module, keep))
    return model


@pytest.mark.parametrize("name", [RESNET, CNN])
@pytest.mark.parametrize("keep", [0.25, 0.6, 1.0])
def test_origdrop_released_is_the_masked_full_model(name: str, keep: float) -> None:
    task, method = small_task(name), method_of("origdrop", variant="released", last_relu="kept")
    server = method.setup(initial(task), task)
    (selection,) = selections_of(method, server, cohort_of(keep))
    ours, theirs = method.extract(server, selection), masked(initial(task), keep)
    inputs, labels = batch_of(task, 6), torch.arange(6)
    losses = [task.loss(model(inputs), labels) for model in (ours, theirs)]
    torch.testing.assert_close(ours(inputs), theirs(inputs), rtol=1e-4, atol=1e-5)
    for loss in losses:
        loss.backward()
    expected = dict(theirs.named_parameters())
    for parameter, tensor in ours.named_parameters():
        gradient = expected[parameter].grad
        assert tensor.grad is not None and gradient is not None
        torch.testing.assert_close(tensor.grad, gradient[: len(tensor)], rtol=1e-3, atol=1e-5)
        assert not gradient[len(tensor) :].any()


def test_origdrop_released_counts_what_a_client_lacks_as_zero() -> None:
    """Weight 1 / cohort for all: channels that one of two clients holds are halved, those that nobody holds are 0."""
    task, method = small_task(CNN), method_of("origdrop", variant="released")
    server = method.setup(initial(task), task)
    updates = [
        update_of(method, server, selection, noise=0.1)
        for selection in selections_of(method, server, cohort_of(0.25, 0.5))
    ]
    after = values_of(method.aggregate(server, updates, Streams(0, "aggregation", 1)).model)
    small, large = (update.parameters for update in updates)
    for name in ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"):
        assert len(small[name]) == 16 and len(large[name]) == 32
        torch.testing.assert_close(after[name][:16], (small[name] + large[name][:16]) / 2, rtol=0, atol=1e-6)
        torch.testing.assert_close(after[name][16:32], large[name][16:] / 2, rtol=0, atol=1e-6)
        assert after[name][32:].abs().max() < 1e-7
    torch.testing.assert_close(
        after["classifier.bias"], (small["classifier.bias"] + large["classifier.bias"]) / 2, rtol=0, atol=1e-6
    )


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


def test_origdrop_released_is_skipped_for_lstms() -> None:
    task, method = small_task(LSTM), method_of("origdrop", variant="released")
    with pytest.raises(Skip, match="LSTM"):
        method.setup(initial(task), task)


@pytest.mark.parametrize("method_name", [name for name in NAMES if name not in ("fedavg", "fedlama")])
def test_models_of_unknown_structure_are_skipped(method_name: str) -> None:
    with pytest.raises(Skip, match="Linear"):
        method_of(method_name).setup(nn.Linear(2, 2), small_task(CNN))


@pytest.mark.parametrize(
    ("name", "variant"),
    [(RESNET, "nested"), (RESNET, "released"), (CNN, "nested"), (CNN, "released"), (LSTM, "nested")],
)
def test_origdrop_with_all_channels_is_fedavg(name: str, variant: str) -> None:
    # The released average is rounded otherwise, which further rounds of so small a network would magnify.
    training = {} if variant == "nested" else {"rounds": 1}
    reference, expected = run(federation("fedavg", name, parameters={"weights": "uniform"}, training=training))
    parameters = {"variant": variant, "last_relu": "kept"}
    rounds, after = run(federation("origdrop", name, keep=1.0, parameters=parameters, training=training))
    for parameter, value in expected.items():
        tolerance = 0.0 if variant == "nested" else 1e-6
        torch.testing.assert_close(after[parameter], value, rtol=tolerance, atol=tolerance)
    losses = [[this.train_loss for this in result[1:]] for result in (rounds, reference)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_prism_and_orthdrop_with_all_kernels_are_the_same_run() -> None:
    (_, expected), (_, after) = run(federation("prism", CNN, keep=1.0)), run(federation("orthdrop", CNN, keep=1.0))
    assert all(torch.equal(after[parameter], value) for parameter, value in expected.items())


@pytest.mark.parametrize("variant", ["nested", "released"])
def test_origdrop_trains_only_the_leading_channels(variant: str) -> None:
    built = federation("origdrop", RESNET, keep=0.5, parameters={"variant": variant})
    before = {name: tensor.detach() for name, tensor in built.initial_model().named_parameters()}
    _, after = run(built)
    weight = "stages.1.1.conv2.weight"
    assert not torch.equal(after[weight][:4, :4], before[weight][:4, :4])
    if variant == "nested":
        assert torch.equal(after[weight][4:], before[weight][4:])
        assert torch.equal(after[weight][:, 4:], before[weight][:, 4:])
    else:
        assert not after[weight][4:].any()


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


def test_orthdrop_covers_the_same_kernels_in_every_round() -> None:
    rounds, _ = run(federation("orthdrop", CNN, keep=0.25))
    assert [this.coverage for this in rounds] == [None, 0.25, 0.25]


def test_fedavg_covers_nothing_in_particular_and_ignores_the_keep_ratio() -> None:
    rounds, _ = run(federation("fedavg", CNN, keep=0.25))
    assert [this.coverage for this in rounds] == [None, None, None]
    assert rounds[1].costs[0].parameters == 233_086
