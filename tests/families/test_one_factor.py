"""One factor at a time: what is trained, what it costs, and that averages of factors are averages of products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close, setup
from helpers import (
    CNN,
    LSTM,
    assert_equal,
    cohort_of,
    federation,
    initial,
    method_of,
    run,
    run_sent,
    run_with,
    selections_of,
    small_task,
    update_of,
    values_of,
)
from torch import Tensor

from bench.api import Update
from bench.cost.cost import cost_of
from bench.families.one_factor import frozen_side
from bench.models.factorise import low_rank_layers
from bench.models.split_convolution import joined_kernel

KEEPS = (0.3, 0.75, 0.5)


def test_alternate_trains_u_in_odd_rounds_and_v_in_even_ones() -> None:
    assert [frozen_side("alternate", number) for number in (1, 2, 3, 4)] == ["v", "u", "v", "u"]
    assert [[frozen_side(train, number) for number in (1, 2)] for train in ("both", "u", "v")] == [  # type: ignore[arg-type]
        ["", ""],
        ["v", "v"],
        ["u", "u"],
    ]


def sent(name: str, task: str, train: str, round_number: int = 1, **parameters: Any) -> tuple[Any, Any, list[Update]]:
    method, server, _ = setup(name, small_task(task), train=train, **parameters)
    selections = selections_of(method, server, cohort_of(*KEEPS, round_number=round_number))
    return method, server, [update_of(method, server, selection, 0.1) for selection in selections]


@pytest.mark.parametrize("aggregate", ["factors", "product"])
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("prism", {}),
        ("prism", {"sigma": "absorbed", "weights": "samples"}),
        ("orthdrop", {"tail": "drop"}),
        ("unbiased", {}),
    ],
)
@pytest.mark.parametrize("train", ["u", "v"])
def test_the_server_averages_the_trained_factor(
    name: str, parameters: dict[str, Any], train: str, aggregate: str
) -> None:
    method, server, updates = sent(name, LSTM, train, aggregate=aggregate, **parameters)
    fixed = "v" if train == "u" else "u"
    assert not any(key.endswith(f"_{fixed}") for update in updates for key in update.parameters)
    samples = method.params.weights == "samples"
    weights = [update.selection.client.samples if samples else 1.0 for update in updates]
    expected = {}
    for weight, spectrum in server.spectra.items():
        frozen = method.params.sigma == "frozen"
        root = torch.ones_like(spectrum.s) if frozen else spectrum.s.sqrt()
        u, v = spectrum.u * root, spectrum.v * root[:, None]
        total = torch.zeros(len(u), v.shape[1], dtype=torch.float64)
        for kernel in range(len(spectrum.s)):
            held = [
                (own, update.parameters[f"{weight}_{train}"], update.selection.indices[weight].tolist().index(kernel))
                for own, update in zip(weights, updates, strict=True)
                if kernel in update.selection.indices[weight]
            ]
            if not held and method.params.__dict__.get("tail") == "drop":
                continue
            values = {"u": u[:, kernel].double(), "v": v[kernel].double()}
            if held:
                vectors = [
                    own * (tensor[:, place] if train == "u" else tensor[place]).double() for own, tensor, place in held
                ]
                values[train] = sum(vectors) / sum(own for own, _, _ in held)
            total += (spectrum.s[kernel].double() if frozen else 1.0) * torch.outer(values["u"], values["v"])
        expected[weight] = total
    after = values_of(method.aggregate(server, iter(updates), STREAMS).model)
    for weight, matrix in expected.items():
        assert_close(after[weight].reshape(matrix.shape), matrix.numpy())


@pytest.mark.parametrize(
    ("name", "task", "train"), [("prism", LSTM, "alternate"), ("collective", LSTM, "u"), ("orthdrop", CNN, "v")]
)
def test_the_aggregation_error_vanishes(name: str, task: str, train: str) -> None:
    values: dict[str, Any] = {"keep": 0.5, "diagnostics": "errors", "training": {"rounds": 3, "cohort": 3}}
    with_both, _ = run(federation(name, task, **values))
    with_one, _ = run(federation(name, task, **values, parameters={"train": train}))

    def largest(rounds: Any) -> float:
        shares = [
            layer["aggregation_error"] / layer["update_norm2"] for this in rounds[1:] for layer in this.layers.values()
        ]
        assert len(shares) >= 3 and all(share >= 0 for share in shares)
        return float(np.sqrt(max(shares)))

    assert largest(with_both) > 1e-4
    assert largest(with_one) < 1e-6


def trained_cost(name: str, task: str, train: str, keep: float = 0.5) -> tuple[Any, int, int]:
    method, server, _ = setup(name, small_task(task), train=train)
    (selection,) = selections_of(method, server, cohort_of(keep))
    submodel = method.extract(server, selection)
    up = sum(tensor.nbytes for tensor in method.upload(submodel).values())
    down = sum(tensor.nbytes for tensor in method.received(server, selection, submodel))
    return cost_of(submodel, small_task(task)), down, up


@pytest.mark.parametrize(("name", "task"), [("prism", CNN), ("prism", LSTM), ("fedhm", CNN)])
def test_a_fixed_factor_is_neither_trained_nor_sent_back(name: str, task: str) -> None:
    both, down, up = trained_cost(name, task, "both")
    method, server, _ = setup(name, small_task(task))
    (selection,) = selections_of(method, server, cohort_of(0.5))
    submodel = method.extract(server, selection)
    sizes = {
        side: sum(getattr(layer.factors(weight), side).numel()
                  for layer in low_rank_layers(submodel).values() for weight in layer.factored_weights())
        for side in "uv"
    }  # fmt: skip
    for train, fixed in (("u", "v"), ("v", "u"), ("alternate", "v")):
        cost, down_bytes, up_bytes = trained_cost(name, task, train)
        assert up - up_bytes == 4 * sizes[fixed] and down_bytes == down
        assert both.trained_parameters - cost.trained_parameters == sizes[fixed] and cost.parameters == both.parameters
        assert cost.macs == both.macs and cost.train_macs < both.train_macs


def test_momentum_of_a_fixed_factor_is_not_handed_out() -> None:
    built = federation("prism", LSTM, keep=0.5, parameters={"train": "u", "client_momentum": "carry"})
    rounds, _ = run(built)
    plain = federation("prism", LSTM, keep=0.5, parameters={"train": "u"})
    without, _ = run(plain)
    method, server, _ = setup("prism", small_task(LSTM), train="u")
    (selection,) = selections_of(method, server, cohort_of(0.5))
    trained = sum(t.nbytes for t in method.extract(server, selection).parameters() if t.requires_grad)
    clients = rounds[1].clients
    assert rounds[1].up_bytes - without[1].up_bytes == clients * trained
    assert rounds[2].down_bytes - without[2].down_bytes == clients * trained


@pytest.mark.parametrize("side", ["u", "v"])
def test_clip_lr_holds_for_the_factor_that_is_trained(side: str) -> None:
    method, server, _ = setup("unbiased", small_task(CNN), train=side, clip_tau=1.0)
    (selection,) = selections_of(method, server, cohort_of(0.2))
    submodel = method.extract(server, selection)
    (layer,) = low_rank_layers(submodel).values()
    held = getattr(layer.factors(), side)
    held.grad = torch.ones_like(held)
    method.adjust_gradients(submodel)
    damping = layer.factors().damping
    assert damping is not None and float(damping.min()) < 1
    assert torch.equal(held.grad, damping.expand(held.shape) if side == "u" else damping[:, None].expand(held.shape))


@pytest.mark.parametrize("train", ["u", "v"])
def test_fedhm_multiplies_with_the_factor_that_the_client_was_given(train: str) -> None:
    task, method = small_task(CNN), method_of("fedhm", train=train, weights="uniform")
    method.levels = (0.25, 0.5)
    server = method.setup(initial(task), task)
    name, shape = "conv2.weight", server.model.get_parameter("conv2.weight").shape
    updates = [update_of(method, server, s, 0.1) for s in selections_of(method, server, cohort_of(0.25, 0.5))]
    spectrum = server.spectra[name]
    root = spectrum.s.sqrt()
    kernels: list[Tensor] = []
    for update in updates:
        rank = len(update.selection.indices[name])
        factors = {"u": (spectrum.u * root)[:, :rank], "v": (spectrum.v * root[:, None])[:rank]}
        assert f"{name}_{'v' if train == 'u' else 'u'}" not in update.parameters
        factors[train] = update.parameters[f"{name}_{train}"]
        kernels.append(joined_kernel(factors["u"] @ factors["v"], shape))
    after = method.aggregate(server, iter(updates), STREAMS).model.get_parameter(name)
    torch.testing.assert_close(after.detach(), (kernels[0] + kernels[1]) / 2)


@pytest.mark.parametrize(("name", "task"), [("prism", LSTM), ("fedhm", CNN)])
def test_it_learns_and_is_the_same_with_workers(name: str, task: str) -> None:
    values: dict[str, Any] = {"keep": "0.25:0.5,0.5:0.5", "parameters": {"train": "alternate"}}
    numbers, after = run_with(federation(name, task, **values), 1)
    sent_numbers, sent_after = run_sent(federation(name, task, **values))
    assert_equal(after, sent_after)
    assert [each["train_loss"] for each in numbers] == [each["train_loss"] for each in sent_numbers]
    assert numbers[-1]["train_loss"] < numbers[1]["train_loss"]
