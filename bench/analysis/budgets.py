"""Budgets in tables: clients at a budget are a profile of their own, and what methods share there is no keep ratio."""

from __future__ import annotations

import re

import pandas as pd


def is_budget(profile: str) -> bool:
    """Return whether a profile is a budget, as "memory=0.2", and not keep ratios with their shares."""
    return "=" in profile


def nominal(profile: str) -> float:
    """Return what budgets are sorted by: the amount of the first limit, the clients' mean where they differ.

    >>> nominal("memory=0.2 bytes=0.4"), nominal("memory=0.1:0.5,0.3:0.5 dynamic"), nominal("bytes=2MB")
    (0.2, 0.2, 2.0)
    """
    amounts = profile.split(" ")[0].partition("=")[2]
    pairs = [part.partition(":") for part in amounts.split(",")]
    values = [(float(re.sub(r"[A-Za-z]+$", "", amount)), float(share or 1)) for amount, _, share in pairs]
    return round(sum(amount * share for amount, share in values), 12)


def heading(profile: str) -> str:
    """Return where a profile's clients are in words: "budget memory=0.2", or "keep 0.2:0.6,0.4:0.4"."""
    return f"budget {profile}" if is_budget(profile) else f"keep {profile}"


def nominal_keeps(table: pd.DataFrame, profiles: pd.Series[str]) -> pd.Series[float]:
    """Return the column ``keep`` for comparisons between methods: at a budget its amount, else as it is.

    Methods have other keep ratios at one budget, and are compared there all the same.

    Args:
        table: with the column ``keep``.
        profiles: of its rows, see :func:`bench.analysis.profiles.split_rows`.
    """
    keeps = table["keep"].astype(float)
    known = {profile: nominal(profile) for profile in set(profiles) if is_budget(profile)}
    return profiles.map(known).fillna(keeps).astype(float) if known else keeps
