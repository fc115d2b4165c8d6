"""Typed parameters of methods and tasks: a plain dataclass whose fields say what is allowed.

Standard library only, so that a method can be imported where nothing but torch and numpy is installed; the checking
of what a user typed is in :mod:`bench.config.validation`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

METADATA = "bench"


@dataclass(frozen=True)
class About:
    """What is known of one parameter beside its type and default.

    Attributes:
        help: one line for listings and error messages.
        low, high: bounds of the allowed values, both included; None where there is none.
        above: a bound that is itself not allowed.
        search: (low, high) of the range in which tuning looks; None where it is not tuned.
        log: True where tuning searches on a logarithmic scale.
        alias: the name in the paper where Python does not allow it ("lambda").
    """

    help: str = ""
    low: float | None = None
    high: float | None = None
    above: float | None = None
    search: tuple[float, float] | None = None
    log: bool = False
    alias: str | None = None


def parameter(
    default: Any,
    help: str = "",
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    search: tuple[float, float] | None = None,
    log: bool = False,
    alias: str | None = None,
) -> Any:
    """Return a dataclass field with a default and what is allowed; the arguments are those of :class:`About`."""
    about = About(help, low, high, above, search, log, alias)
    return field(default=default, metadata={METADATA: about})


def about(field_: Any) -> About:
    """Return what is known of a dataclass field made with :func:`parameter`; a plain field knows nothing."""
    known = field_.metadata.get(METADATA)
    return known if isinstance(known, About) else About()
