"""Listings for the command line."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable
from pathlib import Path

from rich.markup import escape

from bench.errors import BenchError
from bench.terminal.columns import Columns
from bench.terminal.one_liners import OneLiners


def methods(plugins: Iterable[Path]) -> OneLiners:
    """Return the methods, a line each: name, family, shares of costs, what it does; a broken file with its reason."""
    from bench.budget.shares import KEEP, known_shares
    from bench.plugins import registry

    table, known = OneLiners("methods, each with its paper and parameters by 'list methods NAME'"), known_shares()
    table.add_note(
        f"numbers: what a client of keep ratio {KEEP:g} takes of the full ResNet-18's memory in training, bytes and "
        "operations; a budget (docs/budgets.md) finds the keep ratio that fits"
    )
    for entry in sorted(registry.methods(plugins).values(), key=lambda entry: entry.name):
        if entry.kind is None:
            table.add_note(
                ": ".join((f"{escape(entry.name)} is [red]broken[/]", escape(f"{entry.source}: {entry.reason}")))
            )
            continue
        summary = entry.kind.summary or (inspect.getdoc(entry.kind) or "").partition("\n")[0]
        of = known.get(entry.name) if entry.source.parent.name == "methods" else None
        costs = " ".join(f"{share:.2f}" for share in of.values()) if of else ""
        table.add_row(entry.name, entry.kind.family, costs, summary)
    return table


def tasks(plugins: Iterable[Path]) -> Columns:
    """Return the tasks: name, one line, data set, tiers, paper; a broken file with its reason."""
    from bench.plugins import registry

    table = Columns("tasks", "name", "what it is", "data set", "parameters", "tiers", "paper")
    rows = []
    for entry in registry.tasks(plugins).values():
        kind = entry.kind
        summary = kind.summary or (inspect.getdoc(kind) or "").partition("\n")[0]
        names = ", ".join(field.name for field in dataclasses.fields(kind.Params))
        words = (entry.name, summary, kind.dataset, names, ", ".join(kind.tiers), kind.paper)
        rows.append([escape(word) for word in words])
    for broken in registry.broken_tasks(plugins):
        rows.append([*_broken(broken.name, broken.source, broken.reason), "", "", ""])
    for row in sorted(rows):
        table.add_row(*row)
    return table


def _broken(name: str, source: Path, reason: str) -> list[str]:
    """Return the first words of the row of a file that nothing can be read from."""
    return [escape(name), "[red]broken[/]", escape(f"{source}: {reason}")]


def sweeps(folder: Path, plugins: Iterable[Path]) -> Columns:
    """Return the sweep files of a folder: file, title, number of cells; a wrong file with its reason.

    Studies, in a folder of that name within, are no sweeps.
    """
    from bench.config.cells import read_sweep

    table = Columns("sweeps", "file", "title", "cells")
    for path in sorted(folder.glob("**/*.toml")):
        if path.parent.name == "studies":
            continue
        try:
            sweep = read_sweep(path, plugins, finds=False)
            table.add_row(escape(str(path)), escape(sweep.title), str(len(sweep.cells)))
        except BenchError as error:
            table.add_row(escape(str(path)), f"[red]{escape(str(error))}[/]", "")
    return table


def studies(folder: Path, plugins: Iterable[Path]) -> Columns:
    """Return the study files of a folder: file, title, methods, trials of each; a wrong file with its reason."""
    from bench.tuning.study_file import read_study

    table = Columns("studies", "file", "title", "methods", "trials")
    for path in sorted(folder.glob("*.toml")):
        try:
            study = read_study(path, plugins)
            names = ", ".join(dict.fromkeys(search.label for search in study.searches))
            table.add_row(escape(str(path)), escape(study.title), escape(names), str(study.budget.trials))
        except BenchError as error:
            table.add_row(escape(str(path)), f"[red]{escape(str(error))}[/]", "", "")
    return table


def figures(plugins: Iterable[Path]) -> Columns:
    """Return the figures: name, what they show, the tables they need; a broken file with its reason."""
    from bench.report.figures import broken_figures, figures_with

    table = Columns("figures", "name", "what it shows", "tables")
    for spec in figures_with(plugins).values():
        table.add_row(escape(spec.name), escape(spec.description), ", ".join(spec.needs))
    for name, source, reason in broken_figures(plugins):
        name, state, reason = _broken(name, source, reason)
        table.add_row(name, f"{state}: {reason}", "")
    return table


def profiles() -> Columns:
    """Return the names of capacities: name, what it stands for, meaning, mean keep ratio, source."""
    from bench.federation.capacity import mean_keep
    from bench.federation.profiles import listed, text_of

    table = Columns("profiles", "name", "stands for", "meaning", "mean keep ratio", "source")
    for profile in listed():
        mean = f"{mean_keep(profile.capacities):.4g}"
        table.add_row(profile.name, text_of(profile.capacities), profile.meaning, mean, profile.source)
    return table


def data() -> Columns:
    """Return the data sets: name, whether they are here, size, origin."""
    from bench.data import available

    table = Columns("data sets", "name", "title", "state", "samples", "MB", "origin")
    for row in available():
        colour = {"ready": "green", "corrupt": "red"}.get(row.state, "yellow")
        samples = "" if row.samples is None else f"{row.samples:,}"
        size = "" if row.size_mb is None else f"{row.size_mb:.0f}"
        table.add_row(row.name, escape(row.title), f"[{colour}]{row.state}[/]", samples, size, escape(row.origin))
    return table
