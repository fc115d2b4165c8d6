"""The departures of PriSM's released code: each switch alone, and all of them at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close, entry_means, random_tensor, setup, trained
from helpers import (
    CNN,
    LSTM,
    TASKS,
    Recorder,
    assert_equal,
    cohort_of,
    federation,
    numbers,
    run,
    selections_of,
    small_task,
)
from reference import SIZE, assert_same, batches, exact, prepared, reference_training
from torch import Tensor
from torch.nn import functional
from toy import WEIGHT, toy

from bench.api import Selection, Server
from bench.families.as_released import RELEASED
from bench.federation.federation import Federation
from bench.models.factorise import low_rank_layers
from bench.simulation.simulator import Simulation
from bench.training.local import Job, Trained, train_client

FOUR_ROUNDS = {"rounds": 6, "local_epochs": 3, "samples_per_client": 6, "lr": 0.01}


def client_trained(built: Federation) -> tuple[Selection, Job, Trained]:
    """Train the first client of the first round as the simulator does; the job's sub-model is as it ended."""
    server, selection = prepared(built)
    method = built.method
    rates = method.learning_rates(server, selection, 1)
    job = Job(selection.client.number, 1, method.extract(server, selection), None, rates)
    return selection, job, train_client(job, built)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7])
@pytest.mark.parametrize("name", TASKS)
def test_clients_get_and_send_the_first_rows_of_u(name: str, share: float) -> None:
    method, server, _ = setup("prism", small_task(name), u_rows=share)
    whole, twin, _ = setup("prism", small_task(name))
    for selection in selections_of(method, server, cohort_of(0.4, 0.8)):
        submodel, usual = method.extract(server, selection), dict(whole.extract(twin, selection).named_parameters())
        sent = method.upload(submodel)
        factors = {f"{weight}_u" for weight in selection.indices}
        assert factors < set(sent) == set(usual)
        for parameter, tensor in submodel.named_parameters():
            rows = math.ceil(round(share * len(tensor), 9)) if parameter in factors else len(tensor)
            assert torch.equal(tensor[:rows], usual[parameter][:rows])
            assert not tensor[rows:].any()
            assert torch.equal(sent[parameter], tensor[:rows])
            if parameter in factors:
                assert 0 < rows < len(tensor)


@pytest.mark.parametrize("aggregate", ["factors", "product"])
@pytest.mark.parametrize("sigma", ["frozen", "absorbed"])
def test_the_server_averages_the_rows_that_were_sent(sigma: str, aggregate: str) -> None:
    """Three of the six rows of U change; the others keep their value, beside an averaged V."""
    method, server = toy("prism", u_rows=0.4, sigma=sigma, aggregate=aggregate)
    spectrum = server.spectra[WEIGHT]
    root = spectrum.s.sqrt() if sigma == "absorbed" else torch.ones(5)
    base_u, base_v = spectrum.u * root, root[:, None] * spectrum.v
    scale = np.ones(5) if sigma == "absorbed" else spectrum.s.numpy()
    updates = trained(method, server, (0.4, 0.8, 0.6), noise=0.3)
    us, vs = [], []
    for update in updates:
        kept = update.selection.indices[WEIGHT].tolist()
        assert update.parameters[f"{WEIGHT}_u"].shape == (3, len(kept))
        us.append((update.parameters[f"{WEIGHT}_u"], (range(3), kept)))
        vs.append((update.parameters[f"{WEIGHT}_v"], (kept, range(5))))
    mean_u, mean_v = entry_means(base_u, us, (1, 1, 1)), entry_means(base_v, vs, (1, 1, 1))
    expected = mean_u * scale @ mean_v
    if aggregate == "product":
        # Each kernel's product, the server's own rows of u standing in for those that were left out.
        expected = np.zeros((6, 5))
        for kernel in range(5):
            holders = [place for place, (_, (kept, _)) in enumerate(vs) if kernel in kept]
            products = [np.outer(base_u[:, kernel], base_v[kernel])] if not holders else []
            for place in holders:
                column = vs[place][1][0].index(kernel)
                u = base_u[:, kernel].numpy().copy()
                u[:3] = us[place][0][:, column].numpy()
                products.append(np.outer(u, vs[place][0][column].numpy()))
            expected += scale[kernel] * np.mean(products, 0)
    else:
        assert np.array_equal(mean_u[3:], base_u[3:].numpy()) and not np.allclose(mean_u[:3], base_u[:3].numpy())
    assert_close(method.aggregate(server, updates, STREAMS).model.get_parameter(WEIGHT).detach(), expected, 1e-10)


