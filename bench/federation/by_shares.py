"""Clients of one size that draw classes by shares of their own, and samples of these without replacement."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.federation import pachinko

# Added to the share of every class that is left, so that a client whose classes have all run out can go on drawing.
SMALLEST_SHARE = 1e-5


def lda(labels: np.ndarray, clients: int, size: int, law: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the clients of the balanced Dirichlet split, all of one size.

    Source: Hsu, Qi, Brown, "Measuring the effects of non-identical data distribution for federated visual
    classification" (2019), in the variant that PriSM's experiments use. Client after client draws ``size`` classes
    from its own ``q ~ Dir(law)`` and takes one sample of the class drawn. When a class runs out its share becomes 0,
    every class that is left gains 1e-5, and the shares are normalised; the same is done once at the start of each
    client. Late clients get what is left, so that their shares stray from ``q``.

    The result has the law of drawing sample by sample: draws are independent as long as no class runs out, so a whole
    run is drawn at once, kept up to the draw that empties a class, and drawn anew from there with the new shares.
    """
    pools = _pools(labels, rng)
    own = rng.dirichlet(law, size=clients)

    def renewed(client: int, share: np.ndarray | None, left: np.ndarray) -> np.ndarray:
        return _without_empty(own[client] if share is None else share, left)

    return _by_shares(pools, clients, size, renewed, rng)


def allocate(
    labels: np.ndarray,
    clients: int,
    size: int,
    law: tuple[float, float],
    coarse: np.ndarray | None,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Return the clients of Pachinko allocation, all of one size: as :func:`lda`, by shares drawn down a hierarchy."""
    of_classes = pachinko.hierarchy(labels, coarse)
    pools = _pools(labels, rng)
    shares = pachinko.shares_of(of_classes, clients, *law, rng)
    return _by_shares(pools, clients, size, lambda client, _, left: shares(client, left), rng)


def _pools(labels: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the samples of each class that there is, shuffled."""
    return [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]


def _by_shares(
    pools: list[np.ndarray],
    clients: int,
    size: int,
    renewed: Callable[[int, np.ndarray | None, np.ndarray], np.ndarray],
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Return clients that draw classes by their own shares, and a sample of each class drawn, without replacement.

    Args:
        pools: the samples of each class.
        clients, size: how many clients, and how many samples each draws.
        renewed: from a client, its shares so far (None at its start) and the samples left of each class to its shares.
        rng: the stream to draw from.
    """
    left = np.array([len(pool) for pool in pools])
    members = np.empty((clients, size), dtype=np.int64)
    for client in range(clients):
        taken, share = 0, renewed(client, None, left)
        while taken < size:
            draws = rng.choice(len(pools), size=size - taken, p=share)
            kept = draws[: _draws_until_empty(draws, left)]
            for label in np.unique(kept):
                places = taken + np.flatnonzero(kept == label)
                left[label] -= len(places)
                members[client, places] = pools[label][left[label] : left[label] + len(places)]
            taken += len(kept)
            if taken < size:
                share = renewed(client, share, left)
    return list(members)


def _without_empty(share: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Return the class shares with those of empty classes set to 0."""
    share = np.where(left > 0, share + SMALLEST_SHARE, 0.0)
    return share / share.sum()


def _draws_until_empty(draws: np.ndarray, left: np.ndarray) -> int:
    """Return the length of the prefix of ``draws`` that ends with the first draw to empty a class."""
    drawn = np.bincount(draws, minlength=len(left))
    emptied = np.flatnonzero((drawn >= left) & (left > 0))
    return min((np.flatnonzero(draws == label)[left[label] - 1] + 1 for label in emptied), default=len(draws))
