"""HeteroFL: its averages by entry and class, its scaler, its masked loss, and what is left with all of it off."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close, setup
from channels import SIZES, cohort, first, means
from helpers import (
    CNN,
    LSTM,
    RESNET,
    batch_of,
    federation,
    initial,
    method_of,
    run,
    selections_of,
    small_task,
    update_of,
)
from reference import SIZE, assert_same, exact, prepared, reference_training, train
from torch import Tensor
from torch.nn import functional

from bench import kernels
from bench.api import Skip
from bench.cost.cost import bytes_of
from bench.models.factorise import narrowed
from bench.models.normalisation import BatchNorm, GroupNorm
from bench.models.resnet import norm_layer

KEEPS = (0.3, 0.75, 0.5)
LABELS = ((0, 1), (1, 2, 5), (2,))
OFF = {"scaler": False, "masked_loss": False, "label_rows": False, "statistics": "batch"}


@pytest.mark.parametrize("name", [CNN, RESNET])
@pytest.mark.parametrize("label_rows", [True, False])
@pytest.mark.parametrize("weights", ["uniform", "samples"])
def test_entries_are_means_over_their_holders_and_rows_over_those_with_the_class(
    name: str, label_rows: bool, weights: str
) -> None:
    method, server, before = setup("heterofl", small_task(name), label_rows=label_rows, weights=weights)
    selections = selections_of(method, server, cohort(KEEPS, LABELS))
    updates = [update_of(method, server, selection, 0.1) for selection in selections]
    counts = (1, 1, 1) if weights == "uniform" else (10, 20, 30)
    channels = [first(name, keep) for keep in KEEPS]
    expected = means(name, before, updates, channels, counts, LABELS if label_rows else None)
    after = dict(method.aggregate(server, updates, STREAMS).model.named_parameters())
    for parameter, value in expected.items():
        assert_close(after[parameter].detach(), value)
    if label_rows:
        for row in (3, 4, 6):
            assert torch.equal(after["classifier.weight"][row], before["classifier.weight"][row])
            assert torch.equal(after["classifier.bias"][row], before["classifier.bias"][row])


def test_a_client_whose_labels_are_not_known_counts_for_all_classes() -> None:
    method, server, _ = setup("heterofl", small_task(CNN))
    selections = selections_of(method, server, cohort((1.0, 1.0), ((), (3,))))
    updates = [update_of(method, server, selection, 0.1) for selection in selections]
    after = method.aggregate(server, updates, STREAMS).model.get_parameter("classifier.bias").detach()
    expected = updates[0].parameters["classifier.bias"].clone()
    expected[3] = (expected[3] + updates[1].parameters["classifier.bias"][3]) / 2
    torch.testing.assert_close(after, expected)


@pytest.mark.parametrize("name", [CNN, RESNET])
def test_without_its_switches_and_with_all_channels_it_is_fedavg(name: str) -> None:
    reference, expected = run(federation("fedavg", name, parameters={"weights": "uniform"}))
    rounds, after = run(federation("heterofl", name, keep=1.0, parameters={**OFF, "scaler": True}))
    assert all(torch.equal(after[parameter], value) for parameter, value in expected.items())
    assert [this.score for this in rounds] == [this.score for this in reference]
    assert method_with(**OFF).equals_fedavg
    for switch in ({"masked_loss": True}, {"label_rows": True}, {"gradient_clip": 1.0}):
        assert not method_with(**{**OFF, **switch}).equals_fedavg


def method_with(**parameters: Any) -> Any:
    method = method_of("heterofl", **parameters)
    method.setup(initial(small_task(CNN)), small_task(CNN))
    return method


@pytest.mark.parametrize("name", [CNN, RESNET])
def test_without_its_switches_it_is_origdrop(name: str) -> None:
    mixed = "0.3:0.5,0.6:0.5"
    reference, expected = run(federation("origdrop", name, keep=mixed))
    rounds, after = run(federation("heterofl", name, keep=mixed, parameters=OFF))
    assert all(torch.equal(after[parameter], value) for parameter, value in expected.items())
    for ours, theirs in zip(rounds, reference, strict=True):
        assert (ours.score, ours.levels) == (theirs.score, theirs.levels)
        assert [level.keep for level in ours.levels] == [0.3, 0.6]


def submodel_of(name: str, keep: float, levels: tuple[float, ...], training: bool = True, **model: Any) -> Any:
    task, method = small_task(name, **model), method_of("heterofl", masked_loss=False)
    method.levels = levels
    server = method.setup(initial(task), task)
    (selection,) = selections_of(method, server, cohort((keep,)))
    return method.extract(server, selection).train(training)


@pytest.mark.parametrize(("keep", "levels"), [(0.25, (0.25, 1.0)), (0.3, (0.2, 0.3, 0.6)), (0.5, (0.5,))])
def test_hidden_outputs_of_a_cnn_are_divided_by_the_rate(keep: float, levels: tuple[float, ...]) -> None:
    model, images, rate = submodel_of(CNN, keep, levels), batch_of(small_task(CNN), 5), keep / max(levels)
    for training, scale in ((True, rate), (False, 1.0)):
        hidden = images
        for layer in (model.conv1, model.conv2):
            outputs = functional.conv2d(hidden, layer.weight, layer.bias, padding=layer.kernel_size[0] // 2) / scale
            hidden = functional.max_pool2d(outputs.relu(), 2)
        expected = functional.linear(hidden.flatten(1), model.classifier.weight, model.classifier.bias)
        torch.testing.assert_close(model.train(training)(images), expected)
        if scale < 1:
            unscaled = model.eval()(images)
            assert (expected - unscaled).abs().max() > 0.01


@pytest.mark.parametrize("library", ["compiled", "PyTorch"])
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_hidden_outputs_of_a_resnet_are_divided_before_they_are_normalised(
    norm: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library == "PyTorch":
        monkeypatch.setattr(kernels, "library", lambda: None)
    model = submodel_of(RESNET, 0.5, (0.5, 0.75, 1.0), norm=norm)
    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.ndim == 4:
                tensor.mul_(0.02)  # so small that what keeps the deviation from zero shows
    images = batch_of(small_task(RESNET), 6)
    expected, unscaled = (resnet_by_hand(model, images, scale) for scale in (0.5, 1.0))
    torch.testing.assert_close(model(images), expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(model.eval()(images), unscaled, rtol=1e-3, atol=1e-4)
    assert (expected - unscaled).abs().max() > 0.02


def resnet_by_hand(model: Any, images: Tensor, scale: float) -> Tensor:
    """Return the outputs of a ResNet by PyTorch's functions, in double precision."""

    def conv(layer: Any, inputs: Tensor) -> Tensor:
        return functional.conv2d(inputs, layer.weight.double(), None, layer.stride, layer.padding)

    def norm(layer: BatchNorm | GroupNorm, inputs: Tensor) -> Tensor:
        gain, bias = layer.weight.double(), layer.bias.double()
        if isinstance(layer, GroupNorm):
            return functional.group_norm(inputs / scale, layer.num_groups, gain, bias)
        return functional.batch_norm(inputs / scale, None, None, gain, bias, True)

    hidden = norm(model.stem_norm, conv(model.stem, images.double())).relu()
    for block in itertools.chain(*model.stages):
        shortcut = hidden if block.project is None else norm(block.project_norm, conv(block.project, hidden))
        inner = norm(block.norm1, conv(block.conv1, hidden)).relu()
        hidden = (norm(block.norm2, conv(block.conv2, inner)) + shortcut).relu()
    pooled = hidden.mean((2, 3))
    return functional.linear(pooled, model.classifier.weight.double(), model.classifier.bias.double()).float()


