"""Classifiers of the hidden states at a model's exits: plain ones, and those that papers have before its end."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.nn import functional

from bench.models.attention import Attention
from bench.models.base import Axes, Axis, Model
from bench.models.normalisation import BatchNorm, GroupNorm
from bench.models.resnet import ResNet, norm_layer

CONVOLUTIONS = 3
"""Of ScaleFL's early exits."""


class Head(nn.Module, ABC):
    """What turns the hidden state at an exit into outputs, built on the current default device.

    Args:
        model: the model, with its classifier, whose channels and outputs the head is made for.
        exit: the number of the exit, from 0.
    """

    @abstractmethod
    def __init__(self, model: Model, exit: int) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, hidden: Tensor) -> Tensor:
        """Return the outputs for hidden states, in the form that the model's own outputs have."""

    @abstractmethod
    def axes(self) -> dict[str, Axes]:
        """Return for each parameter the group of channels of each of its dimensions."""


class Classifier(Head):
    """A linear layer on the mean of each channel over its map, or on the map where the model's own reads that."""

    def __init__(self, model: Model, exit: int) -> None:
        super().__init__(model, exit)
        self.axis = model.exits()[exit].axis
        inputs = model.channels()[self.axis.group] * self.axis.inner
        self.linear = nn.Linear(inputs, classifier_of(model).out_features)

    def forward(self, hidden: Tensor) -> Tensor:
        if hidden.ndim == 4:
            hidden = hidden.mean((2, 3)) if self.axis.inner == 1 else hidden.flatten(1)
        outputs = self.linear(hidden)
        return outputs[..., 0] if outputs.shape[-1] == 1 else outputs

    def axes(self) -> dict[str, Axes]:
        return {"linear.weight": (None, self.axis), "linear.bias": (None,)}


class ConvolvedHead(Classifier):
    """ScaleFL's early exit: three 3 x 3 convolutions with normalisation and ReLU, the mean, a linear layer.

    Of hidden states that are no maps the linear layer alone is left.
    """

    def __init__(self, model: Model, exit: int) -> None:
        super().__init__(model, exit)
        channels = model.channels()[self.axis.group]
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        for _ in range(CONVOLUTIONS if _has_maps(model) else 0):
            self.convolutions.append(nn.Conv2d(channels, channels, 3, padding=1, bias=False))
            self.norms.append(_norm_like(model, channels))

    def forward(self, hidden: Tensor) -> Tensor:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            hidden = norm(convolution(hidden), relu=True)
        return super().forward(hidden)

    def axes(self) -> dict[str, Axes]:
        own = Axis(self.axis.group)
        axes = super().axes()
        for number in range(len(self.convolutions)):
            axes[f"convolutions.{number}.weight"] = (own, own, None, None)
            axes |= _norm_axes(f"norms.{number}", own)
        return axes


class Bottleneck(Head):
    """DepthFL's early exit: attention, then separable convolutions that halve the map on the way to the last stage's
    channels, the mean, and a linear layer.

    One pair of separable convolutions leads from each stage to the next one, so that all linear layers read as many
    channels. Attention multiplies the map by the sigmoid of a pair that halves it, enlarged again. Of hidden states
    that are no maps the linear layer alone is left.
    """

    def __init__(self, model: Model, exit: int) -> None:
        super().__init__(model, exit)
        sizes, ends = model.channels(), [end.axis.group for end in model.exits() if end.ends_stage]
        group = model.exits()[exit].axis.group
        self.groups = ends[ends.index(group) :] if _has_maps(model) else [group]
        first = sizes[group]
        self.attention = Separable(model, first, first) if _has_maps(model) else None
        self.attention_norm = _norm_like(model, first) if _has_maps(model) else None
        self.pairs = nn.ModuleList(
            Separable(model, sizes[one], sizes[other]) for one, other in zip(self.groups, self.groups[1:], strict=False)
        )
        self.linear = nn.Linear(sizes[self.groups[-1]], classifier_of(model).out_features)

    def forward(self, hidden: Tensor) -> Tensor:
        if self.attention is not None and self.attention_norm is not None:
            looked = self.attention_norm(self.attention(hidden), relu=True)
            looked = functional.interpolate(looked, hidden.shape[2:], mode="bilinear", align_corners=False)
            hidden = looked.sigmoid() * hidden
        for pair in self.pairs:
            hidden = pair(hidden)
        outputs = self.linear(hidden.mean((2, 3)) if hidden.ndim == 4 else hidden)
        return outputs[..., 0] if outputs.shape[-1] == 1 else outputs

    def axes(self) -> dict[str, Axes]:
        axes: dict[str, Axes] = {"linear.weight": (None, Axis(self.groups[-1])), "linear.bias": (None,)}
        if self.attention is not None:
            own = Axis(self.groups[0])
            axes |= _within("attention", self.attention.axes_between(own, own)) | _norm_axes("attention_norm", own)
        for number, pair in enumerate(self.pairs):
            assert isinstance(pair, Separable)
            one, other = Axis(self.groups[number]), Axis(self.groups[number + 1])
            axes |= _within(f"pairs.{number}", pair.axes_between(one, other))
        return axes


