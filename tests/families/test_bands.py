"""Kernels that few clients hold: averaged over all clients they shrink, over their holders they do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close
from helpers import CNN, cohort_of, federation, initial, method_of, run, selections_of, small_task, update_of
from torch import Tensor

from bench.api import Method, Server, Update
from bench.models.base import matrix
from bench.models.split_convolution import joined_kernel, split_matrix
from bench.spectral.decompose import rank_of

NAME = "conv2.weight"


def begun(name: str, levels: tuple[float, ...], **parameters: Any) -> tuple[Method, Any]:
    task, method = small_task(CNN), method_of(name, **parameters)
    method.levels = levels
    return method, method.setup(initial(task), task)


def updates_of(method: Method, server: Server, keeps: Sequence[float], noise: float) -> list[Update]:
    return [update_of(method, server, each, noise) for each in selections_of(method, server, cohort_of(*keeps))]


def factors_by_hand(spectrum: Any) -> tuple[np.ndarray, np.ndarray]:
    root = np.sqrt(spectrum.s.double().numpy())
    return spectrum.u.double().numpy() * root, root[:, None] * spectrum.v.double().numpy()


@pytest.mark.parametrize("weights", ["uniform", "softmax"])
@pytest.mark.parametrize(("levels", "keeps"), [
    ((0.1, 0.25, 1.0), (0.1, 0.25, 1.0, 0.1)),
    ((0.1, 0.25), (0.25, 0.1, 0.1)),
    ((0.1, 0.25, 0.5), (0.25, 0.1, 0.1)),  # the strongest are not there, and the server's own model joins
])  # fmt: skip
def test_each_kernel_of_fedhm_is_the_mean_over_those_who_hold_it(
    levels: tuple[float, ...], keeps: tuple[float, ...], weights: str
) -> None:
    method, server = begun("fedhm", levels, bands="holders", weights=weights)
    updates = updates_of(method, server, keeps, 0.1)
    us, vs = factors_by_hand(server.spectra[NAME])
    shape = server.model.get_parameter(NAME).shape
    clients: list[tuple[float, np.ndarray, np.ndarray]] = []
    for update in updates:
        weight = 1.0 if weights == "uniform" else math.exp(-1 / update.selection.client.keep)
        if NAME in update.parameters:
            u, s, v = np.linalg.svd(split_matrix(update.parameters[NAME]).double().numpy(), full_matrices=False)
            clients.append((weight, u * s, v))
        else:
            u, v = (update.parameters[f"{NAME}_{side}"].double().numpy() for side in "uv")
            clients.append((weight, u, v))
    if max(keeps) < max(levels):
        clients.append((1.0 if weights == "uniform" else math.exp(-1 / max(levels)), us, vs))
    expected = np.zeros((us.shape[0], vs.shape[1]))
    for kernel in range(us.shape[1]):
        held = [(weight, np.outer(u[:, kernel], v[kernel])) for weight, u, v in clients if kernel < u.shape[1]]
        if held:
            expected += sum(weight * product for weight, product in held) / sum(weight for weight, _ in held)
    after = method.aggregate(server, iter(updates), STREAMS).model.get_parameter(NAME).detach()
    assert_close(after, joined_kernel(torch.from_numpy(expected), shape).numpy())


def sigma_of(server: Server, name: str) -> np.ndarray:
    weight = server.model.get_parameter(NAME).detach()
    read = split_matrix(weight) if name == "fedhm" else matrix(weight)
    return np.linalg.svd(read.double().numpy(), compute_uv=False)


def untrained(
    name: str, levels: tuple[float, ...], keeps: Sequence[float], rounds: int, **own: Any
) -> list[np.ndarray]:
    """Return the layer's singular values before and after rounds in which nobody changes anything."""
    method, server = begun(name, levels, **own)
    spectra = [sigma_of(server, name)]
    for _ in range(rounds):
        server = method.aggregate(server, iter(updates_of(method, server, keeps, 0.0)), STREAMS)
        spectra.append(sigma_of(server, name))
    return spectra


ONE_OF_FOUR = (0.1, 0.5, 0.1, 0.1)
FEW, MANY = 6, 32  # of 64 outputs: max(round(0.1 * 64), 1) and 32


@pytest.mark.parametrize("weights", ["uniform", "softmax"])
def test_fedhms_high_ranks_shrink_geometrically_over_all_and_stay_over_their_holders(weights: str) -> None:
    own = {"levels": (0.1, 0.5), "keeps": ONE_OF_FOUR, "rounds": 3, "weights": weights}
    strong, weak = (1.0, 1.0) if weights == "uniform" else (math.exp(-2), math.exp(-10))
    share = strong / (strong + 3 * weak)
    shrinking, staying = untrained("fedhm", bands="all", **own), untrained("fedhm", bands="holders", **own)
    first = shrinking[0]
    for number in range(1, 4):
        np.testing.assert_allclose(shrinking[number][:FEW], first[:FEW], rtol=1e-4)
        np.testing.assert_allclose(shrinking[number][FEW:MANY], first[FEW:MANY] * share**number, rtol=1e-3)
        np.testing.assert_allclose(staying[number][:MANY], first[:MANY], rtol=1e-4)
        for spectrum in (shrinking[number], staying[number]):
            assert spectrum[MANY:].max() < 1e-5 * first[0]  # what nobody can hold is gone, either way


@pytest.mark.parametrize("aggregate", ["factors", "product"])
def test_orthdrops_kernels_stay_over_their_holders_and_shrink_over_all(aggregate: str) -> None:
    own = {"levels": (0.1, 0.5), "keeps": ONE_OF_FOUR, "rounds": 3, "tail": "drop", "aggregate": aggregate}
    shrinking, staying = untrained("orthdrop", bands="all", **own), untrained("orthdrop", **own)
    first, few, many = shrinking[0], rank_of(0.1, 64), rank_of(0.5, 64)
    for number in range(1, 4):
        np.testing.assert_allclose(shrinking[number][:few], first[:few], rtol=1e-4)
        np.testing.assert_allclose(shrinking[number][few:many], first[few:many] * 0.25**number, rtol=1e-3)
        np.testing.assert_allclose(staying[number][:many], first[:many], rtol=1e-4)
    kept = untrained("orthdrop", **{**own, "tail": "keep"}, bands="all")  # what nobody holds is no band
    wanted = np.sort([*first[:few], *first[few:many] / 4, *first[many:]])[::-1]
    np.testing.assert_allclose(kept[1], wanted, rtol=1e-3)


def test_alike_clients_have_one_band() -> None:
    for name in ("fedhm", "orthdrop"):
        means: list[Tensor] = []
        for bands in ("all", "holders"):
            method, server = begun(name, (0.25,), bands=bands)
            updates = updates_of(method, server, (0.25, 0.25), 0.1)
            means.append(method.aggregate(server, iter(updates), STREAMS).model.get_parameter(NAME).detach())
        torch.testing.assert_close(means[0], means[1], rtol=1e-4, atol=1e-6)


def test_fedhm_trains_with_bands_of_its_holders() -> None:
    parameters, training = {"bands": "holders", "weights": "uniform"}, {"rounds": 4, "local_epochs": 3}
    rounds, _ = run(federation("fedhm", CNN, keep="0.25:0.5,1:0.5", parameters=parameters, training=training))
    assert rounds[-1].train_loss < rounds[1].train_loss
