"""Static batch normalisation: the statistics of one pass over the training samples, against PyTorch's own layers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pytest
import torch
from helpers import CNN, RESNET, federation, run_sent, run_with, values_of
from torch import Tensor, nn

from bench import kernels
from bench.federation.federation import Federation
from bench.models.base import Axes, Model
from bench.models.normalisation import BatchNorm, watched
from bench.models.resnet import norm_layer
from bench.numerics.runtime import prepared
from bench.simulation.simulator import Simulation
from bench.training import static_norm
from bench.training.engine import InlineEngine, ParallelEngine, open_engine

TRAINING = {"samples_per_client": 37, "evaluation_batch": 32, "standin_test": 50}
"""148 training samples: four batches of 32 and a last one of 20."""


class OneNorm(Model):
    """A convolution, a normalisation, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv, self.norm, self.linear = nn.Conv2d(3, 5, 3), BatchNorm(5), nn.Linear(5, 10)
        for tensor in self.parameters():
            tensor.data = torch.randn(tensor.shape, generator=generator)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.norm(self.conv(images), relu=True).mean((2, 3)))

    def channels(self) -> dict[str, int]:
        return {}

    def axes(self) -> dict[str, Axes]:
        return {}

    def parts(self) -> list[tuple[str, ...]]:
        return [("conv.", "norm."), ("linear.",)]

    def narrow(self, channels: Mapping[str, int]) -> Self:
        raise NotImplementedError


class Tracking(nn.BatchNorm2d):
    """PyTorch's own layer that averages all batches alike, and what follows a normalisation here."""

    def __init__(self, norm: BatchNorm) -> None:
        super().__init__(norm.num_features, momentum=None, track_running_stats=True)
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, inputs: Tensor, shortcut: Tensor | None = None, relu: bool = False) -> Tensor:
        outputs = super().forward(inputs)
        outputs = outputs if shortcut is None else outputs + shortcut
        return outputs.relu() if relu else outputs


def model_of(kind: str, built: Federation) -> nn.Module:
    return OneNorm() if kind == "one norm" else built.initial_model()


def tracked(model: nn.Module, built: Federation) -> nn.Module:
    """Return the model in PyTorch's layers after one pass over all clients' samples, sample by sample gathered."""
    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, BatchNorm):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, Tracking(module))
    chosen = sorted(int(place) for number in range(4) for place in built.partition.client(number))
    assert len(chosen) == 148
    for start in range(0, 148, 32):
        places = chosen[start : start + 32]
        inputs = torch.stack([torch.from_numpy(np.array(built.dataset.train.inputs[place])) for place in places])
        with torch.no_grad():
            model.train()(built.task.prepare(inputs))
    return model.eval()


@pytest.mark.parametrize("library", ["compiled", "PyTorch"])
@pytest.mark.parametrize("kind", ["one norm", "ResNet"])
def test_statistics_are_those_that_pytorchs_layers_average(
    kind: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library == "PyTorch":
        monkeypatch.setattr(kernels, "library", lambda: None)
    built = federation("fedavg", RESNET, training=TRAINING)
    model = model_of(kind, built)
    before = values_of(model)
    ours, theirs = static_norm.calibrated(model, built), tracked(model, built)
    norms = zip(
        (module for module in ours.modules() if isinstance(module, BatchNorm)),
        (module for module in theirs.modules() if isinstance(module, Tracking)),
        strict=True,
    )
    for mine, other in norms:
        assert other.num_batches_tracked == 5
        assert isinstance(mine.running_mean, Tensor) and isinstance(mine.running_var, Tensor)
        assert isinstance(other.running_mean, Tensor) and isinstance(other.running_var, Tensor)
        torch.testing.assert_close(mine.running_mean, other.running_mean, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(mine.running_var, other.running_var, rtol=1e-3, atol=1e-5)
    images = built.task.prepare(torch.from_numpy(np.array(built.dataset.test.inputs[:7])))
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images), theirs(images), rtol=1e-3, atol=1e-3)
        # Each sample by itself: what is fixed does not depend on the batch.
        alone = torch.cat([ours(images[place : place + 1]) for place in range(7)])
        torch.testing.assert_close(alone, ours(images), rtol=1e-3, atol=1e-4)
        assert (model.eval()(images) - ours(images)).abs().max() > 0.01
    assert all(torch.equal(value, before[name]) for name, value in values_of(model).items())
    assert not any(isinstance(module, BatchNorm) and module.running_mean is not None for module in model.modules())


