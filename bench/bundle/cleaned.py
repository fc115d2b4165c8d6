"""Texts and environments without what names a machine, a user or a place: a bundle is for others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bench.store.claimed import LONGEST_TEXT

PRIVATE = ("cwd", "folder", "home", "host", "hostname", "ip", "machine", "node", "path", "user", "username")
"""Names of facts of an environment that are left out."""
_PART = r"[^\s/\\'\"`,;:()\[\]<>|]+"
_PATHS = re.compile(
    rf"""(?P<quote>['"])(?:file://)?(?:~|[A-Za-z]:|(?=[/\\]))(?:[/\\][^'"\n]*)+(?P=quote)"""  # may hold spaces
    rf"""|(?<![\w.:/\\~-])(?:file://)?(?:~\w*|[A-Za-z]:)?(?:[/\\]+{_PART})+[/\\]*"""
)
_HOMES = re.compile(r"(?:home|Users|Documents and Settings)[/\\]+[^/\\]+$")


def without_places(text: str) -> str:
    """Return a text with the name of a file where its absolute path was, fit to be shown in one line.

    >>> without_places("FileNotFoundError: '/home/anna/data set/a.npz' (my_method.py, line 3)")
    "FileNotFoundError: 'a.npz' (my_method.py, line 3)"
    """
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return _PATHS.sub(_name, text)[:LONGEST_TEXT]


def cleaned(value: Any) -> Any:
    """Return plain values with their texts :func:`without_places`."""
    if isinstance(value, str):
        return without_places(value)
    if isinstance(value, Mapping):
        return {without_places(str(name)): cleaned(part) for name, part in value.items()}
    return [cleaned(part) for part in value] if isinstance(value, list) else value


def public(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return what others may know of the machine and software that made a cell."""
    kept = {name: value for name, value in environment.items() if name.casefold() not in PRIVATE}
    return dict(cleaned(kept))


def has_places(value: Any) -> bool:
    """Return whether plain values hold an absolute path."""
    return bool(cleaned(value) != value)


def _name(found: re.Match[str]) -> str:
    quote = found["quote"] or ""
    path = found[0].strip(quote or " ").rstrip("/\\")
    name = "~" if _HOMES.search(path) else re.split(r"[/\\]+", path)[-1]
    return f"{quote}{name}{quote}"
