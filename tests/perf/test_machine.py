"""How busy a machine is, and what that makes of timings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.perf import machine
from bench.perf.machine import Load, LoadMeter, facts_of, foreign_seconds


def test_foreign_time_leaves_out_this_process_and_its_descendants(tmp_path: Path) -> None:
    own = os.getpid()
    (tmp_path / "stat").write_text("cpu  1000 200 300 9999 8888 40 50 60 7 7\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
    for number, parent, ticks in [
        (own, 1, (10, 20, 30, 40)),
        (own + 1, own, (1, 2, 0, 0)),
        (own + 2, own + 1, (5,) * 4),
    ]:
        write_process(tmp_path, number, parent, ticks)
    write_process(tmp_path, own + 3, 1, (500, 0, 0, 0))
    used = 1000 + 200 + 300 + 40 + 50 + 60
    assert foreign_seconds(tmp_path) == pytest.approx((used - 100 - 3 - 20) / os.sysconf("SC_CLK_TCK"))


def write_process(proc: Path, number: int, parent: int, ticks: tuple[int, ...]) -> None:
    """Write a process as the kernel shows it: the 2nd field is its name, the 14th to 17th its ticks."""
    (proc / str(number)).mkdir()
    times = " ".join(map(str, ticks))
    (proc / str(number) / "stat").write_text(f"{number} (a (nasty) name) S {parent} 1 1 0 -1 0 0 0 0 0 {times} 20 0\n")


def test_foreign_time_is_unknown_without_proc(tmp_path: Path) -> None:
    assert foreign_seconds(tmp_path / "none") is None


def test_a_warning_names_what_kept_the_machine_busy() -> None:
    assert Load(0.2, 2.0, 0.01).warning(cores=2) == ""
    assert "load average was 1.30 before" in Load(1.3, 2.0, 0.01).warning(cores=2)
    assert "others took 20% of the CPU time" in Load(0.1, 2.0, 0.2).warning(cores=2)
    assert "does not tell" in Load(None, None, None).warning(cores=2)


def test_the_load_before_is_the_one_before_our_own_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "load_average", lambda: 2.0)
    load = LoadMeter(cores=2, before=0.1).read()
    assert (load.before, load.during) == (0.1, 2.0)


@pytest.mark.parametrize(("load", "quiet"), [(Load(0.2, 2.0, 0.01), True), (Load(1.3, 2.0, 0.01), False)])
def test_rows_say_whether_the_machine_was_quiet(load: Load, quiet: bool) -> None:
    facts = facts_of(load, "cpu", 2)
    assert facts["quiet"] is quiet
    assert (facts["load_before"], facts["load_during"], facts["others_cpu_share"]) == (load.before, 2.0, 0.01)
    assert (facts["cores"], facts["accelerator"]) == (2, None)
