"""Data that stays on the device is the data that is brought there piece by piece."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from trained import build

from bench.data import transfer
from bench.data.dataset import Split
from bench.training.evaluation import batch_count, score_batches


def test_samples_are_the_same_from_host_and_device() -> None:
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 256, (9, 1, 2, 2), dtype=np.uint8), rng.integers(0, 5, 9))
    for array in (split.inputs, split.labels):
        array.setflags(write=False)  # as memory-mapped files are
    host, device = (transfer.Samples(split, torch.device("cpu"), resident) for resident in (False, True))
    for chosen in (np.array([3, 1, 8]), slice(4, 8), slice(8, 12)):
        for ours, theirs, array in zip(host[chosen], device[chosen], (split.inputs, split.labels), strict=True):
            assert torch.equal(ours, theirs) and np.array_equal(ours.numpy(), array[chosen])
            assert ours.dtype == theirs.dtype


def test_resident_samples_give_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    built = build("fedavg")
    model, batches = built.initial_model(), range(batch_count(built))
    expected = score_batches(model, built, batches)
    monkeypatch.setattr(transfer, "_fits", lambda split, device: True)
    resident = build("fedavg")
    assert score_batches(model, resident, batches) == expected
    assert resident.evaluated_samples._resident is not None and score_batches(model, built, []) == []
