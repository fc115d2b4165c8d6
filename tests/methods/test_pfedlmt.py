"""pFedLMT: what is common and what is the client's own, whose half is trained when, and what is sent of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close
from helpers import (
    CNN,
    LSTM,
    RESNET,
    assert_equal,
    batch_of,
    cohort_of,
    federation,
    initial,
    method_of,
    run,
    selections_of,
    small_task,
    values_of,
)
from torch import nn

from bench.api import Client, Cohort, Method, Selection, Server, Skip, Update
from bench.cost.cost import bytes_of, cost_of
from bench.training.local import Job, local_batches, train_client


def pfedlmt(name: str = CNN, **parameters: Any) -> tuple[Method, Server]:
    task, method = small_task(name), method_of("pfedlmt", **parameters)
    return method, method.setup(initial(task), task)


def trained(method: Method, server: Server, selection: Selection, seed: int) -> Update:
    """Return what comes of a client that moved all it trains by normal noise."""
    submodel = method.extract(server, selection)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in submodel.parameters():
            tensor += 0.05 * torch.randn(tensor.shape, generator=generator)
    local = {name: tensor.clone() for name, tensor in method.local_state(submodel).items()}
    return Update(selection, method.upload(submodel), local=local)


FRONTS = [
    (RESNET, 5, ("stem.", "stem_norm.", "stages.0.", "stages.1.", "stages.2.0.")),
    (RESNET, 0, ("stem.", "stem_norm.")),
    (CNN, 5, ("conv1.",)),
    (LSTM, 5, ("embedding.",)),
]


@pytest.mark.parametrize(("name", "whole_blocks", "front"), FRONTS)
def test_all_in_front_of_the_first_factored_layer_is_common(
    name: str, whole_blocks: int, front: tuple[str, ...]
) -> None:
    method, server = pfedlmt(name, whole_blocks=whole_blocks)
    (selection,) = selections_of(method, server, cohort_of(0.5))
    submodel = method.extract(server, selection)
    sent, kept = method.upload(submodel), method.local_state(submodel)
    assert set(sent) == {one for one, _ in submodel.named_parameters() if one.startswith(front)}
    assert {*sent, *kept} == dict(submodel.named_parameters()).keys() and not sent.keys() & kept.keys()


def test_each_client_has_its_own_rank_of_the_same_vectors() -> None:
    method, server = pfedlmt(CNN)
    begin = initial(small_task(CNN)).get_parameter("conv2.weight").detach().double().numpy()
    s = np.linalg.svd(begin.transpose(0, 2, 1, 3).reshape(192, 192), compute_uv=False)
    whole = server.memory["factor/conv2.weight_u"]
    for selection in selections_of(method, server, cohort_of(0.1, 0.5, 1.0)):
        u = method.extract(server, selection).get_parameter("conv2.weight_u").detach()
        rank = max(round(selection.client.keep * 64), 1)
        assert u.shape == (192, rank) and torch.equal(u, whole[:, :rank])
        np.testing.assert_allclose((u.double().numpy() ** 2).sum(0), s[:rank], rtol=1e-3)


def test_the_first_half_of_the_steps_trains_the_rest_and_the_second_the_front() -> None:
    """Against plain descent by hand; of five steps three are the rest's."""
    training = {"momentum": 0.0, "weight_decay": 0.0, "samples_per_client": 20, "batch_size": 4, "local_epochs": 1}
    built = federation("pfedlmt", CNN, keep=0.3, training=training, parameters={"frobenius_decay": 0.1})
    task, method = built.task, built.method
    server = method.setup(built.initial_model(), task)
    (selection,) = method.select(server, Cohort(1, (Client(0, 20, 0.3),)), built.streams("selection", 1))
    submodel, by_hand = method.extract(server, selection), method.extract(server, selection)
    result = train_client(Job(0, 1, submodel), built)
    names = dict(by_hand.named_parameters())
    own, start = {name for name in names if not name.startswith("conv1.")}, values_of(by_hand)
    batches = list(local_batches(Job(0, 1, by_hand), built))
    assert len(batches) == 5
    for step, (lr, samples, targets) in enumerate(batches):
        by_hand.zero_grad()
        u, v = names["conv2.weight_u"], names["conv2.weight_v"]
        (task.loss(by_hand(samples), targets) + 0.05 * (u @ v).square().sum()).backward()
        for name, tensor in names.items():
            if (name in own) == (step < 3):
                assert tensor.grad is not None
                tensor.data -= lr * tensor.grad
    for name, tensor in {**result.parameters, **result.local}.items():
        torch.testing.assert_close(tensor, names[name].detach(), rtol=1e-4, atol=1e-6)
        assert not torch.equal(tensor, start[name])
    assert set(result.local) == own


