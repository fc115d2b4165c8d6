"""One searched parameter: its range, and where the paper stands in it."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from bench.config.cells import table
from bench.config.validation import checked
from bench.errors import BenchError, choices
from bench.parameters import About, about

KEYS = ("low", "high", "log", "choices", "paper")


@dataclass(frozen=True)
class Dimension:
    """One searched parameter.

    Attributes:
        name: its field's name.
        owner: "parameters" (of the method) or "training".
        paper: what trial 0 has.
        low, high: the range, both ends included; None where there are ``choices``.
        log: True where the search is on a logarithmic scale.
        whole: True for whole numbers.
        choices: the allowed values; empty where there is a range.
        implied: True where ``paper`` is what the parameter means on the task when it is left out.
        symbol: what people call it: its name in the paper ("lambda"), else the field's.
    """

    name: str
    owner: str
    paper: Any
    low: float | None = None
    high: float | None = None
    log: bool = False
    whole: bool = False
    choices: tuple[Any, ...] = ()
    implied: bool = False
    symbol: str = ""

    @property
    def bounds(self) -> tuple[float, float]:
        """The range of a dimension that has one."""
        assert self.low is not None and self.high is not None
        return self.low, self.high

    def holds(self, value: Any) -> bool:
        """Return whether a value is one of those that are searched."""
        return value in self.choices if self.choices else self.bounds[0] <= value <= self.bounds[1]

    @property
    def extent(self) -> str:
        """What is searched, in words."""
        if self.choices:
            return "one of " + ", ".join(repr(choice) for choice in self.choices)
        return f"{self.bounds[0]:g} to {self.bounds[1]:g}"


@dataclass(frozen=True)
class Field:
    """A parameter as its owner declares it.

    Attributes:
        name: of the field.
        owner: "parameters" (of the method) or "training".
        kind: the dataclass that has it.
    """

    name: str
    owner: str
    kind: type

    @property
    def about(self) -> About:
        """What is known of it."""
        return about(self._field)

    @property
    def has_no_default(self) -> bool:
        """Whether it means something else on each task, or nothing, when it is left out."""
        return self._field.default is None

    @property
    def types(self) -> tuple[Any, ...]:
        """The types that it may have, None left out."""
        hint = typing.get_type_hints(self.kind)[self.name]
        parts = (hint,) if get_origin(hint) is Literal else get_args(hint) or (hint,)
        return tuple(part for part in parts if part is not NoneType)

    @property
    def words(self) -> tuple[Any, ...]:
        """Its values where it has but a few."""
        first = self.types[0]
        if first is bool:
            return (False, True)
        return get_args(first) if get_origin(first) is Literal else ()

    @property
    def _field(self) -> Any:
        return next(field for field in dataclasses.fields(self.kind) if field.name == self.name)


def read_dimension(
    field: Field, usual: Any, given: Mapping[str, Any], fixed: Mapping[str, Any], place: str
) -> Dimension:
    """Return a searched parameter; what the file leaves out is as the parameter itself says.

    Args:
        field: the parameter.
        usual: the paper's value; None where it is not known.
        given: its table in the study file.
        fixed: values that go with it, of the same owner.
        place: where it was written, for errors.

    Raises:
        BenchError: in one sentence.
    """
    for key in table(given, place):
        if key not in KEYS:
            raise BenchError(f"{place}: unknown key {key!r}; {choices(key, KEYS)}")
    paper = given.get("paper", usual)
    if paper is None:
        raise BenchError(f"{place}: what the paper's value is does not follow from the method; say paper = VALUE")
    checked(field.kind, {**fixed, field.name: paper}, f"{place}, paper")
    dimension = _with_choices(field, given, fixed, place) or _with_range(field, given, fixed, place)
    if not dimension.holds(paper):
        raise BenchError(
            f"{place}: trial 0 has the paper's value, {paper!r}, which is not among those searched "
            f"({dimension.extent}); widen them, or say paper = VALUE"
        )
    implied = field.has_no_default and paper == usual
    number = type(dimension.low) if dimension.low is not None else type(paper)
    symbol = field.about.alias or field.name
    return dataclasses.replace(dimension, paper=number(paper), implied=implied, symbol=symbol)


def _with_choices(field: Field, given: Mapping[str, Any], fixed: Mapping[str, Any], place: str) -> Dimension | None:
    """Return a dimension that has choices; None if it has a range."""
    in_range = "low" in given or "high" in given
    values = given.get("choices", () if in_range or field.about.search else field.words)
    if "choices" not in given and not values:
        return None
    if in_range or "log" in given:
        raise BenchError(f"{place}: choices and a range exclude each other; leave one out")
    if not isinstance(values, list | tuple) or len(set(map(repr, values))) < 2:
        raise BenchError(f"{place}: choices = {values!r} leave nothing to search; at least two values are needed")
    right = [checked(field.kind, {**fixed, field.name: value}, f"{place}, choices")[field.name] for value in values]
    return Dimension(field.name, field.owner, None, choices=tuple(right))


def _with_range(field: Field, given: Mapping[str, Any], fixed: Mapping[str, Any], place: str) -> Dimension:
    """Return a dimension that has a range."""
    low, high = (
        given.get(end, own) for end, own in zip(("low", "high"), field.about.search or (None,) * 2, strict=True)
    )
    if low is None or high is None:
        raise BenchError(f"{place}: it has no range of its own; say low and high, or choices")
    for end, value in {"low": low, "high": high}.items():
        checked(field.kind, {**fixed, field.name: value}, f"{place}, {end}")
    log = given.get("log", field.about.log)
    if not isinstance(log, bool):
        raise BenchError(f"{place}: log = {log!r} is not possible; allowed: true or false")
    if low >= high:
        raise BenchError(f"{place}: low = {low!r} is not below high = {high!r}")
    if log and low <= 0:
        raise BenchError(f"{place}: low = {low!r} has no logarithm; say log = false, or a low above 0")
    whole = int in field.types
    number = int if whole else float
    return Dimension(field.name, field.owner, None, number(low), number(high), log, whole)