@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize("sigma", ["frozen", "absorbed"])
def test_rows_left_out_hold_one_step_and_never_more(sigma: str, decay: float) -> None:
    """Step by step: the loss sees them, the decay clears them and does not count them, the step moves them."""
    training = {**SIZE, "lr": 0.05, "weight_decay": 0.01, "momentum": 0.9}
    parameters = {"u_rows": 0.4, "sigma": sigma, "frobenius_decay": decay}
    built = exact(federation("prism", CNN, keep=0.3, parameters=parameters, training=training))
    server, selection = prepared(built)
    submodel = built.method.extract(server, selection)
    values = {name: tensor.detach().clone() for name, tensor in submodel.named_parameters()}
    scale = submodel.get_buffer("conv2.weight_scale").clone() if sigma == "frozen" else torch.ones(20).double()
    buffers = {name: torch.zeros_like(tensor) for name, tensor in values.items()}
    lr, u_name, v_name = built.task.recipe.lr_of(1), "conv2.weight_u", "conv2.weight_v"
    held = []
    for _, inputs, labels in batches(built, selection.client.number):
        moving = {name: tensor.clone().requires_grad_() for name, tensor in values.items()}
        held.append(float(values[u_name][26:].norm()))
        loss = functional.cross_entropy(written_logits(moving, scale, inputs), labels)
        gradients = dict(zip(moving, torch.autograd.grad(loss, list(moving.values())), strict=True))
        values[u_name][26:] = 0
        u, v = values[u_name] * scale, values[v_name]
        gradients[u_name] = gradients[u_name] + decay * (u @ v @ v.T) * scale
        gradients[v_name] = gradients[v_name] + decay * (u.T @ u @ v)
        for name, value in values.items():
            undecayed = name in (u_name, v_name, "conv2.bias")
            buffers[name] = 0.9 * buffers[name] + gradients[name] + (0.0 if undecayed else 0.01) * value
            values[name] = value - lr * buffers[name]
    assert held[0] == 0 and min(held[1:]) > 0
    done = train_client(Job(selection.client.number, 1, submodel), built)
    ended = dict(submodel.named_parameters())
    assert torch.allclose(ended[u_name][26:], -lr * buffers[u_name][26:], rtol=1e-9, atol=1e-15)
    for name, value in values.items():
        torch.testing.assert_close(ended[name].detach(), value, rtol=1e-9, atol=1e-9)
        assert torch.equal(done.parameters[name], ended[name][: 26 if name == u_name else None])


def written_logits(values: Mapping[str, Tensor], scale: Tensor, inputs: Tensor, last_relu: bool = True) -> Tensor:
    """Return what the CNN computes with its second kernel multiplied out of its factors."""
    kernel = torch.einsum("or,r,ri->oi", values["conv2.weight_u"], scale, values["conv2.weight_v"])
    hidden = functional.conv2d(inputs, values["conv1.weight"], values["conv1.bias"], padding=2)
    hidden = functional.max_pool2d(hidden.clamp(min=0), 2)
    hidden = functional.conv2d(hidden, kernel.unflatten(1, (64, 3, 3)), values["conv2.bias"], padding=1)
    hidden = functional.max_pool2d(hidden.clamp(min=0) if last_relu else hidden, 2)
    return hidden.flatten(1) @ values["classifier.weight"].T + values["classifier.bias"]


