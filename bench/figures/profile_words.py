"""Words for the keep ratios of clients that differ in capacity."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from bench.analysis.budgets import is_budget
from bench.figures.base import partition_title

WIDTH = 34  # characters above a panel
DYNAMIC = " dynamic"  # at the end of a profile: clients draw their keep ratio anew in each round


def shares(profile: str, keep: float) -> list[str]:
    """Return each share of the clients and its keep ratio, large keep ratios first; of a budget its limits.

    Args:
        profile: as labels have it, "" where all clients have the same keep ratio.
        keep: the mean keep ratio.

    >>> shares("0.16:0.5,1:0.5 dynamic", 0.58)
    ['50% 1', '50% 0.16', 'dynamic']
    """
    if not profile:
        return [f"100% {keep:g}"]
    if is_budget(profile):
        return profile.split(" ")
    pairs, *further = profile.split(" ")
    split = sorted((tuple(map(float, pair.split(":"))) for pair in pairs.split(",")), reverse=True)
    return [f"{100 * share:.3g}% {of_share:g}" for of_share, share in split] + further


def panel_title(profile: str, keep: float, partition: str, alpha: float, width: int = WIDTH) -> str:
    """Return the words above a panel of one profile, or of clients that are alike, in lines of ``width`` characters."""
    place = partition_title(partition, alpha)
    heading = f"mean keep {keep:.3g}" if profile else "keep ratios alike"
    heading = "budget" if is_budget(profile) else heading
    fits = len(heading) + 2 + len(place.replace(r"$\alpha$", "a").replace(r"$\infty$", "oo")) <= width
    heading = f"{heading}; {place}" if fits else f"{heading}\n{place}"
    return f"{heading}\n{in_lines(shares(profile, keep), width)}" if profile else heading


def in_lines(parts: Sequence[str], width: int) -> str:
    """Return the parts with bars between them, in lines of ``width`` characters that break at bars only."""
    # A part must not break at the space within it.
    text = textwrap.fill(" | ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts), width)
    return text.replace("\N{NO-BREAK SPACE}", " ").replace(" |\n", "\n").replace("\n| ", "\n")
