"""Shakespeare-like stand-in sequences: characters of a chain that looks two places back, by roles with habits."""

from __future__ import annotations

import numpy as np

from bench.data.characters import BEGIN, END, LENGTH, PADDING, encode
from bench.data.dataset import Split
from bench.seeding import stream

LETTERS = "abcdefghijklmnopqrstuvwxyz ,.\n"
SHARES = (0.6, 0.25, 0.1, 0.05)
"""How often each of the four characters follows that may follow: the best guess is right in the first's share."""
KINDS = 2
"""Of the characters two places back: what follows depends on the last character and on this kind of the one before."""
HABITS = 0.3
"""How often a role writes one of its own few characters instead."""


def dialogue(samples: int, seed: int, part: str, roles: int) -> Split:
    """Return ``samples`` sequences, inputs int16 ``[samples, 80]`` and labels int64 ``[samples, 80]``, sorted by role.

    Ids are those of :mod:`bench.data.characters`. Half of the sequences begin a text; a third end one, with padding
    behind it. No table of single characters does as well as one of pairs.

    Args:
        samples: how many; where it reaches ``roles``, every role has at least one.
        seed: the roles depend on it alone, their sequences also on ``part``.
        part: "train" or "test".
        roles: number of roles, the natural users.
    """
    own = stream(seed, "stand-in roles").integers(len(LETTERS), size=(roles, 3))
    follows = stream(0, "stand-in dialogue").permuted(
        np.tile(np.arange(len(LETTERS)), (KINDS, len(LETTERS), 1)), axis=2
    )[:, :, : len(SHARES)]
    rng = stream(seed, f"stand-in dialogue {part}")
    users = np.sort(np.arange(samples) % roles)
    written = np.empty((samples, LENGTH + 1), dtype=np.int64)
    written[:, :2] = rng.integers(len(LETTERS), size=(samples, 2))
    for place in range(2, LENGTH + 1):
        drawn = rng.choice(len(SHARES), size=samples, p=SHARES)
        following = follows[written[:, place - 2] % KINDS, written[:, place - 1], drawn]
        habit = own[users, rng.integers(own.shape[1], size=samples)]
        written[:, place] = np.where(rng.random(samples) < HABITS * (place % 7 == 0), habit, following)
    ids = encode(LETTERS)[written]
    ids[rng.random(samples) < 1 / 2, 0] = BEGIN
    ends = np.where(rng.random(samples) < 1 / 3, rng.integers(LENGTH // 4, LENGTH, size=samples), LENGTH + 1)[:, None]
    ids[np.arange(LENGTH + 1) == ends] = END
    ids[np.arange(LENGTH + 1) > ends] = PADDING
    return Split(ids[:, :-1].copy(), ids[:, 1:].astype(np.int64), users.astype(np.int32))
