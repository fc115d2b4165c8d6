"""ResNet-20: its layers against the published numbers and a plain network, its cut, and the parts of all models."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from helpers import CNN, LSTM, RESNET, batch_of, federation, initial, paper_task, run, small_task, values_of
from thinned import every, thinned
from torch import Tensor
from torch.nn import functional

from bench.config.cells import make_cell
from bench.models.base import Model
from bench.models.factorise import narrowed
from bench.models.resnet import ResNet18, ResNet20

METHODS = ["fedavg", "prism", "orthdrop", "origdrop"]


def resnet20(**model: object) -> Model:
    with torch.device("meta"):
        return paper_task(RESNET, architecture="resnet20", **model).model()


def numbers_of(model: Model, prefix: str = "") -> int:
    return sum(tensor.numel() for name, tensor in model.named_parameters() if name.startswith(prefix))


def test_it_has_the_published_number_of_parameters() -> None:
    model = resnet20()
    assert numbers_of(model) == 272_762
    # By hand: convolutions of 3 x 3, a projection, and gain and bias of seven normalisations a stage.
    assert numbers_of(model, "stem") == 27 * 16 + 2 * 16
    assert numbers_of(model, "stages.0.") == 6 * 9 * 16**2 + 16**2 + 7 * 2 * 16 == 14_304
    assert numbers_of(model, "stages.1.") == 9 * 16 * 32 + 5 * 9 * 32**2 + 16 * 32 + 7 * 2 * 32 == 51_648
    assert numbers_of(model, "stages.2.") == 9 * 32 * 64 + 5 * 9 * 64**2 + 32 * 64 + 7 * 2 * 64
    assert numbers_of(model, "classifier.") == 650
    # The moderate and the weak client of EmbracingFL do not train the stem and the first three or six blocks.
    assert 272_762 - numbers_of(model, "stem") - numbers_of(model, "stages.0.") == 257_994
    assert 257_994 - numbers_of(model, "stages.1.") == 206_346


def plainly(values: dict[str, Tensor], images: Tensor) -> Tensor:
    """Return the outputs of a ResNet-20 with statistics of the batch, from its values alone."""

    def conv(x: Tensor, name: str, norm: str, stride: int = 1) -> Tensor:
        weight = values[f"{name}.weight"]
        x = functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        return functional.batch_norm(x, None, None, values[f"{norm}.weight"], values[f"{norm}.bias"], training=True)

    x = conv(images, "stem", "stem_norm").relu()
    for stage, block in itertools.product(range(3), range(3)):
        at, stride = f"stages.{stage}.{block}", 2 if stage and not block else 1
        shortcut = x if block else conv(x, f"{at}.project", f"{at}.project_norm", stride)
        x = conv(conv(x, f"{at}.conv1", f"{at}.norm1", stride).relu(), f"{at}.conv2", f"{at}.norm2")
        x = (x + shortcut).relu()
    return functional.linear(x.mean((2, 3)), values["classifier.weight"], values["classifier.bias"])


def test_it_computes_what_its_layers_say() -> None:
    task = paper_task(RESNET, architecture="resnet20")
    model, images = initial(task, seed=2), batch_of(task, 4)
    with torch.no_grad():
        torch.testing.assert_close(model(images), plainly(values_of(model), images), rtol=1e-4, atol=1e-4)


def test_a_width_is_the_papers_where_none_is_given() -> None:
    assert paper_task(RESNET).params.width == 64
    assert paper_task(RESNET, architecture="resnet20").params.width == 16
    assert paper_task(RESNET, architecture="resnet20", width=5).params.width == 5
    assert resnet20(width=5).channels() == ResNet20.default_channels(5)
    assert small_task(RESNET, architecture="resnet20").model().channels()["stage2.2"] == 16


def test_a_paper_width_spelled_out_is_the_default() -> None:
    values = {"task": RESNET, "method": "fedavg", "tier": "paper"}
    both = make_cell({**values, "model": {"architecture": "resnet20", "width": 16}}, "test")
    assert both == make_cell({**values, "model": {"architecture": "resnet20"}}, "test")
    assert both.model == {"architecture": "resnet20"}
    assert make_cell({**values, "model": {"architecture": "resnet18", "width": 64}}, "test").model == {}
    assert make_cell({**values, "model": {"width": 16}}, "test").model == {"width": 16}
    # The quick tier has a width of its own, and the paper's is a change there.
    quick = make_cell({**values, "tier": "quick", "model": {"architecture": "resnet20", "width": 16}}, "test")
    assert quick.model == {"architecture": "resnet20", "width": 16}


def test_resnet18_is_what_it_was() -> None:
    widths = [("stage0", 64), ("stage1", 128), ("stage2", 256), ("stage3", 512)]
    hidden = [(f"{stage}.{block}", size) for stage, size in widths for block in (0, 1)]
    assert list(ResNet18.default_channels().items()) == widths + hidden
    model = paper_task(RESNET).model
    with torch.device("meta"):
        names = [name for name, _ in model().named_parameters()]
    assert names[:8] == [
        "stem.weight", "stem_norm.weight", "stem_norm.bias",
        "stages.0.0.conv1.weight", "stages.0.0.norm1.weight", "stages.0.0.norm1.bias",
        "stages.0.0.conv2.weight", "stages.0.0.norm2.weight",
    ]  # fmt: skip
    assert len(names) == 62 and "stages.0.0.project.weight" not in names


@pytest.mark.parametrize("factored", ["3x3", "all"])
def test_axes_and_factorable_weights(factored: str) -> None:
    model = resnet20(factored=factored)
    axes, sizes = model.axes(), model.channels()
    assert set(axes) == {name for name, _ in model.named_parameters()}
    for name, tensor in model.named_parameters():
        pairs = zip(axes[name], tensor.shape, strict=True)
        assert all(axis is None or sizes[axis.group] == size for axis, size in pairs)
    used = {axis.group for dimensions in axes.values() for axis in dimensions if axis is not None}
    assert used == set(sizes) and "stem" in used
    kernels = {name for name, tensor in model.named_parameters() if tensor.ndim == 4} - {"stem.weight"}
    small = {name for name in kernels if name.endswith("project.weight")}
    assert len(kernels) == 21 and len(small) == 3
    assert set(model.factorable) == (kernels if factored == "all" else kernels - small)


def test_a_narrow_one_is_the_full_one_with_the_dropped_channels_silenced() -> None:
    task = small_task(RESNET, architecture="resnet20")
    model, rng = initial(task), np.random.default_rng(0)
    sizes, axes, images = model.channels(), model.axes(), batch_of(task, 4)
    kept = {
        group: torch.from_numpy(np.sort(rng.choice(size, math.ceil(size / 2), replace=False)))
        for group, size in sizes.items()
    }
    assert not torch.equal(kept["stem"], kept["stage0"]), "the two groups are not told apart"
    narrow = narrowed(model, kept)
    assert {tensor.shape[0] for name, tensor in narrow.named_parameters() if name.startswith("stem")} == {2}
    outputs = narrow(images)
    for name, tensor in model.named_parameters():
        if "norm" in name:
            axis = axes[name][0]
            assert axis is not None
            tensor.data[np.setdiff1d(np.arange(sizes[axis.group]), kept[axis.group])] = 0
    torch.testing.assert_close(outputs, model(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "factored"), thinned([(method, factored) for factored in ("3x3", "all") for method in METHODS], every(3))
)
def test_methods_train_it(method: str, factored: str) -> None:
    model = {"architecture": "resnet20", "width": 4, "factored": factored}
    built = federation(method, RESNET, model=model, keep="0.3:0.5,0.6:0.5")
    rounds, trained = run(built)
    start = values_of(built.initial_model())
    assert len(rounds) == 3 and all(not torch.equal(trained[name], start[name]) for name in start)
    assert all(tensor.isfinite().all() for tensor in trained.values())


@pytest.mark.parametrize(
    ("name", "settings", "count"),
    [(RESNET, {}, 10), (RESNET, {"architecture": "resnet20"}, 11), (CNN, {}, 3), (LSTM, {}, 4)],
)
def test_every_parameter_belongs_to_exactly_one_part(name: str, settings: dict[str, str], count: int) -> None:
    with torch.device("meta"):
        model = paper_task(name, **settings).model()
    parts, names = model.parts(), [name for name, _ in model.named_parameters()]
    owned = [(name, place) for place, part in enumerate(parts) for prefix in part for name in names
             if name.startswith(prefix)]  # fmt: skip
    assert sorted(name for name, _ in owned) == sorted(names)
    assert {place for _, place in owned} == set(range(len(parts))) and len(parts) == count
    assert all(any(name.startswith(prefix) for name in names) for part in parts for prefix in part)


@pytest.mark.parametrize(
    ("name", "settings"), [(RESNET, {}), (RESNET, {"architecture": "resnet20"}), (CNN, {}), (LSTM, {})]
)
def test_parts_are_in_the_order_of_computation(name: str, settings: dict[str, str]) -> None:
    task = small_task(name, **settings)
    model, places = initial(task), []
    of_prefix = {prefix: place for place, part in enumerate(model.parts()) for prefix in part}

    def ran(module_name: str) -> None:
        places.append({place for prefix, place in of_prefix.items() if prefix.startswith(f"{module_name}.")
                       or f"{module_name}.".startswith(prefix)})  # fmt: skip

    for module_name, module in model.named_modules():
        if not list(module.children()) and list(module.parameters()):
            module.register_forward_hook(lambda *_, at=module_name: ran(at))
    model(batch_of(task, 2))
    # An LSTM is a module of two parts.
    assert all(max(before) <= min(after) for before, after in itertools.pairwise(places))
    assert set().union(*places) == set(range(len(model.parts())))
