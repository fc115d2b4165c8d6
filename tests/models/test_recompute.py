"""Blocks that compute their activations anew: the same gradients to the bit, less memory, more operations."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers import CNN, RESNET, assert_equal, batch_of, federation, initial, run, small_task
from thinned import every, thinned
from torch import nn

from bench.budget.taken import taken_by
from bench.cost.cost import CostMeter
from bench.cost.operations import operations
from bench.errors import BenchError
from bench.models.base import Model
from bench.models.recompute import blocks_of, recomputing


def gradients(model: nn.Module, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model(inputs).square().sum().backward()
    return {name: tensor.grad.clone() for name, tensor in model.named_parameters() if tensor.grad is not None}


def model_of(frozen: int = 0) -> tuple[Model, torch.Tensor]:
    task = small_task(RESNET)
    model = initial(task).train()
    for part in model.parts()[:frozen]:
        for name, tensor in model.named_parameters():
            if name.startswith(part):
                tensor.requires_grad_(False)
    return model, batch_of(task, 4)


@pytest.mark.parametrize("frozen", [0, 1, 3, 8])
def test_gradients_are_the_same_to_the_bit(frozen: int) -> None:
    model, inputs = model_of(frozen)
    plain = gradients(model, inputs)
    with recomputing(model):
        again = gradients(model, inputs)
    assert len(plain) and len(blocks_of(model)) == 8
    assert_equal(plain, again)
    assert all("forward" not in vars(block) for block in blocks_of(model))


def kept_by(model: nn.Module, inputs: torch.Tensor) -> int:
    own = {tensor.data_ptr() for tensor in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(inputs)
    return sum(kept.values())


def test_a_step_keeps_the_inputs_of_its_blocks_alone() -> None:
    model, inputs = model_of()
    plain = kept_by(model, inputs)
    with recomputing(model):
        less = kept_by(model, inputs)
    inputs_of_blocks = [64, 64, 64, 128, 128, 256, 256, 512]
    sides = [32, 32, 32, 16, 16, 8, 8, 4]
    width = next(model.parameters()).shape[0]
    floor = sum(
        4 * 4 * channels * width // 64 * side**2 for channels, side in zip(inputs_of_blocks, sides, strict=True)
    )
    assert floor <= less < 0.5 * plain


def test_the_count_has_the_second_pass_and_the_largest_block() -> None:
    task = small_task(RESNET)
    model = initial(task)
    plain = operations(model, task)
    task.recipe = replace(task.recipe, recompute=True)
    again = operations(model, task)
    assert again.macs == plain.macs
    # All convolutions but the stem lie in blocks: their forward pass is computed twice.
    stem = 32 * 32 * 27 * next(model.parameters()).shape[0]
    classifier = model.get_submodule("classifier").weight.numel()  # type: ignore[union-attr,operator]
    assert again.train_macs - plain.train_macs == plain.macs - stem - classifier
    assert again.saved_bytes < 0.65 * plain.saved_bytes and again.activations < plain.activations


@pytest.mark.parametrize(
    ("method", "precision"),
    thinned(
        [("prism", "fp32"), ("fedavg", "fp32"), ("heterofl", "fp32"), ("inclusivefl", "fp32"), ("heterofl", "bf16")],
        every(4),
    ),
)
def test_a_run_is_the_same_to_the_bit(method: str, precision: str) -> None:
    keep = "0.4:0.5,1:0.5" if method == "inclusivefl" else 0.4
    plain = federation(method, RESNET, keep=keep, training={"precision": precision})
    again = federation(method, RESNET, keep=keep, training={"precision": precision, "recompute": True})
    (first, one), (second, two) = run(plain), run(again)
    assert_equal(one, two)
    assert [this.train_loss for this in first] == [this.train_loss for this in second]
    assert second[1].train_macs > first[1].train_macs and second[1].forward_macs == first[1].forward_macs


def test_a_client_takes_less_memory_and_more_operations() -> None:
    taken = []
    for recompute in (False, True):
        built = federation("prism", RESNET, keep=0.2, training={"recompute": recompute})
        server = built.method.setup(built.initial_model(), built.task)
        taken.append(taken_by(built.method, server, built.task, 0.2, CostMeter(built.task)))
    plain, again = taken
    assert again.memory < 0.7 * plain.memory and again.macs > 1.2 * plain.macs
    assert (again.bytes, again.parameters) == (plain.bytes, plain.parameters)


@pytest.mark.parametrize(("method", "task"), [("fedavg", CNN), ("fjord", RESNET)])
def test_a_model_without_blocks_is_refused_in_a_sentence(method: str, task: str) -> None:
    built = federation(method, task, training={"recompute": True})
    with pytest.raises(BenchError, match="has no blocks whose activations could be computed anew"):
        run(built)
