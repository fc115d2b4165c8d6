"""The training path needs torch, numpy and pyarrow alone, so that it runs where nothing else is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
import bench.federation.federation, bench.training.engine, bench.simulation.simulator, bench.launch.running
import bench.store.cells
from bench.plugins import registry
assert all(entry.kind for entry in registry.methods().values()), registry.methods()
from bench.revisions import TASKS
assert set(registry.tasks()) == set(TASKS)
"""
OPTIONAL = {"pydantic", "typer", "rich", "optuna", "scipy", "filelock", "matplotlib", "pandas", "torchvision", "PIL"}


def test_training_path_imports_without_the_rest() -> None:
    script = SCRIPT.format(blocked=OPTIONAL)
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert result.returncode == 0, result.stderr
