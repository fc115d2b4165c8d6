"""The recurrence of an LSTM layer with factored matrices, element-wise work in compiled loops, for the CPU.

The input's share of the gates is never made for the whole sequence: at each step one product gives the gates from
the reduced hidden state and the reduced input side by side. So a step is two products and one pass over the gates, and
the gradients of both matrices' U come from one product over each few steps.

Under autocast the large products are in bfloat16. Those with V of the hidden state stay in float32: they are so small
that PyTorch needs three times as long to begin them in bfloat16. All arithmetic in the loops is in float32, and so is
the cell state. Where oneDNN has no products in bfloat16, the same numbers are multiplied in float32 and rounded to
bfloat16, as its units would do: PyTorch's own loops take two to sixteen times as long.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench import kernels
from bench.numerics.processor import onednn_multiplies_bf16

_CHUNK = 16  # steps whose gradients of gates stay in the processor's cache until the gradients of U are made of them


def compiles(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether there are compiled loops for tensors of a type on a device."""
    return device.type == "cpu" and dtype in kernels.SUFFIXES and kernels.library() is not None


def compiled_layer(
    sequence: Tensor, into: tuple[Tensor, Tensor], recurrent: tuple[Tensor, Tensor], bias: Tensor, dtype: torch.dtype
) -> Tensor:
    """Return what ``low_rank_lstm_layer`` does, in ``dtype`` (float32 or bfloat16); the parameters are float32."""
    given = _product(sequence.to(dtype), into[1].to(dtype).T)
    stacked = torch.cat([recurrent[0].T, into[0].T])
    return _CompiledRecurrence.apply(given, stacked.float(), recurrent[1].float(), bias.float())


class _Tensors(ctypes.Structure):
    """The sizes, tensors and strides of a pass over a sequence, see ``Layer`` in the C++ source."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "size")),
        *((name, ctypes.c_void_p) for name in ("gates", "bias", "cell", "hidden", "arriving")),
        *((name, ctypes.c_int64) for name in ("step_stride", "row_stride")),
        *((name, ctypes.c_void_p) for name in ("d_hidden", "d_cell", "d_gates")),
        ("chunk", ctypes.c_int64),
    ]


class _CompiledRecurrence(torch.autograd.Function):
    """h_t, c_t = cell([h_{t-1} V^T, given_t] stacked + bias, c_{t-1}), with gates in the order i, f, g, o."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, stacked: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        (length, batch, _), (rank, size) = given.shape, v.shape
        gates = given.new_empty(length, batch, 4 * size)
        cell = given.new_empty(length + 1, batch, size, dtype=torch.float32)
        hidden = given.new_empty(length + 1, batch, size)
        cell[0], hidden[0] = 0, 0
        reduced = given.new_empty(length, batch, len(stacked))
        reduced[:, :, rank:] = given
        tensors = _Tensors(batch, size, *map(Tensor.data_ptr, (gates, bias, cell, hidden)))
        loop = _loop("forward", given.dtype, tensors)
        steps = zip(hidden.unbind(), reduced[:, :, :rank].unbind(), reduced.unbind(), gates.unbind(), strict=False)
        v_transposed, stacked = v.T.contiguous(), stacked.to(given.dtype)
        factor = _multiplied(stacked)
        for t, (before, low, all_low, all_gates) in enumerate(steps):
            _multiply(before, v_transposed, low)
            _multiply(all_low, factor, all_gates)
            loop(t)
        ctx.save_for_backward(gates, cell, hidden, reduced, stacked, v, bias)
        return hidden[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        gates, cell, hidden, reduced, stacked, v, bias = ctx.saved_tensors
        (length, batch, _), (rank, size) = gates.shape, v.shape
        arriving = gradients[0] if gradients[0].stride(2) == 1 else gradients[0].contiguous()
        d_hidden, d_cell = torch.zeros_like(cell[:2]).unbind()
        d_gates, d_reduced = torch.empty_like(gates[:_CHUNK]), torch.empty_like(reduced)
        d_stacked, d_bias = torch.zeros_like(stacked, dtype=torch.float32), torch.zeros_like(bias)
        tensors = _Tensors(
            batch, size, *map(Tensor.data_ptr, (gates, bias, cell, hidden, arriving)), *arriving.stride()[:2],
            *map(Tensor.data_ptr, (d_hidden, d_cell, d_gates)), len(d_gates),
        )  # fmt: skip
        loop = _loop("backward", gates.dtype, tensors)
        flat, all_lows, lows = d_gates.unbind(), d_reduced.unbind(), d_reduced[:, :, :rank].unbind()
        factor = _multiplied(stacked.T.contiguous())
        for t in reversed(range(length)):
            loop(t)
            _multiply(flat[t % _CHUNK], factor, all_lows[t])
            torch.mm(lows[t].float(), v, out=d_hidden)
            if t % _CHUNK == 0:
                chunk = d_gates[: length - t].flatten(0, 1)
                _add_product(d_stacked, reduced[t : t + _CHUNK].flatten(0, 1), chunk)
                d_bias += chunk.sum(0, dtype=torch.float32)
        d_v = _product(d_reduced.flatten(0, 1)[:, :rank].T, hidden[:-1].flatten(0, 1))
        return d_reduced[:, :, rank:], d_stacked, d_v, d_bias


def _loop(pass_: str, dtype: torch.dtype, tensors: _Tensors) -> Callable[[int], object]:
    """Return the compiled loop over one step of a pass; it takes the step's index."""
    function = getattr(kernels.library(), f"lstm_{pass_}_{kernels.SUFFIXES[dtype]}")
    return functools.partial(function, ctypes.byref(tensors))


def _multiplied(matrix: Tensor) -> Tensor:
    """Return a matrix in the type that products with it are computed in, see the top of this file."""
    return matrix if matrix.dtype != torch.bfloat16 or onednn_multiplies_bf16() else matrix.float()


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Return left @ right, computed in float32 where that is quicker, in their common type."""
    return (_multiplied(left) @ _multiplied(right)).to(left.dtype)


def _multiply(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Write left @ right to ``out``, computed in the type of ``right``."""
    if left.dtype == right.dtype == out.dtype:
        torch.mm(left, right, out=out)
    else:
        out.copy_(left.to(right.dtype) @ right)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left^T right to a float32 matrix."""
    if left.dtype == torch.float32:
        total.addmm_(left.T, right)
    else:
        total.add_(_product(left.T, right))
