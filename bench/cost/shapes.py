"""What operations return on the meta device, made from shapes and types alone.

PyTorch works many of them out there by way of its compiler, whose import takes longer than a small run, whose memory
each process that trains would keep, and which takes most of the time of counting a network. The kinds that nearly all
of a network is made of are worked out here; all others are left to PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

aten = torch.ops.aten


def result_of(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what an operation returns on tensors of the meta device: shapes and types, and no numbers.

    Args:
        function: an overload of an operation, with its arguments.
        args, kwargs: as a dispatch mode receives them.
    """
    known = _KNOWN.get(function.overloadpacket)
    if known is not None and kwargs.keys() <= {"memory_format", "pin_memory"}:
        return known(*args, **kwargs)
    if _is_element_by_element(function, kwargs):
        return _element_by_element(function, args, kwargs)
    return function(*args, **kwargs)


def _is_element_by_element(function: Any, kwargs: dict[str, Any]) -> bool:
    if torch.Tag.pointwise not in function.tags or len(function._schema.returns) != 1 or "memory_format" in kwargs:
        return False
    return not any(isinstance(value, Tensor) for value in kwargs.values())  # one of them may be there to be filled


def _element_by_element(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Have the type of the result from the same operation on single numbers, its order in memory from the arguments."""
    if function._schema.is_mutable:
        return args[0]
    tensors = [value for value in args if isinstance(value, Tensor)]
    singles = [
        torch.ones((1,) * value.ndim, dtype=value.dtype) if isinstance(value, Tensor) else value for value in args
    ]
    shape, dtype = np.broadcast_shapes(*(tensor.shape for tensor in tensors)), function(*singles, **kwargs).dtype
    whole = next((tensor for tensor in tensors if tensor.shape == shape), None)
    return torch.empty(shape, dtype=dtype, device="meta") if whole is None else _like(whole, dtype)


def _like(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return an empty tensor of the same shape whose dimensions lie in the same order in memory, without gaps."""
    strides, numbers = [0] * tensor.ndim, 1
    for dimension in sorted(range(tensor.ndim), key=lambda dimension: (tensor.stride(dimension), -dimension)):
        strides[dimension] = numbers
        numbers *= tensor.shape[dimension]
    return torch.empty_strided(tensor.shape, strides, dtype=dtype or tensor.dtype, device="meta")


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Of matrices, or of batches of them."""
    return left.new_empty((*left.shape[:-1], right.shape[-1]))


def _sum_and_product(_: Tensor, left: Tensor, right: Tensor) -> Tensor:
    return _product(left, right)


def _clone(inputs: Tensor, memory_format: torch.memory_format | None = None, **_: Any) -> Tensor:
    if memory_format in (None, torch.preserve_format):
        return _like(inputs)
    return torch.empty(inputs.shape, dtype=inputs.dtype, device="meta", memory_format=memory_format)


def _concatenated(pieces: list[Tensor], dimension: int = 0) -> Tensor:
    pieces = [piece for piece in pieces if piece.shape != (0,)] or pieces  # PyTorch passes over these whatever the rest
    shape = list(pieces[0].shape)
    shape[dimension] = sum(piece.shape[dimension] for piece in pieces)
    return pieces[0].new_empty(shape)


def _stacked(pieces: list[Tensor], dimension: int = 0) -> Tensor:
    shape = list(pieces[0].shape)
    shape.insert(dimension % (len(shape) + 1), len(pieces))
    return pieces[0].new_empty(shape)


def _convolution(
    inputs: Tensor,
    weight: Tensor,
    _bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    *rest: Any,
) -> Tensor:
    if transposed:
        return aten.convolution(inputs, weight, _bias, stride, padding, dilation, transposed, *rest)
    sides = _sides(inputs.shape[2:], weight.shape[2:], stride, padding, dilation)
    return inputs.new_empty((inputs.shape[0], weight.shape[0], *sides))


def _convolution_backward(
    _: Tensor, inputs: Tensor, weight: Tensor, bias: Any, *rest: Any
) -> tuple[Tensor | None, ...]:
    like = (_like(inputs), _like(weight), inputs.new_empty(bias or ()))
    return tuple(one if asked else None for one, asked in zip(like, rest[-1], strict=True))


def _pooled(
    inputs: Tensor,
    window: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    if ceil_mode:
        return aten.max_pool2d_with_indices(inputs, window, stride, padding, dilation, ceil_mode)
    window, stride, padding, dilation = (
        [*sizes] * (2 // len(sizes)) for sizes in (window, stride or window, padding, dilation)
    )
    shape = (*inputs.shape[:-2], *_sides(inputs.shape[-2:], window, stride, padding, dilation))
    return inputs.new_empty(shape), inputs.new_empty(shape, dtype=torch.int64)


def _sides(*sizes: Sequence[int]) -> list[int]:
    """Return the sides that windows leave, from sides, windows, strides, padding on both ends, and dilation."""
    return [
        (side + 2 * padding - dilation * (window - 1) - 1) // stride + 1
        for side, window, stride, padding, dilation in zip(*sizes, strict=True)
    ]


def _enlarged(inputs: Tensor, sides: Sequence[int], *_: Any) -> Tensor:
    return inputs.new_empty((*inputs.shape[:2], *sides))


def _reduced_again(gradient: Tensor, _sides: Sequence[int], shape: Sequence[int], *_: Any) -> Tensor:
    return gradient.new_empty(shape)


def _like_the_second(_: Tensor, inputs: Tensor, *__: Any) -> Tensor:
    return _like(inputs)


def _put_back(gradient: Tensor, shape: Sequence[int], *_: Any) -> Tensor:
    """Of a part, into a tensor of the whole's shape."""
    return gradient.new_empty(shape)


def _taken(inputs: Tensor, dimension: int, places: Tensor) -> Tensor:
    """Of entries along a dimension."""
    shape = list(inputs.shape)
    shape[dimension] = len(places)
    return inputs.new_empty(shape)


def _written(inputs: Tensor, *_: Any) -> Tensor:
    """Of a tensor some entries of which are replaced."""
    return _like(inputs)


def _empty(inputs: Tensor, shape: Sequence[int], dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return inputs.new_empty(shape, dtype=dtype)


def _reduced(inputs: Tensor, over: Sequence[int] | None = None, keep: bool = False) -> Tensor:
    """Of a sum or a mean over all dimensions or these."""
    gone = {dimension % max(inputs.ndim, 1) for dimension in over or range(inputs.ndim)}
    sides = (1 if dimension in gone else side for dimension, side in enumerate(inputs.shape))
    return inputs.new_empty([side for dimension, side in enumerate(sides) if keep or dimension not in gone])


def _batch_norm(inputs: Tensor, *_: Any) -> tuple[Tensor, ...]:
    channels = inputs.shape[1]
    return _like(inputs), inputs.new_empty(channels), inputs.new_empty(channels)


def _group_norm(inputs: Tensor, _weight: Any, _bias: Any, samples: int, *rest: Any) -> tuple[Tensor, ...]:
    groups = rest[2]
    return _like(inputs), inputs.new_empty(samples, groups), inputs.new_empty(samples, groups)


def _layer_norm(inputs: Tensor, normalised: list[int], *_: Any) -> tuple[Tensor, ...]:
    kept = (*inputs.shape[: -len(normalised)], *[1] * len(normalised))
    return _like(inputs), inputs.new_empty(kept), inputs.new_empty(kept)


def _norm_backward(weight: int) -> Callable[..., tuple[Tensor | None, ...]]:
    """Return the gradients of inputs, weight and bias, as far as they are asked for, with the weight at this place."""

    def backward(*args: Any) -> tuple[Tensor | None, ...]:
        like = (args[1], args[weight], args[weight])
        return tuple(_like(one) if asked else None for one, asked in zip(like, args[-1], strict=True))

    return backward


def _attended(query: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
    """What the CPU's kernel returns: positions before heads in memory, and the logarithm of each row's sum."""
    samples, heads, positions, size = query.shape
    read = query.new_empty(samples, positions, heads, size).transpose(1, 2)
    return read, query.new_empty((samples, positions, heads), dtype=torch.float32).transpose(1, 2)


def _attended_backward(_: Tensor, *rest: Any, **__: Any) -> tuple[Tensor, ...]:
    shapes = ((samples, positions, heads, size) for samples, heads, positions, size in (one.shape for one in rest[:3]))
    return tuple(rest[0].new_empty(shape).transpose(1, 2) for shape in shapes)


_KNOWN: dict[Any, Callable[..., Any]] = {
    aten.mm: _product,
    aten.bmm: _product,
    aten.addmm: _sum_and_product,
    aten.baddbmm: _sum_and_product,
    aten.convolution: _convolution,
    aten.convolution_backward: _convolution_backward,
    aten.max_pool2d_with_indices: _pooled,
    aten.max_pool2d_with_indices_backward: _like_the_second,
    aten.clone: _clone,
    aten.ones_like: _clone,
    aten.cat: _concatenated,
    aten.stack: _stacked,
    aten.upsample_bilinear2d: _enlarged,
    aten.upsample_bilinear2d_backward: _reduced_again,
    aten.index_copy: _written,
    aten.index_select: _taken,
    aten.new_zeros: _empty,
    aten.slice_backward: _put_back,
    aten.select_backward: _put_back,
    aten.sum: _reduced,
    aten.mean: _reduced,
    aten.native_batch_norm: _batch_norm,
    aten.native_batch_norm_backward: _norm_backward(weight=2),
    aten.native_group_norm: _group_norm,
    aten.native_group_norm_backward: _norm_backward(weight=4),
    aten.native_layer_norm: _layer_norm,
    aten.native_layer_norm_backward: _norm_backward(weight=5),
    aten._scaled_dot_product_flash_attention_for_cpu: _attended,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attended_backward,
}