@pytest.mark.parametrize("library", ["compiled", "PyTorch"])
@pytest.mark.parametrize("kind", ["batch", "group"])
def test_gradients_of_scaled_normalisation_are_those_of_the_divided_inputs(
    kind: Any, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library == "PyTorch":
        monkeypatch.setattr(kernels, "library", lambda: None)
    generator = torch.Generator().manual_seed(0)
    inputs, arriving = (0.003 * torch.randn(4, 6, 5, 3, generator=generator) for _ in range(2))
    scaled, plain = norm_layer(kind, 6), norm_layer(kind, 6)
    scaled.input_scale = 0.2
    given = inputs.contiguous(memory_format=torch.channels_last).requires_grad_()
    (found,) = torch.autograd.grad(scaled(given, relu=True), given, arriving)
    divided = inputs.clone().requires_grad_()
    (expected,) = torch.autograd.grad(plain(divided / 0.2, relu=True), divided, arriving)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    unscaled = torch.autograd.grad(plain(given, relu=True), given, arriving)[0]
    assert (found - unscaled).abs().max() > 0.1 * found.abs().max()


@pytest.mark.parametrize("name", [CNN, RESNET])
def test_a_rate_of_one_changes_no_bit(name: str) -> None:
    task = small_task(name)
    model, images = initial(task).train(), batch_of(task, 4)
    before = model(images)
    model.scale_hidden(1.0)
    assert torch.equal(model(images), before)


def test_outputs_of_absent_classes_are_zero_in_the_loss() -> None:
    task, method = small_task(CNN), method_of("heterofl")
    server = method.setup(initial(task), task)
    (selection,) = selections_of(method, server, cohort((0.5,), ((1, 4, 7),)))
    submodel = method.extract(server, selection).train()
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(6, 62)), np.array([1, 4, 7, 7, 1, 4])
    losses = []
    for row, target in zip(logits, targets, strict=True):
        masked = [value if place in (1, 4, 7) else 0.0 for place, value in enumerate(row)]
        losses.append(math.log(sum(math.exp(value) for value in masked)) - masked[target])
    outputs = torch.tensor(logits, requires_grad=True)
    loss = method.local_loss(submodel, lambda: outputs, torch.tensor(targets))
    assert loss is not None and loss.item() == pytest.approx(np.mean(losses))
    loss.backward()
    assert outputs.grad is not None
    assert outputs.grad.abs().sum(0).nonzero()[:, 0].tolist() == [1, 4, 7]


