"""Asking what a user's file defines: what it raises is one sentence that names its line."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.errors import BenchError, words_of
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


def place_in(error: BaseException, files: Iterable[Path]) -> str:
    """Return " (file, line, function)" of the last step of an error that lies in one of some files; empty for none."""
    own = {file.resolve() for file in files}
    steps = [step for step in traceback.extract_tb(error.__traceback__) if Path(step.filename).resolve() in own]
    if not steps:
        return f" ({', '.join(str(file) for file in files)})"
    return f" ({steps[-1].filename}, line {steps[-1].lineno}, in {steps[-1].name})"
