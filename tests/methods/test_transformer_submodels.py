"""Sub-models of transformers against what is written down head by head and block by block."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close
from attentive import KINDS, inputs_of, small
from channels import SIZES, cohort, first, means, places
from helpers import (
    CCT,
    GPT,
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

from bench.api import Method, Server
from bench.families import early_exits
from bench.families.magnitude import channel_scores
from bench.models.base import Model
from bench.models.ensemble import Ensemble
from bench.models.factorise import narrowed
from bench.models.transformer import Block

TASKS = (GPT, CCT)
LABELS = ((0, 1), (1, 2, 5), (2,))
OFF = {"masked_loss": False, "label_rows": False}


def set_up(name: str, task: str, **parameters: Any) -> tuple[Any, Server]:
    method = method_of(name, **parameters)
    return method, method.setup(initial(small_task(task)), small_task(task))


def window(task: str, keep: float, start: int) -> dict[str, list[int]]:
    """Return so many channels of each group from one on, around the end."""
    return {
        group: sorted((start + place) % size for place in range(math.ceil(keep * size)))
        for group, size in SIZES[task].items()
    }


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("name", "round_number"), [("heterofl", 4), ("fedrolex", 4)])
def test_a_client_gets_the_same_channels_of_every_head(task: str, name: str, round_number: int) -> None:
    """In the fourth round a window has wrapped around the end of a head of four channels, within each head."""
    method, server = set_up(name, task)
    (selection,) = selections_of(method, server, cohort_of(0.5, round_number=round_number))
    channels = first(task, 0.5) if name == "heterofl" else window(task, 0.5, 3)
    submodel, seen = dict(method.extract(server, selection).named_parameters()), 0
    for parameter, whole in values_of(server.model).items():
        where = np.ix_(*places(task, parameter, whole.shape, channels))
        np.testing.assert_array_equal(submodel[parameter].detach().numpy(), whole.numpy()[where])
        seen += 1
    assert seen == len(submodel)
    query = submodel["blocks.1.attention.query.weight"]
    rows = [0, 1, 4, 5] if name == "heterofl" else [0, 3, 4, 7]
    whole = server.model.get_parameter("blocks.1.attention.query.weight")
    columns = [0, 1, 2, 3] if name == "heterofl" else [3, 4, 5, 6]
    assert torch.equal(query, whole[rows][:, columns])


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["heterofl", "fedrolex"])
def test_entries_are_means_over_their_holders(task: str, name: str) -> None:
    method, server = set_up(name, task)
    before, keeps = values_of(server.model), (0.3, 0.75, 0.5)
    selections = selections_of(method, server, cohort(keeps, LABELS, round_number=3))
    updates = [update_of(method, server, selection, 0.1) for selection in selections]
    channels = [first(task, keep) if name == "heterofl" else window(task, keep, 2) for keep in keeps]
    after = values_of(method.aggregate(server, updates, STREAMS).model)
    for parameter, value in means(task, before, updates, channels, (1, 1, 1), LABELS).items():
        assert_close(after[parameter], value)


def test_holders_of_an_attention_weight_are_counted_head_by_head() -> None:
    """Of heads of four channels the clients have two, three and two; of the stream of eight three, six and four."""
    method, server = set_up("heterofl", GPT)
    selections = selections_of(method, server, cohort_of(0.3, 0.75, 0.5))
    updates = [update_of(method, server, selection, 0.1) for selection in selections]
    name = "blocks.1.attention.query.weight"
    before = server.model.get_parameter(name).detach().clone()
    after = method.aggregate(server, updates, STREAMS).model.get_parameter(name).detach()
    one, two, three = (update.parameters[name] for update in updates)
    assert (one.shape, two.shape, three.shape) == ((4, 3), (6, 6), (4, 4))
    # Channel 1 of the second head, row 5 of the whole, is the last row of all three.
    torch.testing.assert_close(after[5, 2], (one[3, 2] + two[4, 2] + three[3, 2]) / 3)
    torch.testing.assert_close(after[5, 3], (two[4, 3] + three[3, 3]) / 2)
    torch.testing.assert_close(after[6, 0], two[5, 0])
    assert torch.equal(after[7], before[7]) and torch.equal(after[:, 6:], before[:, 6:])


@pytest.mark.parametrize("kind", KINDS)
def test_heads_and_hidden_channels_that_are_left_compute_what_they_did(kind: str) -> None:
    """As the whole model whose other channels are 0 there, but for the root of a head's own size.

    Not so of the stream: a normalisation is over the channels that are left.
    """
    model, inputs = small(kind), inputs_of(kind)
    sizes = model.channels()
    kept = {group: torch.arange(size) for group, size in sizes.items()}
    kept |= {group: torch.arange(1, size, 2) for group, size in sizes.items() if group.startswith("block")}
    zeroed = copy.deepcopy(model)
    with torch.no_grad():
        for block in zeroed.blocks:
            assert isinstance(block, Block)
            for head in range(2):
                for channel in (0, 2):
                    block.attention.key.weight[4 * head + channel] = 0
                    block.attention.output.weight[:, 4 * head + channel] = 0
                    if block.attention.key.bias is not None:
                        block.attention.key.bias[4 * head + channel] = 0
            block.contract.weight[:, ::2] = 0
            for tensor in block.attention.query.parameters():
                tensor.mul_(math.sqrt(2))  # scores are divided by the root of 2 in the one and of 4 in the other
    narrow = narrowed(model, kept).eval()
    torch.testing.assert_close(narrow(inputs), zeroed(inputs), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(narrow(inputs), model(inputs), atol=0.1)
    short = narrowed(
        model, {**{group: torch.arange(size) for group, size in sizes.items()}, "embedding": torch.arange(6)}
    )
    with torch.no_grad():
        for name, tensor in (zeroed := copy.deepcopy(model)).named_parameters():
            for dimension, axis in enumerate(model.axes()[name]):
                if axis is not None and axis.group == "embedding":
                    tensor.narrow(dimension, 6, 2).zero_()
    assert not torch.allclose(short.eval()(inputs), zeroed(inputs), atol=0.1)


REDUCED: list[tuple[str, dict[str, Any]]] = [
    ("heterofl", OFF),
    ("fedrolex", OFF),
    ("origdrop", {}),
    ("federated_dropout", {}),
    ("fiarse_channels", {}),
    ("fjord", {"widths": "1", "weights": "uniform"}),
    ("splitmix", {"base_width": 1.0, "weights": "uniform"}),
    ("small_model", {"weights": "uniform"}),
    ("small_model", {"shape": "shallow", "weights": "uniform"}),
    ("inclusive_kdd", {"weights": "uniform"}),
    ("inclusivefl", {}),
    ("depthfl", {}),
    ("scalefl", {}),
    ("nefl", {"steps": "none"}),
]


@pytest.mark.parametrize(
    ("task", "name", "parameters"),
    [
        pytest.param(task, *case, marks=[pytest.mark.slow] * (task == CCT or case[0] not in ("heterofl", "fjord")))
        for task in TASKS
        for case in REDUCED
        if not (task == CCT and case[0] == "small_model" and case[1].get("shape"))
    ],
)
def test_with_the_whole_model_it_is_fedavg(
    task: str, name: str, parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_exits, "stage_exits", lambda model: (len(model.exits()) - 1,))
    reference, expected = run(federation("fedavg", task, parameters={"weights": "uniform"}))
    rounds, after = run(federation(name, task, keep=1.0, parameters=parameters))
    plain = {
        parameter.replace("heads.1.linear.", "classifier.").removeprefix("net.").removeprefix("nets.0."): value
        for parameter, value in after.items()
    }
    for parameter, value in expected.items():
        torch.testing.assert_close(plain[parameter], value, rtol=1e-5, atol=1e-6)
    assert [this.up_bytes for this in rounds] == [this.up_bytes for this in reference]


def test_a_masked_loss_of_sequences_is_that_of_each_character() -> None:
    """Absent classes add 1 each to the denominator at every place, and their rows learn nothing."""
    method, server = set_up("heterofl", GPT, scaler=False)
    labels = (5, 7, 9)
    selection = selections_of(method, server, cohort((1.0,), (labels,)))[0]
    submodel = method.extract(server, selection).train()
    inputs = batch_of(small_task(GPT), 2) % 90
    targets = torch.tensor(labels)[torch.arange(inputs.numel()) % 3].view_as(inputs)
    targets[0, 40:] = 0  # padding
    scores = submodel(inputs).detach().double()
    losses = [
        math.log(sum(math.exp(scores[*place, label]) for label in labels) + 90 - len(labels))
        - float(scores[*place, own])
        for place in np.ndindex(*inputs.shape)
        if (own := int(targets[place])) != 0
    ]
    loss = method.local_loss(submodel, lambda: submodel(inputs), targets)
    assert loss is not None and float(loss.detach()) == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    loss.backward()
    gradient = submodel.get_parameter("classifier.weight").grad
    assert gradient is not None
    assert gradient.abs().sum(1).nonzero().flatten().tolist() == list(labels)


@pytest.mark.parametrize("task", TASKS)
def test_networks_of_splitmix_begin_with_the_values_of_full_layers(task: str) -> None:
    """Linear layers and embeddings begin alike at every width; convolutions behind the first one do not."""
    rescaled, plain = (set_up("splitmix", task, rescale=on)[1].model for on in (True, False))
    assert isinstance(rescaled, Ensemble) and isinstance(plain, Ensemble)
    others = values_of(plain)
    for name, value in values_of(rescaled).items():
        factor = math.sqrt(1 / 8) if name.endswith("tokeniser.conv2.weight") else 1.0
        torch.testing.assert_close(value, factor * others[name])


@pytest.mark.parametrize("task", TASKS)
def test_the_scaler_divides_by_what_a_client_keeps(task: str) -> None:
    method: Method = method_of("heterofl", **OFF)
    method.levels = (0.5, 1.0)
    server = method.setup(initial(small_task(task)), small_task(task))
    (selection,) = selections_of(method, server, cohort_of(0.5))
    scales = {
        getattr(module, "hidden_scale", None)
        for module in method.extract(server, selection).modules()
        if hasattr(module, "hidden_scale")
    }
    assert scales == {0.5}


@pytest.mark.parametrize("task", TASKS)
def test_a_step_of_fjord_is_one_of_the_leading_channels_of_every_head(task: str) -> None:
    """Outputs and gradients of a drawn width are those of a network cut by hand, within a wider client."""
    method, server = set_up("fjord", task)
    (selection,) = selections_of(method, server, cohort_of(1.0))
    ordered, inputs = method.extract(server, selection).train(), batch_of(small_task(task), 2) % 90
    channels = {group: torch.tensor(own) for group, own in first(task, 0.4).items()}
    assert isinstance(server.model, Model)
    narrow = narrowed(server.model, channels).train()
    outputs = method.outputs(ordered, 0.4, lambda: ordered(inputs))
    torch.testing.assert_close(outputs, narrow(inputs))
    outputs.square().sum().backward()
    narrow(inputs).square().sum().backward()
    for name, tensor in narrow.named_parameters():
        whole = ordered.get_parameter(f"model.{name}").grad
        assert whole is not None and tensor.grad is not None
        padded = np.zeros(whole.shape, np.float32)
        padded[np.ix_(*places(task, name, whole.shape, first(task, 0.4)))] = tensor.grad.numpy()
        np.testing.assert_allclose(whole.numpy(), padded, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_a_head_channel_scores_by_all_that_heads_have_of_it(task: str) -> None:
    """The sum of magnitudes of its rows of queries, keys and values with their biases, and of its output columns."""
    model = initial(small_task(task))
    attention = model.get_submodule("blocks.1.attention")
    expected = np.zeros(4)
    for name, tensor in attention.named_parameters():
        magnitude = tensor.detach().double().abs().numpy()
        for entry in np.ndindex(*tensor.shape):
            if name.startswith("output"):
                if name.endswith("weight"):
                    expected[entry[1] % 4] += magnitude[entry]
            else:
                expected[entry[0] % 4] += magnitude[entry]
    np.testing.assert_allclose(channel_scores(model)["block1.head"].numpy(), expected, rtol=1e-6)
