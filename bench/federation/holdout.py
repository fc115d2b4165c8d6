"""Samples that clients hold out of their training, to tune by without a look at the test set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bench.errors import BenchError
from bench.federation.partition import Partition
from bench.seeding import stream


def hold_out(partition: Partition, share: float, seed: int) -> tuple[Partition, np.ndarray]:
    """Return what each client trains on, and what all of them hold out.

    Every client sets aside the same share of its own samples at random, rounded, at least one and never all; a client
    of one sample trains on it. So what is held out has, but for chance and rounding, the classes that are trained on.
    Who is held out depends on the seed alone: all methods are tuned on the same samples.

    Args:
        partition: which samples each client holds.
        share: share of a client's samples that is held out, in (0, 1).
        seed: the cell's seed.

    Returns:
        The partition without what is held out, and the indices held out, int64 ``[samples]``, in random order: batches
        of one client or class would be unlike those of a test set.

    Raises:
        BenchError: no client has two samples.
    """
    trained, held = [], []
    for client in range(len(partition)):
        members = stream(seed, "validation", client=client).permutation(partition.client(client))
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        held.append(members[:count])
        # In the order of the partition, as without anything held out.
        trained.append(partition.client(client)[~np.isin(partition.client(client), members[:count])])
    together = stream(seed, "validation order").permutation(np.concatenate(held))
    if not len(together):
        raise BenchError(
            f"validation = {share:g} holds nothing out: no client has two samples; allowed: larger clients"
        )
    offsets = np.concatenate([[0], np.cumsum([len(members) for members in trained])]).astype(np.int64)
    return replace(partition, indices=np.concatenate(trained), offsets=offsets), together
