"""Methods on transformers: which weights are factored at which rank, and that all families train them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from aggregation import STREAMS
from helpers import (
    CCT,
    GPT,
    assert_equal,
    batch_of,
    cohort_of,
    federation,
    initial,
    method_of,
    run,
    selections_of,
    small_task,
    update_of,
)

from bench.api import Method, Server, Skip
from bench.models.factorise import low_rank_layers
from bench.models.low_rank import LowRankLinear
from bench.models.split_convolution import SplitConv2d
from bench.numerics.precision import outputs_of
from bench.plugins import registry
from bench.training.shape import shape_of

MATRICES = 12
"""Of the small model: four projections and two linear layers in each of two blocks."""
ALWAYS = {CCT: ("fedavg", "unbiased", "fedpara", "fedrolex"), GPT: ("fedlmt", "prism", "fiarse", "nefl", "flanc")}
"""Some of each family are tried without the slow tests; all are in them."""
UNDEFINED = {
    (GPT, "flanc"): "flanc composes k x k convolutions behind the first one, and GPT has none",
}


def set_up(name: str, **parameters: Any) -> tuple[Method, Server]:
    task, method = small_task(CCT), method_of(name, **parameters)
    return method, method.setup(initial(task), task)


def test_fedhm_gives_a_linear_layer_its_leading_vectors() -> None:
    """``round(p m)`` of them, m being the smaller side; what comes back untrained is the truncated matrix."""
    method, server = set_up("fedhm")
    method.levels = (0.4,)
    (selection,) = selections_of(method, server, cohort_of(0.4))
    submodel, name = method.extract(server, selection), "blocks.1.expand"
    layers = low_rank_layers(submodel)
    assert [type(layer) for layer in layers.values()] == [SplitConv2d] + [LowRankLinear] * MATRICES
    weight = server.model.get_parameter(f"{name}.weight").detach().clone()
    assert weight.shape == (16, 8) and layers[name].factors().u.shape == (16, 3)
    u, s, v = torch.linalg.svd(weight, full_matrices=False)
    truncated = (u[:, :3] * s[:3]) @ v[:3]
    torch.testing.assert_close(layers[name].factors().product(), truncated, rtol=1e-4, atol=1e-5)
    outputs = submodel.eval()(batch_of(small_task(CCT), 2))
    after = method.aggregate(server, [update_of(method, server, selection)], STREAMS)
    torch.testing.assert_close(after.model.get_parameter(f"{name}.weight"), truncated, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after.model.eval()(batch_of(small_task(CCT), 2)), outputs, rtol=1e-3, atol=1e-4)


def test_fedlmt_factors_all_matrices_of_the_blocks() -> None:
    method, server = set_up("fedlmt")
    method.levels = (0.4,)
    server = method.setup(initial(small_task(CCT)), small_task(CCT))
    (selection,) = selections_of(method, server, cohort_of(0.4))
    layers = low_rank_layers(method.extract(server, selection))
    assert len(layers) == 1 + MATRICES
    assert layers["blocks.0.attention.query"].factors().u.shape == (8, 3)
    with pytest.raises(Skip, match="CCT has other matrices"):
        set_up("fedlmt", init="kaiming")


def test_pfedlmt_has_what_lies_before_the_first_factored_layer_in_common() -> None:
    method, _ = set_up("pfedlmt")
    own = [name for name, _ in initial(small_task(CCT)).named_parameters() if method.is_own(name)]
    assert "tokeniser.conv1.weight" not in own and "tokeniser.conv2.weight" in own


@pytest.mark.parametrize(
    ("task", "name"),
    [
        pytest.param(task, name, marks=[pytest.mark.slow] * (name not in ALWAYS[task]))
        for task in ALWAYS
        for name in registry.methods()
    ],
)
def test_a_method_trains_a_transformer_or_says_why_not(task: str, name: str) -> None:
    built = federation(name, task, keep=1.0 if name == "fedavg" else "0.5:0.5,1:0.5")
    if (task, name) in UNDEFINED:
        with pytest.raises(Skip, match=UNDEFINED[task, name]):
            run(built)
        return
    rounds, values = run(built)
    first, last = (this.train_loss for this in rounds[1:])
    assert first is not None and last is not None and 0 < last < 1.1 * first
    assert all(bool(value.isfinite().all()) for value in values.values())


@pytest.mark.parametrize("task", [CCT, GPT])
def test_bfloat16_computes_the_same_but_for_its_rounding(task: str) -> None:
    model, inputs = (
        initial(small_task(task)),
        batch_of(small_task(task), 4) if task == CCT else torch.arange(80).view(1, 80),
    )
    found = {}
    for precision in ("fp32", "bf16"):
        outputs = outputs_of(model, inputs, precision)
        assert outputs.dtype == torch.float32
        gradients = torch.autograd.grad(outputs.square().mean(), list(model.parameters()))
        found[precision] = [outputs, torch.cat([gradient.flatten() for gradient in gradients])]
    for exact, narrow in zip(*found.values(), strict=True):
        assert 0 < (exact - narrow).norm() / exact.norm() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("task", [CCT, GPT])
def test_blocks_computed_anew_train_the_same_model(task: str) -> None:
    plain, again = (run(federation("prism", task, keep=0.5, training={"recompute": on}))[1] for on in (False, True))
    assert_equal(plain, again)


@pytest.mark.parametrize("task", [CCT, GPT])
def test_two_sub_models_of_a_kind_are_told_alike_so_that_a_step_can_be_recorded(task: str) -> None:
    method = method_of("unbiased")
    server = method.setup(initial(small_task(task)), small_task(task))
    shapes = [
        shape_of(method.extract(server, selection).train())
        for keep in (0.5, 0.5, 1.0)
        for selection in selections_of(method, server, cohort_of(keep))
    ]
    assert shapes[0] == shapes[1] != shapes[2]