@pytest.mark.parametrize("library", ["compiled", "PyTorch"])
def test_the_statistics_of_a_batch_are_its_mean_and_unbiased_variance(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library == "PyTorch":
        monkeypatch.setattr(kernels, "library", lambda: None)
    model = nn.Sequential(norm_layer("batch", 3), norm_layer("group", 3), norm_layer("batch", 3))
    inputs = [torch.randn(4, 3, 2, 5, generator=torch.Generator().manual_seed(seed)) * 3 + 1 for seed in (0, 1)]
    for module in model:
        module.weight.data, module.bias.data = torch.full((3,), 0.5), torch.ones(3)
    with watched(model) as statistics:
        for batch in inputs:
            model(batch.contiguous(memory_format=torch.channels_last))
        found = statistics().double().numpy()
    last = inputs[1].double().numpy()
    np.testing.assert_allclose(found[0, :3], last.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(found[1, :3], last.var((0, 2, 3), ddof=1), rtol=1e-5)
    between = model[1](model[0](inputs[1])).detach().double().numpy()
    np.testing.assert_allclose(found[0, 3:], between.mean((0, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(found[1, 3:], between.var((0, 2, 3), ddof=1), rtol=1e-4)
    assert all(module.seen is None for module in model if isinstance(module, BatchNorm))


@pytest.mark.slow
def test_the_number_of_workers_changes_no_bit() -> None:
    built = federation("fedavg", RESNET, training=TRAINING)
    model = built.initial_model()
    results = []
    for workers in (1, 2):
        with prepared():
            engine = open_engine(built, (), workers)
            assert isinstance(engine, ParallelEngine if workers > 1 else InlineEngine)
            try:
                calibrated = engine.calibrated(model)
                results.append([*calibrated.state_dict().values(), torch.tensor(engine.evaluate(calibrated).loss)])
            finally:
                engine.close()
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    assert len(results[0]) > len(list(model.parameters()))


def test_models_without_such_layers_stay_as_they_are() -> None:
    for name, model in ((CNN, {}), (RESNET, {"width": 4, "norm": "group"})):
        built = federation("fedavg", name, model=model)
        initial = built.initial_model()
        assert static_norm.calibrated(initial, built) is initial and not static_norm.has_statistics(initial)


def test_evaluation_uses_the_statistics_where_the_method_asks_for_them() -> None:
    parameters: dict[str, Any] = {"masked_loss": False, "label_rows": False}
    scores = {}
    for statistics in ("static", "batch"):
        built = federation(
            "heterofl", RESNET, keep="0.3:0.5,0.6:0.5", training=TRAINING,
            parameters={**parameters, "statistics": statistics},
        )  # fmt: skip
        with prepared():
            engine = InlineEngine(built)
            simulation = Simulation(built, engine)
            rounds = list(simulation.rounds())
            models = [built.method.full_model(simulation.server)]
            models += [model for _, model in built.method.nested_models(simulation.server)]
            found = [rounds[-1].score, *(level.score for level in rounds[-1].levels)]
            for model, score in zip(models, found, strict=True):
                expected = tracked(model, built) if statistics == "static" else model
                assert score is not None
                assert engine.evaluate(expected).loss == pytest.approx(score.loss, rel=1e-3)
        scores[statistics] = rounds
    # What is evaluated changes nothing in training.
    losses = [[this.train_loss for this in rounds] for rounds in scores.values()]
    assert losses[0] == losses[1]
    assert scores["static"][-1].score != scores["batch"][-1].score


def test_a_run_is_the_same_with_two_workers() -> None:
    cells = [federation("heterofl", RESNET, keep="0.3:0.5,0.6:0.5", training=TRAINING) for _ in range(2)]
    runs = [run_with(cells[0], 1), run_sent(cells[1])]
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(value, runs[1][1][name]) for name, value in runs[0][1].items())
