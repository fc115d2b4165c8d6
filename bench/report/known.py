"""What is known of each cell behind a report, finished or not: from records, tables, manifests and folders of cells."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bench.bundle.cleaned import public, without_places
from bench.launch.tables import USABLE
from bench.store.cells import Record
from bench.store.claimed import checked


@dataclass(frozen=True)
class KnownCell:
    """What is known of one cell, finished or not.

    Attributes:
        name: of its folder; its identity is the part behind the last hyphen.
        label: of its series.
        state: see :data:`bench.store.wholeness.STATES`.
        reason: why it ended so; without paths.
        facts: what its ``cell.json`` says.
        environment: of the machine and the software that made it; empty where that is not known.
    """

    name: str
    label: str
    task: str
    method: str
    seed: int
    state: str
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Ten hexadecimal digits that name the cell's configuration."""
        return self.name.rsplit("-", 1)[-1]


def of_record(record: Record, label: str, environment: Mapping[str, Any]) -> KnownCell:
    """Return what a record says of a cell, fit for others."""
    cell = record.cell
    return KnownCell(
        name=cell.folder,
        label=label,
        task=cell.task,
        method=cell.method,
        seed=cell.seed,
        state=record.state,
        reason=without_places(record.reason),
        facts=record.facts,
        environment=public(environment),
    )


def of_tables(cells: pd.DataFrame, manifest: Mapping[str, Any]) -> Iterable[KnownCell]:
    """Yield the cells of a table, with what a manifest says of them."""
    facts, environments = manifest.get("cells", {}), manifest.get("environments", [])
    for row in cells.to_dict("records"):
        own = dict(facts.get(str(row["cell"]), {}))
        number = own.get("environment")
        environment = environments[number] if isinstance(number, int) and 0 <= number < len(environments) else {}
        yield KnownCell(
            name=str(row["cell"]),
            label=str(row["label"]),
            task=str(row["task"]),
            method=str(row["method"]),
            seed=int(row["seed"]),
            state=str(row["status"]),
            reason=without_places(str(row.get("reason") or "")),
            facts=own,
            environment=environment,
        )


def of_cells(folder: Path) -> Iterable[KnownCell]:
    """Yield the cells that lie in a folder of results and are not in its tables: skipped and failed ones."""
    for path in sorted(folder.glob("cells/*/cell.json")):
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            cell = checked({**facts, "status": "skipped"})
            state, reason = str(facts["status"]), without_places(str(facts.get("reason", "")))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if state not in USABLE:
            yield KnownCell(cell.folder, cell.label, cell.task, cell.method, cell.seed, state, reason, facts)
