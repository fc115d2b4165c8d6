"""Whether a cell's folder is as it was written: every file by its checksum, and the list of them by one of its own."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from bench.files import checksum
from bench.store.schema import VERSION

STATES = ("done", "diverged", "skipped", "failed", "stale", "damaged", "to do")
_SEAL = b',\n  "checksum": "'
_END = b"\n}\n"


class OtherVersion(ValueError):
    """A cell's facts are as they were written, by another version of this harness."""


def whole(folder: Path) -> dict[str, Any]:
    """Return the facts of a cell's folder.

    Raises:
        OtherVersion: they are as another version wrote them.
        ValueError: one of its files is not as it was written, in words.
    """
    return _whole(folder, (VERSION,))


def whole_of_older(folder: Path) -> dict[str, Any]:
    """Return the facts of a cell's folder that this or an earlier version wrote; raises as :func:`whole` does."""
    return _whole(folder, range(1, VERSION + 1))


def _whole(folder: Path, versions: Container[int]) -> dict[str, Any]:
    try:
        facts = unsealed(_content(folder, "cell.json"), "cell.json")
        if facts["schema"] not in versions or facts["status"] not in STATES:
            raise OtherVersion("it was written by another version")
        for name, seal in facts["files"].items():
            if checksum(_content(folder, name)) != seal:
                raise ValueError(f"{name} is not as it was written")
    except OtherVersion:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(_damage(error)) from None
    return facts


def sealed(facts: Mapping[str, Any]) -> bytes:
    """Return the text of ``cell.json``: the facts, and as the last of them the checksum of the text without it."""
    text = as_json(facts)
    return text.removesuffix(_END) + _SEAL + checksum(text).encode() + b'"' + _END


def as_json(value: Mapping[str, Any]) -> bytes:
    """Return what a file of facts holds."""
    return (json.dumps(value, indent=2, sort_keys=False) + "\n").encode()


def _content(folder: Path, name: str) -> bytes:
    # Not by Path.read_bytes, which takes three times as long, and a sweep may have 50,000 files.
    with open(f"{folder}/{name}", "rb", buffering=0) as file:
        return file.read()


def unsealed(text: bytes, name: str) -> dict[str, Any]:
    """Return the facts of a file without their checksum; an error where they are not those that were sealed."""
    facts: dict[str, Any] = json.loads(text)
    del facts["checksum"]
    head, _, seal = text.rpartition(_SEAL)
    if seal != checksum(head, _END).encode() + b'"' + _END:
        raise ValueError(f"{name} is not as it was written")
    return facts


def _damage(error: Exception) -> str:
    """Return what is wrong with a cell's files in words."""
    if isinstance(error, OSError):
        return f"{Path(error.filename or 'a file').name} cannot be read ({error.strerror})"
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | KeyError | TypeError | AttributeError):
        return "cell.json is not whole"
    return str(error)
