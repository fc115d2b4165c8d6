"""What a number is where users write one: in a text, in a table, or as an object of Python.

Standard library and numpy only, since a cell's values are made of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.errors import BenchError, at

DIGITS = 12
"""Significant digits that count of a number: 0.3 and 0.30000000000000004 are the same cell."""
LEAST_KEEP = 1e-6
"""The smallest keep ratio and the smallest share of clients: less than one channel of a million is no sub-model."""
LARGEST_WHOLE = 2**63 - 1
WHOLE = re.compile(r"[+-]?[0-9]+")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?inf")
IN_WORDS = "a number is written with the digits 0 to 9, as 0.25, .25 or 1e-3, without spaces"


def number_in(text: str) -> float | None:
    """Return the number that a text is; None where it is none.

    The digits of other scripts, spaces, underscores and "nan" make no number, which ``float`` takes for one.
    """
    return float(text) if NUMBER.fullmatch(text) else None


def whole_in(text: str) -> int | None:
    """Return the whole number that a text is; None where it is none, or beyond 64 bits with a sign."""
    if not WHOLE.fullmatch(text) or len(text) > len(str(LARGEST_WHOLE)) + 1:
        return None
    return int(text) if abs(int(text)) <= LARGEST_WHOLE else None


def rounded(value: float) -> float:
    """Return a number to its first ``DIGITS`` significant digits.

    >>> rounded(0.1 + 0.2), rounded(1 / 16)
    (0.3, 0.0625)
    """
    return float(f"{value:.{DIGITS}g}") + 0.0  # which makes 0 of -0


def plain(value: Any) -> Any:
    """Return a value in Python's own types, where it is one of numpy's or pandas'; within tables and lists alike.

    A number of few bits is the shortest that rounds to it: ``np.float32(0.2)`` is 0.2 and not 0.20000000298023224.

    Raises:
        BenchError: a whole number is of more than 64 bits, which nothing here can hold.
    """
    if isinstance(value, np.ndarray):
        value = value[()] if value.ndim == 0 else value.tolist()
    if isinstance(value, np.floating) and not isinstance(value, float):
        return float(str(value))
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {plain(name): _named(name, item) for name, item in value.items()}
    if isinstance(value, int) and value.bit_length() > 64:
        raise BenchError(f"a whole number of {value.bit_length():,} bits is not possible; allowed: 64 bits at most")
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value)) if type(value) in (list, tuple) else value
    return value


def _named(name: Any, item: Any) -> Any:
    """Return a value of a table in Python's own types; a mistake in it is said with its name."""
    with at(str(name)):
        return plain(item)
