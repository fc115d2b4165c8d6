"""The one exception that a user is meant to read, and the words it is made of."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """A mistake the user can mend; its text is one sentence naming the place, the value and what is allowed.

    The command line prints it without a traceback and ends with exit code 2.
    """


def choices(value: object, allowed: Iterable[object]) -> str:
    """Return the end of an error sentence: what is allowed, and the nearest match to ``value`` if one is near.

    >>> choices("prsim", ["fedavg", "prism"])
    "allowed: 'fedavg', 'prism'; did you mean 'prism'?"
    """
    names = [str(name) for name in allowed]
    sentence = "allowed: " + ", ".join(repr(name) for name in names)
    near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
    return f"{sentence}; did you mean {near[0]!r}?" if near else sentence
