"""The Bayesian signed-rank test with a region of practical equivalence."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.analysis.comparisons import label_of, paired_rows
from bench.analysis.outcomes import CHANCE, valued
from bench.analysis.paired import seed_differences
from bench.analysis.settings import with_settings
from bench.errors import BenchError, choices
from bench.seeding import key_of

ROPE = 0.005
"""Differences of accuracy, a fraction, that nobody would act on: half a point."""
DRAWS = 20_000
PRIOR = 0.5
"""Weight of the one observation "no difference" that the prior consists of."""
ENOUGH = 2

Array = npt.NDArray[np.float64]


def signed_rank(
    cells: pd.DataFrame,
    rope: float = ROPE,
    reference: str | None = None,
    over: str = "setting",
    draws: int = DRAWS,
    diverged: str = CHANCE,
) -> pd.DataFrame:
    """Return for each pair how probable it is that one is better, that they are as good as equal, and the other.

    The Bayesian version of Wilcoxon's test by Benavoli and others (2014, 2017): the settings' mean differences, and one
    prior difference of 0 of weight 0.5, get weights from a Dirichlet distribution; a draw of the weights says how much
    of all mean differences of two (Walsh averages) lies below, within and above the region, and the probabilities are
    how often each of the three has the largest part.

    Args:
        cells: the table of :func:`bench.analysis.summary.final_accuracy`, or a sweep's table of cells.
        rope: half the width of the region of practical equivalence, a fraction.
        reference: a label, or a method that has only one, with which all others are compared; each pair if left out.
        over: what counts as one observation: "setting", or "task", whose settings are averaged before, which is more
            careful where the settings of a task go together.
        draws: of the weights; the same ones for all pairs, and at each call.
        diverged: what a diverged run counts as (:func:`bench.analysis.outcomes.valued`).

    Returns:
        One row per pair: ``label``, ``other``, ``difference`` (mean over the observations), ``better``, ``equivalent``,
        ``worse`` (probabilities; missing below two observations), ``observations``, ``settings``, ``tasks``.

    Raises:
        BenchError: the region is negative or no number, or there is no such reference, rule or way to count.
    """
    if not 0 <= rope < np.inf:
        raise BenchError(f"rope = {rope!r} is not possible; allowed: a fraction of accuracy from 0, for example {ROPE}")
    if over not in ("setting", "task"):
        raise BenchError(f"over = {over!r} is not possible; {choices(over, ('setting', 'task'))}")
    rows = valued(with_settings(cells), diverged)
    pairs = paired_rows(rows, None if reference is None else label_of(rows, reference))
    means = seed_differences(pairs, ["row"])[["row", "mean"]].dropna()
    means = pairs[["row", "task", "label", "other_label"]].drop_duplicates("row").merge(means, on="row")
    weights: dict[int, Array] = {}
    result = []
    for (label, other), of_pair in means.groupby(["label", "other_label"], sort=False):
        values = of_pair.groupby("task")["mean"].mean() if over == "task" else of_pair["mean"]
        observations = np.asarray(values, dtype=float)
        number = len(observations)
        if number >= ENOUGH and number not in weights:
            weights[number] = _weights(number, draws)
        chances = probabilities(observations, rope, weights[number]) if number >= ENOUGH else (np.nan,) * 3
        counts = {"observations": number, "settings": len(of_pair), "tasks": of_pair["task"].nunique()}
        about = {"label": label, "other": other, "difference": float(observations.mean())}
        result.append({**about, **dict(zip(("better", "equivalent", "worse"), chances, strict=True)), **counts})
    columns = ["label", "other", "difference", "better", "equivalent", "worse", "observations", "settings", "tasks"]
    return pd.DataFrame(result, columns=columns)


def probabilities(observations: Array, rope: float, weights: Array) -> tuple[float, float, float]:
    """Return P(above the region), P(within it) and P(below it).

    It is what :class:`baycomp.SignedRankTest` computes, all draws at once: one by one, a hundred pairs take minutes.

    Args:
        observations: differences.
        rope: half the width of the region.
        weights: draws x (1 + number of observations), the prior's first.
    """
    values = np.concatenate([[0.0], observations])
    sums = values[:, None] + values[None, :]
    above = ((weights @ _exceeds(sums, 2 * rope)) * weights).sum(axis=1)
    below = ((weights @ _exceeds(-sums, 2 * rope)) * weights).sum(axis=1)
    parts = np.stack([below, 1 - below - above, above], axis=1)
    if rope == 0:
        parts[:, 1] = -1.0  # a region without width has no part
    shares = np.bincount(parts.argmax(axis=1), minlength=3) / len(weights)
    return float(shares[2]), float(shares[1]), float(shares[0])


def _exceeds(sums: Array, bound: float) -> Array:
    return (sums > bound) + 0.5 * (sums == bound)


def _weights(number: int, draws: int) -> Array:
    """Return Dirichlet draws from a stream of their own; NumPy's global state is neither read nor changed."""
    seed = key_of(number, "Bayesian signed-rank test") % 2**32
    return np.random.RandomState(seed).dirichlet([PRIOR, *[1.0] * number], draws)
