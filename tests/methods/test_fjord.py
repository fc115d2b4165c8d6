"""FjORD: which widths are drawn, what a step at one of them computes, and how the parts come back."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close, setup
from channels import cohort, first, places
from helpers import (
    CNN,
    LSTM,
    RESNET,
    SMALL_MODEL,
    TASKS,
    batch_of,
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
from reference import SIZE, assert_same, batches, exact, prepared, reference_training, train
from thinned import every, thinned
from torch import Tensor
from torch.nn import functional
from trained import assert_trained_alike, build, jobs_of

from bench.api import Streams
from bench.conformance.compare import tensors_in
from bench.cost.operations import operations
from bench.errors import BenchError
from bench.models.factorise import narrowed
from bench.training.captured import CapturedEngine
from bench.training.local import Job, local_batches, train_client

P = (0.2, 0.4, 0.6, 0.8, 1.0)
ALL = [(RESNET, {}), (RESNET, {"norm": "group"}), (CNN, {}), (LSTM, {})]


@pytest.mark.parametrize("distillation", [False, True])
def test_operations_are_those_of_the_widths_that_were_drawn(distillation: bool) -> None:
    task, method = small_task(CNN), method_of("fjord", distillation=distillation)
    server = method.setup(initial(task), task)
    (selection,) = selections_of(method, server, cohort([0.6], None))
    drawn = torch.tensor([0.2, 0.2, 0.6, 0.4], dtype=torch.float64)
    submodel = method.extract(server, replace(selection, draws={"widths": drawn}))
    batch = operations(submodel, task)

    def macs(width: float) -> int:
        """Of the two convolutions and the classifier, with ceil(p 64) channels."""
        channels = math.ceil(width * 64)
        return 28**2 * 25 * channels + 14**2 * 9 * channels**2 + 49 * channels * 62

    steps = [macs(width) for width in (0.2, 0.2, 0.6, 0.4)]
    if distillation:  # the widest network in every step, and a narrower one beside it
        steps = [macs(0.6) + (macs(width) if width < 0.6 else 0) for width in (0.2, 0.2, 0.6, 0.4)]
    counted = sum(operations(network, task).macs * passes for network, passes in method.computed(submodel))
    assert counted == pytest.approx(sum(steps) / 4) and batch.macs == macs(0.6)


def test_a_rounds_operations_are_counted_so() -> None:
    built = federation("fjord", CNN, keep=1.0)
    rounds, _ = run(built)
    _, expected = prepared(built), 0.0
    server = built.method.setup(built.initial_model(), built.task)
    for selection in built.method.select(server, built.cohort(1), built.streams("selection", 1)):
        submodel = built.method.extract(server, selection)
        passes = built.task.recipe.local_epochs * selection.client.samples
        expected += passes * sum(operations(n, built.task).macs * p for n, p in built.method.computed(submodel))
    assert rounds[1].forward_macs == pytest.approx(expected)
    assert rounds[1].forward_macs < sum(member.cost.macs for member in rounds[1].members) * 40


def test_widths_are_drawn_alike_from_those_of_the_client() -> None:
    task = small_task(CNN)
    task.recipe = replace(task.recipe, batch_size=1, local_epochs=1)
    method = method_of("fjord")
    server = method.setup(initial(task), task)
    cases = [(1.0, P), (0.6, P[:3]), (0.5, (0.2, 0.4, 0.5)), (0.2, (0.2,)), (0.1, (0.1,))]
    clients = cohort([keep for keep, _ in cases], None)
    clients = replace(clients, clients=tuple(replace(client, samples=6000) for client in clients.clients))
    for selection, (_, widths) in zip(selections_of(method, server, clients), cases, strict=True):
        drawn = selection.draws["widths"].tolist()
        assert len(drawn) == 6000 and set(drawn) == set(widths)
        share = 1 / len(widths)
        for width in widths:
            assert abs(drawn.count(width) / 6000 - share) <= 4.5 * math.sqrt(share * (1 - share) / 6000)
    again = method.select(server, clients, Streams(3, "selection", 1))[0].draws["widths"]
    later = method.select(server, clients, Streams(3, "selection", 2))[0].draws["widths"]
    both = [selection.draws["widths"] for selection in method.select(server, clients, Streams(3, "selection", 1))]
    assert torch.equal(again, both[0]) and not torch.equal(again, later)


@pytest.mark.parametrize(("samples", "batch"), [(37, 8), (32, 8), (5, 8), (8, 8), (1, 3)])
@pytest.mark.parametrize("drop_last", [False, True])
def test_there_is_a_width_for_each_local_step(samples: int, batch: int, drop_last: bool) -> None:
    training = {"samples_per_client": samples, "batch_size": batch, "drop_last": drop_last, "local_epochs": 3}
    built = federation("fjord", CNN, training=training)
    server, selection = prepared(built)
    submodel: Any = built.method.extract(server, selection)
    steps = len(list(local_batches(Job(selection.client.number, 1, submodel), built)))
    assert len(submodel.remaining) == len(selection.draws["widths"]) == steps
    train_client(Job(selection.client.number, 1, submodel), built)
    assert not submodel.remaining


@pytest.mark.parametrize(("name", "model"), ALL)
def test_a_step_at_a_width_is_one_of_the_narrower_network(name: str, model: dict[str, Any]) -> None:
    task = small_task(name, **model)
    method: Any = method_of("fjord")
    server = method.setup(initial(task), task)
    (selection,) = selections_of(method, server, cohort((0.75,)))
    inputs = batch_of(task, 6)
    targets = torch.arange(6) % 2
    for width in (0.2, 0.4, 0.6, 0.75):
        submodel: Any = method.extract(server, selection).train()
        submodel.remaining = deque([width])
        loss = method.local_loss(submodel, lambda submodel=submodel: submodel(inputs), targets)
        loss.backward()
        channels = first(name, width)
        narrow = narrowed(server.model, {group: torch.tensor(kept) for group, kept in channels.items()}).train()
        expected = task.loss(narrow(inputs), targets)
        expected.backward()
        torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
        gradients = dict(narrow.named_parameters())
        own = {g: {c: place for place, c in enumerate(kept)} for g, kept in first(name, 0.75).items()}
        assert all(set(channels[group]) <= set(places_) for group, places_ in own.items())
        for parameter, tensor in submodel.model.named_parameters():
            full = server.model.get_parameter(parameter)
            padded = torch.zeros_like(full)
            padded[ix(places(name, parameter, full.shape, channels))] = gradients[parameter].grad
            held = padded[ix(places(name, parameter, full.shape, first(name, 0.75)))]
            assert tensor.grad is not None
            torch.testing.assert_close(tensor.grad, held, rtol=1e-4, atol=1e-6)


def ix(where: Any) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(index) for index in np.ix_(*where))


def test_a_sub_model_holds_no_tensor_but_its_own() -> None:
    built = federation("fjord", RESNET, training=SIZE)
    server, selection = prepared(built)
    submodel: Any = built.method.extract(server, selection)
    before = {id(tensor) for tensor in submodel.state_dict(keep_vars=True).values()}
    assert {id(tensor) for tensor in tensors_in(submodel)} == before
    train_client(Job(selection.client.number, 1, submodel), built)
    assert {id(tensor) for tensor in tensors_in(submodel)} == before


@pytest.mark.parametrize("name", TASKS)
def test_the_mean_by_entries_is_the_rule_of_nested_blocks(name: str) -> None:
    """For p descending, the block of p becomes the mean, by samples, over the clients whose p_max is at least p."""
    keeps, samples = (0.6, 0.2, 1.0, 0.6, 0.4), (10, 20, 30, 40, 50)
    for present in ((0, 1, 3, 4), (0, 1, 2, 3, 4)):
        method, server, before = setup("fjord", small_task(name))
        clients = cohort([keeps[place] for place in present])
        clients = replace(
            clients,
            clients=tuple(
                replace(c, samples=samples[place]) for c, place in zip(clients.clients, present, strict=True)
            ),
        )
        updates = [update_of(method, server, selection, 0.1) for selection in selections_of(method, server, clients)]
        after = values_of(method.aggregate(server, updates, STREAMS).model)
        for parameter, base in before.items():
            spread = []
            for update in updates:
                whole = np.full(base.shape, np.nan)
                held = places(name, parameter, base.shape, first(name, update.selection.client.keep))
                whole[np.ix_(*held)] = update.parameters[parameter].numpy()
                spread.append(whole)
            expected = base.double().numpy().copy()
            for p in sorted(P, reverse=True):
                able = [place for place, update in enumerate(updates) if update.selection.client.keep >= p]
                if able:
                    block = np.ix_(*places(name, parameter, base.shape, first(name, p)))
                    total = sum(updates[place].selection.client.samples for place in able)
                    summed = sum(updates[place].selection.client.samples * spread[place][block] for place in able)
                    expected[block] = summed / total
            assert_close(after[parameter], expected)


def test_clients_may_count_alike() -> None:
    method, server, _ = setup("fjord", small_task(CNN), weights="uniform")
    updates = [update_of(method, server, s, 0.1) for s in selections_of(method, server, cohort((1.0, 0.4)))]
    after = method.aggregate(server, updates, STREAMS).model.get_parameter("classifier.bias")
    expected = sum(update.parameters["classifier.bias"] for update in updates) / 2
    torch.testing.assert_close(after.detach(), expected)


@pytest.mark.parametrize("name", [CNN, LSTM])
@pytest.mark.parametrize("width", [0.4, 0.75])
@pytest.mark.parametrize(("share", "temperature"), [(1.0, 1.0), (0.3, 2.5)])
def test_distillation_adds_what_is_learned_from_the_widest_network(
    name: str, width: float, share: float, temperature: float
) -> None:
    task = small_task(name)
    method: Any = method_of("fjord", distillation=True, distillation_weight=share, temperature=temperature)
    server = method.setup(initial(task), task)
    (selection,) = selections_of(method, server, cohort((0.75,)))
    submodel: Any = method.extract(server, selection).train()
    submodel.remaining = deque([width])
    inputs, targets = batch_of(task, 6), torch.tensor([0, 1, 1, 0, 1, 0])
    loss = method.local_loss(submodel, lambda: submodel(inputs), targets)
    models = [
        narrowed(server.model, {group: torch.tensor(kept) for group, kept in first(name, keep).items()}).train()
        for keep in (0.75, width)
    ]
    teacher, student = (model(inputs).detach().double().numpy() for model in models)
    if name == LSTM:
        teacher, student = (np.stack([np.zeros_like(logits), logits], 1) for logits in (teacher, student))
    hard_p, hard_q, p, q = (
        np.exp(z / t) / np.exp(z / t).sum(1, keepdims=True) for t in (1.0, temperature) for z in (teacher, student)
    )
    by_hand = sum(-math.log(hard_p[row, target]) for row, target in enumerate(targets.tolist())) / 6
    by_hand += share * sum(-p[row, c] * math.log(q[row, c]) for row in range(6) for c in range(p.shape[1])) / 6
    if width < 0.75:
        by_hand += (1 - share) * sum(-math.log(hard_q[row, target]) for row, target in enumerate(targets.tolist())) / 6
    assert loss.item() == pytest.approx(by_hand, rel=1e-4)
    loss.backward()
    # The teacher learns from the labels alone.
    wide, narrow = models
    target_loss = task.loss(wide(inputs), targets)
    target_loss.backward()
    outputs = narrow(inputs)
    if name == LSTM:
        outputs = torch.stack([torch.zeros_like(outputs), outputs], 1)
    # The paper's divergence, whose gradient is that of the cross entropy above.
    soft = torch.from_numpy(p).float()
    divergence = functional.kl_div((outputs / temperature).log_softmax(1), soft, reduction="none")
    own = functional.cross_entropy(outputs, targets)
    (share * divergence.sum(1).mean() + (1 - share) * own * (width < 0.75)).backward()
    parameter = "classifier.bias"
    grads = [model.get_parameter(parameter).grad for model in (wide, narrow)]
    found = submodel.model.get_parameter(parameter).grad
    assert grads[0] is not None and grads[1] is not None
    torch.testing.assert_close(found, grads[0] + grads[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "model"), ALL)
@pytest.mark.parametrize("weights", thinned(["samples", "uniform"], every(2)))
def test_with_one_width_and_all_channels_it_is_fedavg(name: str, model: dict[str, Any], weights: str) -> None:
    # Products with the numbers of samples are rounded otherwise, which further rounds would magnify.
    rounds, tolerance = (1, 1e-6) if weights == "samples" else (2, 0.0)
    values: dict[str, Any] = {"model": {**SMALL_MODEL[name], **model}, "training": {"rounds": rounds}}
    _, expected = run(federation("fedavg", name, parameters={"weights": weights}, **values))
    _, after = run(federation("fjord", name, keep=1.0, parameters={"widths": "1", "weights": weights}, **values))
    for parameter, value in expected.items():
        torch.testing.assert_close(after[parameter], value, rtol=tolerance, atol=tolerance)


def test_it_equals_fedavg_only_with_one_width_and_no_teacher() -> None:
    for parameters, equal in (({}, False), ({"widths": "1"}, True), ({"widths": "1", "distillation": True}, False)):
        method = method_of("fjord", **parameters)
        method.setup(initial(small_task(CNN)), small_task(CNN))
        assert method.equals_fedavg is equal


def test_with_its_own_width_alone_it_is_the_narrow_network() -> None:
    """What is below p_max is all that distinguishes it from the plain nested sub-models."""
    mixed = "0.2:0.5,0.6:0.5"
    parameters = {"widths": "1", "statistics": "batch", "weights": "uniform"}
    reference, expected = run(federation("origdrop", RESNET, keep=mixed))
    rounds, after = run(federation("fjord", RESNET, keep=mixed, parameters=parameters))
    assert all(torch.equal(after[parameter], value) for parameter, value in expected.items())
    for ours, theirs in zip(rounds, reference, strict=True):
        assert (ours.score, ours.levels) == (theirs.score, theirs.levels)


def test_training_at_the_own_width_is_plain_sgd() -> None:
    built = exact(federation("fjord", CNN, keep=0.2, training={**SIZE, "lr": 0.01}))
    server, selection = prepared(built)
    submodel: Any = built.method.extract(server, selection)
    assert set(submodel.remaining) == {0.2} and len(submodel.remaining) == len(list(batches(built, 0)))
    parameters, buffers, loss, passes = reference_training(built)
    unprefixed = {name.removeprefix("model."): value for name, value in parameters.items()}
    assert_same(train(built), (unprefixed, buffers, loss, passes))


@pytest.mark.parametrize(
    ("name", "distillation"),
    [
        (CNN, True),
        (LSTM, False),
        *(pytest.param(RESNET, distillation, marks=pytest.mark.slow) for distillation in (False, True)),
    ],
)
def test_two_workers_give_the_run_of_one(name: str, distillation: bool) -> None:
    values: dict[str, Any] = {"keep": "0.4:0.5,1:0.5", "parameters": {"distillation": distillation}}
    runs = [run_with(federation("fjord", name, **values), 1), run_sent(federation("fjord", name, **values))]
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(value, runs[1][1][parameter]) for parameter, value in runs[0][1].items())


@pytest.mark.parametrize("name", [RESNET, CNN])
def test_the_engine_for_gpus_does_not_record_its_steps(name: str) -> None:
    built = build("fjord", name, training={"batch_size": 4})
    engine = CapturedEngine(built, clients_at_once=1)
    ours = list(engine.train(jobs_of(built, 2)))
    assert engine.refused == {"Ordered.remaining holds a deque": 2}
    for trained, job in zip(ours, jobs_of(built, 2), strict=True):
        assert len(set(job.submodel.remaining)) > 1  # type: ignore[arg-type]
        assert_trained_alike(trained, train_client(job, built))


@pytest.mark.parametrize("widths", ["", "0.2,x", "0,1", "0.5,1.2", "nan"])
def test_widths_that_are_none_are_refused(widths: str) -> None:
    with pytest.raises(BenchError, match=r"widths = .* is not possible; allowed: numbers above 0 to 1"):
        federation("fjord", CNN, parameters={"widths": widths})
