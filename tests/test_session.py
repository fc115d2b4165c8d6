"""What every test session has of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.data import cache

TESTS = Path(__file__).resolve().parent
SAY = "import conftest, os; print(os.environ['BENCH_DATA'])"


def output(code: str, **environment: str) -> str:
    """Return what a child process prints, with variables set beside this process's own."""
    there = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]), **environment}
    done = subprocess.run([sys.executable, "-c", code], env=there, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_tests_and_their_children_share_a_cache_that_is_not_the_users() -> None:
    assert output("from bench.data import cache; print(cache.root())") == str(cache.root())
    assert not cache.root().is_relative_to(Path("~/.cache").expanduser())
    assert cache.root() == Path(os.environ["BENCH_DATA"])
    # A worker of xdist is a child of its session and keeps the session's folder.
    assert output(SAY, PYTEST_XDIST_WORKER="gw0") == str(cache.root())


def test_a_session_leaves_the_users_own_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTEST_XDIST_WORKER", "BENCH_TEST_DATA"):
        monkeypatch.delenv(name, raising=False)
    own = Path(output(SAY, BENCH_DATA=str(tmp_path / "users")))
    assert own.is_dir()
    assert own.stat().st_mode & 0o777 == 0o700  # the compiled loops are loaded from folders of one user only
    shutil.rmtree(own)
    assert not (tmp_path / "users").exists()
    assert output(SAY, BENCH_TEST_DATA=str(tmp_path / "kept")) == str(tmp_path / "kept")
