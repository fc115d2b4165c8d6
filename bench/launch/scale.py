"""How large a cell was and by what it was made: columns of the table of cells, empty where it is not known."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.cell import Cell
from bench.errors import BenchError
from bench.plugins import registry

OF_THE_RECIPE = ("rounds", "clients", "cohort", "batch_size", "precision")
WIDTHS = ("width", "hidden")
"""What the built-in tasks call the number that their model's size follows from."""
Columns = dict[str, Any]


def of_settings(cell: Cell, plugins: Iterable[Path] = ()) -> Columns:
    """Return what follows from a cell's configuration: settings, model, width and what the recipe says of the scale.

    ``settings`` are all that differ from the tier and from the paper's parameters; the rest is empty where the task is
    not here, or has no such tier any more.
    """
    words: Columns = {"settings": in_words({**cell.training, **cell.model, **cell.parameters, **_further(cell)})}
    try:
        task = registry.task(cell.task, plugins).build(cell)
        params = dataclasses.asdict(task.params)
    except (BenchError, KeyError, TypeError, ValueError):  # a user's task that is not here, or is another by now
        return words
    width = next((params[name] for name in WIDTHS if isinstance(params.get(name), int)), None)
    recipe = {name: getattr(task.recipe, name) for name in OF_THE_RECIPE}
    return {**words, "model": in_words(params), "width": width, **recipe}


def _further(cell: Cell) -> dict[str, Any]:
    return {} if cell.diagnostics == "basic" else {"diagnostics": cell.diagnostics}


def of_making(facts: Mapping[str, Any], environment: Mapping[str, Any]) -> Columns:
    """Return what made a cell: revisions, commit, version of torch and processor, as they were written down."""
    packages = environment.get("packages")
    commit = environment.get("git_commit")
    changed = " with changes" if commit and environment.get("git_changes") else ""
    return {
        "revisions": in_words(facts.get("revisions") or {}) or None,
        "commit": f"{commit}{changed}" if commit else None,
        "torch": packages.get("torch") if isinstance(packages, Mapping) else None,
        "processor": environment.get("accelerator") or environment.get("processor"),
    }


def in_words(settings: Mapping[str, Any]) -> str:
    """Return settings as labels have them, in the order of their names.

    >>> in_words({"width": 8, "lr": 0.10})
    'lr=0.1, width=8'
    """
    return ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in sorted(settings.items())
    )