@pytest.mark.parametrize("name", [CNN, LSTM])
def test_carried_momentum_is_handed_out_under_the_mask_of_the_weights(name: str) -> None:
    built = federation("prism", name, keep=0.4, parameters={"u_rows": 0.4, "client_momentum": "carry"})
    engine = Recorder(built)
    list(Simulation(built, engine).rounds())
    job, done = engine.jobs[-1][0], engine.results[-1]
    for layer_name, layer in low_rank_layers(job.submodel).items():
        for weight in layer.factored_weights():
            key, whole = f"{layer_name}.{weight}_u", layer.factors(weight).u
            rows = math.ceil(0.4 * len(whole))
            assert job.momentum is not None
            assert done.momentum[key].shape == job.momentum[key].shape == whole.shape
            assert len(done.parameters[key]) == rows
            assert job.momentum[key][:rows].any() and not job.momentum[key][rows:].any()
            assert done.momentum[key][rows:].any()


@pytest.mark.parametrize(
    ("method", "parameters", "lost"),
    [
        ("prism", {}, False),
        ("prism", {"last_relu": "lost"}, True),
        ("prism", {"as_released": True, "u_rows": 0.9}, True),
        ("orthdrop", {}, False),
        ("orthdrop", {"last_relu": "lost"}, True),
    ],
    ids=str,
)
def test_the_factored_cnn_as_released_has_its_first_relu_alone(
    method: str, parameters: dict[str, Any], lost: bool
) -> None:
    """Sub-model and server alike; the second ReLU of the released CNN is the first one's module, called again."""
    built = exact(federation(method, CNN, keep=0.5, parameters=parameters))
    server, selection = prepared(built)
    inputs = random_tensor(5, 1, 28, 28, seed=3).double()
    for model in (server.model, built.method.full_model(server)):
        assert not torch.allclose(*(dense_logits(model, inputs, relu) for relu in (True, False)), atol=1e-3)
        torch.testing.assert_close(model(inputs), dense_logits(model, inputs, not lost), rtol=1e-9, atol=1e-9)
    submodel = built.method.extract(server, selection)
    values, scale = dict(submodel.named_parameters()), low_rank_layers(submodel)["conv2"].factors().scale
    scale = torch.ones(32).double() if scale is None else scale
    torch.testing.assert_close(submodel(inputs), written_logits(values, scale, inputs, not lost), rtol=1e-9, atol=1e-9)


def dense_logits(model: torch.nn.Module, inputs: Tensor, last_relu: bool) -> Tensor:
    values = dict(model.named_parameters())
    whole = {"conv2.weight_u": torch.eye(64).double(), "conv2.weight_v": values["conv2.weight"].flatten(1)}
    return written_logits({**values, **whole}, torch.ones(64).double(), inputs, last_relu)


@pytest.mark.parametrize(
    ("parameters", "lost"),
    [
        ({}, False),
        ({"last_relu": "lost"}, True),
        ({"variant": "released"}, True),
        ({"variant": "released", "last_relu": "kept"}, False),
    ],
    ids=str,
)
def test_origdrop_as_released_has_its_first_relu_alone(parameters: dict[str, Any], lost: bool) -> None:
    built = exact(federation("origdrop", CNN, keep=1.0, parameters=parameters))
    server, selection = prepared(built)
    inputs = random_tensor(5, 1, 28, 28, seed=3).double()
    for model in (server.model, built.method.full_model(server), built.method.extract(server, selection)):
        expected = dense_logits(server.model, inputs, not lost)
        torch.testing.assert_close(model(inputs), expected, rtol=1e-9, atol=1e-9)
    assert built.method.equals_fedavg is not lost  # with all channels it is FedAvg but for the ReLU


def participations(built: Federation) -> list[tuple[int, int, int]]:
    """Return (client, round, its last round before; 0 for none) of every job of a run, in order."""
    last: dict[int, int] = {}
    found = []
    for number in range(1, built.task.recipe.rounds + 1):
        clients = [client.number for client in built.cohort(number).clients]
        found += [(client, number, last.get(client, 0)) for client in clients]
        last |= dict.fromkeys(clients, number)
    return found


def test_the_first_epoch_has_the_stale_learning_rate_of_the_clients_last_round() -> None:
    built = federation("prism", CNN, keep=0.3, parameters={"first_epoch_lr": "stale"}, training=FOUR_ROUNDS)
    engine, recipe = Recorder(built), built.task.recipe
    list(Simulation(built, engine).rounds())
    stays = participations(built)
    assert {last == 0 for _, _, last in stays} == {True, False}
    assert any(0 < last < number - 1 for _, number, last in stays)
    for (client, number, last), (job, _) in zip(stays, engine.jobs, strict=True):
        first = recipe.lr if last == 0 else recipe.lr_of(last)
        assert (job.client, job.round_number) == (client, number)
        assert list(job.learning_rates or ()) == [first, recipe.lr_of(number), recipe.lr_of(number)]


