"""Asking what a user's file defines: what it raises is one sentence that names its line."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.errors import BenchError, deepest, words_of
from bench.plugins.entries import MethodEntry, TaskEntry
from bench.plugins.living import living


@contextlib.contextmanager
def asked(entry: TaskEntry | MethodEntry) -> Iterator[None]:
    """Turn what a user's task or method raises into one sentence; what is built in raises as it does.

    Raises:
        BenchError: it raised something, or asked the process to end.
    """
    files = entry.files()
    with living():
        try:
            yield
        except BenchError:
            raise
        except (Exception, SystemExit) as error:
            if not files:
                raise
            word = "task" if isinstance(entry, TaskEntry) else "method"
            raise BenchError(f"{word} {entry.name!r}: {words_of(error)}{place_in(error, files)}") from error


def place_in(error: BaseException, files: Sequence[Path]) -> str:
    """Return " (file, line, function)" of the last step of an error that lies in one of some files, or all of these."""
    steps = [(step.filename, step.lineno or 0, step.name) for step in traceback.extract_tb(error.__traceback__)]
    found = deepest(steps, files)
    if found is None:
        return f" ({', '.join(map(str, files))})"
    file, line, function = found
    return f" ({file}, line {line}, in {function})"
