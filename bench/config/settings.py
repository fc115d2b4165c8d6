"""Sorting ``--set name=value`` into the method's, the model's and the training's settings."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.errors import BenchError, at, choices
from bench.parameters import about
from bench.plugins import registry
from bench.tasks.base import Recipe
from bench.written import number_in


def split_settings(words: Iterable[str], task: str, method: str, plugins: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Return the tables ``parameters``, ``model`` and ``training`` of the settings a user typed.

    A name goes to the first of the three that has it; ``training.momentum=0`` says which where two have it.

    Raises:
        BenchError: a word is not ``name=value``, nothing has the name, or two words set the same.
    """
    with at("command line"):
        kind = registry.method(method, plugins).kind
        shape = registry.task(task, plugins).kind.Params
    assert kind is not None
    owners: dict[str, type] = {"parameters": kind.Params, "model": shape, "training": Recipe}
    names = {owner: _names(params) for owner, params in owners.items()}
    tables: dict[str, dict[str, Any]] = {owner: {} for owner in owners}
    for word in words:
        name, equals, value = (part.strip() for part in word.partition("="))
        if not equals or not name:
            raise BenchError(f"--set {word!r}: it reads name=value, for example --set kappa=4")
        owner, dot, rest = name.partition(".")
        if not (dot and owner in owners):
            found = next((owner for owner, known in names.items() if name in known), None)
            if found is None:
                allowed = [name for known in names.values() for name in known]
                raise BenchError(f"--set {word!r}: unknown name {name!r}; {choices(name, allowed)}")
            owner, rest = found, name
        if rest in tables[owner]:
            raise BenchError(f"--set {word!r}: {rest!r} is set twice; allowed: one value for each name")
        tables[owner][rest] = _value(value)
    return tables


def _names(params: type) -> list[str]:
    fields = dataclasses.fields(params)
    return [field.name for field in fields] + [known for field in fields if (known := about(field).alias)]


def _value(text: str) -> Any:
    """Return a value as TOML reads it; also ``.1`` is a number, and what remains is a word."""
    with contextlib.suppress(ValueError, RecursionError):
        values = tomllib.loads(f"value = {text}")
        if len(values) == 1:
            return values["value"]
    return number_or_words(text)


def number_or_words(text: str) -> float | str:
    """Return a number where the text is one."""
    number = number_in(text)
    return text if number is None or (math.isinf(number) and "inf" not in text) else number
