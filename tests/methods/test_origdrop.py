"""OrigDrop: nested channels, and the masked model of the released code."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import (
    CNN,
    LSTM,
    RESNET,
    batch_of,
    cohort_of,
    federation,
    initial,
    method_of,
    run,
    selections_of,
    small_task,
    update_of,
    values_of,
)
from torch import Tensor, nn
from torch.nn import functional

from bench.api import Skip, Streams


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


def test_origdrop_released_is_skipped_for_lstms() -> None:
    task, method = small_task(LSTM), method_of("origdrop", variant="released")
    with pytest.raises(Skip, match="LSTM"):
        method.setup(initial(task), task)


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
