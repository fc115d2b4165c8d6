"""In which numbers a model computes: single precision, or bfloat16 where that is enough."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.numerics import processor

Precision = Literal["fp32", "tf32", "bf16"]
"""``fp32``: single precision throughout. ``tf32``: matrix products and convolutions round their factors to 10 bits
where a CUDA GPU has units for that. ``bf16``: the model computes in bfloat16 where PyTorch's
autocast does; weights, their updates, losses and statistics stay in single precision. All of the server's work is in
single precision in each of them."""


def check_precision(precision: Precision, device: str) -> None:
    """Refuse tf32 where it would be fp32 under another name.

    Raises:
        BenchError: the device is no CUDA GPU.
    """
    if precision == "tf32" and not device.startswith("cuda"):
        raise BenchError(f"precision = 'tf32' is for CUDA GPUs; on the device {device!r} allowed: fp32, bf16")


def emulation(precision: str, device: str) -> str:
    """Return in a line that a device only emulates a precision, and what that costs; empty where it does not."""
    if precision != "bf16" or device != "cpu" or processor.has_bf16():
        return ""
    return (
        f"precision = 'bf16' is emulated on this processor ({processor.described()}), which has no units for it "
        "(AVX-512-BF16 or AMX): it takes several times as long as fp32"
    )


def outputs_of(model: nn.Module, inputs: Tensor, precision: Precision) -> Tensor:
    """Return a model's outputs, computed in a precision but never narrower than float32.

    The context is entered anew for each pass: within one, the weights' narrow copies are kept, whatever a step of the
    optimiser has made of them since.
    """
    narrow = precision == "bf16"
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=narrow), _lstm_possible(model, inputs, narrow):
        outputs = model(inputs)
    return outputs.float() if outputs.dtype == torch.bfloat16 else outputs


@contextlib.contextmanager
def _lstm_possible(model: nn.Module, inputs: Tensor, narrow: bool) -> Iterator[None]:
    """Keep a model with a dense LSTM from oneDNN where that has none in bfloat16 for this processor.

    PyTorch's own operations take its place: products in bfloat16, states in single precision.
    """
    dense = (isinstance(module, nn.LSTM) or getattr(module, "calls_dense_lstm", False) for module in model.modules())
    if not narrow or inputs.device.type != "cpu" or processor.onednn_trains_bf16_lstm() or not any(dense):
        yield
        return
    before = torch.backends.mkldnn.set_flags(_enabled=False, _fp32_precision=None)
    try:
        yield
    finally:
        torch.backends.mkldnn.set_flags(_enabled=before[0], _fp32_precision=None)


@contextlib.contextmanager
def products_in(precision: Precision) -> Iterator[None]:
    """Let a GPU's products round as a precision says: in a model's passes, not in the server's work beside them.

    PyTorch's own default rounds in convolutions.
    """
    cudnn, cublas = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, cublas.allow_tf32
    cudnn.allow_tf32 = cublas.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        cudnn.allow_tf32, cublas.allow_tf32 = before
