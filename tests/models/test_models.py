"""The models: their sizes, their cut, their initial values and which of their weights can be factored."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import (
    CNN,
    LSTM,
    RESNET,
    TASKS,
    batch_of,
    federation,
    global_states,
    initial,
    paper_task,
    run,
    small_cell,
    small_task,
    used_global_states,
    values_of,
)
from scipy import stats
from thinned import every, thinned
from torch import nn
from torch.nn import functional
from torchvision.models import resnet18

from bench.federation.federation import Federation
from bench.models.base import Axis, Model, matrix
from bench.models.factorise import factorised, narrowed
from bench.models.initialise import initialise
from bench.models.low_rank import Factors, LowRankConv2d
from bench.models.resnet import norm_layer
from bench.spectral.decompose import decompose


def first_channels(model: Model, keep: float) -> dict[str, torch.Tensor]:
    return {group: torch.arange(math.ceil(keep * size)) for group, size in model.channels().items()}


def some_channels(model: Model, keep: float, seed: int = 0) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    kept = {g: np.sort(rng.choice(n, math.ceil(keep * n), replace=False)) for g, n in model.channels().items()}
    return {group: torch.from_numpy(indices) for group, indices in kept.items()}


def parameters_of(model: nn.Module) -> int:
    return sum(tensor.numel() for tensor in model.parameters())


def on_meta(name: str, **model: object) -> Model:
    with torch.device("meta"):
        return paper_task(name, **model).model()


def reference_resnet18() -> nn.Module:
    """torchvision's ResNet-18 with the stem of small images."""
    with torch.device("meta"):
        model = resnet18(num_classes=10)
        model.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        model.maxpool = nn.Identity()
        return model


def test_resnet_has_the_published_number_of_parameters() -> None:
    assert parameters_of(on_meta(RESNET)) == 11_173_962 == parameters_of(reference_resnet18())


def test_resnet_has_the_layers_of_torchvisions() -> None:
    ours = sorted(tuple(tensor.shape) for tensor in on_meta(RESNET).parameters())
    assert ours == sorted(tuple(tensor.shape) for tensor in reference_resnet18().parameters())


def test_resnet_computes_what_torchvisions_computes() -> None:
    ours = initial(paper_task(RESNET), seed=3)
    theirs = reference_resnet18().to_empty(device="cpu")
    for source, target in zip(ours.parameters(), theirs.parameters(), strict=True):
        target.data = source.data
    images = batch_of(paper_task(RESNET), 4)
    with torch.no_grad():
        # In training mode torchvision's batch normalisation uses the statistics of the batch, as ours always does.
        torch.testing.assert_close(ours.eval()(images), theirs.train()(images), rtol=1e-4, atol=1e-4)


def test_released_cnn_has_the_published_number_of_parameters() -> None:
    assert parameters_of(on_meta(CNN, variant="released")) == 246_590


def test_paper_cnn_has_the_number_of_parameters_counted_by_hand() -> None:
    first, second, classifier = 64 * 25 + 64, 64 * 64 * 9 + 64, 64 * 7 * 7 * 62 + 62
    assert parameters_of(on_meta(CNN)) == first + second + classifier == 233_086


def test_lstm_has_the_published_number_of_parameters() -> None:
    model = on_meta(LSTM)
    assert parameters_of(model) == 920_385
    assert sum(dict(model.named_parameters())[name].numel() for name in model.factorable) == 851_968


@pytest.mark.parametrize(("name", "layers"), [(RESNET, 16), (CNN, 1), (LSTM, 4)])
def test_factorable_weights_exist_and_are_as_many_as_in_the_released_code(name: str, layers: int) -> None:
    model = on_meta(name)
    shapes = {name: tensor.shape for name, tensor in model.named_parameters()}
    assert len(model.factorable) == layers
    assert all(len(shapes[weight]) in (2, 4) for weight in model.factorable)
    assert not any(shapes[weight][2:] == (1, 1) for weight in model.factorable)


def test_all_affine_layers_but_the_first_and_the_last_can_be_factored() -> None:
    model = on_meta(RESNET, factored="all")
    shapes = {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}
    matrices = {name for name, shape in shapes.items() if len(shape) > 1}
    assert set(model.factorable) == matrices - {"stem.weight", "classifier.weight"}
    projections = [name for name in model.factorable if "project" in name]
    assert [shapes[name] for name in projections] == [(2 * n, n, 1, 1) for n in (64, 128, 256)]
    narrow = narrowed(initial(small_task(RESNET, factored="all")), {g: torch.arange(2) for g in model.channels()})
    assert narrow.factorable == model.factorable
    assert [name for name in model.factorable if name not in projections] == list(on_meta(RESNET).factorable)


