"""Checks what a user typed against the typed fields of a recipe, a task's or a method's parameters."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import typing
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from bench.errors import BenchError, choices
from bench.parameters import about
from bench.written import rounded


def checked(
    kind: type, values: Mapping[str, Any], place: str, usual: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the values with their types put right (``1`` where a float is wanted becomes ``1.0``).

    Args:
        kind: the dataclass whose fields say what is allowed.
        values: what the user gave, by field name or alias.
        place: where it stands, for the error ("sweeps/my.toml, cells 2, training").
        usual: values beside which they stand, where those are not the dataclass's defaults.

    Raises:
        BenchError: an unknown name, a value of the wrong type or out of its bounds, or values that do not go together.
    """
    named = _by_field_name(kind, values, place)
    try:
        model = _model_of(kind).model_validate(named)
    except ValidationError as error:
        raise BenchError(_sentence(kind, named, error, place)) from None
    right = {name: _rounded(getattr(model, name)) for name in named}
    try:
        kind(**{**(usual or {}), **right})
    except ValueError as error:  # of the dataclass's own __post_init__
        raise BenchError(f"{place}: {error}") from None
    return right


def without_defaults(
    kind: type, values: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the values that differ from the dataclass's defaults, or from ``defaults`` where that names them.

    A value that the dataclass would fill in by itself is no difference either: a width of 16 where that is the paper's.
    """
    usual = {field.name: field.default for field in dataclasses.fields(kind)} | dict(defaults or {})
    changed = {name: value for name, value in values.items() if value != _rounded(usual[name])}
    for name in list(changed):
        others = {other: value for other, value in changed.items() if other != name}
        with contextlib.suppress(ValueError):  # the others may not go together without it
            if kind(**{**(defaults or {}), **others}) == kind(**{**(defaults or {}), **changed}):
                changed = others
    return changed


def _rounded(value: Any) -> Any:
    return rounded(value) if isinstance(value, float) else value


def _by_field_name(kind: type, values: Mapping[str, Any], place: str) -> dict[str, Any]:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    aliases = {known.alias: name for name, field in fields.items() if (known := about(field)).alias}
    named = {aliases.get(name, name): value for name, value in values.items()}
    for name in named:
        if name not in fields:
            allowed = [*fields, *aliases]
            words = choices(name, allowed) if allowed else "it has no parameters"
            raise BenchError(f"{place}: unknown name {name!r}; {words}")
    return named


@functools.cache
def _model_of(kind: type) -> type[BaseModel]:
    hints = typing.get_type_hints(kind)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        known = about(field)
        bounds: dict[str, float | bool | None] = {"ge": known.low, "le": known.high, "gt": known.above}
        if hints[field.name] in (float, float | None):
            bounds["allow_inf_nan"] = False
        given: dict[str, Any] = {name: value for name, value in bounds.items() if value is not None}
        fields[field.name] = (hints[field.name], Field(field.default, **given))
    return create_model(kind.__name__, __config__=ConfigDict(strict=True, protected_namespaces=()), **fields)


def _sentence(kind: type, values: Mapping[str, Any], error: ValidationError, place: str) -> str:
    """Return the first mistake as one sentence: place, name, value and what is allowed."""
    name = str(error.errors()[0]["loc"][0])
    value = values[name]
    return f"{place}: {name} = {value!r} is not possible; {_allowed(kind, name, value)}"


def _allowed(kind: type, name: str, value: Any) -> str:
    hint = typing.get_type_hints(kind)[name]
    parts = [part for part in (get_args(hint) if get_origin(hint) is not Literal else ()) if part is not type(None)]
    single = parts[0] if parts else hint
    if get_origin(single) is Literal:
        return choices(value, get_args(single))
    field = next(field for field in dataclasses.fields(kind) if field.name == name)
    known = about(field)
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
    bounds = [
        f"from {known.low:g}" if known.low is not None and not math.isinf(known.low) else "",
        f"above {known.above:g}" if known.above is not None else "",
        f"to {known.high:g}" if known.high is not None else "",
    ]
    return " ".join(["allowed:", words.get(single, str(single)), *filter(None, bounds)])
