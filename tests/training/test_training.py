"""A client's training against loops written by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import CNN, LSTM, RESNET, TASKS, batch_of, federation
from reference import SIZE, assert_same, exact, prepared, reference_training, train
from thinned import every, thinned
from torch import Tensor, nn
from torch.nn import functional

from bench.federation.federation import Federation
from bench.tasks.base import Recipe
from bench.training.local import Diverged, Job, train_client

VARIED: list[dict[str, Any]] = [
    {},
    {"drop_last": True},
    {"momentum": 0.0},
    {"weight_decay": 0.1},
    {"clip_norm": 0.3},
    {"batch_size": 64},
    {"batch_size": 64, "drop_last": True},
]


@pytest.mark.parametrize("settings", VARIED, ids=str)
@pytest.mark.parametrize("method", thinned(["prism", "fedavg"], every(2)))
def test_training_a_cnn_is_plain_sgd(method: str, settings: dict[str, Any]) -> None:
    built = exact(federation(method, CNN, keep=0.3, training={**SIZE, "lr": 0.01, **settings}))
    assert_same(train(built), reference_training(built))


@pytest.mark.parametrize("method", ["fedavg", "prism", "origdrop"])
def test_single_precision_differs_by_rounding_only(method: str) -> None:
    built = federation(method, CNN, keep=0.3, training={**SIZE, "lr": 0.01})
    assert_same(train(built), reference_training(built), 2e-6)


@pytest.mark.parametrize("name", [RESNET, LSTM])
@pytest.mark.parametrize(("method", "parameters"), [("fedavg", {}), ("prism", {}), ("prism", {"sigma": "absorbed"})])
def test_training_the_other_models_is_plain_sgd(name: str, method: str, parameters: dict[str, Any]) -> None:
    built = exact(federation(method, name, keep=0.4, parameters=parameters, training={**SIZE, "lr": 0.01}))
    assert_same(train(built), reference_training(built))


def test_origdrop_trains_as_plain_sgd_on_the_narrow_model() -> None:
    built = exact(federation("origdrop", CNN, keep=0.3, training={**SIZE, "lr": 0.01}))
    assert_same(train(built), reference_training(built))


def random_momentum(built: Federation) -> dict[str, Tensor]:
    server, selection = prepared(built)
    generator = torch.Generator().manual_seed(0)
    named = built.method.extract(server, selection).named_parameters()
    return {name: 0.1 * torch.randn(tensor.shape, generator=generator).double() for name, tensor in named}


@pytest.mark.parametrize("part", ["all", "some", "transposed"])
def test_training_starts_from_the_given_momentum(part: str) -> None:
    built = exact(
        federation("prism", CNN, keep=0.3, parameters={"client_momentum": "carry"}, training={**SIZE, "lr": 0.01})
    )
    momentum = random_momentum(built)
    if part == "some":
        momentum = {name: tensor for name, tensor in momentum.items() if name.startswith("conv2")}
    given = momentum
    if part == "transposed":
        # The same values in another order in memory, as a singular value decomposition leaves them.
        given = {name: t.T.contiguous().T if t.ndim == 2 else t for name, t in momentum.items()}
        assert given["conv2.weight_u"].stride() != momentum["conv2.weight_u"].stride()
    before = {name: tensor.clone() for name, tensor in given.items()}
    trained = train(built, given)
    assert set(trained.momentum) == set(trained.parameters)
    assert_same(trained, reference_training(built, momentum))
    assert all(torch.equal(before[name], tensor) for name, tensor in given.items())


def test_momentum_is_sent_back_only_where_the_method_asks() -> None:
    assert train(federation("prism", CNN, keep=0.3)).momentum == {}


def test_factors_are_not_decayed_and_other_parameters_are() -> None:
    """Without gradient of the loss one step shows weight decay and penalty alone."""
    training = {"samples_per_client": 8, "batch_size": 8, "lr": 0.5, "weight_decay": 0.2, "momentum": 0.9}
    built = federation("prism", CNN, keep=0.3, training=training)
    built.task.loss = lambda outputs, labels: outputs.sum() * 0  # type: ignore[method-assign]
    server, selection = prepared(built)
    before = {
        name: tensor.detach().clone() for name, tensor in built.method.extract(server, selection).named_parameters()
    }
    after = train(built).parameters
    lr = built.task.recipe.lr_of(1)
    s = server.spectra["conv2.weight"].s[selection.indices["conv2.weight"]]  # type: ignore[attr-defined]
    u, v = before.pop("conv2.weight_u"), before.pop("conv2.weight_v")
    assert before.pop("conv2.bias").abs().sum() > 0
    for name, value in before.items():
        torch.testing.assert_close(after[name], value * (1 - lr * 0.2))
    # The factors are orthonormal at first, so that the gradient of eq. 4 scales each kernel by lambda sigma^2.
    shrink = 1 - lr * 0.2 * s**2
    torch.testing.assert_close(after["conv2.weight_u"], u * shrink, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after["conv2.weight_v"], shrink[:, None] * v, rtol=1e-4, atol=1e-5)


def with_biases(built: Federation) -> Federation:
    """Let a federation begin with biases that are not zero, on which a decay can be seen."""
    initial_model = built.initial_model

    def moved() -> nn.Module:
        model = initial_model()
        with torch.no_grad():
            for name, tensor in model.named_parameters():
                if name.endswith("bias"):
                    tensor.copy_(torch.linspace(-1, 1, len(tensor)))
        return model

    built.initial_model = moved  # type: ignore[method-assign]
    return built


@pytest.mark.parametrize("given", [None, False, True])
@pytest.mark.parametrize(
    ("method", "usual"), [("prism", False), ("orthdrop", False), ("unbiased", True), ("collective", True)]
)
def test_the_bias_behind_factors_is_decayed_if_the_method_says_so(method: str, usual: bool, given: bool | None) -> None:
    """One local step of a batch of 8; the factors' group of PriSM's released code holds the bias as well."""
    training = {"samples_per_client": 8, "batch_size": 8, "local_epochs": 1, "lr": 0.05, "weight_decay": 0.3}
    parameters = {} if given is None else {"bias_decay": given}
    built = with_biases(exact(federation(method, CNN, keep=0.3, parameters=parameters, training=training)))
    decayed = usual if given is None else given
    assert_same(train(built), reference_training(built, undecayed=() if decayed else ("conv2.bias",)))
    other = reference_training(built, undecayed=("conv2.bias",) if decayed else ())[0]
    assert not torch.allclose(train(built).parameters["conv2.bias"], other["conv2.bias"], rtol=1e-3)


@pytest.mark.parametrize("name", [RESNET, LSTM])
def test_no_other_bias_is_spared_of_decay(name: str) -> None:
    built = federation("prism", name, keep=0.4)
    server, selection = prepared(built)
    submodel = built.method.extract(server, selection)
    factors = {key for key, _ in submodel.named_parameters() if key.endswith(("_u", "_v"))}
    assert factors and built.method.decay_free(submodel) == factors


@pytest.mark.parametrize(
    ("samples", "batch", "drop_last", "passes"),
    [(37, 8, False, 74), (37, 8, True, 64), (37, 64, True, 74), (32, 8, True, 64), (1, 8, True, 2)],
)
def test_the_last_batch_is_used_unless_dropped(samples: int, batch: int, drop_last: bool, passes: int) -> None:
    training = {"samples_per_client": samples, "batch_size": batch, "drop_last": drop_last, "local_epochs": 2}
    assert train(federation("fedavg", CNN, training=training)).passes == passes


def test_each_epoch_passes_every_sample_once() -> None:
    built = federation("fedavg", CNN, training=SIZE)
    server, selection = prepared(built)
    seen: list[Tensor] = []
    submodel = built.method.extract(server, selection)
    submodel.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].flatten(1)))
    train_client(Job(selection.client.number, 1, submodel), built)
    epochs = torch.cat(seen).split(37)
    stored, _ = built.client_data(selection.client.number)
    expected = sorted(map(tuple, built.task.prepare(stored).flatten(1).tolist()))
    assert len(epochs) == 2 and not torch.equal(epochs[0], epochs[1])
    for epoch in epochs:
        assert sorted(map(tuple, epoch.tolist())) == expected


@pytest.mark.parametrize("lr_end", [0.0, 1e-4])
def test_the_learning_rate_is_torchs_cosine_annealing(lr_end: float) -> None:
    recipe = replace(Recipe(), rounds=30, lr=0.1, lr_end=lr_end)
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.rounds, lr_end)
    for number in range(1, 31):
        assert recipe.lr_of(number) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9)
        optimiser.step()
        scheduler.step()


def test_a_later_round_has_its_own_rate_and_order() -> None:
    built = federation("fedavg", CNN, training={**SIZE, "rounds": 4})
    first, last = train(built), train(built, round_number=4)
    assert built.task.recipe.lr_of(4) < built.task.recipe.lr_of(1)
    server, _ = prepared(built)
    start = dict(server.model.named_parameters())["conv1.weight"]
    moved = [float((trained.parameters["conv1.weight"] - start).detach().norm()) for trained in (first, last)]
    assert moved[1] < moved[0]


@pytest.mark.parametrize("method", ["fedavg", "prism"])
def test_a_loss_that_is_not_finite_is_divergence(method: str) -> None:
    built = federation(method, CNN, keep=0.3, training={"lr": 1e20, "batch_size": 4})
    with pytest.raises(Diverged, match=r"^round 1: the training loss of client \d is nan$"):
        train(built)


def test_training_works_within_no_grad() -> None:
    built = federation("prism", CNN, keep=0.3)
    with torch.no_grad():
        inner = train(built)
    outer = train(built)
    assert all(torch.equal(inner.parameters[name], value) for name, value in outer.parameters.items())


@pytest.mark.parametrize("name", TASKS)
def test_losses_are_means_and_correct_answers_are_counted(name: str) -> None:
    task = federation("fedavg", name).task
    rng = np.random.default_rng(0)
    if name == LSTM:
        outputs, labels = torch.tensor(rng.normal(size=9)), torch.tensor(rng.integers(0, 2, 9))
        p = 1 / (1 + np.exp(-outputs.numpy()))
        expected = -np.mean(np.where(labels.numpy() == 1, np.log(p), np.log(1 - p)))
        right = int(((p > 0.5) == (labels.numpy() == 1)).sum())
    else:
        outputs, labels = torch.tensor(rng.normal(size=(9, 10))), torch.tensor(rng.integers(0, 10, 9))
        p = np.exp(outputs.numpy()) / np.exp(outputs.numpy()).sum(1, keepdims=True)
        expected = -np.mean(np.log(p[np.arange(9), labels.numpy()]))
        right = int((p.argmax(1) == labels.numpy()).sum())
    assert float(task.loss(outputs, labels)) == pytest.approx(expected)
    assert int(task.correct(outputs, labels).sum()) == right


@pytest.mark.parametrize("name", TASKS)
def test_an_example_has_the_shape_of_the_data(name: str) -> None:
    built = federation("fedavg", name)
    prepared_inputs = built.task.prepare(torch.from_numpy(np.array(built.dataset.train.inputs[:2])))
    example = built.task.example(2, "cpu")
    assert (example.shape, example.dtype) == (prepared_inputs.shape, prepared_inputs.dtype)
    assert batch_of(built.task, 2).shape == example.shape


def test_a_clients_loss_is_the_mean_over_its_samples() -> None:
    """Batches of 32 and 8 samples: each counts by its size. With steps of nearly zero all see the same model."""
    training = {"samples_per_client": 40, "batch_size": 32, "lr": 1e-12, "lr_end": 0.0, "local_epochs": 1}
    built = federation("fedavg", CNN, training=training)
    inputs, labels = built.client_data(1)
    with torch.no_grad():
        losses = functional.cross_entropy(
            built.initial_model()(built.task.prepare(inputs)), labels, reduction="none"
        ).double()
    trained = train_client(Job(1, 1, built.initial_model()), built)
    assert trained.passes == 40 and trained.loss == pytest.approx(float(losses.mean()), rel=1e-6)
