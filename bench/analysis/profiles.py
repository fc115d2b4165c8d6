"""Clients of different capacity: what a label says apart from its profile, and one accuracy per profile."""

from __future__ import annotations

import pandas as pd

from bench.analysis.ablation import setting_of
from bench.analysis.budgets import heading, nominal_keeps
from bench.analysis.tables import FULL_MODEL

PLACE = ["task", "partition", "alpha", "data_title", "stand_in"]
"""What two series have in common that may be compared."""
NAMES = ["task", "label", "method", *PLACE[1:]]


def split_label(label: str, method: str) -> tuple[str, str]:
    """Return a label without its profile, and the profile, "" where all clients have the same keep ratio.

    >>> split_label("prism (kappa=3), keep 0.2:0.6,0.4:0.4 dynamic", "prism")
    ('prism (kappa=3)', '0.2:0.6,0.4:0.4 dynamic')
    """
    profile = setting_of(label, method)[1]
    return (label.removesuffix(f", {heading(profile)}"), profile) if profile else (label, "")


def split_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return what :func:`split_label` says of each row of ``table``: the columns ``base`` and ``profile``."""
    pairs = list(table[["label", "method"]].astype(str).itertuples(index=False, name=None))
    split = {pair: split_label(*pair) for pair in set(pairs)}
    return pd.DataFrame([split[pair] for pair in pairs], table.index, ["base", "profile"], dtype=object)


def with_profiles(points: pd.DataFrame) -> pd.DataFrame:
    """Return ``points`` with labels without their profile, which is in the new column ``profile``.

    At a budget ``keep`` is the budget's amount, which methods have in common.

    Only for tables in which the seeds are already averaged: cells of two profiles of the same mean differ in nothing
    else than their label.
    """
    split = split_rows(points)
    keeps = nominal_keeps(points, split["profile"])
    return points.assign(label=split["base"], profile=split["profile"], keep=keeps)


def profiles_of(points: pd.DataFrame) -> list[tuple[str, float]]:
    """Return the (profile, mean keep ratio) pairs of the table of :func:`with_profiles`, large means first.

    The full model, which has no keep ratio, does not count.
    """
    sub_models = points[points["method"] != FULL_MODEL]
    pairs = sub_models[["profile", "keep"]].drop_duplicates().itertuples(index=False, name=None)
    return sorted(((str(profile), float(keep)) for profile, keep in pairs), key=lambda pair: (-pair[1], pair[0]))


def mixed_series(points: pd.DataFrame) -> pd.DataFrame:
    """Return what belongs beside one another where clients differ in capacity: the rows of one number per profile.

    Args:
        points: the table of :func:`with_profiles`.

    Returns:
        The rows of those labels that have a profile in the same place (task, partition, data), equal keep ratios of
        theirs included, and of the full model in such a place.
    """
    mixed = points.loc[points["profile"] != ""]
    labels = set(mixed[[*PLACE, "label"]].astype(str).itertuples(index=False, name=None))
    places = {key[:-1] for key in labels}
    keys = list(points[[*PLACE, "label"]].astype(str).itertuples(index=False, name=None))
    full = points["method"].astype(str) == FULL_MODEL
    kept = [key in labels or (is_full and key[:-1] in places) for key, is_full in zip(keys, full, strict=True)]
    return points[kept].reset_index(drop=True)


def by_profile(points: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracies of :func:`mixed_series` with a row per label and place, and a column per profile.

    Args:
        points: the table of :func:`mixed_series`, with the column ``mean``.

    Returns:
        ``task``, ``label``, ``method``, ``partition``, ``alpha``, ``data_title``, ``stand_in``, and a column per
        profile, large mean keep ratios first; equal keep ratios are named by it. The full model's accuracy is in the
        column "1", for all of its clients have the whole model.
    """
    columns = [profile or f"{keep:g}" for profile, keep in profiles_of(points)]
    named = points.assign(column=points["profile"].where(points["profile"] != "", points["keep"].map("{:g}".format)))
    if "1" in set(named["column"]) - set(columns):
        columns = ["1", *columns]
    rows = [
        {**dict(zip(NAMES, key, strict=True)), **dict(zip(row["column"], row["mean"], strict=True))}
        for key, row in named.groupby(NAMES, dropna=False, observed=True)
    ]
    return pd.DataFrame(rows, columns=[*NAMES, *columns])