@pytest.mark.parametrize("name", TASKS)
def test_axes_tell_the_true_size_of_every_dimension(name: str) -> None:
    model = on_meta(name)
    axes, sizes = model.axes(), model.channels()
    assert set(axes) == {name for name, _ in model.named_parameters()}
    for parameter, tensor in model.named_parameters():
        assert len(axes[parameter]) == tensor.ndim
        for axis, length in zip(axes[parameter], tensor.shape, strict=True):
            assert axis is None or axis.outer * sizes[axis.group] * axis.inner == length


def test_positions_of_an_axis_equal_those_of_loops() -> None:
    kept, size, outer, inner = [0, 2, 3], 5, 4, 3
    expected = [(o * size + channel) * inner + i for o in range(outer) for channel in kept for i in range(inner)]
    assert Axis("x", outer, inner).positions(torch.tensor(kept), size).tolist() == expected


@pytest.mark.parametrize(("name", "settings"), [(RESNET, {}), (RESNET, {"norm": "group"}), (CNN, {}), (LSTM, {})])
def test_a_model_narrowed_to_all_its_channels_is_the_same_function(name: str, settings: dict[str, str]) -> None:
    task = small_task(name, **settings)
    model = initial(task)
    same = narrowed(model, first_channels(model, 1.0))
    inputs = batch_of(task)
    assert torch.equal(model(inputs), same(inputs))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))
    next(same.parameters()).data.zero_()
    assert next(model.parameters()).any(), "the narrow model shares memory with the full one"


@pytest.mark.parametrize("keep", [0.2, 0.55])
def test_a_narrow_cnn_is_the_full_one_sliced_by_hand(keep: float) -> None:
    task = paper_task(CNN)
    model = initial(task)
    kept = some_channels(model, keep)
    images = batch_of(task, 4)
    full = values_of(model)
    one, two = kept["conv1"], kept["conv2"]
    hidden = functional.conv2d(images, full["conv1.weight"][one], full["conv1.bias"][one], padding=2)
    hidden = functional.max_pool2d(hidden.relu(), 2)
    hidden = functional.conv2d(hidden, full["conv2.weight"][two][:, one], full["conv2.bias"][two], padding=1)
    hidden = functional.max_pool2d(hidden.relu(), 2).flatten(1)
    weight = full["classifier.weight"].reshape(62, 64, 49)[:, two].reshape(62, -1)
    expected = functional.linear(hidden, weight, full["classifier.bias"])
    torch.testing.assert_close(narrowed(model, kept)(images), expected)


@pytest.mark.parametrize("keep", [0.2, 0.55])
def test_a_narrow_cnn_is_the_full_one_with_the_dropped_channels_silenced(keep: float) -> None:
    task = paper_task(CNN)
    model = initial(task)
    kept, images = some_channels(model, keep), batch_of(task, 4)
    narrow = narrowed(model, kept)(images)
    for layer, indices in kept.items():
        dropped = np.setdiff1d(np.arange(64), indices)
        for tensor in model.get_submodule(layer).parameters():
            tensor.data[dropped] = 0
    torch.testing.assert_close(narrow, model(images))


def test_a_narrow_lstm_is_the_full_one_with_the_dropped_units_silenced() -> None:
    task = small_task(LSTM)
    model = initial(task)
    kept, tokens = some_channels(model, 0.5), batch_of(task)
    narrow = narrowed(model, kept)(tokens)
    dropped = np.setdiff1d(np.arange(8), kept["hidden"])
    for layer in range(2):
        # A unit whose value gate has no input keeps a cell state of zero, and so a hidden state of zero.
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(model.lstm, f"{part}_l{layer}").data[2 * 8 + dropped] = 0
    torch.testing.assert_close(narrow, model(tokens))


def test_a_narrow_resnet_is_the_full_one_with_the_dropped_channels_silenced() -> None:
    task = small_task(RESNET)
    model = initial(task)
    kept, images = some_channels(model, 0.5), batch_of(task, 4)
    sizes, axes = model.channels(), model.axes()
    narrow = narrowed(model, kept)(images)
    for name, tensor in model.named_parameters():
        # A channel whose normalisation has scale and shift zero is zero wherever it is read.
        if "norm" in name:
            axis = axes[name][0]
            assert axis is not None
            dropped = np.setdiff1d(np.arange(sizes[axis.group]), kept[axis.group])
            tensor.data[dropped] = 0
    torch.testing.assert_close(narrow, model(images), rtol=1e-4, atol=1e-5)


