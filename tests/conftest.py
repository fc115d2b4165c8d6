"""Settings of every test process."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tiny import CommandLine

# Several test processes share the cores: with more than one thread each they would slow each other down many times.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell without job control lets what it starts in the background ignore Ctrl-C, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# The same examples in every run, and no limit on what one takes: neither chance nor a busy machine fails a test.
settings.register_profile("bench", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("bench")

# Stand-ins and compiled loops of a session go into a folder of its own, never into the user's cache. Workers of xdist
# and all other children inherit it, and it is gone at the end. BENCH_TEST_DATA names one to keep, which saves building
# the loops again (13 s) for whoever runs single tests many times.
_IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
_KEPT = os.environ.get("BENCH_TEST_DATA")
_OWN = None if _IS_WORKER or _KEPT else tempfile.mkdtemp(prefix="bench-tests-")
if not _IS_WORKER:
    os.environ["BENCH_DATA"] = _KEPT or str(_OWN)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _OWN is not None:
        shutil.rmtree(_OWN, ignore_errors=True)


_MANY_MODULES = 100
_settled = 0


def _settle() -> None:
    """Have the collector pass over all there is by now, most of which are the libraries that were imported.

    Each simulation begins with a collection, which would look at them again and again: 0.4 s each time.
    """
    global _settled
    gc.collect()
    gc.freeze()
    _settled = len(sys.modules)


def pytest_collection_finish() -> None:
    _settle()


def pytest_runtest_logfinish() -> None:
    if len(sys.modules) > _settled + _MANY_MODULES:  # PyTorch and others load parts of themselves when they are needed
        _settle()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    """The command line, called in this process, in a folder of the test's own."""
    from tiny import CommandLine

    monkeypatch.chdir(tmp_path)
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def uniform(tmp_path: Path) -> Path:
    """The file of a small method of one's own."""
    from compared import UNIFORM

    path = tmp_path / "uniform.py"
    path.write_text(UNIFORM, encoding="utf-8")
    return path
