"""Unbiased and Collective: what clients get, how it comes back, and how the gradients are clipped."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close, kernel_means, setup, trained
from helpers import (
    CNN,
    RESNET,
    TASKS,
    cohort_of,
    federation,
    initial,
    method_of,
    selections_of,
    small_task,
    values_of,
)
from reference import SIZE, assert_same, exact, prepared, reference_training, train
from thinned import every, thinned
from torch import Tensor
from toy import (
    SIGMA,
    WEIGHT,
    algorithm_1,
    algorithm_2,
    conditional_poisson,
    draw,
    kernels_of,
    sub_weight,
    toy,
)

from bench.api import Client, Selection
from bench.models.base import matrix
from bench.models.factorise import low_rank_layers
from bench.spectral.decompose import rank_of

NAMES = ("unbiased", "collective")
SIGMAS = ("absorbed", "frozen")
SAMPLERS = ("conditional-poisson", "brewer", "systematic")
COHORT = (0.4, 0.4, 0.4, 0.4)


def law(name: str, size: int, clients: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the toy's inclusion probabilities and multipliers by the paper's algorithms."""
    if name == "collective":
        return algorithm_2(SIGMA, size, clients)
    inclusion = algorithm_1(SIGMA, size)
    return inclusion, 1 / inclusion


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("name", NAMES)
def test_clients_draw_with_the_papers_probabilities(name: str, size: int) -> None:
    method, server = toy(name)
    selections = draw(method, server, [size / 5] * 4)
    inclusion, multipliers = law(name, size, 4)
    for design in method.designs(server, selections)[WEIGHT]:
        np.testing.assert_allclose(design.inclusion, inclusion, atol=1e-9)
        np.testing.assert_allclose(design.multipliers, multipliers, rtol=1e-8)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("name", NAMES)
