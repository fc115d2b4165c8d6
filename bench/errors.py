"""The one exception that a user is meant to read, and the words it is made of."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path

LONGEST = 600
"""Characters of a reason; of a longer message the middle is left out."""


class BenchError(Exception):
    """A mistake the user can mend; its text is one sentence naming the place, the value and what is allowed.

    The command line prints it without a traceback and ends with exit code 2.
    """


class StorageError(BenchError):
    """Results cannot be written: the whole command ends, since no other cell could be kept either."""


class Unfinished(Exception):
    """A cell ends without a result, and not by its own fault: a later run goes on from its checkpoint."""


@contextlib.contextmanager
def at(place: str) -> Iterator[None]:
    """Put a place in front of the mistakes found within, where whoever finds them does not know it."""
    try:
        yield
    except BenchError as error:
        raise type(error)(f"{place}: {error}") from None


def choices(value: object, allowed: Iterable[object]) -> str:
    """Return the end of an error sentence: what is allowed, and the nearest match to ``value`` if one is near.

    >>> choices("prsim", ["fedavg", "prism"])
    "allowed: 'fedavg', 'prism'; did you mean 'prism'?"
    """
    names = [str(name) for name in allowed]
    if not names:
        return "there is none to choose from"
    return "allowed: " + ", ".join(repr(name) for name in names) + nearest(value, names)


def nearest(value: object, names: Iterable[str]) -> str:
    """Return the question after the nearest match to ``value``; empty where none is near."""
    single = len(str(value)) == 1  # a name of one letter is near to a letter alone: "a" is not what "nan" means
    by_letters = {name.casefold(): name for name in names if single or len(name) > 1}
    near = difflib.get_close_matches(str(value).casefold(), by_letters, n=1, cutoff=0.5)
    return f"; did you mean {by_letters[near[0]]!r}?" if near else ""


def several(number: int, noun: str) -> str:
    """Return a number of things in words.

    >>> several(1, "trial"), several(2, "trial")
    ('1 trial', '2 trials')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def words_of(error: BaseException) -> str:
    """Return an error's type and all that it says, in one line of bounded length."""
    parts = [message_of(error), *map(str, getattr(error, "__notes__", ()))]
    if isinstance(error, BaseExceptionGroup):
        parts += [words_of(inner) for inner in error.exceptions]
    return f"{type(error).__name__}: {one_line(' '.join(parts)) or 'no message'}"


def step_in(steps: Iterable[tuple[str, int, str]], files: Iterable[Path]) -> str:
    """Return the deepest step that lies in one of some files, as " (name.py, line 3, in select)"; empty if none does.

    Args:
        steps: file, line and function of each step, outermost first.
        files: those of whoever is to mend it.
    """
    found = deepest(steps, files)
    if found is None:
        return ""
    file, line, function = found
    within = "" if function == "<module>" else f", in {function}"
    return f" ({Path(file).name}, line {line}{within})"


def deepest(steps: Iterable[tuple[str, int, str]], files: Iterable[Path]) -> tuple[str, int, str] | None:
    """Return the deepest of an error's steps that lies in one of some files: its file, line and function."""
    own = {file.resolve() for file in files}
    return next((step for step in reversed(list(steps)) if Path(step[0]).resolve() in own), None)


def one_line(text: str, longest: int = LONGEST) -> str:
    """Return a text of any lines as one line that can be printed and stored, its middle left out where it is long."""
    joined = ""
    for words in (" ".join(line.split()) for line in text.splitlines()):
        if words:
            joined += ("" if not joined else " " if joined[-1] in ".,:;!?([" else "; ") + words
    joined = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in joined)
    if len(joined) <= longest:
        return joined
    tail = longest // 4
    return f"{joined[: longest - tail - 5]} ... {joined[-tail:]}"


def message_of(error: BaseException) -> str:
    """Return what an error says."""
    try:
        return str(error)
    except Exception:  # a plugin's own error may be broken too
        return "its message cannot be read"
