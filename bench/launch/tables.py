"""The tables of a sweep: those of its cells one below the other, with what names the cell in front of each row."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from bench.budget.written import ALL
from bench.cell import Cell
from bench.launch import scale
from bench.store import schema
from bench.store.cells import Record

USABLE = ("done", "diverged")


def tables_of(
    known: Iterable[Record],
    read: Callable[[Record, str], pa.Table],
    last: int,
    environment: Callable[[Record], Mapping[str, Any]],
    plugins: Iterable[Path] = (),
) -> dict[str, pa.Table]:
    """Return the tables of finished cells by name: "cells", and those of :data:`bench.store.schema.ALL_TABLES`.

    Where cells have budgets, "fits" says what the methods take of them, those that were skipped included.

    Args:
        known: records of all cells, of which those in a state of ``USABLE`` are taken; all take part in the labels.
        read: returns a table of a cell.
        last: how many of the last evaluations make the headline accuracy.
        environment: returns the machine and the software that a cell was made with.
        plugins: files of methods and tasks the user named.
    """
    known, plugins = list(known), tuple(plugins)
    labels = series_labels([record.cell for record in known])
    rows: list[dict[str, Any]] = []
    fits: dict[str, dict[str, Any]] = {}
    parts: dict[str, list[pa.Table]] = {name: [] for name in schema.ALL_TABLES}
    for record in known:
        label = labels[record.cell.identity]
        fits |= {repr((label, row)): row for row in fit_rows(record, label)}
        if record.state not in USABLE:
            continue
        about = _cell_columns(record, label)
        of_cell = {name: read(record, name) for name in parts}
        rows.append(
            {
                **about,
                **_accuracies(of_cell["rounds"], record.state, last),
                "reason": record.reason,
                **scale.of_settings(record.cell, plugins),
                **scale.of_making(record.facts, environment(record)),
                "budget_used": max(
                    (row["taken"] / row["allowed"] for row in record.facts.get("budget", ())), default=None
                ),
            }
        )
        for name, table in of_cell.items():
            parts[name].append(_beside(about, table, schema.ALL_TABLES[name]))
    tables = {"cells": schema.table_of(rows, schema.CELLS)}
    if fits:
        order = ("task", "label", "budget", "level", "quantity")
        rows_of_fits = sorted(fits.values(), key=lambda row: tuple(row[name] for name in order))
        tables["fits"] = schema.table_of(rows_of_fits, schema.FITS)
    for name, wanted in schema.ALL_TABLES.items():
        table = _joined(parts[name], wanted)
        if len(table) or name not in schema.OPTIONAL:
            tables[name] = table
    return tables


def fit_rows(record: Record, label: str) -> list[dict[str, Any]]:
    """Return what a cell's method takes of its budget, as rows of the table of fits; none without a budget."""
    cell, split = record.cell, f", budget {record.cell.profile}"
    about = {"task": cell.task, "method": cell.method, "label": label.removesuffix(split), "budget": cell.budget}
    rows = []
    for row in record.facts.get("budget", ()):
        inside = row["taken"] <= ALL * row["allowed"]
        found = {"fits": inside} | ({} if inside else {"keep": None, "taken": None})
        rows.append({**about, **row, **found})
    return rows


def _accuracies(rounds: pa.Table, state: str, last: int) -> dict[str, float | None]:
    """Return the headline of a cell, which a diverged one has not, and the accuracy of its best round."""
    numbers, accs = rounds["round"].to_pylist(), rounds["test_acc"].to_pylist()
    evaluated = [acc for number, acc in zip(numbers, accs, strict=True) if number > 0 and acc is not None]
    headline = statistics.fmean(evaluated[-last:]) if evaluated and state == "done" else None
    return {"final_acc": headline, "oracle_acc": max(evaluated, default=None)}


def series_labels(cells: Iterable[Cell]) -> dict[str, str]:
    """Return the label of each cell by its identity.

    The method, its parameters and the profile of mixed keep ratios, and such of tier, training and model as differ
    between the sweep's cells of the same task and method, so that two cells that differ in more than the axes of a
    figure never share a label. What is measured beside changes no result: diagnostics are in the label only where cells
    differ in nothing else.
    """
    groups: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.task, cell.method].append(cell)
    labels = {}
    for group in groups.values():
        twins = len({replace(cell, diagnostics="basic").identity for cell in group}) < len(group)
        settings = [
            _settings(cell) | ({"diagnostics": cell.diagnostics} if twins and cell.diagnostics != "basic" else {})
            for cell in group
        ]
        varied = sorted(
            {name for some in settings for name in some if any(some[name] != other.get(name) for other in settings)}
        )
        for cell, own in zip(group, settings, strict=True):
            labels[cell.identity] = cell.label_with({name: own[name] for name in varied if name in own})
    return labels


def _settings(cell: Cell) -> dict[str, Any]:
    return {**cell.training, **cell.model, "tier": cell.tier}


def _cell_columns(record: Record, label: str) -> dict[str, Any]:
    cell, facts = record.cell, record.facts
    per_class, of_prior = _concentrations(cell, facts["classes"])
    return {
        "cell": cell.folder,
        "task": cell.task,
        "method": cell.method,
        "label": label,
        "keep": cell.keep,
        "capacities": cell.profile,
        "partition": cell.partition,
        "alpha": cell.alpha,
        "alpha_convention": facts["alpha_convention"],
        "alpha_per_class": per_class,
        "alpha_of_prior": of_prior,
        "classes_per_client": facts.get("classes_per_client"),
        "divergence_bits": facts.get("divergence_bits"),
        "local_training": facts.get("local_training"),
        "seed": cell.seed,
        "tier": cell.tier,
        "data_title": facts["data_title"],
        "stand_in": facts["stand_in"],
        "classes": facts["classes"],
        "status": facts["status"],
    }


def _concentrations(cell: Cell, classes: int) -> tuple[float | None, float | None]:
    """Return alpha in both conventions, per class and of Dir(alpha * prior), as for classes of equal size."""
    if cell.alpha is None or cell.partition not in ("lda", "lda-prior"):
        return None, None
    return (cell.alpha, cell.alpha * classes) if cell.partition == "lda" else (cell.alpha / classes, cell.alpha)


def _beside(about: Mapping[str, Any], table: pa.Table, wanted: pa.Schema) -> pa.Table:
    """Return a cell's table with the cell's columns in front."""
    columns = [
        pa.array([about[field.name]] * len(table), field.type) if field.name in about else table.column(field.name)
        for field in wanted
    ]
    return pa.Table.from_arrays(columns, schema=wanted)


def _joined(tables: list[pa.Table], wanted: pa.Schema) -> pa.Table:
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks() if tables else wanted.empty_table()
