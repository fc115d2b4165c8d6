"""From timings to a table on the screen and one on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from rich.table import Table

from bench.perf.contenders import Contender
from bench.perf.machine import Load
from bench.perf.workloads import WORKLOADS
from bench.provenance import environment

Rates = Mapping[Contender, Sequence[float]]
"""Samples per second of each contender, one number a repetition."""

SCHEMA = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("workload", pa.string(), nullable=False),
        pa.field("contender", pa.string(), nullable=False),
        pa.field("processes", pa.int32(), nullable=False),
        pa.field("threads_per_process", pa.int32(), nullable=False),
        pa.field("repetitions", pa.int32(), nullable=False),
        pa.field("samples_per_s", pa.float64(), nullable=False),
        pa.field("samples_per_s_min", pa.float64(), nullable=False),
        pa.field("samples_per_s_max", pa.float64(), nullable=False),
        pa.field("ratio_to_bare_one_thread", pa.float64(), nullable=False),
        pa.field("ratio_to_bare_all_threads", pa.float64()),
        pa.field("load_before", pa.float64()),
        pa.field("load_during", pa.float64()),
        pa.field("others_cpu_share", pa.float64()),
        pa.field("quiet", pa.bool_(), nullable=False),
        pa.field("device", pa.string(), nullable=False),
        pa.field("cores", pa.int32(), nullable=False),
        pa.field("processor", pa.string(), nullable=False),
        pa.field("accelerator", pa.string()),
        pa.field("torch", pa.string(), nullable=False),
    ]
)
"""``samples_per_s`` is the median of the repetitions, a ratio the quotient of two medians;
``ratio_to_bare_all_threads`` is None where there is one core or an accelerator. ``load_*`` are 1-minute load averages,
``others_cpu_share`` is a share of all cores' time."""


def rows_of(task: str, rates: Rates) -> list[dict[str, Any]]:
    """Return the columns that follow from one task's timings, a row for each contender."""
    bare = {who.threads: float(np.median(values)) for who, values in rates.items() if who.kind == "bare loop"}
    several = max(bare) if len(bare) > 1 else None
    rows = []
    for who, values in rates.items():
        median = float(np.median(values))
        rows.append(
            {
                "task": task,
                "workload": WORKLOADS[task].note,
                "contender": who.kind,
                "processes": who.processes,
                "threads_per_process": who.threads,
                "repetitions": len(values),
                "samples_per_s": median,
                "samples_per_s_min": min(values),
                "samples_per_s_max": max(values),
                "ratio_to_bare_one_thread": median / bare[1],
                "ratio_to_bare_all_threads": None if several is None else median / bare[several],
            }
        )
    return rows


def facts_of(load: Load, device: str, cores: int) -> dict[str, Any]:
    """Return the columns that all rows of a task share: how busy the machine was and what it is."""
    here = environment(device)
    return {
        "load_before": load.before,
        "load_during": load.during,
        "others_cpu_share": load.others_share,
        "quiet": not load.warning(cores),
        "device": device,
        "cores": cores,
        "processor": here["processor"],
        "accelerator": here["accelerator"],
        "torch": here["packages"]["torch"],
    }


def table_of(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return the table that is written."""
    return pa.Table.from_pylist([dict(row) for row in rows], SCHEMA)


def shown(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the table that is printed."""
    first = rows[0]
    notes = {row["task"]: row["workload"] for row in rows}
    table = Table(
        title=f"Training samples per second on {first['accelerator'] or first['processor']}, {first['cores']} cores, "
        f"torch {first['torch']}; median of {first['repetitions']} interleaved repetitions",
        caption="Contenders are processes x threads; the last columns are the ratio to the bare loop of one thread and "
        f"of all threads. All on stand-in data. {'; '.join(f'{task}: {note}' for task, note in notes.items())}.",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("task", no_wrap=True)
    table.add_column("contender", no_wrap=True)
    for name in ("samples/s", "min to max", "to one", "to all"):
        table.add_column(name, justify="right")
    task = None
    for row in rows:
        if row["task"] != task:
            table.add_section()
        table.add_row(
            "" if row["task"] == task else row["task"],
            f"{row['contender']} {row['processes']} x {row['threads_per_process']}",
            f"{row['samples_per_s']:,.1f}",
            f"{row['samples_per_s_min']:,.1f} to {row['samples_per_s_max']:,.1f}",
            _ratio(row["ratio_to_bare_one_thread"]),
            _ratio(row["ratio_to_bare_all_threads"]),
        )
        task = row["task"]
    return table


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