def test_batch_normalisation_uses_the_batch_in_evaluation_too() -> None:
    layer, images = norm_layer("batch", 3), 5 + 2 * torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    normalised = layer.eval()(images)
    torch.testing.assert_close(normalised.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalised.var((0, 2, 3), correction=0), torch.ones(3), atol=1e-4, rtol=0)
    assert not dict(layer.named_buffers())


def full_rank_factors(model: Model) -> dict[str, Factors]:
    spectra = {name: decompose(matrix(tensor.detach())) for name, tensor in model.named_parameters() if tensor.ndim > 1}
    return {name: Factors(spectra[name].u, spectra[name].v, spectra[name].s) for name in model.factorable}


def test_a_resnet_with_factored_shortcuts_is_the_same_function() -> None:
    task = small_task(RESNET, factored="all", norm="group")
    model = initial(task).double()
    factored = factorised(model, full_rank_factors(model))
    projections = [factored.get_submodule(f"stages.{stage}.0.project") for stage in (1, 2, 3)]
    assert all(isinstance(layer, LowRankConv2d) for layer in projections)
    images = batch_of(task, 2).double()
    torch.testing.assert_close(factored(images), model(images))
    hidden = torch.rand(2, 4, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(projections[0](hidden), model.get_submodule("stages.1.0.project")(hidden))


@pytest.mark.parametrize("method", thinned(["prism", "orthdrop", "origdrop"], every(3)))
def test_methods_train_a_resnet_with_factored_shortcuts(method: str) -> None:
    model = {"width": 4, "norm": "group", "inputs": "spectral", "factored": "all"}
    built = federation(method, RESNET, model=model, keep="0.3:0.5,0.6:0.5")
    rounds, trained = run(built)
    start = values_of(built.initial_model())
    assert len(rounds) == 3 and all(not torch.equal(trained[name], start[name]) for name in start)


@pytest.mark.parametrize("name", TASKS)
def test_initial_values_come_from_the_generator_alone(name: str) -> None:
    task = small_task(name)
    before = used_global_states()
    torch.manual_seed(1)
    first = initial(task, seed=5)
    torch.manual_seed(2)
    second, other = initial(task, seed=5), initial(task, seed=6)
    torch.set_rng_state(torch.from_numpy(np.frombuffer(before[-1], dtype=np.uint8).copy()))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    assert all(tensor.isfinite().all() for tensor in first.parameters())
    initial(task)
    assert global_states() == before


@pytest.mark.parametrize("name", TASKS)
def test_all_methods_and_keep_ratios_start_from_the_same_model(name: str) -> None:
    cells = [small_cell(method, name, keep=keep) for method in ("fedavg", "prism", "origdrop") for keep in (0.2, 1.0)]
    models = [Federation.build(cell).initial_model() for cell in cells]
    for model in models[1:]:
        assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), model.parameters(), strict=True))
    other = Federation.build(small_cell("prism", name, seed=1)).initial_model()
    assert not torch.equal(next(models[0].parameters()), next(other.parameters()))


def test_resnet_convolutions_have_he_deviations_on_the_fan_out() -> None:
    model = initial(paper_task(RESNET))
    ratios = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            expected = math.sqrt(2 / (module.out_channels * module.kernel_size[0] * module.kernel_size[1]))
            values = module.weight.detach().double().flatten()
            # The sample deviation of n normal values has the standard error sigma / sqrt(2 n).
            ratios.append((float(values.std()) / expected - 1) * math.sqrt(2 * len(values)))
            assert abs(float(values.mean())) < 5 * expected / math.sqrt(len(values))
    assert len(ratios) == 20
    assert stats.chi2(20).cdf(sum(ratio**2 for ratio in ratios)) < 0.9999


@pytest.mark.parametrize(
    ("name", "layer", "fan"), [(RESNET, "classifier", 512), (CNN, "conv2", 576), (LSTM, "lstm", 256)]
)
def test_other_layers_follow_torchs_uniform_law(name: str, layer: str, fan: int) -> None:
    module = initial(paper_task(name)).get_submodule(layer)
    values = torch.cat([tensor.detach().flatten() for tensor in module.parameters(recurse=False)]).numpy()
    bound = 1 / math.sqrt(fan)
    assert np.abs(values).max() <= bound
    assert stats.kstest(values, "uniform", (-bound, 2 * bound)).pvalue > 1e-4


def test_a_layer_without_a_rule_is_refused() -> None:
    with pytest.raises(TypeError, match="PReLU"):
        initialise(nn.Sequential(nn.PReLU()), torch.Generator())
