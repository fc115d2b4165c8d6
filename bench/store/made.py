"""By what a cell's numbers are made beside its configuration and data: revisions, and files of the user's own."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import revisions
from bench.cell import Cell
from bench.plugins import registry
from bench.store.declared import declared, imported, revision
from bench.store.provenance import code_of, files_code


@dataclass(frozen=True)
class Made:
    """What makes a cell's numbers now.

    Attributes:
        revisions: those it depends on by name, for example "harness", "task cnn-femnist", "family spectral",
            "method prism".
        own_code: hash of the files of the user's own that it runs; empty where it runs none.
        code: hash of all code of the simulation path; it says where a result comes from and makes none stale.
    """

    revisions: Mapping[str, int]
    own_code: str
    code: str

    def facts(self) -> dict[str, Any]:
        """Return what is written down with a result."""
        return {
            "revisions": dict(self.revisions),
            "measures": revisions.MEASURES,
            "own_code": self.own_code,
            "code": self.code,
        }

    def changes(self, facts: Mapping[str, Any]) -> str:
        """Return in words why a result with these facts has other numbers than it would have now; empty if it has not.

        Args:
            facts: those of the result, as :meth:`facts` returned them when it was made.
        """
        return changes(facts, self.facts())


def made(cell: Cell, plugins: Iterable[Path] = ()) -> Made:
    """Return what makes a cell's numbers now.

    To these belong the methods and tasks that its own inherit from, and what a user's file imports: by revisions where
    the harness ships it, by code where it is the user's.
    """
    plugins = tuple(plugins)
    entries = registry.method(cell.method, plugins), registry.task(cell.task, plugins)
    found = {"harness": revisions.HARNESS}
    files: list[Path] = []
    for entry in entries:
        assert entry.kind is not None
        found |= dict(sorted(declared(entry.kind)))
        shipped = {_source(above) for above in entry.kind.__mro__ if revision(above)}
        files += [file for file in entry.files() if file.resolve() not in shipped]
        if entry.source.resolve() not in shipped:
            found |= imported(entry.imports)
            files += [entry.source, *entry.helpers]  # also those in the harness's own folder of tasks
    return Made(found, files_code(tuple(dict.fromkeys(files)), entries) if files else "", code_of(cell, plugins))


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return in words what makes the numbers of two results differ, by their facts; empty if nothing does."""
    earlier, later = before.get("revisions"), after.get("revisions")
    if not isinstance(earlier, Mapping) or not isinstance(later, Mapping):
        return "" if earlier == later else "it was made before results had revisions"
    # What a user's file imports did not always count: a result without it is of the time when all were at the first.
    same = after.get("own_code") and before.get("own_code") == after.get("own_code")
    for name in dict.fromkeys([*later, *earlier]):
        then, now = earlier.get(name, revisions.FIRST if same else None), later.get(name)
        if then != now:
            return f"{name} is at {_of(now)} and was at {_of(then)} (docs/revisions.md)"
    if before.get("own_code") != after.get("own_code"):
        return "files of your own that it runs have changed"
    return ""


def _of(revision: Any) -> str:
    return "no revision" if revision is None else f"revision {revision}"


def _source(kind: type) -> Path:
    return Path(str(inspect.getsourcefile(kind))).resolve()
