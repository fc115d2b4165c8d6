"""Figures are files, written whatever the environment says of a window to show them in."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import CNN

NOTEBOOK = "module://matplotlib_inline.backend_inline"
INLINE = NOTEBOOK if importlib.util.find_spec("matplotlib_inline") else "agg"


def in_notebook(folder: Path, backend: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python as a cell of a notebook does whose kernel is another environment."""
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root, "MPLBACKEND": backend},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_command_draws_in_a_notebook_of_another_environment(tmp_path: Path) -> None:
    words = ("-m", "bench", "partition", "--task", CNN, "--alpha", "0.3")
    result = in_notebook(tmp_path, NOTEBOOK, *words)
    assert (result.returncode, result.stderr) == (0, "")
    assert len(list((tmp_path / "results" / "partitions").glob("*.png"))) == 1


@pytest.mark.parametrize(("named", "kept"), [(NOTEBOOK, INLINE), ("nonsense", "agg"), ("pdf", "pdf")])
def test_stand_ins_are_drawn_and_a_users_own_backend_is_left_to_them(tmp_path: Path, named: str, kept: str) -> None:
    script = (
        "import os, bench.data.standin.glyphs; from bench.agg import load_matplotlib; "
        "print(load_matplotlib().rcParams['backend'], os.environ['MPLBACKEND'])"
    )
    result = in_notebook(tmp_path, named, "-c", script)
    assert (result.stdout.split(), result.stderr) == ([kept, named], "")
