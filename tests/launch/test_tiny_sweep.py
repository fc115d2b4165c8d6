"""The tiny sweep that continuous integration runs by the README's first command."""

from __future__ import annotations

from pathlib import Path

from bench.config.cells import read_sweep
from bench.conformance import TASKS
from bench.plugins import registry

ROOT = Path(__file__).resolve().parents[2]


def test_the_tiny_sweep_has_a_task_of_each_kind_and_a_method_of_each_family() -> None:
    cells, methods = read_sweep(ROOT / "sweeps" / "tiny.toml").cells, registry.methods()
    assert set(TASKS) <= {cell.task for cell in cells} <= set(registry.tasks())
    families = {name: entry.kind.family for name, entry in methods.items() if entry.kind is not None}
    assert {families[cell.method] for cell in cells} == set(families.values())
    assert {cell.data for cell in cells} == {"stand-in"} and {cell.training["rounds"] for cell in cells} == {2}


def test_continuous_integration_runs_it_as_a_newcomer_would() -> None:
    command = "make sweep SWEEP=sweeps/tiny.toml"
    assert ".ci/sweep\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert (ROOT / ".ci" / "sweep").read_text(encoding="utf-8").count(command) == 2
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")
