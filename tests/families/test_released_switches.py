"""The switches of the released code: which there are, what wins over them, and that the papers have none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS
from helpers import (
    CNN,
    RESNET,
    federation,
)
from reference import prepared
from torch import Tensor
from toy import SIGMA, WEIGHT, draw, toy

from bench.families.as_released import RELEASED
from bench.models.factorise import low_rank_layers


def test_the_switches_are_those_of_the_released_code() -> None:
    assert RELEASED == {
        "sampling": "uniform",
        "u_rows": 0.4,
        "sigma": "absorbed",
        "client_momentum": "carry",
        "first_epoch_lr": "stale",
        "gradient_clip": 5.0,
        "full_batches": True,
        "last_relu": "lost",
    }


@pytest.mark.parametrize(("name", "value"), [("u_rows", 0.7), ("sampling", "softmax"), ("gradient_clip", 1.5)])
def test_a_value_that_is_given_wins_over_as_released(name: str, value: Any) -> None:
    method, _ = toy("prism", as_released=True, **{name: value})
    for key, expected in {**RELEASED, name: value}.items():
        assert getattr(method.params, key) == expected
    if name == "sampling":
        method, server = toy("prism", as_released=True, sampling="softmax")
        (design,) = method.designs(server, draw(method, server, (0.2,)))[WEIGHT]
        weights = np.exp(SIGMA)
        np.testing.assert_allclose(design.inclusion, weights / weights.sum(), atol=1e-9)


@pytest.mark.parametrize("name", [RESNET, CNN])
def test_the_paper_has_none_of_it(name: str) -> None:
    built = federation("prism", name, keep=0.4)
    method = built.method
    server, selection = prepared(built)
    assert not method.drop_last and not method.returns_momentum and server.memory == {}
    assert method.learning_rates(server, selection, 2) is None
    submodel = method.extract(server, selection)
    sent = method.upload(submodel)
    for parameter, tensor in submodel.named_parameters():
        assert torch.equal(sent[parameter], tensor)
        tensor.grad = 1e6 * torch.ones_like(tensor)
    assert all(layer.factors(weight).scale is not None for layer in low_rank_layers(submodel).values()
               for weight in layer.factored_weights())  # fmt: skip
    method.adjust_gradients(submodel)
    assert all((_gradient(tensor) == 1e6).all() for tensor in submodel.parameters())
    after = method.aggregate(server, [], STREAMS)
    assert after.memory == {}


def _gradient(tensor: Tensor) -> Tensor:
    assert tensor.grad is not None
    return tensor.grad
