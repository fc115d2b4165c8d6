"""Tiny sweeps, plugins and the command line in this process, for the tests of what a user touches."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from bench.cell import Cell
from bench.config.cells import Sweep, make_cell, read_sweep

CNN, RESNET, LSTM = "cnn-femnist", "resnet18-cifar10", "lstm-imdb"
TRAINING: dict[str, Any] = {
    "rounds": 2,
    "clients": 4,
    "cohort": 2,
    "samples_per_client": 40,
    "local_epochs": 1,
    "standin_train": 400,
    "standin_test": 60,
}
SETTINGS: dict[str, Any] = {"task": CNN, "method": "orthdrop", "keep": 0.5, **TRAINING}
"""The same as keyword arguments of ``bench.run``."""
COMMON = f'[common]\ntask = "{CNN}"\n[common.training]\n' + "".join(
    f"{name} = {value}\n" for name, value in TRAINING.items()
)
CELLS = '[[cells]]\nmethod = ["fedavg", "orthdrop"]\nkeep = [0.2, 0.5]\n'

PLUGIN = """
import torch
from bench.api import Cohort, Method, Selection, Server, Skip, copy_of
from bench.families.averaging import CoverageMean


class {name}(Method):
    summary = "a test"

    def select(self, server, cohort, streams):
        {select}
        return [Selection(client) for client in cohort.clients]

    def extract(self, server, selection):
        {extract}
        return copy_of(server.model)

    @torch.no_grad()
    def aggregate(self, server, updates, streams):
        {aggregate}
        means = {{name: CoverageMean(tensor.detach()) for name, tensor in server.model.named_parameters()}}
        for update in updates:
            for name, values in update.parameters.items():
                means[name].add(values)
        for name, tensor in server.model.named_parameters():
            tensor.copy_(means[name].result())
        return server
"""


class Result(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def plugin(folder: Path, name: str, *, select: str = "", extract: str = "", aggregate: str = "") -> Path:
    """Write a plugin that averages full models, with a line of its own at the head of a function."""
    lines = {"select": select or "pass", "extract": extract or "pass", "aggregate": aggregate or "pass"}
    return write(folder / f"{name}.py", PLUGIN.format(name=name.title(), **lines))


def write(path: Path, text: str) -> Path:
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def sweep_of(folder: Path, cells: str = CELLS, head: str = "", name: str = "tiny") -> Path:
    """Write a tiny sweep file with these cells."""
    return write(folder / f"{name}.toml", head + COMMON + cells)


def read(folder: Path, cells: str = CELLS, head: str = "") -> Sweep:
    return read_sweep(sweep_of(folder, cells, head))


def cell_of(method: str = "fedavg", plugins: tuple[Path, ...] = (), **values: Any) -> Cell:
    training = {**TRAINING, **values.pop("training", {})}
    return make_cell({"task": CNN, "method": method, "training": training, **values}, "test", plugins)


class CommandLine:
    """``python -m bench`` in this process, with what it prints and its exit code."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *words: object) -> Result:
        from bench.cli.main import main
        from bench.cli.options import out

        # A console keeps the width that COLUMNS gave when the module was first imported; a command reads it anew.
        self.monkeypatch.setattr(out, "_width", None)
        self.monkeypatch.setattr(sys, "argv", ["bench", *map(str, words)])
        before = signal.getsignal(signal.SIGTERM)
        self.capsys.readouterr()
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            signal.signal(signal.SIGTERM, before)
        printed = self.capsys.readouterr()
        return Result(int(ended.value.code or 0), printed.out, printed.err)

    def refused(self, *words: object) -> str:
        """Return the sentence with which a wrong command is refused: one line, exit code 2, no traceback."""
        result = self(*words)
        assert result.code == 2, result
        return sentence(result.err)


def sentence(err: str) -> str:
    """Return the one sentence of an error output."""
    assert "Traceback" not in err
    assert err.startswith("error: ") and err.count("\n") == 1, err
    return err.removeprefix("error: ").strip()


def check_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the kit check and train in this process where it would start others."""
    from bench.conformance import Report, TaskReport, apart, check_method, check_task, runs
    from bench.training.engine import InlineEngine

    class Here(apart.Checker):
        def check(self, method: str, parameters: Any = None) -> Report:
            return check_method(method, self.plugins, self.tasks, parameters)

        def check_task(self, task: str, model: Any = None) -> TaskReport:
            return check_task(task, self.plugins, model)

    monkeypatch.setattr(runs, "open_engine", lambda federation, plugins, workers: InlineEngine(federation))
    monkeypatch.setattr(apart, "Checker", Here)


def run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``bench run`` train in this process where it would start another, which takes seconds."""
    from bench.launch import apart
    from bench.launch.running import Hooks, run_cell

    def here(order: apart.Order, on_round: Any, on_note: Any) -> Any:
        hooks = Hooks(
            on_round=lambda federation, this, row: on_round(apart.Seen.of(federation, this, row)), on_note=on_note
        )
        how = {"plugins": order.plugins, "device": order.device, "workers": order.workers}
        return run_cell(order.cell, store=order.store, hooks=hooks, **how)

    monkeypatch.setattr(apart, "run_apart", here)


def on_one_core() -> None:
    """Leave this process one of its cores, so that a cell trains its clients without processes of its own for them."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed[os.getpid() % len(allowed)]})


def start(folder: Path, *words: object, one_core: bool = False) -> subprocess.Popen[str]:
    """Start a real ``python -m bench`` in a process group of its own.

    On one core a cell trains its clients in its own process, which saves starting others where they are not the point.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *map(str, words)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=on_one_core if one_core else None,
    )


def timeless(table: Any) -> list[dict[str, Any]]:
    """Return a table's rows without the columns of time and memory, which differ from run to run."""
    kept = [name for name in table.column_names if not name.endswith("_s") and name != "peak_memory_bytes"]
    return table.select(kept).to_pylist()


def numbers(rounds: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that a rerun repeats: all but times and memory."""
    return rounds[[name for name in map(str, rounds) if not name.endswith("_s") and name != "peak_memory_bytes"]]
