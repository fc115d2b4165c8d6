"""Transformers that end early, or lack blocks: against what is written down block by block."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS
from attentive import KINDS, inputs_of, small, written_down
from channels import first, places
from helpers import CCT, GPT, batch_of, cohort_of, initial, method_of, selections_of, small_task, update_of, values_of
from torch import Tensor, nn

from bench.api import Server
from bench.models.base import Model, blank
from bench.models.heads import Bottleneck, Classifier, ConvolvedHead
from bench.models.multi_exit import with_heads
from bench.models.stepped import Stepped
from bench.models.transformer import Transformer

TASKS = (GPT, CCT)


def set_up(name: str, task: str, **parameters: Any) -> tuple[Any, Server]:
    method = method_of(name, **parameters)
    return method, method.setup(initial(small_task(task)), small_task(task))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head", [Classifier, Bottleneck, ConvolvedHead])
def test_logits_at_an_exit_are_those_of_the_first_blocks(kind: str, head: type[Any]) -> None:
    """Of a transformer written down that has only these, no gain in its last norm, and tokens that count alike."""
    model, inputs = small(kind, layers=3), inputs_of(kind)
    whole = with_heads(copy.deepcopy(model), (0, 1, 2), head, True, torch.Generator().manual_seed(0)).eval()
    with whole.each_head():
        found = whole(inputs)
    expected = [exit_written_down(model, exit, whole.heads[str(exit)], inputs) for exit in (0, 1)]
    expected.append(written_down(model, inputs))
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(whole(inputs), torch.stack(expected).mean(0), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def exit_written_down(model: Transformer, exit: int, head: nn.Module, inputs: Tensor) -> Tensor:
    short = model.shallower()[1 - exit]
    assert short.depth == exit + 1
    blank(short)
    short.load_state_dict({name: value for name, value in model.state_dict().items() if name in short.state_dict()})
    short.norm.weight.fill_(1.0)
    short.norm.bias.zero_()
    if "pool" in dict(short.named_modules()):
        short.get_parameter("pool.weight").zero_()
    linear = head.get_submodule("linear")
    assert isinstance(linear, nn.Linear) and {name for name, _ in head.named_parameters()} == {
        "linear.weight",
        "linear.bias",
    }
    short.classifier.load_state_dict(linear.state_dict())
    return written_down(short.eval(), inputs)


@pytest.mark.parametrize("task", TASKS)
def test_each_block_more_costs_more(task: str) -> None:
    for name in ("depthfl", "scalefl", "inclusive_kdd"):
        method, _ = set_up(name, task)
        assert len(method.capacities) == 2 and 0.1 < method.capacities[0] < method.capacities[1] == 1
    trained, server = set_up("inclusivefl", task)
    assert isinstance(server.model, Model) and len(trained.capacities) == len(server.model.parts())
    assert trained.capacities == sorted(trained.capacities, reverse=True) and len({*trained.capacities}) > 3
    costs = [sum(tensor.numel() for tensor in one.parameters()) for one in (server.model, *server.model.shallower())]
    assert costs[0] > costs[1] and len(costs) == 2


@pytest.mark.parametrize("task", TASKS)
def test_momentum_passes_from_a_block_to_the_block_before_it(task: str) -> None:
    """Tensor by tensor, the last of the deepest group too: in the second round a tenth of what that moved by."""
    method, server = set_up("inclusive_kdd", task, beta=0.1)
    keeps = (0.01, 1.0)
    method.levels = keeps
    first_round = [update_of(method, server, one, 0.1) for one in selections_of(method, server, cohort_of(*keeps))]
    before = values_of(server.model)
    server = method.aggregate(server, first_round, STREAMS)
    selections = selections_of(method, server, cohort_of(*keeps, round_number=2))
    held = values_of(method.part(server, method.sizes[0]))
    second_round = [update_of(method, server, one, 0.1, seed=1) for one in selections]
    server = method.aggregate(server, second_round, STREAMS)
    after, counted = values_of(method.part(server, method.sizes[0])), 0
    for name, value in held.items():
        if not name.startswith("net.blocks.0."):
            continue
        deeper = name.replace("blocks.0.", "blocks.1.")
        learned = first_round[1].parameters[deeper] - before[deeper.removeprefix("net.")]
        own = second_round[0].parameters[name] - value
        torch.testing.assert_close(after[name], value + 0.9 * own + 0.1 * learned, rtol=1e-4, atol=1e-5)
        counted += 1
    assert counted == (16 if task == GPT else 13)


@pytest.mark.parametrize("task", TASKS)
def test_sub_models_of_nefl_are_first_blocks_with_steps(task: str) -> None:
    """Written down with the outputs' layers multiplied by the steps; at first the steps are 1."""
    method = method_of("nefl")
    method.levels = (0.2, 1.0)
    server = method.setup(initial(small_task(task)), small_task(task))
    assert isinstance(server.model, Stepped)
    plain, inputs = initial(small_task(task)), batch_of(small_task(task), 2) % 90
    torch.testing.assert_close(server.model.eval()(inputs), plain.eval()(inputs))
    part = method.part(server, 0.2).eval()
    names, both = values_of(part), values_of(server.model)
    channels = first(task, 0.67)  # the fourth root of 0.2 is 0.669
    assert not any("blocks.1." in name for name in names) and "net.norm.weight" in names
    for name, value in names.items():
        if name.endswith("_step"):
            assert value == 1
        else:
            where = np.ix_(*places(task, name.removeprefix("net."), both[name].shape, channels))
            np.testing.assert_array_equal(value.numpy(), both[name].numpy()[where])
    stepped, block = copy.deepcopy(part), part.net.blocks[0]
    with torch.no_grad():
        block.attention_step.fill_(0.5)
        block.mlp_step.fill_(3.0)
        for layer, size in ((stepped.net.blocks[0].attention.output, 0.5), (stepped.net.blocks[0].contract, 3.0)):
            for tensor in layer.parameters():
                tensor.mul_(size)
    torch.testing.assert_close(part(inputs), stepped(inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_what_sub_models_of_nefl_have_for_themselves_is_averaged_among_them(task: str) -> None:
    method = method_of("nefl")
    method.levels = (0.2, 1.0)
    server = method.setup(initial(small_task(task)), small_task(task))
    selections = selections_of(method, server, cohort_of(0.2, 1.0, 0.2))
    updates = [update_of(method, server, selection, 0.1) for selection in selections]
    small_one, whole, other = (update.parameters for update in updates)
    server = method.aggregate(server, updates, STREAMS)
    part, full = values_of(method.part(server, 0.2)), values_of(server.model)
    for name in ("net.blocks.0.norm1.weight", "net.blocks.0.mlp_step", "net.norm.bias"):
        torch.testing.assert_close(part[name], (small_one[name] + other[name]) / 2)
        torch.testing.assert_close(full[name], whole[name])
    name = "net.blocks.0.contract.bias"
    mean = (small_one[name] + whole[name][:6] + other[name]) / 3
    torch.testing.assert_close(full[name], torch.cat([mean, whole[name][6:]]))
    torch.testing.assert_close(full["net.blocks.1.contract.bias"], whole["net.blocks.1.contract.bias"])
    lacking = {group for group, (kept, _) in method.coverage(server, selections[0]).items() if not len(kept)}
    assert lacking == {"block1.head", "block1.mlp"}
