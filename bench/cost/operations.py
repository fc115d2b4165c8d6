"""What a sub-model computes and keeps: multiply-accumulates of its passes and the numbers its backward pass needs.

All is counted on the meta device, where nothing is computed and an LSTM is broken into its products (on the CPU it
would count as none). A hand-written ``autograd.Function`` hides from autograd what happens in it, so that a layer that
has one must compute in PyTorch's own operations on the meta device.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from bench.cost.shapes import result_of
from bench.models.base import SparseLayer
from bench.models.recompute import recomputing
from bench.tasks.base import Task


@dataclass(frozen=True)
class Operations:
    """Counts of one sample, and its share of what is computed once for each batch.

    Attributes:
        macs: multiply-accumulates of the forward pass: convolutions and matrix products. Products of weights with
            weights, as FedPara's, are computed once a batch, whose samples share them.
        train_macs: those of forward and backward pass. The backward pass computes a gradient only of what is trained or
            lies behind something trained, so that it shrinks where the first layers are frozen.
            What a method's own loss computes beside the sub-model's outputs is not counted.
        skipped_macs, skipped_train_macs: those of ``macs`` and ``train_macs`` that an ideal kernel for sparse weights
            would leave out, products with weights that a mask has set to zero; 0 for a dense network.
        activations: numbers in the outputs of affine layers that have to be kept for the backward pass, because a
            gradient passes through them: convolutions, linear layers, embeddings, both factors of a low-rank layer.
            An LSTM layer is two affine maps, of its input and of its last state, with four gates each at every step.
        saved_bytes: all that autograd keeps between the two passes, parameters not counted: the input, what
            normalisation, activation functions and pooling keep, and each tensor once that several layers keep. It is
            what PyTorch's own operations keep; hand-written kernels may keep less. Where blocks are computed anew
            (``recompute``), it is their inputs and all that the largest of them keeps.
    """

    macs: int
    train_macs: int
    activations: int
    skipped_macs: int = 0
    skipped_train_macs: int = 0
    saved_bytes: int = 0


def operations(model: nn.Module, task: Task) -> Operations:
    """Count one sample's operations with the parameters trained that require gradients; the model is not changed."""
    shadow, samples, batch = copy.deepcopy(model).to("meta"), task.example(2, "meta"), task.recipe.batch_size
    again = task.recipe.recompute
    if not task.reads_steps:
        return _shared(*_counted(shadow, samples, again), batch)
    # Every time step costs the same: two short samples give the cost of a long one, which takes seconds to count.
    one, two = _counted(shadow, samples[:, :1], again), _counted(shadow, samples[:, :2], again)
    further = samples.shape[1] - 1
    first, both = (
        Operations(*(short + further * (longer - short) for short, longer in zip(*map(astuple, pair), strict=True)))
        for pair in zip(one, two, strict=True)
    )
    return _shared(first, both, batch)


def _shared(one: Operations, two: Operations, batch: int) -> Operations:
    """Return the counts of a sample in a batch, from those of one sample and of two together."""

    def share(alone: int, both: int) -> int:
        own = both - alone
        return own + math.ceil((alone - own) / batch)

    kept = two.activations - one.activations
    saved = share(one.saved_bytes, two.saved_bytes)
    return Operations(
        share(one.macs, two.macs),
        share(one.train_macs, two.train_macs),
        kept,
        share(one.skipped_macs, two.skipped_macs),
        share(one.skipped_train_macs, two.skipped_train_macs),
        saved,
    )


def _counted(shadow: nn.Module, samples: Tensor, recompute: bool) -> tuple[Operations, Operations]:
    """Count one sample and two: what the second one adds is a sample's own."""
    return _count(shadow, samples[:1], recompute), _count(shadow, samples, recompute)


