"""Budgets in tables: clients at a budget are a profile of their own, and what methods share there is no keep ratio."""

from __future__ import annotations

import pandas as pd

from bench.budget.written import UNITS, read_budget


def is_budget(profile: str) -> bool:
    """Return whether a profile is a budget, as "memory=0.2", and not keep ratios with their shares."""
    return "=" in profile


def limits_of(profile: str) -> list[tuple[str, float, str]]:
    """Return quantity, amount (the clients' mean where they differ) and unit of each limit; none of keep ratios.

    >>> limits_of("memory=0.2 bytes=1.5MB"), limits_of("macs=0.1:0.5,0.3:0.5 dynamic"), limits_of("0.2:0.5,0.4:0.5")
    ([('memory', 0.2, ''), ('bytes', 1.5, 'MB')], [('macs', 0.2, '')], [])
    """
    limits = [read_budget(word).limits[0] for word in profile.split(" ") if "=" in word]  # not "dynamic" or "dealt"
    return [(limit.quantity, limit.mean, limit.unit) for limit in limits]


def nominal(profile: str) -> float:
    """Return the amount of the first limit, the clients' mean where they differ, in the unit that it has.

    >>> nominal("memory=0.2 bytes=0.4"), nominal("memory=0.1:0.5,0.3:0.5 dynamic"), nominal("bytes=2MB")
    (0.2, 0.2, 2.0)
    """
    return limits_of(profile)[0][1]


def order_of(profile: str) -> tuple[tuple[int, bool, float], ...]:
    """Return what budgets are sorted by: the quantities in their order, and the amounts, shares before what has a unit.

    >>> order_of("bytes=900kB") < order_of("bytes=2MB"), order_of("memory=0.4") < order_of("bytes=0.2")
    (True, True)
    """
    places = list(UNITS)
    limits = limits_of(profile)
    return tuple((places.index(name), bool(unit), amount * UNITS[name].get(unit, 1.0)) for name, amount, unit in limits)


def is_plain(profile: str) -> bool:
    """Return whether a profile is a budget of one quantity, the same for all clients.

    >>> is_plain("memory=0.2"), is_plain("memory=0.1:0.5,0.4:0.5"), is_plain("memory=0.2 bytes=0.4"), is_plain("")
    (True, False, False, False)
    """
    return is_budget(profile) and ":" not in profile and len(limits_of(profile)) == 1


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
