"""Sweeps of thousands of cells: how often things are looked at, and, slowly, how long and how much memory it takes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from forged import METHODS, finish_all, many
from tiny import CNN, CommandLine, cell_of, read

from bench.cell import Cell
from bench.cli import options as cli_options
from bench.config import checks, possible
from bench.config.cells import read_sweep
from bench.config.possible import check_possible
from bench.errors import BenchError
from bench.launch import standing, sweep
from bench.plugins import registry
from bench.store import wholeness
from bench.store.cells import Store
from bench.store.leases import Leases

CELLS, WRITTEN = 850, 1000  # the latter before equal ones are found
TRAININGS = 10


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep file with the finished folders of all its cells."""
    folder = tmp_path_factory.mktemp("many")
    file = many(folder, CELLS)
    finish_all(read_sweep(file).cells, Store(folder / "results" / "many"))
    return file


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], list[tuple[Any, ...]]]:
    """Return a function that has the calls of another noted."""

    def noted(place: Any, name: str) -> list[tuple[Any, ...]]:
        calls: list[tuple[Any, ...]] = []
        original = getattr(place, name)

        def counting(*arguments: Any, **named: Any) -> Any:
            calls.append(arguments)
            return original(*arguments, **named)

        monkeypatch.setattr(place, name, counting)
        return calls

    return noted


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], finished: Path) -> CommandLine:
    monkeypatch.chdir(finished.parent)
    return CommandLine(monkeypatch, capsys)


def test_each_table_and_method_of_a_sweep_is_checked_once(tmp_path: Path, count: Any) -> None:
    checked, looked_up, written = (
        count(checks, "checked"), count(registry, "method"), count(Cell, "canonical"),
    )  # fmt: skip
    assert len(read_sweep(many(tmp_path, CELLS)).cells) == CELLS
    assert len(looked_up) == len(METHODS)
    assert len(checked) == TRAININGS + 1 + len(METHODS)
    assert len(written) == WRITTEN


def test_numbers_that_are_equal_and_not_the_same_are_checked_apart(tmp_path: Path) -> None:
    (cell,) = read(tmp_path, '[[cells]]\nmethod = "prism"\n[cells.training]\nmomentum = [1, 1.0]\n').cells
    assert type(cell.training["momentum"]) is float
    with pytest.raises(BenchError, match="momentum = True"):
        read(tmp_path, '[[cells]]\nmethod = "prism"\n[cells.training]\nmomentum = [1, true]\n')


def test_status_of_finished_cells_reads_each_file_once(bench: CommandLine, count: Any) -> None:
    read, codes, held, begun = (
        count(wholeness, "_content"), count(sweep, "made"), count(Leases, "holder"), count(standing, "reached"),
    )  # fmt: skip
    assert bench("status", "many.toml").out == f"many: {CELLS} cells: {CELLS} done\n"
    assert len(read) == 5 * CELLS == len(set(read))
    assert (len(codes), len(held), len(begun)) == (len(METHODS), 0, 0)


def test_status_of_cells_to_do_reads_nothing(bench: CommandLine, count: Any) -> None:
    read, held, begun = count(wholeness, "_content"), count(Leases, "holder"), count(standing, "reached")
    assert f"{CELLS} to do" in bench("status", "many.toml", "--results", "nowhere").out
    assert not read and not held and not begun


def test_dry_run_is_written_at_once(bench: CommandLine, count: Any) -> None:
    writes = count(cli_options.out, "out")
    shown = bench("sweep", "many.toml", "--dry-run", "--results", "nowhere").out.splitlines()
    cells = read_sweep(Path("many.toml")).cells
    assert shown[1:-1] == [f"would run {cell.folder}" for cell in cells] and len(writes) == 2
    assert shown[-1] == "'python -m bench estimate many.toml' measures what they take here"


def test_one_spoilt_file_among_many_is_noticed(bench: CommandLine) -> None:
    cell = read_sweep(Path("many.toml")).cells[CELLS // 2]
    path = Store(Path("results/many")).path(cell) / "ranks.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    shown = bench("status", "many.toml").out
    path.write_bytes(content)
    assert f"{CELLS - 1} done, 1 damaged" in shown and f"damaged: {cell.folder}: ranks.parquet is not" in shown
    assert "the next sweep runs again: 1 damaged\n" in shown


def test_partitions_are_made_once_for_cells_that_ask_for_alike_ones(count: Any, tmp_path: Path) -> None:
    made = count(possible, "partition_of")
    check_possible(read_sweep(many(tmp_path, CELLS)).cells, "cpu")
    assert sorted((cell.partition, cell.alpha) for cell, *_ in made) == [("iid", float("inf")), ("lda", 0.1)]
    made.clear()
    cell = cell_of("fedavg", alpha=0.5)
    unlike = [
        replace(cell, training={**cell.training, name: value})
        for name, value in (("clients", 5), ("cohort", 3), ("samples_per_client", 30), ("standin_train", 500))
    ]
    unlike += [replace(cell, partition="lda-prior"), replace(cell, task="lstm-imdb"), replace(cell, tier="paper")]
    alike = [replace(cell, seed=9), replace(cell, training={**cell.training, "lr": 0.5}), replace(cell, keep=0.5)]
    check_possible([cell, *alike, *unlike], "cpu")
    assert len(made) == 1 + len(unlike) and {cell.task for cell, *_ in made} == {CNN, "lstm-imdb"}


SCRIPT = """
import re, sys
from pathlib import Path

def planned(store, plugins, device, jobs, cells):
    print(f"{len(cells)} planned")
    sys.exit()

try:
    import torch
    if sys.argv[1:]:
        from bench.cli.main import main
        from bench.launch import local
        local.hire = planned
        main()
finally:
    print(re.search(r"VmHWM:\\s+([0-9]+) kB", Path("/proc/self/status").read_text())[1])
"""
SECONDS, MEGABYTES = 25.0, 150.0


def measured(folder: Path, *words: str) -> tuple[str, float, float]:
    """Run a command in a process of its own; return what it printed, its processor time in s and its peak in MB."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with (folder / "printed").open("w+") as file:
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, *words], cwd=folder, env=environment, stdout=file)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, words
        file.seek(0)
        *printed, peak = file.read().splitlines()
        return "\n".join(printed), used.ru_utime + used.ru_stime, int(peak) / 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read where Linux has it")
def test_ten_thousand_cells_take_seconds_and_little_more_memory_than_torch(tmp_path: Path) -> None:
    """The bounds are generous: a quiet machine takes some 3 s and 50 MB beside ``import torch``."""
    file = many(tmp_path, 10_200)
    finish_all(read_sweep(file).cells, Store(tmp_path / "full" / "many"))
    _, _, torch_alone = measured(tmp_path)
    looks = ("status", "many.toml"), ("sweep", "many.toml", "--dry-run")
    runs = [(*look, "--results", results) for look in looks for results in ("full", "empty")]
    for words in (*runs, ("sweep", "many.toml", "--device", "cpu", "--results", "empty")):
        printed, seconds, peak = measured(tmp_path, *words)
        print(f"{seconds:.1f} s, {peak:.0f} MB ({torch_alone:.0f} MB are torch alone): {' '.join(words)}")
        assert f"10200 {'done' if 'full' in words else 'to do'}" in printed
        assert seconds < SECONDS and peak - torch_alone < MEGABYTES, words
    assert "10200 planned" in printed
