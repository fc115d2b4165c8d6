"""The check of what a task's model tells of its structure, and so of which families of methods it can be trained by."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.api import copy_of
from bench.conformance.outcome import Failure
from bench.conformance.task_subject import SAMPLES, TaskSubject
from bench.models.base import Model, matrix
from bench.models.factorise import factorised, narrowed
from bench.models.heads import Classifier
from bench.models.low_rank import Factors
from bench.models.multi_exit import with_heads

TOLERANCE = 1e-3
"""Of the largest output: a normalised network multiplies the rounding of single precision."""


def families_are_served(subject: TaskSubject) -> str:
    """What the model tells holds, and it tells enough for one family at least, beside methods of the full model.

    Spectral methods need ``factorable``: weights of layers that have a low-rank form, which computes the same at full
    rank. Width methods need ``channels``, ``axes`` and ``narrow``: a model of half of all channels has the entries that
    the axes say, and runs. Methods that cut between layers need ``parts``: each parameter is in one of them. Those that
    end early need ``exits``, ``hidden_states`` and ``shorten``: as many hidden states as exits, the last of which the
    classifier reads, and the same ones of a model without what lies behind them.
    """
    federation = subject.federation()
    model = federation.initial_model()
    if not isinstance(model, Model):
        raise Failure(
            f"{type(model).__name__} tells nothing of its structure",
            "a subclass of bench.models.base.Model",
            "factorable alone is enough for the spectral methods",
        )
    stored = torch.from_numpy(federation.dataset.test.inputs[:SAMPLES].copy())
    inputs = federation.task.prepare(stored)
    served = []
    if model.factorable:
        _factors_hold(model, inputs)
        served.append("spectral")
    if model.channels():
        _channels_hold(model, inputs)
        served.append("width")
    if len(model.parts()) > 1:
        _parts_hold(model)
        served.append("layer")
    if model.channels() and len(model.exits()) > 1:
        _exits_hold(model, inputs)
        served.append("exits")
    if not served:
        raise Failure(
            f"{type(model).__name__} has no factorable weights, no channels and no parts to cut between",
            "enough for one family",
            "name the weights that may be factored in factorable, or the groups of channels in channels and axes",
        )
    _classes_hold(model, federation.dataset.classes)
    return f"works with methods of the full model and of the families {', '.join(served)}"


@torch.no_grad()
def _factors_hold(model: Model, inputs: Tensor) -> None:
    named = dict(model.named_parameters())
    for name in model.factorable:
        if name not in named or named[name].ndim < 2:
            raise Failure(
                f"factorable names {name!r}, which is no weight of the model",
                f"names of weights, such as {next(iter(named))!r}",
                "named_parameters() has the names",
            )
    try:
        low = factorised(model, {name: _whole(named[name]) for name in model.factorable})
    except TypeError as error:
        raise Failure(f"factorable names weights that cannot be factored: {error}", *_FACTORED) from None
    off = _distance(low, model, inputs)
    if not off <= TOLERANCE:
        raise Failure(f"with all kernels of the factorable weights outputs are off by {off:.1g}", *_FACTORED)


_FACTORED = (
    "weights of Conv2d, Linear or LSTM layers, each used by that layer alone",
    "forward() calls the layers and does not read their weights",
)


def _whole(weight: Tensor) -> Factors:
    u, s, v = torch.linalg.svd(matrix(weight.detach()).double(), full_matrices=False)
    return Factors((u * s.sqrt()).float(), (s.sqrt()[:, None] * v).float())


def _distance(one: nn.Module, other: nn.Module, inputs: Tensor) -> float:
    mine, full = one.eval()(inputs), other.eval()(inputs)
    return float((mine - full).abs().max() / full.abs().max())


@torch.no_grad()
def _channels_hold(model: Model, inputs: Tensor) -> None:
    sizes, axes, named = model.channels(), model.axes(), dict(model.named_parameters())
    for name, tensor in named.items():
        if name not in axes or len(axes[name]) != tensor.ndim:
            raise Failure(
                f"axes say {axes.get(name)!r:.80} of {name!r}, a tensor of {tensor.ndim} dimensions",
                "a group or None for each dimension of each parameter",
                "a dimension that is never cut has None",
            )
        for dimension, axis in enumerate(axes[name]):
            length = None if axis is None else axis.outer * sizes.get(axis.group, 0) * axis.inner
            if length is not None and length != tensor.shape[dimension]:
                raise Failure(
                    f"axes say that dimension {dimension} of {name!r} has {length} entries, and it has "
                    f"{tensor.shape[dimension]}",
                    "outer * channels of the group * inner",
                    "behind a flattened map of 7 x 7 the classifier's inputs have inner=49",
                )
    half = {group: torch.arange(0, size, 2) for group, size in sizes.items()}
    try:
        narrow = narrowed(model, half)
        outputs = narrow(inputs)
    except (RuntimeError, KeyError, TypeError, ValueError, IndexError) as error:
        words = " ".join(str(error).split())[:200]
        raise Failure(
            f"a model of every second channel cannot be made or run: {type(error).__name__}: {words}",
            "a narrow model of the same architecture",
            "narrow() builds one with these numbers of channels; two layers that are added share a group",
        ) from None
    if outputs.shape != model(inputs).shape or not _same_names(narrow, model):
        raise Failure(
            "a model of every second channel has other outputs or parameters",
            "the same names, and one output for each class",
            "narrow() returns the same architecture; the classes are no group of channels",
        )
    if len(set(half)) and sum(t.numel() for t in narrow.parameters()) >= sum(t.numel() for t in model.parameters()):
        raise Failure("a model of every second channel is no smaller", "fewer parameters", "narrow() takes channels")


def _same_names(one: nn.Module, other: nn.Module) -> bool:
    return [name for name, _ in one.named_parameters()] == [name for name, _ in other.named_parameters()]


def _parts_hold(model: Model) -> None:
    prefixes = [prefix for part in model.parts() for prefix in part]
    for name, _ in model.named_parameters():
        in_parts = [prefix for prefix in prefixes if name.startswith(prefix)]
        if len(in_parts) != 1:
            raise Failure(
                f"the parameter {name!r} begins with {len(in_parts)} of the prefixes of parts()",
                "one",
                "a prefix ends with a dot: 'conv1.' is no part of 'conv10.weight'",
            )


@torch.no_grad()
def _exits_hold(model: Model, inputs: Tensor) -> None:
    hint = "hidden_states() passes on what lies at each exit; shorten(exits) leaves those alone, and no classifier"
    exits, whole = len(model.exits()), list(model.eval().hidden_states(inputs))
    if len(whole) != exits:
        raise Failure(f"the model has {exits} exits and {len(whole)} hidden states", "one for each exit", hint)
    for count in range(1, exits + 1):
        shorter = _copy(model)
        shorter.shorten(count)
        own = list(shorter.hidden_states(inputs))
        if len(own) != count or not all(torch.equal(one, other) for one, other in zip(own, whole, strict=False)):
            raise Failure(
                f"shortened to {count} of its {exits} exits the model has {len(own)} hidden states, or other ones",
                "the first ones, the same to the bit",
                hint,
            )
        if count < exits and _numbers(shorter) >= _numbers(model):
            raise Failure(f"shortened to {count} of its exits the model is no smaller", "fewer parameters", hint)
    ends = with_heads(_copy(model), [exits - 1], Classifier, False, torch.Generator())
    off = _distance(ends, model, inputs)
    if not off <= TOLERANCE:
        raise Failure(
            f"the classifier on the last hidden state is off by {off:.1g} from the model's outputs",
            "the same outputs",
            "the last exit's axis says how 'classifier' reads the hidden state: inner=1 for the mean of each channel",
        )


def _copy(model: Model) -> Model:
    copied = copy_of(model)
    assert isinstance(copied, Model)
    return copied


def _numbers(model: nn.Module) -> int:
    return sum(tensor.numel() for tensor in model.parameters())


def _classes_hold(model: Model, classes: int) -> None:
    for name in model.outputs:
        named = dict(model.named_parameters())
        if name not in named or len(named[name]) != classes:
            raise Failure(
                f"outputs names {name!r}, which has no row for each of the {classes} classes",
                "weight and bias of the classifier, or nothing",
                "methods average these rows by class",
            )
