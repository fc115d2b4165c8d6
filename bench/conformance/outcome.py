"""How a check ends, and what is said of it."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from torch import nn

from bench.api import Method
from bench.errors import words_of
from bench.processes.failure import RemoteTraceback, place_in
from bench.tasks.base import Task


class Status(StrEnum):
    """What a cell of the report says."""

    ok = "ok"
    failed = "FAILED"
    declared = "declared"
    undefined = "not defined"


@dataclass(frozen=True)
class Result:
    """How one check of one method ended on one task, or of a task by itself.

    Attributes:
        method, task, check: what was looked at; a task by itself is checked without a method, "".
        status: how it ended.
        reason: for "FAILED" what was found, what is expected and a hint; else why there is nothing to check; for "ok"
            what a check of a task has found, or empty.
    """

    method: str
    task: str
    check: str
    status: Status
    reason: str = ""


class Failure(Exception):
    """A check did not hold.

    Args:
        found: what was found, in words.
        expected: what should have been found.
        hint: where the mistake is likely to be.
    """

    def __init__(self, found: str, expected: str, hint: str) -> None:
        super().__init__(f"{found}; expected: {expected}; hint: {hint}")


class Declared(Exception):
    """A method says of itself that a check does not hold for it, with its words."""


class Undefined(Exception):
    """There is nothing to check, with the reason."""


def fault_of_task(error: BaseException, source: Path) -> str:
    """Return the sentence about a task that raised: the hook, the error and the line of its file."""
    hook = place = user = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        owner, user = frame.f_locals.get("self"), frame.f_code.co_name
        if isinstance(owner, Task) and not user.startswith("_"):
            hook = user
        elif isinstance(owner, nn.Module) and not user.startswith("_"):
            hook = f"the model's {user}"
        if Path(frame.f_code.co_filename) == source:
            place = f" ({source.name}, line {line})"
    who = hook or f"what the task returned cannot be used: {user}"
    hint = "bench/tasks/base.py and bench/models/base.py say what each hook is given and returns"
    return f"{who} raised {words_of(error)}{place}; expected: no error; hint: {hint}"


def fault(error: BaseException, source: Path) -> str:
    """Return the sentence about a method that raised: the hook, the error and the line of its file.

    Args:
        error: what was raised in a hook, in a sub-model's forward pass, or by the harness for what a hook returned.
        source: the method's file.
    """
    hook = place = user = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        owner, user = frame.f_locals.get("self"), frame.f_code.co_name
        if isinstance(owner, Method) and not user.startswith("_"):
            hook = user
        elif isinstance(owner, nn.Module) and user == "forward":
            hook = "the sub-model's forward"
        if Path(frame.f_code.co_filename) == source:
            place = f" ({source.name}, line {line})"
    if isinstance(error.__cause__, RemoteTraceback):  # whose hook it was is not known from its frames
        hook, place = "a hook in a worker process", place_in(error, [source])
    who = hook or f"what the method returned cannot be used: {user}"
    words = words_of(error)
    hint = "bench/api says what each hook is given and returns"
    if "read-only" in words:
        hint = "what a hook is given belongs to the server and cannot be changed in place: copy it first"
    return f"{who} raised {words}{place}; expected: no error; hint: {hint}"