def test_a_single_step_is_the_rests() -> None:
    method, server = pfedlmt(CNN)
    submodel = method.extract(server, Selection(Client(0, 1, 0.5)))
    steps = list(submodel.personal_steps)  # type: ignore[arg-type]
    recipe = small_task(CNN).recipe
    assert len(steps) == recipe.local_epochs and steps[0] is True and sum(steps) == len(steps) - len(steps) // 2


def test_fronts_are_averaged_and_rests_stay_where_they_are() -> None:
    method, server = pfedlmt(CNN)
    first, second, third = selections_of(method, server, cohort_of(0.25, 0.5, 0.5))
    updates = [trained(method, server, one, seed) for seed, one in enumerate((first, second))]
    before = values_of(server.model)
    following = method.aggregate(server, iter(updates), STREAMS)
    for name, tensor in values_of(following.model).items():
        if name.startswith("conv1."):
            mean = sum(
                one.client.samples * update.parameters[name]
                for one, update in zip((first, second), updates, strict=True)
            )
            assert_close(tensor, (mean / (first.client.samples + second.client.samples)).double().numpy())
        else:
            assert torch.equal(tensor, before[name])
    for selection, update in zip((first, second), updates, strict=True):
        again = method.extract(following, selection)
        assert_equal({name: again.get_parameter(name).detach() for name in update.local}, dict(update.local))
        personal = method.personal_model(following, selection.client)
        assert personal is not None
        inputs = batch_of(small_task(CNN))
        assert torch.equal(personal(inputs), again(inputs))
    assert method.personal_model(following, third.client) is None
    new = method.extract(following, third).get_parameter("conv2.weight_u").detach()
    assert torch.equal(new, server.memory["factor/conv2.weight_u"][:, :32])


def test_the_rest_is_sent_once() -> None:
    method, server = pfedlmt(CNN)
    (selection,) = selections_of(method, server, cohort_of(0.5))
    submodel = method.extract(server, selection)
    everything = bytes_of(submodel.state_dict().values())
    assert bytes_of(method.received(server, selection, submodel)) == everything
    following = method.aggregate(server, iter([trained(method, server, selection, 0)]), STREAMS)
    front = 4 * (64 * 25 + 64)
    assert bytes_of(method.received(following, selection, method.extract(following, selection))) == front < everything


def test_a_client_whose_keep_ratio_changes_has_a_rest_for_each() -> None:
    method, server = pfedlmt(CNN)
    (low,) = selections_of(method, server, cohort_of(0.25))
    following = method.aggregate(server, iter([trained(method, server, low, 0)]), STREAMS)
    (high,) = selections_of(method, following, cohort_of(0.75))
    assert method.personal_model(following, high.client) is None
    assert method.extract(following, high).get_parameter("conv2.weight_u").shape == (192, 48)
    following = method.aggregate(following, iter([trained(method, following, high, 1)]), STREAMS)
    assert all(method.personal_model(following, one.client) is not None for one in (low, high))


def test_half_of_the_work_is_counted_with_each_half_fixed() -> None:
    method, server = pfedlmt(RESNET)
    (selection,) = selections_of(method, server, cohort_of(0.5, samples=40))
    submodel, task = method.extract(server, selection), small_task(RESNET)
    counted = [(cost_of(network, task), share) for network, share in method.computed(submodel)]
    assert sum(share for _, share in counted) == 1
    (own, _), (front, _) = counted
    whole = cost_of(submodel, task)
    assert all(tensor.requires_grad for tensor in submodel.parameters())
    assert own.trained_parameters + front.trained_parameters == whole.trained_parameters
    assert own.macs == front.macs == whole.macs
    assert own.train_macs < front.train_macs < whole.train_macs  # no gradient passes the fixed front


def test_clients_models_learn_and_the_servers_does_not_stand_for_them() -> None:
    rounds, _ = run(federation("pfedlmt", CNN, keep="0.25:0.5,0.75:0.5", training={"rounds": 1}))
    last = rounds[-1]
    assert last.personal_acc is not None and last.personal_base_acc is not None
    assert all(member.up_bytes == 4 * (64 * 25 + 64) for member in last.members)


def test_where_nothing_is_factored_it_is_not_defined() -> None:
    with pytest.raises(Skip, match=r"pfedlmt factors k x k convolutions .* the first 8 residual blocks"):
        pfedlmt(RESNET, whole_blocks=8)
    with pytest.raises(Skip, match="Linear"):
        method_of("pfedlmt").setup(nn.Linear(2, 2), small_task(CNN))
