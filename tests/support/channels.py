"""Where the parts of narrow networks lie in the whole ones, written down architecture by architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from aggregation import entry_means
from helpers import CCT, CNN, GPT, LSTM, RESNET
from torch import Tensor

from bench.api import Client, Cohort, Update

Channels = Mapping[str, Sequence[int]]
SIZES = {
    CNN: {"conv1": 64, "conv2": 64},
    RESNET: {f"stage{stage}{block}": size for stage, size in enumerate((4, 8, 16, 32)) for block in ("", ".0", ".1")},
    LSTM: {"hidden": 8},
    CCT: {"tokeniser": 2, "embedding": 8}
    | {f"block{i}.{kind}": n for i in (0, 1) for kind, n in (("head", 4), ("mlp", 16))},
    GPT: {"embedding": 8} | {f"block{i}.{kind}": n for i in (0, 1) for kind, n in (("head", 4), ("mlp", 32))},
}
"""Channels of each group of the tests' small models."""


def first(task: str, keep: float) -> dict[str, list[int]]:
    """Return the leading channels of each group: the ceiling of the share, in whole hundredths."""
    return {group: list(range(-(-round(100 * keep) * size // 100))) for group, size in SIZES[task].items()}


def places(task: str, parameter: str, shape: Sequence[int], channels: Channels) -> tuple[list[int], ...]:
    """Return the positions that a client with these channels holds along each dimension of a parameter."""
    held = [list(range(length)) for length in shape]
    {CNN: _cnn, RESNET: _resnet, LSTM: _lstm, CCT: _transformer, GPT: _transformer}[task](parameter, held, channels)
    return tuple(held)


def _cnn(parameter: str, held: list[list[int]], channels: Channels) -> None:
    layer = parameter.partition(".")[0]
    if layer != "classifier":
        held[0] = list(channels[layer])
    if parameter == "conv2.weight":
        held[1] = list(channels["conv1"])
    if parameter == "classifier.weight":
        held[1] = [channel * 49 + place for channel in channels["conv2"] for place in range(49)]


def _lstm(parameter: str, held: list[list[int]], channels: Channels) -> None:
    if parameter.startswith("lstm"):
        held[0] = [gate * 8 + unit for gate in range(4) for unit in channels["hidden"]]
    if parameter in ("lstm.weight_hh_l0", "lstm.weight_ih_l1", "lstm.weight_hh_l1", "classifier.weight"):
        held[1] = list(channels["hidden"])


def _resnet(parameter: str, held: list[list[int]], channels: Channels) -> None:
    if parameter.startswith("stem"):
        held[0] = list(channels["stage0"])
    if parameter == "classifier.weight":
        held[1] = list(channels["stage3"])
    if parameter.startswith("stages"):
        _, stage, block, layer, _ = parameter.split(".")
        hidden, after = f"stage{stage}.{block}", f"stage{stage}"
        before = f"stage{max(int(stage) - 1, 0)}" if block == "0" else after
        held[0] = list(channels[hidden if layer in ("conv1", "norm1") else after])
        if layer in ("conv1", "conv2", "project"):
            held[1] = list(channels[hidden if layer == "conv2" else before])


def _transformer(parameter: str, held: list[list[int]], channels: Channels) -> None:
    stream, layer = list(channels["embedding"]), parameter.split(".")[-2]
    if parameter.startswith("blocks."):
        block = f"block{parameter.split('.')[1]}"
        of_both_heads = [head * 4 + channel for head in range(2) for channel in channels[f"{block}.head"]]
        hidden = list(channels[f"{block}.mlp"])
        outputs, inputs = {
            "query": (of_both_heads, stream),
            "key": (of_both_heads, stream),
            "value": (of_both_heads, stream),
            "output": (stream, of_both_heads),
            "expand": (hidden, stream),
            "contract": (stream, hidden),
        }.get(layer, (stream, None))
        held[0] = outputs
        if len(held) == 2 and inputs is not None:
            held[1] = inputs
    elif layer == "norm":
        held[0] = stream
    elif layer in ("embedding", "positions", "pool", "classifier") and len(held) == 2:
        held[1] = stream
    elif layer == "conv1":
        held[0] = list(channels["tokeniser"])
    elif layer == "conv2":
        held[:2] = [stream, list(channels["tokeniser"])]


def means(
    task: str,
    before: Mapping[str, Tensor],
    updates: Sequence[Update],
    channels: Sequence[Channels],
    weights: Sequence[float],
    classes: Sequence[Sequence[int]] | None = None,
) -> dict[str, np.ndarray]:
    """Return each parameter's entries as the weighted mean over the clients that hold them, by loops.

    Args:
        task: the task, with the tests' small model.
        before: the server's parameters.
        updates: what came back.
        channels: for each client the channels of each group.
        weights: of the clients.
        classes: for each client the classes for which it counts in the classifier; None for all.
    """
    expected = {}
    for name, base in before.items():
        blocks = []
        for place, update in enumerate(updates):
            values, where = update.parameters[name], places(task, name, base.shape, channels[place])
            if classes is not None and name.startswith("classifier"):
                own = list(classes[place])
                values, where = values[own], (own, *where[1:])
            blocks.append((values, where))
        expected[name] = entry_means(base, blocks, weights)
    return expected


def cohort(keeps: Sequence[float], labels: Sequence[Sequence[int]] | None = None, round_number: int = 1) -> Cohort:
    """Return clients with these keep ratios and classes that hold 10, 20, 30, ... samples."""
    held = labels or [()] * len(keeps)
    clients = (
        Client(number, 10 * (number + 1), keep, tuple(own))
        for number, (keep, own) in enumerate(zip(keeps, held, strict=True))
    )
    return Cohort(round_number, tuple(clients))
