"""All that is known of one method or task, for the command line."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding

from bench.api import Method
from bench.parameters import About, about
from bench.plugins import registry
from bench.terminal.columns import Columns


def method(name: str, plugins: Iterable[Path]) -> Group:
    """Return a method's idea, family, paper, parameters and deviations from the paper.

    Raises:
        BenchError: there is no such method, or its file is broken.
    """
    entry = registry.method(name, plugins)
    kind = entry.kind
    assert kind is not None
    deviations = [Padding(f"- {escape(words)}", (0, 0, 0, 2)) for words in kind.deviations]
    return Group(
        *_heading(name, kind.summary, {"family": kind.family, "paper": kind.paper, "file": str(entry.source)}),
        *_text(kind),
        _local_training(kind),
        "[bold]declared deviations[/]" if deviations else "no deviation from the paper is declared",
        *deviations,
        _parameters(kind.Params),
    )


def task(name: str, plugins: Iterable[Path] = ()) -> Group:
    """Return a task's model, data set, tiers, papers and parameters.

    Raises:
        BenchError: there is no such task, or its file is broken.
    """
    entry = registry.task(name, plugins)
    kind = entry.kind
    facts = {"data set": kind.dataset, "paper": kind.paper, "file": str(entry.source)}
    heading = _heading(name, kind.summary, facts)
    return Group(*heading, *_text(kind), _parameters(kind.Params), _recipes(kind.tiers))


def _recipes(tiers: Mapping[str, Any]) -> Columns:
    """Return what each tier sets of the training, a column a tier."""
    table = Columns("training, by tier", "name", *tiers, "what it is")
    for field in dataclasses.fields(next(iter(tiers.values()))):
        values = (as_typed(getattr(recipe, field.name)) for recipe in tiers.values())
        table.add_row(field.name, *values, escape(about(field).help))
    return table


def _heading(name: str, summary: str, facts: dict[str, str]) -> Iterator[RenderableType]:
    yield f"[bold]{escape(name)}[/]: {escape(summary)}" if summary else f"[bold]{escape(name)}[/]"
    for title, words in facts.items():
        if words:
            yield f"[bold]{title}[/] {escape(words)}"


def _text(kind: type) -> Iterator[RenderableType]:
    """Yield the class's own docstring; an inherited one would be about another method."""
    text = inspect.cleandoc(kind.__dict__.get("__doc__") or "")
    if text:
        # Lines of a paragraph are joined, for the terminal has a width of its own; indented formulae stay as they are.
        joined = re.sub(r"(?<=\S)\n(?=\S)", " ", text).replace("``", "")
        joined = re.sub(r":\w+:`~?([^`]*)`", r"\1", joined)
        yield Padding(escape(joined), (1, 0, 1, 2))


def _local_training(kind: type[Method]) -> str:
    """Return in a line what a method changes in local training, with its default parameters."""
    changed = kind().departures()
    return f"[bold]changes in local training[/] {', '.join(changed)}" if changed else "it trains as all methods do"


def _parameters(params: type) -> RenderableType:
    fields = dataclasses.fields(params)
    if not fields:
        return "it has no parameters"
    table = Columns("parameters", "name", "default", "allowed", "what it does")
    types = typing.get_type_hints(params)
    for field in fields:
        known = about(field)
        default = as_typed(field.default)
        words = (known.alias or field.name, default, allowed(types[field.name], known), known.help)
        table.add_row(*map(escape, words))
    return table


def as_typed(value: Any) -> str:
    """Return a value as it is written on the command line and in sweep files."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def allowed(kind: Any, known: About) -> str:
    """Return in words which values a parameter takes.

    >>> allowed(Literal["samples", "uniform"], About())
    'samples, uniform'
    >>> allowed(float | None, About(above=0.0))
    'number above 0, or none'
    """
    kinds = typing.get_args(kind) if typing.get_origin(kind) not in (None, Literal) else (kind,)
    optional = type(None) in kinds
    names = []
    for one in kinds:
        if typing.get_origin(one) is Literal:
            names += [str(value) for value in typing.get_args(one)]
        elif one is not type(None):
            names.append({bool: "true, false", int: "whole number", float: "number", str: "text"}.get(one, str(one)))
    bounds = [
        f"{word} {bound:g}"
        for word, bound in (("above", known.above), ("from", known.low), ("to", known.high))
        if bound is not None
    ]
    return " ".join([", ".join(names), *bounds]) + (", or none" if optional else "")
