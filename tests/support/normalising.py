"""Normalisation, shortcut and ReLU in double precision, from the formula, with what rounding may take away from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bench.models.normalisation import BatchNorm, GroupNorm
from bench.models.resnet import norm_layer

Layer = BatchNorm | GroupNorm
Path = Literal["compiled", "PyTorch"]
ROUNDING = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8, torch.float64: 2.0**-53}
BLOCK = 64  # values that are added up in single precision at most


@dataclass
class Values:
    """Outputs and gradients, or the error bounds of each; ``before_relu`` bounds nothing."""

    before_relu: Tensor
    outputs: Tensor
    d_inputs: Tensor
    d_gain: Tensor
    d_bias: Tensor
    d_shortcut: Tensor


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def images(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return random(*shape, seed=seed, dtype=dtype).contiguous(memory_format=torch.channels_last)


def layer_of(kind: str, channels: int) -> Layer:
    layer = norm_layer("batch" if kind == "batch" else "group", channels)
    layer.weight.data, layer.bias.data = 0.5 + random(channels, seed=7).abs(), random(channels, seed=8)
    return layer


def exact(
    layer: Layer, z: Tensor, shortcut: Tensor | None, relu: bool, gradient: Tensor, path: Path = "compiled"
) -> tuple[Values, Values]:
    """Return the formula's values and gradients, term by term as they are found on paper, and their error bounds."""
    dtype = z.dtype
    added = torch.zeros_like(z).double() if shortcut is None else shortcut.to(dtype).double()
    z, gradient = z.double(), gradient.double()
    gain, bias = (values.detach().double()[:, None, None] for values in (layer.weight, layer.bias))
    mean_of = means(layer)
    mean = mean_of(z)
    variance = mean_of((z - mean) ** 2)
    inverse = (variance + layer.eps).rsqrt()
    scaled = (z - mean) * inverse
    before_relu = scaled * gain + bias + added
    outputs = before_relu.relu() if relu else before_relu
    g = gradient * (before_relu > 0) if relu else gradient
    level, slope = mean_of(gain * g), mean_of(gain * g * scaled)
    d_inputs = inverse * (gain * g - level - scaled * slope)
    values = Values(before_relu, outputs, d_inputs, of_channels(g * scaled), of_channels(g), g)

    unit, narrow = 2.0**-24, max(ROUNDING[dtype], 2 * 2.0**-24)
    # The sums are those of differences from the first value; PyTorch's of the values themselves.
    first = z[:1, :, :1, :1] if isinstance(layer, BatchNorm) else z[:, :, :1, :1]
    origin = 0 if path == "PyTorch" else first
    spread = 1 + mean_of((mean - origin) ** 2) / (variance + layer.eps)
    sums = BLOCK * unit * spread  # relative error of sums and deviation
    far = 4 * unit * (z.abs() + mean.abs()) * inverse  # of z * scale + shift, where both are large; the mean's own
    sizes, size = (gain * g).abs(), mean_of((gain * g).abs())
    parts = sizes + size + scaled.abs() * (size + mean_of(sizes * scaled.abs()))
    of_outputs = (far + sums * (1 + scaled.abs())) * gain + 2 * unit * (bias.abs() + added.abs())
    of_outputs += narrow * outputs.abs()
    if shortcut is not None:
        of_outputs += narrow * (before_relu - added).abs()  # PyTorch rounds before it adds
    of_d_inputs = inverse * (sums * parts + far * (slope.abs() + level.abs() * scaled.abs())) + narrow * d_inputs.abs()
    of_d_gain = of_channels((sums * (1 + scaled.abs()) + far) * g.abs())
    of_d_bias = of_channels(BLOCK * unit * g.abs())
    return values, Values(before_relu, of_outputs, of_d_inputs, of_d_gain, of_d_bias, torch.zeros_like(g))


def means(layer: Layer) -> Callable[[Tensor], Tensor]:
    """Return what takes the mean over the values that are normalised together, repeated for each of them."""

    def mean_of(values: Tensor) -> Tensor:
        if isinstance(layer, BatchNorm):
            return values.mean((0, 2, 3), keepdim=True).expand_as(values)
        groups = values.reshape(len(values), layer.num_groups, -1)
        return groups.mean(2, keepdim=True).expand_as(groups).reshape(values.shape)

    return mean_of


def of_channels(values: Tensor) -> Tensor:
    return values.sum((0, 2, 3))


def compare(
    path: Path, layer: Layer, z: Tensor, shortcut: Tensor | None, relu: bool, gradient: Tensor | None = None
) -> Values:
    """Compare a layer's outputs and gradients with the exact ones and return the error bounds."""
    if gradient is None:  # channels last as z: of other layouts PyTorch's gradients of bfloat16 are coarse
        gradient = images(*z.shape, seed=3, dtype=z.dtype)
    values, bounds = exact(layer, z, shortcut, relu, gradient, path)
    if relu:  # Where rounding decides on the ReLU's side, either is right: no gradient arrives there.
        gradient = torch.where(values.before_relu.abs() > 2 * bounds.outputs, gradient, 0)
        values, bounds = exact(layer, z, shortcut, relu, gradient, path)
    z = z.detach().requires_grad_()
    shortcut = None if shortcut is None else shortcut.detach().requires_grad_()
    outputs = layer(z, shortcut, relu=relu)
    assert outputs.dtype == z.dtype
    wanted = [z, layer.weight, layer.bias, *([] if shortcut is None else [shortcut])]
    found = torch.autograd.grad(outputs, wanted, gradient)
    near(outputs, values.outputs, bounds.outputs)
    names = ("d_inputs", "d_gain", "d_bias", "d_shortcut")
    for name, tensor, d_tensor in zip(names, wanted, found, strict=False):
        assert d_tensor.dtype == tensor.dtype
        near(d_tensor, getattr(values, name), getattr(bounds, name))
    return bounds


def near(found: Tensor, expected: Tensor, error: Tensor) -> None:
    """Compare tensors value by value."""
    worst = ((found.detach().double() - expected).abs() / (error + 1e-30)).max()
    assert worst <= 1, f"{float(worst):.2f} times the largest error that rounding explains"


def layouts(values: Tensor) -> dict[str, Tensor]:
    """Return the same values in other layouts."""
    samples, channels, height, width = values.shape
    wide, spaced, longer = (
        torch.full(shape, 9.0).contiguous(memory_format=torch.channels_last)
        for shape in (
            (samples, 2 * channels, height, width),
            (samples, channels, 2 * height, 2 * width),
            (samples + 1, channels, height, width),
        )
    )
    wide[:, :channels], spaced[:, :, ::2, ::2], longer[1:] = values, values, values
    return {
        "contiguous": values.contiguous(),
        "channels of a wider map": wide[:, :channels],
        "every other position": spaced[:, :, ::2, ::2],
        "all but the first sample": longer[1:],
        "turned": values.transpose(2, 3).contiguous().transpose(2, 3),
    }
