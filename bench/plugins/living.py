"""A user's code that runs in the command's own process may not end it without a word."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any


class Ends(RuntimeError):
    """Code of a user's file asked the process to end."""


@contextlib.contextmanager
def living() -> Iterator[None]:
    """Turn ``os._exit`` into an error meanwhile: the command would end without a word, and with whatever code it has.

    What runs cells does so in processes of their own, whose end is noticed; this is for what has to be asked before.
    """

    def refuse(code: Any = 0) -> None:
        raise Ends(f"it ended the process, os._exit({code!r})")

    before = os._exit
    os._exit = refuse  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit = before