class Separable(nn.Module):
    """Two separable 3 x 3 convolutions, each with normalisation and ReLU, the first of which halves the map."""

    def __init__(self, model: Model, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depth1 = nn.Conv2d(inputs, inputs, 3, 2, 1, groups=inputs, bias=False)
        self.point1 = nn.Conv2d(inputs, inputs, 1, bias=False)
        self.norm1 = _norm_like(model, inputs)
        self.depth2 = nn.Conv2d(inputs, inputs, 3, 1, 1, groups=inputs, bias=False)
        self.point2 = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm2 = _norm_like(model, outputs)

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = self.norm1(self.point1(self.depth1(hidden)), relu=True)
        return self.norm2(self.point2(self.depth2(hidden)), relu=True)

    def axes_between(self, one: Axis, other: Axis) -> dict[str, Axes]:
        """Return the groups of each parameter's dimensions, with ``one`` on the input's side."""
        alone: Axes = (one, None, None, None)
        axes: dict[str, Axes] = {"depth1.weight": alone, "depth2.weight": alone}
        axes |= {"point1.weight": (one, one, None, None), "point2.weight": (other, one, None, None)}
        return axes | _norm_axes("norm1", one) | _norm_axes("norm2", other)


class Unnormalised(nn.Module):
    """What stands for normalisation in the heads of a model that has none: what follows it alone.

    Attributes:
        input_scale: what inputs are divided by in training (HeteroFL's scaler).
    """

    def __init__(self) -> None:
        super().__init__()
        self.input_scale = 1.0

    def forward(self, inputs: Tensor, relu: bool = False) -> Tensor:
        """Return the inputs, behind a ReLU if that is asked for."""
        inputs = inputs / self.input_scale if self.training and self.input_scale != 1 else inputs
        return functional.relu(inputs) if relu else inputs


def classifier_of(model: Model) -> nn.Linear:
    """Return the last layer of a model that has exits."""
    classifier = model.get_submodule("classifier")
    assert isinstance(classifier, nn.Linear)
    return classifier


def stage_exits(model: Model) -> tuple[int, ...]:
    """Return the numbers of the exits at which a stage ends."""
    return tuple(number for number, end in enumerate(model.exits()) if end.ends_stage)


def _has_maps(model: Model) -> bool:
    return not any(isinstance(module, nn.RNNBase | Attention) for module in model.modules())


def _norm_like(model: Model, channels: int) -> BatchNorm | GroupNorm | Unnormalised:
    """Return the kind of normalisation that a model has."""
    return norm_layer(model.norm, channels) if isinstance(model, ResNet) else Unnormalised()


def _norm_axes(name: str, axis: Axis) -> dict[str, Axes]:
    return {f"{name}.weight": (axis,), f"{name}.bias": (axis,)}


def _within(prefix: str, axes: dict[str, Axes]) -> dict[str, Axes]:
    return {f"{prefix}.{name}": of for name, of in axes.items()}
