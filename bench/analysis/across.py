"""What many settings add up to: ranks and who wins how often."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from bench.analysis.block import DECIMALS, Array, Block, block_of, complete
from bench.analysis.outcomes import CHANCE
from bench.analysis.power import LEVEL
from bench.analysis.resampling import DRAWS, bootstrap, observed, percentiles
from bench.analysis.sign_flip import MOST_EXACT, sign_flip

ENOUGH = 2
"""Settings below which ranks say nothing of others."""


def mean_ranks(cells: pd.DataFrame, draws: int = DRAWS, diverged: str = CHANCE) -> pd.DataFrame:
    """Return the mean rank of each label over the settings, 1 for the best, and which ranks are not told apart.

    Ranks are those of the means over seeds within a setting, equal means sharing theirs. They compare only where all
    labels have results, see :func:`bench.analysis.block.complete`: a label that lacks a setting others have may be left
    out, and so may a setting that few have.

    Args:
        cells: the table of :func:`bench.analysis.summary.final_accuracy`, or a sweep's table of cells.
        draws: of the hierarchical bootstrap.
        diverged: what a diverged run counts as (:func:`bench.analysis.outcomes.valued`).

    Returns:
        One row per label, the best first, labels that were left out last and without a rank: ``label``, ``rank``,
        ``low``, ``high`` (95 % percentile interval of the bootstrap over tasks, settings and seeds), ``settings`` (that
        the ranks are over; of a label left out, those it has), ``tasks`` (theirs), ``seeds`` (that all labels share, in
        the setting with the fewest), ``compared`` (whether it was not left out), ``p_friedman`` (Friedman's test that
        all labels are alike, chi-squared), ``p_iman_davenport`` (its F-version, which is less conservative), ``blocks``
        (how many rows both are made of, see :func:`in_blocks`; all three the same in each row), and ``cliques`` (the
        numbers of the bars of the critical-difference diagram that the label is under, a tuple, see :func:`cliques`).
    """
    every = block_of(cells, diverged)
    block = complete(every)
    ranks = _ranks(block)
    tested = in_blocks(block, ranks)
    p_friedman, p_iman_davenport = friedman(tested)
    of_draws = _drawn_ranks(block, draws)
    low, high = percentiles(of_draws)
    means = ranks.mean(axis=0) if len(ranks) else np.full(len(block.labels), np.nan)
    result = pd.DataFrame({"label": block.labels, "rank": means, "low": low, "high": high})
    result = result.assign(
        settings=len(block.settings), tasks=len(set(block.tasks)), seeds=_seeds(block), compared=bool(block.settings)
    )
    result = result.sort_values(["rank", "label"], kind="stable")
    bars = cliques(list(result["label"]), wilcoxon_pairs(block), p_friedman) if block.settings else []
    result = pd.concat([result, _left_out(every, block)], ignore_index=True)
    under = [tuple(number for number, bar in enumerate(bars) if label in bar) for label in result["label"]]
    result["cliques"] = pd.Series(under, result.index, dtype=object)
    result["p_friedman"], result["p_iman_davenport"], result["blocks"] = p_friedman, p_iman_davenport, len(tested)
    numbers = ["rank", "low", "high", "settings", "tasks", "seeds", "compared"]
    numbers += ["p_friedman", "p_iman_davenport", "blocks", "cliques"]
    return result[["label", *numbers]].astype({"settings": int, "tasks": int, "seeds": int, "compared": bool})


def rank_pairs(cells: pd.DataFrame, diverged: str = CHANCE) -> pd.DataFrame:
    """Return the Wilcoxon signed-rank test of each two labels over the settings of :func:`mean_ranks`, with Holm.

    Returns:
        One row per pair, in the order of the alphabet: ``label``, ``other``, ``settings`` (for two full models places,
        in each of which they are the same runs at every keep ratio), ``p``, ``p_holm`` (both missing below two) and
        ``p_least``: the least p that so many settings can have, so that few settings can show nothing.
    """
    return wilcoxon_pairs(complete(block_of(cells, diverged)))


def cliques(ordered: list[str], pairs: pd.DataFrame, p_friedman: float, level: float = LEVEL) -> list[tuple[str, ...]]:
    """Return the bars of a critical-difference diagram: runs of neighbours by rank in which no two are told apart.

    Two labels are told apart where Friedman's test rejects that all are alike (with three labels or more) and their
    Wilcoxon test does so after Holm. A bar is as long as it can be, has two labels at least, and joins neighbours only,
    so that it never spans two labels that are told apart.

    Args:
        ordered: the labels by mean rank.
        pairs: the table of :func:`rank_pairs`.
        p_friedman: missing where Friedman's test cannot be made.
    """
    gate = len(ordered) < 3 or p_friedman <= level
    apart = (
        {frozenset(pair) for pair in pairs.loc[pairs["p_holm"] <= level, ["label", "other"]].to_numpy()}
        if gate
        else set()
    )
    bars: list[tuple[str, ...]] = []
    reached = 0
    for start in range(len(ordered)):
        end = start + 1
        while end < len(ordered) and not any(frozenset((one, ordered[end])) in apart for one in ordered[start:end]):
            end += 1
        if end - start > 1 and end > reached:
            bars.append(tuple(ordered[start:end]))
        reached = max(reached, end)
    return bars


def in_blocks(block: Block, ranks: Array) -> Array:
    """Return the ranks that Friedman's test is made of, blocks x labels, one for all settings of the same runs.

    A full model is one and the same run at every keep ratio of its place. Where one is among the labels, the settings
    of a place are therefore one block: their ranks are averaged, and ranked again. Otherwise each setting is one.

    Args:
        block: a complete one.
        ranks: settings x labels.
    """
    places = list(dict.fromkeys(block.places))
    if not any(block.whole) or len(places) == len(block.places):
        return ranks
    means = [ranks[[one == place for one in block.places]].mean(axis=0) for place in places]
    return np.asarray(stats.rankdata(np.round(means, DECIMALS), axis=1))


def friedman(ranks: Array) -> tuple[float, float]:
    """Return the p-values of Friedman's test and of its F-version by Iman and Davenport.

    Args:
        ranks: blocks x labels.

    Returns:
        Both missing below two blocks or three labels; 1 where all ranks are equal.
    """
    settings, labels = ranks.shape
    if settings < ENOUGH or labels < 3:
        return float("nan"), float("nan")
    if (ranks == ranks[0, 0]).all():
        return 1.0, 1.0
    statistic, p = stats.friedmanchisquare(*ranks.T)
    rest = settings * (labels - 1) - statistic
    ratio = (settings - 1) * statistic / rest if rest > 1e-9 else np.inf
    return float(p), float(stats.f.sf(ratio, labels - 1, (labels - 1) * (settings - 1)))


def win_rates(cells: pd.DataFrame, draws: int = DRAWS, diverged: str = CHANCE) -> pd.DataFrame:
    """Return in which share of the settings a label is ahead of another, by the mean over the seeds that both have.

    Args:
        cells: the table of :func:`bench.analysis.summary.final_accuracy`, or a sweep's table of cells.
        draws: of the hierarchical bootstrap.
        diverged: what a diverged run counts as (:func:`bench.analysis.outcomes.valued`).

    Returns:
        One row per ordered pair that meets somewhere: ``label``, ``other``, ``rate`` (settings in which they are level
        count half), ``low``, ``high`` (95 % percentile interval of the bootstrap over tasks, settings and seeds),
        ``wins``, ``ties``, ``losses``, ``settings`` (in which both have a seed in common; for two full models, places)
        and ``tasks``.
    """
    block = block_of(cells, diverged)
    found = observed(block)
    there = ~np.isnan(found)
    rates = bootstrap(block, draws)
    low, high = percentiles(rates)
    rows = []
    tasks = block.task_numbers
    for own, label in enumerate(block.labels):
        for other, name in enumerate(block.labels):
            won = found[there[:, own, other], own, other]
            if own == other or not len(won):
                continue
            counts = {"wins": int((won == 1).sum()), "ties": int((won == 0.5).sum()), "losses": int((won == 0).sum())}
            ends = {"rate": float(won.mean()), "low": low[own, other], "high": high[own, other]}
            of = {"settings": len(won), "tasks": len(set(tasks[there[:, own, other]]))}
            rows.append({"label": label, "other": name, **ends, **counts, **of})
    columns = ["label", "other", "rate", "low", "high", "wins", "ties", "losses", "settings", "tasks"]
    return pd.DataFrame(rows, columns=columns)


def _seeds(block: Block) -> int:
    """Return how many seeds the labels of a complete block share in the setting with the fewest."""
    return int((~np.isnan(block.values)).all(axis=2).sum(axis=1).min(initial=block.values.shape[1]))


def _left_out(every: Block, block: Block) -> pd.DataFrame:
    """Return the labels that a complete block lacks, with how many settings and tasks each has."""
    rows = []
    for label, there in zip(every.labels, every.present.T, strict=True):
        if label not in block.labels:
            tasks = [task for task, has in zip(every.tasks, there, strict=True) if has]
            rows.append(
                {"label": label, "settings": len(tasks), "tasks": len(set(tasks)), "seeds": 0, "compared": False}
            )
    return pd.DataFrame(rows, columns=["label", "settings", "tasks", "seeds", "compared"])


def _ranks(block: Block) -> Array:
    means = np.round(block.means, DECIMALS)
    return stats.rankdata(-means, axis=1) if means.size else np.empty(means.shape)


def _drawn_ranks(block: Block, draws: int) -> Array:
    """Return the mean rank of each label in each draw: one more than the mean number of labels ahead of it."""
    everywhere = Block(block.labels, block.settings, block.settings, block.tasks, block.whole, block.values)
    rates = bootstrap(everywhere, draws)
    return len(block.labels) + 0.5 - rates.sum(axis=2)


def wilcoxon_pairs(block: Block) -> pd.DataFrame:
    """Return the table of :func:`rank_pairs` of a complete block."""
    labels, counted, means = block.labels, block.comparable.sum(axis=0), np.round(block.means, DECIMALS)
    pairs = [(own, other) for own in range(len(labels)) for other in range(own + 1, len(labels))]
    table = pd.DataFrame({"label": [labels[own] for own, _ in pairs], "other": [labels[other] for _, other in pairs]})
    settings = np.array([counted[pair] for pair in pairs], dtype=int)
    differences = np.where(block.comparable, means[:, :, None] - means[:, None, :], np.nan)
    p = np.array([wilcoxon(differences[:, own, other]) for own, other in pairs], dtype=float)
    p = np.where(settings >= ENOUGH, p, np.nan)
    holm, known = np.full(len(p), np.nan), ~np.isnan(p)
    if known.any():
        from statsmodels.stats.multitest import multipletests

        holm[known] = multipletests(p[known], method="holm")[1]
    least = np.where(settings >= ENOUGH, np.minimum(1.0, 2.0 ** (1 - settings)), np.nan)
    return table.assign(settings=settings, p=p, p_holm=holm, p_least=least)


def wilcoxon(differences: Array) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test, differences of zero left out.

    Exact up to :data:`bench.analysis.sign_flip.MOST_EXACT` differences, ties or not: it is the sign-flip test of the
    signed ranks. SciPy's own is the same, but takes a second a pair where there are ties.

    Args:
        differences: one a setting, missing where there is none.

    Returns:
        1 where all are zero.
    """
    known = differences[~np.isnan(differences) & (differences != 0)]
    if not len(known):
        return 1.0
    if len(known) > MOST_EXACT:
        return float(stats.wilcoxon(known).pvalue)
    return sign_flip(list(np.sign(known) * stats.rankdata(np.abs(known))))
