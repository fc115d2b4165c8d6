"""Small federations, their clients' jobs, and the comparison of what came of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import CNN, LSTM, RESNET, assert_equal, federation
from reference import SIZE

from bench.federation.federation import Federation
from bench.training.local import Job, Trained

ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
TWO_SIZES = {**SIZE, "samples_per_client": 21, "lr": 0.01}
"""Batches of 8 and a last one of 5."""

CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("fedavg", CNN, {}),
    ("prism", CNN, {}),
    ("prism", CNN, {"capacities": "0.2:0.5,0.6:0.5"}),
    ("prism", RESNET, {"parameters": {"sigma": "absorbed"}}),
    ("prism", CNN, {"parameters": {"client_momentum": "carry"}}),
    ("prism", LSTM, {"parameters": {"as_released": True}}),
    ("prism", RESNET, {"model": {"width": 4, "norm": "group"}}),
    ("prism", CNN, {"parameters": {"frobenius_decay": 0.3}}),
    ("origdrop", RESNET, {}),
    ("origdrop", RESNET, {"parameters": {"variant": "released"}}),
    ("orthdrop", CNN, {"parameters": {"tail": "drop"}}),
    ("unbiased", CNN, {"parameters": {"clip_tau": 1.5}}),
    ("collective", LSTM, {}),
    ("prism", CNN, {"diagnostics": "all"}),
    ("fedavg", LSTM, {}),
    ("prism", CNN, {"training": {"drop_last": True}}),
    ("prism", CNN, {"training": {"validation": 0.2}}),
    ("fedavg", CNN, {"training": {"clip_norm": 0.3}}),
    ("prism", CNN, {"training": {"momentum": 0.0}}),
    ("prism", CNN, {"training": {"momentum": 0.0}, "parameters": {"client_momentum": "carry"}}),
    ("prism", CNN, {"training": {"precision": "bf16"}}),
    ("fedavg", CNN, {"uneven": True}),
    ("heterofl", CNN, {"capacities": "0.2:0.5,0.6:0.5", "parameters": {"gradient_clip": 0.3}}),
    ("heterofl", RESNET, {"capacities": "0.2:0.5,0.6:0.5", "partition": "lda", "alpha": 0.1}),
    ("fedrolex", RESNET, {"model": {"width": 4, "norm": "group"}}),
    ("federated_dropout", LSTM, {}),
    ("fedhm", CNN, {"capacities": "0.2:0.5,1:0.5", "parameters": {"masked_loss": True}}),
]


def build(method: str, task: str = CNN, **values: Any) -> Federation:
    training = {**TWO_SIZES, **values.pop("training", {})}
    uneven, keep = values.pop("uneven", False), values.pop("capacities", 1.0 if method == "fedavg" else 0.4)
    built = federation(method, task, training=training, keep=keep, **values)
    if uneven:  # the same samples, 21 on average
        built.partition = replace(built.partition, offsets=np.array([0, 3, 27, 62, 84]))
    return built


def jobs_of(built: Federation, count: int = 1, **values: Any) -> list[Job]:
    """Return the first clients' jobs of round 1, with sub-models that nobody else holds."""
    server = built.method.setup(built.initial_model(), built.task)
    selections = built.method.select(server, built.cohort(1), built.streams("selection", 1))[:count]
    return [Job(s.client.number, 1, built.method.extract(server, s), **values) for s in selections]


def assert_trained_alike(ours: Trained, theirs: Trained) -> None:
    assert (ours.loss, ours.passes) == (theirs.loss, theirs.passes)
    assert_equal(ours.parameters, theirs.parameters)
    assert_equal(ours.momentum, theirs.momentum)