def test_the_effective_weight_is_the_sum_of_the_weighed_kernels(name: str, sigma: str) -> None:
    method, server = toy(name, sigma=sigma)
    values, kernels = kernels_of(server.model.get_parameter(WEIGHT).detach().numpy())
    _, multipliers = law(name, 2, 4)
    seen = set()
    for seed in range(5):
        for selection in draw(method, server, COHORT, seed):
            expected = np.zeros((6, 5))
            for kernel in selection.indices[WEIGHT].tolist():
                expected += multipliers[kernel] * values[kernel] * kernels[kernel]
                seen.add(kernel)
            np.testing.assert_allclose(sub_weight(method, server, selection), expected, atol=1e-8)
    assert len(seen) > 2


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("name", NAMES)
def test_every_layer_of_every_model_has_its_weighed_kernels(name: str, sigma: str, task: str) -> None:
    method, server, before = setup(name, small_task(task), sigma=sigma)
    for selection in selections_of(method, server, cohort_of(*COHORT)):
        for layer_name, layer in low_rank_layers(method.extract(server, selection)).items():
            for weight in layer.factored_weights():
                full = f"{layer_name}.{weight}"
                values, kernels = kernels_of(matrix(before[full]).numpy())
                kept, omega = selection.indices[full].numpy(), selection.multipliers[full].double().numpy()
                assert (omega >= 1 - 1e-6).all() and (omega > 1.01).any()
                expected = np.tensordot(omega * values[kept], kernels[kept], 1)
                assert_close(layer.factors(weight).product().detach(), expected, 1e-4)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_draws_as_many_kernels_as_the_client_can_train(name: str, sampler: str) -> None:
    method, server, _ = setup(name, small_task(RESNET), sampler=sampler)
    keeps = (0.1, 0.3, 0.3, 0.6, 0.6, 1.0)
    for keep, selection in zip(keeps, selections_of(method, server, cohort_of(*keeps)), strict=True):
        for kept, size in method.coverage(server, selection).values():
            assert len(set(kept.tolist())) == len(kept) == rank_of(keep, size)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_with_the_same_probabilities(sampler: str) -> None:
    method, server = toy("unbiased", sampler=sampler)
    draws = 1500
    counts = np.zeros(5)
    for seed in range(draws // 4):
        for selection in draw(method, server, COHORT, seed):
            counts[selection.indices[WEIGHT].numpy()] += 1
    pi = algorithm_1(SIGMA, 2)
    assert (np.abs(counts / draws - pi) <= 4.5 * np.sqrt(pi * (1 - pi) / draws)).all()


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_unbiased_is_the_servers_weight_on_average_over_all_draws(size: int, sigma: str) -> None:
    method, server = toy("unbiased", sigma=sigma)
    design = method.design(np.array(SIGMA), size, 1)
    mean = np.zeros((6, 5))
    for kept, probability in conditional_poisson(algorithm_1(SIGMA, size), size).items():
        chosen = np.array(kept)
        multipliers = torch.from_numpy(method.multipliers(np.array(SIGMA), design, chosen))
        selection = Selection(Client(0, 1, size / 5), {WEIGHT: torch.from_numpy(chosen)}, {WEIGHT: multipliers})
        mean += probability * sub_weight(method, server, selection)
    np.testing.assert_allclose(mean, server.model.get_parameter(WEIGHT).detach().numpy(), atol=1e-8)


def test_collective_is_the_servers_weight_up_to_its_bias_over_all_draws() -> None:
    """``E[What] = sum_i w_i pi_i l_i u_i v_i^T``, which is short of W wherever ``pi < 1``."""
    inclusion, multipliers = algorithm_2(SIGMA, 2, 4)
    method, server = toy("collective")
    values, kernels = kernels_of(server.model.get_parameter(WEIGHT).detach().numpy())
    design = method.design(np.array(SIGMA), 2, 4)
    mean = np.zeros((6, 5))
    for kept, probability in conditional_poisson(inclusion, 2).items():
        chosen = np.array(kept)
        omega = torch.from_numpy(method.multipliers(np.array(SIGMA), design, chosen))
        selection = Selection(Client(0, 1, 0.4), {WEIGHT: torch.from_numpy(chosen)}, {WEIGHT: omega})
        mean += probability * sub_weight(method, server, selection)
    np.testing.assert_allclose(mean, np.tensordot(multipliers * inclusion * values, kernels, 1), atol=1e-8)
    assert (multipliers * inclusion < 1 - 1e-3).any()


@pytest.mark.parametrize("task", [CNN, RESNET])
def test_unbiased_models_are_the_servers_on_average(task: str) -> None:
    """The mean coefficient of each kernel over many draws is 1 within its standard error."""
    method, server, _ = setup("unbiased", small_task(task))
    draws = 500
    sums: dict[str, Tensor] = {name: torch.zeros(2, spectrum.kernels) for name, spectrum in server.spectra.items()}
    for selection in selections_of(method, server, cohort_of(*[0.25] * draws)):
        for name, spectrum in server.spectra.items():
            product = method.factors(server, selection, name).product()
            coefficients = ((spectrum.u.T @ product) * spectrum.v).sum(1) / spectrum.s
            sums[name] += torch.stack([coefficients, coefficients**2])
    for totals in sums.values():
        mean, square = totals / draws
        error = ((square - mean**2).clamp(min=0) / draws).sqrt()
        assert (error > 0.01).any()
        assert ((mean - 1).abs() <= 4.5 * error + 1e-4).all()


def test_collective_for_one_client_of_a_keep_ratio_is_top_n() -> None:
    """Mixed capacities: each keep ratio is a cohort of its own, and a client alone trains the leading kernels."""
    method, server = toy("collective")
    alone, *pair = draw(method, server, (0.6, 0.4, 0.4))
    assert alone.indices[WEIGHT].tolist() == [0, 1, 2]
    assert alone.multipliers[WEIGHT].tolist() == [1, 1, 1]
    _, multipliers = algorithm_2(SIGMA, 2, 2)
    for selection in pair:
        np.testing.assert_allclose(selection.multipliers[WEIGHT], multipliers[selection.indices[WEIGHT]], rtol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_clients_are_grouped_by_their_keep_ratio(name: str) -> None:
    method, server = toy(name)
    keeps = (0.2, 0.4, 0.2, 0.2, 0.4)
    seen: dict[float, set[int]] = {0.2: set(), 0.4: set()}
    for seed in range(10):
        for keep, selection in zip(keeps, draw(method, server, keeps, seed), strict=True):
            size, clients = (1, 3) if keep == 0.2 else (2, 2)
            _, multipliers = law(name, size, clients)
            kept = selection.indices[WEIGHT].tolist()
            seen[keep].update(kept)
            assert len(kept) == size
            np.testing.assert_allclose(selection.multipliers[WEIGHT], multipliers[kept], rtol=1e-8)
    assert all(len(kernels) > size for kernels, size in zip(seen.values(), (1, 2), strict=True))


@pytest.mark.parametrize("weights", ["samples", "uniform"])
@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", NAMES)
def test_the_server_averages_by_samples_and_forgets_the_multipliers(
    name: str, task: str, sigma: str, weights: str
) -> None:
    method, server, before = setup(name, small_task(task), sigma=sigma, weights=weights)
    updates = trained(method, server, (0.3, 0.75, 0.3))
    assert all(
        (update.selection.multipliers[layer] > 1.01).any() for update in updates[::2] for layer in server.spectra
    )
    counts = [10.0, 20.0, 30.0] if weights == "samples" else [1.0, 1.0, 1.0]
    expected = kernel_means(server, updates, sigma, counts)
    after = values_of(method.aggregate(server, updates, STREAMS).model)
    for weight, value in expected.items():
        assert_close(after[weight], value, 2e-5)
        assert not torch.allclose(after[weight], before[weight], atol=1e-3)
    for parameter in set(before) - set(expected):
        stacked = np.stack([update.parameters[parameter].double().numpy() for update in updates])
        assert_close(after[parameter], np.average(stacked, 0, counts))


@pytest.mark.parametrize("name", NAMES)
def test_kernels_that_nobody_held_stay_as_they_are(name: str) -> None:
    method, server = toy(name)
    values, kernels = kernels_of(server.model.get_parameter(WEIGHT).detach().numpy())
    updates = trained(method, server, (0.4, 0.4), noise=0.5)
    held = set().union(*(update.selection.indices[WEIGHT].tolist() for update in updates))
    left = [kernel for kernel in range(5) if kernel not in held]
    of_held = kernel_means(server, updates, "absorbed", [10, 20], only_held=True)[WEIGHT]
    after = method.aggregate(server, updates, STREAMS).model.get_parameter(WEIGHT).detach().numpy()
    assert left
    np.testing.assert_allclose(after - of_held, np.tensordot(values[left], kernels[left], 1), atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_clients_that_do_nothing_change_nothing(name: str) -> None:
    method, server = toy(name)
    before = values_of(server.model)
    server = method.aggregate(server, trained(method, server, (0.4, 0.4), noise=0.0), STREAMS)
    for parameter, value in values_of(server.model).items():
        torch.testing.assert_close(value, before[parameter], rtol=0, atol=1e-12)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("name", NAMES)
def test_the_penalty_is_on_the_effective_weight(name: str, sigma: str) -> None:
    method, server = toy(name, sigma=sigma, frobenius_decay=0.3)
    selection = draw(method, server, COHORT)[0]
    submodel = method.extract(server, selection)
    penalty = method.penalty(submodel)
    penalty.backward()
    named = dict(submodel.named_parameters())
    u, v = (named[f"{WEIGHT}_{side}"].detach().clone().requires_grad_() for side in "uv")
    omega = selection.multipliers[WEIGHT].double()
    scale = omega * server.spectra[WEIGHT].s[selection.indices[WEIGHT]] if sigma == "frozen" else omega
    effective = torch.einsum("ok,k,ki->oi", u, scale, v)
    np.testing.assert_allclose(effective.detach().numpy(), sub_weight(method, server, selection), atol=1e-12)
    expected = 0.15 * torch.linalg.matrix_norm(effective) ** 2
    expected.backward()
    assert penalty.item() == pytest.approx(expected.item(), rel=1e-12)
    for side, tensor in (("u", u), ("v", v)):
        torch.testing.assert_close(named[f"{WEIGHT}_{side}"].grad, tensor.grad)
    assert {key for key, tensor in named.items() if tensor.grad is not None} == {f"{WEIGHT}_u", f"{WEIGHT}_v"}


@pytest.mark.parametrize("tau", [0.8, 1.5, None])
@pytest.mark.parametrize("sigma", SIGMAS)
def test_clip_lr_damps_the_gradients_of_kernels_with_large_multipliers(sigma: str, tau: float | None) -> None:
    method, server = toy("unbiased", sigma=sigma, clip_tau=tau)
    inputs = torch.from_numpy(np.random.default_rng(1).normal(size=(7, 4)))
    damped = set()
    for selection in (selection for seed in range(4) for selection in draw(method, server, COHORT, seed)):
        submodel = method.extract(server, selection)
        submodel(inputs).square().mean().backward()
        plain = {key: tensor.grad.clone() for key, tensor in submodel.named_parameters()}
        method.adjust_gradients(submodel)
        after = {key: tensor.grad for key, tensor in submodel.named_parameters()}
        for place, w in enumerate(selection.multipliers[WEIGHT].tolist()):
            factor = 1.0 if tau is None else min(1.0, tau / w)
            damped.add(factor < 1)
            torch.testing.assert_close(after[f"{WEIGHT}_u"][:, place], factor * plain[f"{WEIGHT}_u"][:, place])
            torch.testing.assert_close(after[f"{WEIGHT}_v"][place], factor * plain[f"{WEIGHT}_v"][place])
        for key in plain.keys() - {f"{WEIGHT}_u", f"{WEIGHT}_v"}:
            assert torch.equal(after[key], plain[key])
    assert damped == {0.8: {True}, 1.5: {True, False}, None: {False}}[tau]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("sigma", thinned(SIGMAS, every(2)))
def test_a_client_trains_by_clipped_sgd(task: str, sigma: str) -> None:
    training = {**SIZE, "lr": 0.01, "clip_norm": 1.0}
    parameters = {"sigma": sigma, "clip_tau": 1.5}
    built = exact(federation("unbiased", task, keep=0.3, parameters=parameters, training=training))
    _, selection = prepared(built)
    assert any((omega > 1.5).any() for omega in selection.multipliers.values())
    clipped = train(built)
    assert_same(clipped, reference_training(built, clip_tau=1.5))
    assert not _same_factors(clipped.parameters, reference_training(built)[0])


def _same_factors(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_the_multipliers_of_collective_are_never_clipped_where_tau_is_the_cohort_or_more() -> None:
    method, server = toy("collective", clip_tau=4.0)
    for selection in draw(method, server, COHORT):
        submodel = method.extract(server, selection)
        assert (selection.multipliers[WEIGHT] <= 4).all()
        submodel(torch.ones(2, 4, dtype=torch.float64)).sum().backward()
        plain = {key: tensor.grad.clone() for key, tensor in submodel.named_parameters()}
        method.adjust_gradients(submodel)
        assert all(torch.equal(tensor.grad, plain[key]) for key, tensor in submodel.named_parameters())
    runs = [federation("collective", CNN, keep=0.2, parameters={"clip_tau": tau}) for tau in (2.0, None)]
    assert _same_factors(*(train(built).parameters for built in runs))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_layers_that_lost_half_of_their_rank_are_drawn(sampler: str) -> None:
    """As after an orthogonal start of half rank: half of the singular values are equal, the rest at 1e-5 of them."""
    task = small_task(RESNET, width=16)
    model, generator = initial(task), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name in model.factorable:
            weight = matrix(model.get_parameter(name))
            rank = min(weight.shape) // 2
            left, right = (torch.linalg.qr(torch.randn(size, rank, generator=generator))[0] for size in weight.shape)
            noise = 1e-5 * torch.randn(weight.shape, generator=generator) / weight.shape[1] ** 0.5
            model.get_parameter(name).copy_((left @ right.mT + noise).reshape(model.get_parameter(name).shape))
    method = method_of("unbiased", sampler=sampler)
    server = method.setup(model, task)
    selections = selections_of(method, server, cohort_of(0.5, 0.5))
    designs = method.designs(server, selections)
    for selection in selections:
        for name, kept in selection.indices.items():
            inclusion = designs[name][0].inclusion
            assert inclusion is not None and 0.9 < inclusion[kept[0]] < 1 and inclusion[-1] < 1e-3
        assert all(tensor.isfinite().all() for tensor in method.extract(server, selection).parameters())
