"""Clients of different capacity: profiles of keep ratios, and which client has which."""

from __future__ import annotations

import math

import numpy as np

from bench.cell import Cell
from bench.errors import BenchError
from bench.seeding import stream

Capacities = tuple[tuple[float, float], ...]
EXAMPLE = "0.2:0.6,0.4:0.4"


def capacities_of(cell: Cell, clients: int) -> np.ndarray:
    """Return the keep ratio of each client, float64 ``[clients]``: fixed for the whole run, the same for every method.

    Each keep ratio goes to its share of the clients exactly (:func:`counts_of`); who they are is a random permutation,
    which depends on the seed alone.
    """
    if not cell.capacities:
        return np.full(clients, cell.keep)
    keeps = np.repeat([keep for keep, _ in cell.capacities], counts_of(cell.capacities, clients))
    return stream(cell.seed, "capacity").permutation(keeps)


def counts_of(capacities: Capacities, clients: int) -> np.ndarray:
    """Return how many clients have each keep ratio, int64, by the method of the largest remainder.

    Every share of the clients is rounded down, and the clients that are left go to the largest fractions, the smaller
    keep ratio first where two are equal.
    """
    # Rounded, so that 0.29 * 100 = 28.999999999999996 is 29 clients, and equal remainders are equal.
    exact = np.round([share * clients for _, share in capacities], 9)
    counts = np.floor(exact).astype(np.int64)
    largest = np.argsort(np.round(counts - exact, 9), kind="stable")
    counts[largest[: clients - counts.sum()]] += 1
    return counts


def mean_keep(capacities: Capacities) -> float:
    """Return the mean keep ratio over the clients by their shares."""
    return round(math.fsum(keep * share for keep, share in capacities), 12)


def read_profile(text: str, clients: int) -> Capacities:
    """Return the (keep ratio, share of the clients) pairs of a profile as it is written, ascending.

    Args:
        text: "keep ratio:share", with commas between, for example "0.2:0.6,0.4:0.4".
        clients: clients of the federation.

    Raises:
        BenchError: it is not written so, a keep ratio or share is not possible or stands there twice, the shares do
            not add up to 1, or a share is too small for a single client.
    """
    refusal = f"keep = {text!r} is not possible"
    try:
        capacities = tuple(sorted((float(keep), float(share)) for keep, share in _pairs(text)))
    except ValueError:
        raise BenchError(
            f"{refusal}; allowed: a keep ratio above 0 and up to 1, or keep ratios with their shares of the clients, "
            f"for example {EXAMPLE!r}"
        ) from None
    keeps, shares = [keep for keep, _ in capacities], [share for _, share in capacities]
    for name, values in (("keep ratio", keeps), ("share", shares)):
        for value in values:
            if not 0 < value <= 1:
                raise BenchError(f"{refusal}: the {name} {value:g} is outside of what is allowed: above 0 and up to 1")
    for keep in keeps:
        if keeps.count(keep) > 1:
            raise BenchError(f"{refusal}: the keep ratio {keep:g} stands there twice; allowed: each once")
    if not math.isclose(math.fsum(shares), 1, abs_tol=1e-9):
        raise BenchError(f"{refusal}: the shares add up to {math.fsum(shares):.6g}; allowed: shares that add up to 1")
    for (keep, share), count in zip(capacities, counts_of(capacities, clients), strict=True):
        if count == 0:
            raise BenchError(
                f"{refusal}: none of {clients} clients would have the keep ratio {keep:g} by its share {share:g}; "
                "allowed: shares of at least one client"
            )
    return capacities


def _pairs(text: str) -> list[tuple[str, str]]:
    """Return the parts of a profile; a ValueError where one is not made of two."""
    return [(keep, share) for keep, share in (part.split(":") for part in text.split(","))]
