"""Settings of processes that train."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from helpers import CNN, assert_equal, federation, run_with

from bench.numerics.runtime import prepared
from bench.processes.children import ask_for_huge_pages


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "glibc.malloc.hugetlb=1"),
        ("glibc.malloc.check=1", "glibc.malloc.check=1:glibc.malloc.hugetlb=1"),
        ("glibc.malloc.hugetlb=0", "glibc.malloc.hugetlb=0"),  # what a user has chosen stays
    ],
)
def test_processes_are_started_with_huge_pages(before: str | None, after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if before is not None:
        monkeypatch.setenv("GLIBC_TUNABLES", before)
    ask_for_huge_pages()
    ask_for_huge_pages()
    assert os.environ["GLIBC_TUNABLES"] == after
    script = "import os; print(os.environ['GLIBC_TUNABLES'])"
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == after


@pytest.mark.slow
def test_processes_without_huge_pages_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for pages in ("1", "0"):
        monkeypatch.setenv("GLIBC_TUNABLES", f"glibc.malloc.hugetlb={pages}")
        results.append(run_with(federation("prism", CNN), 2))
    (rounds, weights), (other_rounds, other_weights) = results
    assert rounds == other_rounds
    assert_equal(weights, other_weights)


@pytest.mark.parametrize("used", [False, True])
def test_a_gpu_that_was_used_gets_back_what_earlier_work_left(used: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the peak of a small cell behind a large one would be the large one's."""
    given_back: list[bool] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: used)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: given_back.append(True))
    with prepared():
        assert given_back == [True] * used
