"""Clients of different capacity: which client has which keep ratio."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bench.cell import Cell
from bench.seeding import stream

Capacities = tuple[tuple[float, float], ...]


def capacities_of(cell: Cell, clients: int) -> np.ndarray:
    """Return the keep ratio of each client, float64 ``[clients]``: fixed for the whole run, the same for every method.

    Each keep ratio goes to its share of the clients exactly (:func:`counts_of`); who they are is a random permutation,
    which depends on the seed alone.
    """
    if not cell.capacities:
        return np.full(clients, cell.keep)
    keeps = np.repeat([keep for keep, _ in cell.capacities], counts_of(cell.capacities, clients))
    return stream(cell.seed, "capacity").permutation(keeps)


def capacity_of_round(cell: Cell, client: int, round_number: int) -> float:
    """Return the keep ratio that a client draws for one round, where capacities are dynamic (HeteroFL).

    Each is drawn with the probability of its share, independently of the client's other rounds and of who else is in
    the cohort. The draw depends on the seed, the client and the round (from 1) alone: it is the same for every method.
    """
    upper = np.cumsum([share for _, share in cell.capacities])
    drawn = stream(cell.seed, "capacity", round_number, client).random()
    # The last level takes what is left, since the shares may add up to a little less than 1.
    return cell.capacities[int(np.searchsorted(upper[:-1], drawn, side="right"))][0]


def dealt_to(cell: Cell, numbers: Sequence[int], keeps: np.ndarray, round_number: int) -> np.ndarray:
    """Return the keep ratios of a cohort, dealt to its clients at random: random allocation at the same budget.

    The cohort's keep ratios are those that its clients have where capacities are fixed, each as often: the round trains
    sub-models of exactly the same sizes, and only who trains which is left to chance. Each order of the clients is as
    likely as any other, whatever their own capacity. The draw depends on the seed, the round and who takes part, not on
    the method.

    Args:
        cell: the configuration.
        numbers: the clients of the cohort, in its order.
        keeps: the fixed keep ratio of every client of the federation, ``[clients]``.
        round_number: the round in which the cohort is drawn, from 1.

    Returns:
        One keep ratio for each of ``numbers``, float64 ``[cohort]``.
    """
    return stream(cell.seed, "capacity/dealt", round_number).permutation(keeps[np.asarray(numbers)])


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