@torch.enable_grad()
def _count(shadow: nn.Module, samples: Tensor, recompute: bool) -> Operations:
    # A batch has memory of its own: a view would keep that of more samples.
    samples = torch.empty(samples.shape, dtype=samples.dtype, device="meta")
    saved, anew = _Saved(shadow), _Anew(shadow)
    with recomputing(shadow, anew.block) if recompute else contextlib.nullcontext(), _skipped_in(shadow) as skipped:
        with _Products() as products, saved_tensors_hooks(saved.keep, lambda kept: kept):
            outputs = shadow(samples)
        forward, kept, left_out = products.macs, products.tracked(), sum(first for first, _ in skipped)
        if outputs.requires_grad:
            with products:
                outputs.sum().backward()
    both = sum(first + second for first, second in skipped)
    return Operations(forward, products.macs, kept, left_out, both, saved.bytes + anew.largest)


class _Anew:
    """Notes what autograd keeps of a block that is computed anew: one at a time does so, and the largest counts."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.largest = 0

    @contextlib.contextmanager
    def block(self) -> Iterator[None]:
        saved = _Saved(self._model)
        with saved_tensors_hooks(saved.keep, lambda kept: kept):
            yield
        self.largest = max(self.largest, saved.bytes)


@contextlib.contextmanager
def _skipped_in(shadow: nn.Module) -> Iterator[list[tuple[int, int]]]:
    """Collect meanwhile what sparse layers compute that an ideal kernel would leave out, a pair for each call."""
    found: list[tuple[int, int]] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], outputs: Any) -> None:
        assert isinstance(layer, SparseLayer)
        found.append(layer.skipped(inputs[0], outputs[0] if isinstance(outputs, tuple) else outputs))

    handles = [layer.register_forward_hook(note) for layer in shadow.modules() if isinstance(layer, SparseLayer)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


class _Saved:
    """Adds up the memory of tensors that autograd keeps, each once however many layers keep it or a view of it."""

    def __init__(self, model: nn.Module) -> None:
        self._held = {tensor.untyped_storage()._cdata for tensor in model.parameters()}
        self._kept: dict[int, torch.UntypedStorage] = {}

    def keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._held:
            self._kept[storage._cdata] = storage  # held on to, so that no other gets its place in memory
        return tensor

    @property
    def bytes(self) -> int:
        return sum(storage.nbytes() for storage in self._kept.values())


class _Products(TorchDispatchMode):
    """Counts multiply-accumulates by PyTorch's own formulae, and remembers the outputs of products and embeddings.

    This is what ``FlopCounterMode`` does, and what its first use brings along is left out: PyTorch's compiler, whose
    import takes longer than a small run and which would stay in the memory of each process that trains.
    """

    def __init__(self) -> None:
        from torch.utils.flop_counter import flop_registry  # heavy, and most commands count nothing

        super().__init__()
        self.formulae = {**flop_registry, **_attention(flop_registry)}
        self.kinds = {*self.formulae, torch.ops.aten.embedding}
        self.flops = 0
        self.outputs: list[Tensor] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: else PyTorch wraps this class into something that imports the compiler."""
        return False

    @property
    def macs(self) -> int:
        return self.flops // 2

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = function.overloadpacket
        result = result_of(function, args, kwargs)
        if kind in self.formulae:
            self.flops += self.formulae[kind](*args, **kwargs, out_val=result)
        if kind in self.kinds:
            self.outputs.append(result[0] if isinstance(result, tuple) else result)
        return result

    def tracked(self) -> int:
        """Return the numbers in the outputs that autograd tracks: it marks them only after this mode has seen them."""
        return sum(output.numel() for output in self.outputs if output.requires_grad)


def _attention(formulae: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return what counts the CPU's fused attention, which PyTorch's formulae leave out: as they count a GPU's."""
    aten = torch.ops.aten
    forward, backward = aten._scaled_dot_product_flash_attention, aten._scaled_dot_product_flash_attention_backward
    return {
        aten._scaled_dot_product_flash_attention_for_cpu: formulae[forward],
        aten._scaled_dot_product_flash_attention_for_cpu_backward: formulae[backward],
    }
