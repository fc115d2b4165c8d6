"""Texts and environments without what names a machine, a user or a place: a bundle is for others.

Where a path ends is a guess, as its parts may hold spaces: rather a word too many goes than the name of a user stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bench.store.claimed import LONGEST_TEXT

PRIVATE = frozenset(
    (
        *(
            "cwd",
            "dir",
            "directory",
            "folder",
            "home",
            "host",
            "hostname",
            "ip",
            "login",
            "machine",
            "node",
            "nodename",
        ),
        *("password", "path", "user", "username"),
    )
)
"""Facts of an environment that are left out at any depth, by their names or a part of these ("git_user")."""
_SEP = r"[/\\]+"
_PART = r"[^\s/\\'\"`,;:()\[\]<>|]+"
_WORD = r"[^\s/\\'\"`,;:()\[\]<>|=]"
_HOME = r"(?:home|Users|Documents[ ]and[ ]Settings)"
_NO_FILE = "".join(
    rf"(?<!\.{ending})" for ending in ("py", "npz", "npy", "pt", "so", "toml", "json", "csv", "txt", "log")
)
_INNER = rf"{_PART}(?:{_NO_FILE}[ ](?![~.-]|[A-Za-z]:){_PART}){{0,3}}(?:[ ]?\([^()/\\]{{1,40}}\))?(?=[/\\])"
"""A part of a path that another follows: up to four words, none behind a file's name, and perhaps some in brackets."""
_START = rf"(?:(?:file:)?//(?=[/\\]))?(?:~\w*|[A-Za-z]:|\.\.|{_WORD}+(?:{_SEP}{_PART})*?(?={_SEP}{_HOME}{_SEP}))?"
_FOUND = re.compile(
    rf"(?P<quote>['\"`])(?P<quoted>{_START}[/\\][^'\"`]*)(?P=quote)"
    rf"|(?<![A-Za-z0-9+.-])(?P<scheme>(?!file:)[A-Za-z][A-Za-z0-9+.-]*://)(?P<rest>[^\s'\"`<>]*)"
    rf"|(?:(?<![\w/\\])(?P<flag>-[A-Za-z]+)|(?<![\w./\\~-]))"
    rf"(?P<path>{_START}(?:(?:{_SEP}{_INNER})*?{_SEP}{_HOME}{_SEP}{_PART}(?:[ ][A-Z][\w.'-]*)+(?![/\\\w])"
    rf"|(?:{_SEP}{_INNER})*{_SEP}{_PART})[/\\]*)"
    rf"|(?P<relative>(?<!{_WORD}){_WORD}+(?:{_SEP}{_PART})+[/\\]*)"
    rf"|(?P<other>(?<![\w/\\.~-])~[A-Za-z_][\w-]*)"
    rf"|(?<![\w.+%-])(?P<login>[\w.+-]+@[\w.-]+:(?=['\"`]?(?:[/\\~.]|\w+:))|[\w.+%-]+:[^\s/@]*@(?=\w))"
)
_HOMES = re.compile(rf"{_HOME}{_SEP}[^/\\]+$")


def without_places(text: str) -> str:
    """Return a text with the name of a file where its path was, without logins, fit to be shown in one line.

    Paths within the folder that a command ran in stay: they name no place of a machine.

    >>> without_places("FileNotFoundError: '/home/anna/data set/a.npz' (my_method.py, line 3)")
    "FileNotFoundError: 'a.npz' (my_method.py, line 3)"
    >>> without_places("cc -I/home/anna/include: https://anna:secret@example.org/a?token=1")
    'cc -Iinclude: https://example.org/a'
    """
    text = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * LONGEST_TEXT])
    return _FOUND.sub(_replaced, text)[:LONGEST_TEXT]


def cleaned(value: Any) -> Any:
    """Return plain values with their texts :func:`without_places`."""
    if isinstance(value, str):
        return without_places(value)
    if isinstance(value, Mapping):
        return {without_places(str(name)): cleaned(part) for name, part in value.items()}
    return [cleaned(part) for part in value] if isinstance(value, list) else value


def public(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return what others may know of the machine and software that made a cell."""
    return dict(cleaned(_without_private(environment)))


def has_places(value: Any) -> bool:
    """Return whether plain values hold an absolute path."""
    return bool(cleaned(value) != value)


def _without_private(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_private(part) for name, part in value.items() if not _is_private(str(name))}
    return [_without_private(part) for part in value] if isinstance(value, list) else value


def _is_private(name: str) -> bool:
    return not PRIVATE.isdisjoint(re.split(r"[^a-z]+", name.casefold()))


def _replaced(found: re.Match[str]) -> str:
    if found["quoted"] is not None:
        return f"{found['quote']}{_name(found['quoted'])}{found['quote']}"
    if found["path"] is not None:
        return f"{found['flag'] or ''}{_name(found['path'])}"
    if found["scheme"] is not None:
        return _without_login(found["scheme"], found["rest"])
    if found["relative"] is not None:
        climbs = ".." in re.split(_SEP, found["relative"])
        return _name(found["relative"]) if climbs else found["relative"]
    return "~" if found["other"] is not None else ""


def _name(path: str) -> str:
    path = path.strip().rstrip("/\\")
    return "~" if _HOMES.search(path) else re.split(_SEP, path)[-1]


def _without_login(scheme: str, rest: str) -> str:
    """Return an address without who logs in there and what is asked of it, and without a user's folder."""
    place = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = place.partition("/")
    host = host.rpartition("@")[2]
    if re.search(rf"(?:^|[/\\]){_HOME}{_SEP}", path):
        path = _name(path)
    return f"{scheme}{host}{slash}{path}"