def test_the_loss_is_the_tasks_where_no_class_is_absent_or_the_mask_is_off() -> None:
    task, targets, outputs = small_task(CNN), torch.arange(4), torch.randn(4, 62, generator=torch.Generator())
    for labels, masked_loss in ((tuple(range(62)), True), ((), True), ((1,), False)):
        method = method_of("heterofl", masked_loss=masked_loss)
        server = method.setup(initial(task), task)
        (selection,) = selections_of(method, server, cohort((0.5,), (labels,)))
        loss = method.local_loss(method.extract(server, selection), lambda: outputs, targets)
        assert loss is None if not masked_loss else loss is not None and torch.equal(loss, task.loss(outputs, targets))


def test_the_mask_is_not_sent() -> None:
    task, method = small_task(CNN), method_of("heterofl")
    server = method.setup(initial(task), task)
    (selection,) = selections_of(method, server, cohort((0.5,), ((1, 4),)))
    submodel = method.extract(server, selection)
    sent = bytes_of(method.received(server, selection, submodel))
    assert sent == 4 * sum(tensor.numel() for tensor in submodel.parameters())
    assert [name for name, _ in submodel.named_buffers()] == ["absent_classes"]
    assert set(method.upload(submodel)) == {name for name, _ in server.model.named_parameters()}


@pytest.mark.parametrize("clip", [None, 0.3])
def test_training_is_plain_sgd_on_the_scaled_network(clip: float | None) -> None:
    parameters = {"masked_loss": False, "gradient_clip": clip}
    mixed = {"keep": "0.3:0.5,0.6:0.5", "parameters": parameters}
    built = exact(federation("heterofl", CNN, **mixed, training={**SIZE, "lr": 0.01}))
    server, selection = prepared(built)
    submodel: Any = built.method.extract(server, selection)
    assert submodel.hidden_scale == pytest.approx(selection.client.keep / 0.6)
    assert_same(train(built), reference_training(built, clip_norm=clip))


def test_the_channels_of_each_keep_ratio_are_evaluated_by_themselves() -> None:
    task, method = small_task(CNN), method_of("heterofl")
    method.levels = (0.25, 0.6)
    server = method.setup(initial(task), task)
    models = dict(method.nested_models(server))
    assert list(models) == [0.25, 0.6]
    for keep, model in models.items():
        count = math.ceil(64 * keep)
        assert torch.equal(
            model.get_parameter("conv2.weight"), server.model.get_parameter("conv2.weight")[:count, :count]
        )
        assert model.hidden_scale == 1
    method.levels = (0.6,)
    assert list(method.nested_models(server)) == []


def test_lstms_are_skipped() -> None:
    for name in ("heterofl", "fedrolex"):
        with pytest.raises(Skip, match=rf"{name} is defined for CNNs.*origdrop"):
            method_of(name).setup(initial(small_task(LSTM)), small_task(LSTM))


def test_the_sizes_written_down_here_are_those_of_the_models() -> None:
    for name, sizes in SIZES.items():
        assert initial(small_task(name)).channels() == sizes


@pytest.mark.parametrize("name", [CNN, RESNET])
def test_what_is_evaluated_is_not_scaled(name: str) -> None:
    """The full model, the nested ones, and a client's own once it is evaluated: all compute as narrow networks do."""
    task, method = small_task(name), method_of("heterofl", masked_loss=False, statistics="batch")
    method.levels = (0.5, 1.0)
    server, images = method.setup(initial(task), task), batch_of(task, 6)
    selections = selections_of(method, server, cohort((0.5, 1.0)))
    own = method.extract(server, selections[0])
    leading = narrowed(initial(task), selections[0].indices)
    assert torch.equal(own.eval()(images), leading.eval()(images))
    updates = [update_of(method, server, selection, 0.1) for selection in selections]
    after = method.aggregate(server, updates, STREAMS)
    for model in (method.full_model(after), *(nested for _, nested in method.nested_models(after))):
        assert {getattr(module, "input_scale", 1.0) for module in model.modules()} == {1.0}
        assert getattr(model, "hidden_scale", 1.0) == 1.0