def test_each_epoch_is_trained_with_its_own_learning_rate() -> None:
    built = exact(federation("prism", CNN, keep=0.3, training={**SIZE, "lr": 0.02}))
    server, selection = prepared(built)
    job = Job(selection.client.number, 1, built.method.extract(server, selection), None, (0.05, 0.01))
    done = train_client(job, built)
    assert_same(done, reference_training(built, learning_rates=(0.05, 0.01)))
    swapped = reference_training(built, learning_rates=(0.01, 0.05))[0]
    assert not torch.allclose(done.parameters["conv1.bias"], swapped["conv1.bias"])


@pytest.mark.parametrize("own", [{}, {"multipliers": "wallenius", "clip_tau": 1.2}], ids=str)
def test_gradients_are_clipped_after_the_penalty_and_clip_lr(own: dict[str, Any]) -> None:
    parameters = {"gradient_clip": 0.2, **own}
    built = exact(federation("prism", CNN, keep=0.3, parameters=parameters, training={**SIZE, "lr": 0.02}))
    _, _, done = client_trained(built)
    tau = own.get("clip_tau")
    assert_same(done, reference_training(built, clip_norm=0.2, clip_tau=tau))
    unclipped = reference_training(built, clip_tau=tau)[0]
    assert not torch.allclose(done.parameters["conv1.bias"], unclipped["conv1.bias"])


def test_the_last_batch_is_left_out() -> None:
    built = exact(federation("prism", CNN, keep=0.3, parameters={"full_batches": True}, training={**SIZE, "lr": 0.02}))
    _, _, done = client_trained(built)
    assert_same(done, reference_training(built, drop_last=True))
    assert done.passes == 2 * 32


@pytest.mark.parametrize("task", TASKS)
def test_all_at_once_is_all_by_hand(task: str) -> None:
    training = {"rounds": 3, "samples_per_client": 9, "batch_size": 8, "standin_test": 20, "lr": 0.01}
    runs = [
        run(federation("prism", task, keep=0.4, parameters=parameters, training=training))
        for parameters in ({"as_released": True}, dict(RELEASED))
    ]
    assert numbers(runs[0][0]) == numbers(runs[1][0])
    assert_equal(runs[0][1], runs[1][1])
    _, paper = run(federation("prism", task, keep=0.4, training=training))
    assert not all(torch.equal(value, paper[name]) for name, value in runs[0][1].items())


def _gradient(tensor: Tensor) -> Tensor:
    assert tensor.grad is not None
    return tensor.grad


def test_clients_rounds_are_remembered_by_the_server() -> None:
    method, server, _ = setup("prism", small_task(CNN), first_epoch_lr="stale")
    first: Server = server
    updates = trained(method, first, (0.4, 0.4))
    second = method.aggregate(first, updates, STREAMS)
    assert second.memory["last_round"].tolist()[:3] == [1, 1, 0]
    assert first.memory["last_round"].tolist()[:3] == [0, 0, 0]


def test_a_resumed_run_knows_when_each_client_took_part() -> None:
    settings: dict[str, Any] = {"keep": 0.3, "parameters": {"first_epoch_lr": "stale"}, "training": FOUR_ROUNDS}
    whole = federation("prism", CNN, **settings)
    engine = Recorder(whole)
    simulation = Simulation(whole, engine)
    states = [simulation.state() for _ in simulation.rounds()]
    for done in (1, 3):
        rest = federation("prism", CNN, **settings)
        resumed = Recorder(rest)
        list(Simulation(rest, resumed).rounds(resume=states[done]))
        rates = [list(job.learning_rates or ()) for job, _ in resumed.jobs]
        assert rates == [list(job.learning_rates or ()) for job, _ in engine.jobs][2 * done :]
        assert len({tuple(rate) for rate in rates}) > 1
