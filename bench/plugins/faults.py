"""Why what a file defines cannot be used, in one line; each function returns an empty text where it can."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bench.api import Method
from bench.colours import fault
from bench.figure_spec import FigureSpec
from bench.tasks.base import Recipe, Task

LONGEST_NAME = 64
NAME = re.compile(rf"\w[\w.+-]{{0,{LONGEST_NAME - 1}}}")
ALLOWED_NAME = (
    f"allowed: letters, digits, '_', '-', '.' and '+', at most {LONGEST_NAME}, the first a letter, digit or '_'"
)


def of_methods(kinds: Sequence[type[Method]]) -> str:
    """Return what is wrong with the methods of a file."""
    complete = [kind for kind in kinds if not inspect.isabstract(kind)]
    rules: list[Callable[[Any], str]] = [_words("name", "family", "summary", "paper"), _deviations, _name, _colour]
    return unfinished(kinds) or _first(rules, complete) or _same_name(complete) or _first([_params], complete)


def of_tasks(kinds: Sequence[type[Task]]) -> str:
    """Return what is wrong with the tasks of a file; an abstract class that names no data is a base of tasks."""
    complete = [kind for kind in kinds if not inspect.isabstract(kind)]
    meant = [kind for kind in kinds if kind in complete or {"dataset", "tiers"} & vars(kind).keys()]
    rules: list[Callable[[Any], str]] = [_words("name", "summary", "paper", "dataset", "partition"), _name]
    of_settings = [_params, _tiers, _tier_params, _tier_partitions]
    return unfinished(meant) or _first(rules, complete) or _same_name(complete) or _first(of_settings, complete)


def of_figures(specs: Sequence[FigureSpec]) -> str:
    """Return what is wrong with the figures of a file."""
    return _first([_words("name", "description"), _name, _needs, _functions], specs) or _same_name(specs)


def unfinished(kinds: Sequence[type]) -> str:
    """Return what the classes lack that no other class of the file completes."""
    complete = [kind for kind in kinds if not inspect.isabstract(kind)]
    lacking = [
        f"{kind.__name__} lacks {', '.join(sorted(getattr(kind, '__abstractmethods__', ())))}"
        for kind in kinds
        if kind not in complete and not any(issubclass(other, kind) for other in complete)
    ]
    return "; ".join(lacking)


def _first(rules: Iterable[Callable[[Any], str]], ones: Sequence[Any]) -> str:
    """Return the first fault that the rules find."""
    return next((fault for one in ones for rule in rules if (fault := rule(one))), "")


def _called(one: Any) -> str:
    """Return what a class or figure is called in a sentence on it."""
    return one.__name__ if inspect.isclass(one) else f"{type(one).__name__}({one.name!r})"


def _words(*names: str) -> Callable[[Any], str]:
    def rule(one: Any) -> str:
        for name in names:
            value = getattr(one, name, None)
            if not isinstance(value, str):
                return f"{name} = {value!r} of {_called(one)} is not possible; allowed: a word in quotes"
        return ""

    return rule


def _name(one: Any) -> str:
    if NAME.fullmatch(one.name):
        return ""
    shown = one.name if len(one.name) <= LONGEST_NAME else f"{one.name[:LONGEST_NAME]}..."
    return f"name = {shown!r} of {_called(one)} is not possible; {ALLOWED_NAME}"


def _same_name(ones: Sequence[Any]) -> str:
    times = Counter(one.name for one in ones)
    same = [one for one in ones if times[one.name] > 1]
    if not same:
        return ""
    if all(inspect.isclass(one) for one in same):
        names = ", ".join(one.__name__ for one in same)
        return f"{names} have the same name; give each its own as the class attribute 'name'"
    names = ", ".join(repr(one.name) for one in same)
    return f"its figures {names} have the same name; give each its own"


def _deviations(kind: type[Method]) -> str:
    listed = isinstance(kind.deviations, list | tuple) and all(isinstance(one, str) for one in kind.deviations)
    return "" if listed else f"deviations of {kind.__name__} are no list of words in quotes"


def _colour(kind: type[Method]) -> str:
    wrong = kind.colour != "" and fault(kind.colour)
    return f"colour = {kind.colour!r} of {kind.__name__} is not possible; {wrong}" if wrong else ""


def _params(kind: Any) -> str:
    params: Any = kind.Params
    if not dataclasses.is_dataclass(params):
        return f"Params of {kind.__name__} is not a dataclass"
    try:
        kind.Params()
        typing.get_type_hints(params)
    except (TypeError, NameError) as error:
        return f"Params of {kind.__name__} need a default and a known type for each field: {error}"
    return ""


def _tiers(kind: type[Task]) -> str:
    tiers = getattr(kind, "tiers", None)
    if isinstance(tiers, Mapping) and tiers and all(isinstance(recipe, Recipe) for recipe in tiers.values()):
        wrong = [name for name in tiers if not isinstance(name, str) or not NAME.fullmatch(name)]
        return f"tiers of {kind.__name__}: the name {wrong[0]!r} is not possible; {ALLOWED_NAME}" if wrong else ""
    return f"tiers of {kind.__name__} are no table of names and recipes; allowed: for example {{'quick': Recipe()}}"


def _tier_params(kind: type[Task]) -> str:
    fault = _known_tiers(kind, "tier_params")
    for tier, values in () if fault else kind.tier_params.items():
        try:
            params: Any = kind.Params
            params(**values)
        except (TypeError, ValueError) as error:
            return f"tier_params of {kind.__name__} for the tier {tier!r} do not go with its Params: {error}"
    return fault


def _tier_partitions(kind: type[Task]) -> str:
    return _known_tiers(kind, "tier_partitions")


def _known_tiers(kind: type[Task], table: str) -> str:
    given, allowed = getattr(kind, table), ", ".join(map(repr, kind.tiers))
    if not isinstance(given, Mapping):
        return f"{table} of {kind.__name__} is no table; allowed: values by the tiers {allowed}"
    unknown = [tier for tier in given if tier not in kind.tiers]
    return f"{table} of {kind.__name__} name the tier {unknown[0]!r}; allowed: {allowed}" if unknown else ""


def _needs(spec: FigureSpec) -> str:
    if isinstance(spec.needs, tuple | list) and all(isinstance(table, str) for table in spec.needs):
        return ""
    return f"needs = {spec.needs!r} of {_called(spec)} is not possible; allowed: names of tables, as ('rounds',)"


def _functions(spec: FigureSpec) -> str:
    for name, value in (("draw", spec.draw), ("numbers", spec.numbers)):
        if not callable(value) and not (name == "numbers" and value is None):
            return f"{name} = {value!r} of {_called(spec)} is not possible; allowed: a function of tables and options"
    return ""
