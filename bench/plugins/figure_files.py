"""The names of the figures of ``bench/figures``, read and not imported: the libraries that draw are not needed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SPEC = "FigureSpec"


def names_in(folder: Path) -> tuple[str, ...]:
    """Return the names of the figures that the files of a folder define, in the order of the files."""
    return tuple(name for path in sorted(folder.glob("[!_]*.py")) for name in _names_in(path))


def _names_in(path: Path) -> Iterator[str]:
    """Yield the names in ``SPEC = FigureSpec("name", ...)`` at a file's left margin; none where it is no Python."""
    try:
        text = path.read_text(encoding="utf-8")
        nodes = ast.parse(text).body if SPEC in text else []
    except (OSError, ValueError, SyntaxError):
        return
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            made = node.value
            named = [*made.args[:1], *(word.value for word in made.keywords if word.arg == "name")]
            called = made.func.id if isinstance(made.func, ast.Name) else ""
            if called == SPEC and named and isinstance(named[0], ast.Constant) and isinstance(named[0].value, str):
                yield named[0].value
