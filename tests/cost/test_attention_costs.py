"""What transformers cost, against formulae worked by hand and against what autograd keeps on the CPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from attentive import CONTEXT, HEADS, KINDS, SIDE, VOCABULARY, inputs_of, small
from helpers import CCT as CCT_TASK
from helpers import batch_of, initial, small_task
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from bench.cost.operations import Operations, operations
from bench.models.base import matrix
from bench.models.cct import CCT
from bench.models.factorise import factorised, narrowed
from bench.models.gpt import GPT
from bench.models.low_rank import Factors
from bench.models.transformer import Transformer


def counted(model: nn.Module, kind: str) -> Operations:
    recipe = SimpleNamespace(batch_size=1, recompute=False)
    task: Any = SimpleNamespace(
        recipe=recipe, reads_steps=False, example=lambda samples, device: inputs_of(kind, samples).to(device)
    )
    return operations(model, task)


def by_hand(model: Transformer, side: int | None = None) -> tuple[int, int, int]:
    """Return multiply-accumulates of a sample's forward pass and of both, and numbers in outputs of affine layers.

    Every product has two more in the backward pass, but for the first convolution's, whose input needs no gradient.
    Attention is two products of all positions with all others, masked ones too; its backward pass has four, and forms
    the scores anew.
    """
    sizes, classes = model.channels(), model.classes
    e, tokens = sizes["embedding"], CONTEXT if side is None else (side // 4) ** 2
    forward, outside, outputs = 0, 0, 0
    attention = 0
    for block in range(model.depth):
        heads, hidden = HEADS * sizes[f"block{block}.head"], sizes[f"block{block}.mlp"]
        forward += tokens * (4 * e * heads + 2 * e * hidden)
        attention += tokens * tokens * heads
        outputs += tokens * (3 * heads + heads + e + hidden + e)
    if side is None:
        forward += tokens * e * classes
        outputs += tokens * (e + classes)
    else:
        between = sizes["tokeniser"]
        outside = 27 * between * side**2
        forward += 9 * between * e * (side // 2) ** 2 + 2 * tokens * e + e * classes
        outputs += between * side**2 + e * (side // 2) ** 2 + tokens + e + classes
    return outside + forward + 2 * attention, 2 * outside + 3 * forward + 7 * attention, outputs


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("kind", KINDS)
def test_a_transformer_costs_what_is_worked_by_hand(kind: str, share: float) -> None:
    whole = small(kind, layers=3)
    model = narrowed(whole, {group: torch.arange(int(size * share)) for group, size in whole.channels().items()})
    found = counted(model, kind)
    assert isinstance(model, Transformer)
    expected = by_hand(model, None if kind == "gpt" else SIDE)
    assert (found.macs, found.train_macs, found.activations) == expected


@pytest.mark.parametrize(("classes", "side"), [(100, 32), (200, 64)])
def test_cct_6_3x2_costs_what_is_worked_by_hand(classes: int, side: int) -> None:
    with torch.device("meta"):
        model = CCT(CCT.default_channels(), 4, classes, (side, side))
    task: Any = SimpleNamespace(
        recipe=SimpleNamespace(batch_size=64, recompute=False),
        reads_steps=False,
        example=lambda samples, device: torch.empty(samples, 3, side, side, device=device),
    )
    found, tokens = operations(model, task), (side // 4) ** 2
    e, m = 256, 512
    linear = 27 * 64 * side**2, 9 * 64 * e * (side // 2) ** 2 + 6 * tokens * (4 * e * e + 2 * e * m) + 2 * tokens * e
    attention = 6 * tokens * tokens * e
    assert found.macs == sum(linear) + e * classes + 2 * attention
    assert found.train_macs == 2 * linear[0] + 3 * (linear[1] + e * classes) + 7 * attention


@pytest.mark.parametrize("kind", KINDS)
def test_factors_cost_their_ranks(kind: str) -> None:
    model, rank = small(kind), 2
    shapes = {name: matrix(model.get_parameter(name)).shape for name in model.factorable}
    factors = {
        name: Factors(torch.ones(rows, rank), torch.ones(rank, columns)) for name, (rows, columns) in shapes.items()
    }
    saved = 0
    for name, (rows, columns) in shapes.items():
        positions = (SIDE // 2) ** 2 if "tokeniser" in name else (CONTEXT if kind == "gpt" else (SIDE // 4) ** 2)
        saved += positions * (rows * columns - rank * (rows + columns))
    full, less = counted(model, kind), counted(factorised(model, factors), kind)
    assert (full.macs - less.macs, full.train_macs - less.train_macs) == (saved, 3 * saved)


def test_an_image_of_a_task_costs_what_is_kept_of_it_whatever_its_order_in_memory() -> None:
    """Costs are counted on an example in PyTorch's own order, and images are trained channels last."""
    task = small_task(CCT_TASK)
    model = initial(task).train()

    def kept(samples: int) -> int:
        own = {tensor.untyped_storage().data_ptr() for tensor in model.parameters()}
        found: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                found[storage.data_ptr()] = storage.nbytes()
            return tensor

        images = batch_of(task, samples).contiguous(memory_format=torch.channels_last)
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            model(images)
        return sum(found.values())

    shared = operations(model, task).saved_bytes - (kept(2) - kept(1))
    assert 0 <= shared < 1000  # what a batch keeps once


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_is_what_autograd_keeps_on_the_cpu(kind: str) -> None:
    """Of the attention those are queries, keys, values, what is read and a number a position: no probabilities."""
    model = small(kind).train()
    own = {tensor.untyped_storage().data_ptr() for tensor in model.parameters()}

    def kept(samples: int) -> int:
        sizes: dict[int, torch.UntypedStorage] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                sizes[storage.data_ptr()] = storage
            return tensor

        inputs = inputs_of(kind, samples)
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            model(inputs)
        return sum(storage.nbytes() for storage in sizes.values())

    assert counted(model, kind).saved_bytes == kept(2) - kept(1)


def test_attention_of_gpt_keeps_no_matrix_of_probabilities() -> None:
    """Twice the context takes twice the memory: what is kept grows with the positions, not with their square."""
    with torch.device("meta"):
        model = GPT(GPT.default_channels(8, HEADS, 2), HEADS, VOCABULARY, 64)

    def kept(length: int) -> int:
        task: Any = SimpleNamespace(
            recipe=SimpleNamespace(batch_size=1, recompute=False),
            reads_steps=False,
            example=lambda samples, device: torch.zeros(samples, length, dtype=torch.int64, device=device),
        )
        return operations(model, task).saved_bytes

    assert kept(64) - kept(32) == kept(32)
