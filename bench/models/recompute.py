"""Activation checkpointing: a block keeps its input alone, and computes the rest anew in the backward pass.

Chen et al., Training deep nets with sublinear memory cost, 2016 (arXiv 1604.06174). Gradients are the same to the bit;
each block's forward pass is computed twice. Written out here since PyTorch's own brings its compiler along, whose
import takes longer than a small run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.models.base import Model

Watch = Callable[[], AbstractContextManager[Any]]
"""Returns what is entered while a block is computed anew."""


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """Return the blocks of a model: the parts that are one module made of several; none of a model without parts."""
    if not isinstance(model, Model) or not model.computes_blocks:
        return []
    named = dict(model.named_modules())
    lone = [named.get(prefixes[0].removesuffix(".")) for prefixes in model.parts() if len(prefixes) == 1]
    return [part for part in lone if part is not None and _is_block(part)]


def _is_block(part: nn.Module) -> bool:
    return any(True for _ in part.children()) and not isinstance(part, nn.ModuleList | nn.ModuleDict)


@contextmanager
def recomputing(model: nn.Module, watch: Watch = nullcontext) -> Iterator[None]:
    """Let the blocks of a model compute their activations anew in backward passes, within the context.

    Args:
        model: a sub-model that is a model with blocks.
        watch: see :data:`Watch`.

    Raises:
        BenchError: it has no blocks.
    """
    blocks = blocks_of(model)
    if not blocks:
        raise BenchError(
            f"recompute = true is not possible: {type(model).__name__} has no blocks whose activations could be "
            "computed anew; allowed: models with blocks, as residual networks, and methods that train them as they are"
        )
    for block in blocks:
        block.forward = _Twice(block, watch)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


class _Twice:
    """The forward pass of a block that is computed a second time in the backward pass."""

    def __init__(self, block: nn.Module, watch: Watch) -> None:
        self.block, self.watch = block, watch
        self.run = block.forward

    def __call__(self, inputs: Tensor) -> Tensor:
        trained = [tensor for tensor in self.block.parameters() if tensor.requires_grad]
        if not torch.is_grad_enabled() or not (trained or inputs.requires_grad):
            outputs: Tensor = self.run(inputs)
            return outputs
        return _Recomputed.apply(self, inputs, *trained)


def _precision_of(device: str) -> dict[str, Any]:
    """Return in which numbers products are computed now, as arguments of ``torch.autocast``."""
    known = device in ("cpu", "cuda", "mps")  # the meta device counts, and computes nothing
    enabled = known and torch.is_autocast_enabled(device)
    kind = device if known else "cpu"
    return {"device_type": kind, "enabled": enabled, "dtype": torch.get_autocast_dtype(kind)}


class _Recomputed(torch.autograd.Function):
    """Parameters are arguments, so that their gradients are asked for also where the input needs none."""

    @staticmethod
    def forward(ctx: Any, twice: _Twice, inputs: Tensor, *trained: Tensor) -> Tensor:
        ctx.twice, ctx.products = twice, _precision_of(inputs.device.type)
        ctx.save_for_backward(inputs, *trained)
        outputs: Tensor = twice.run(inputs)
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, *trained = ctx.saved_tensors
        again = inputs.detach().requires_grad_(ctx.needs_input_grad[1])
        with torch.enable_grad(), torch.autocast(**ctx.products), ctx.twice.watch():
            outputs = ctx.twice.run(again)
        wanted = [again, *trained] if again.requires_grad else trained
        found = list(torch.autograd.grad(outputs, wanted, gradients, allow_unused=True))
        first = found.pop(0) if again.requires_grad else None
        return None, first, *found
