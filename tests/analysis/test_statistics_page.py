"""The page on statistics names what there is, and its example runs."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "statistics.md").read_text()
NAMED = sorted(set(re.findall(r"`([a-z_]+)\.([a-z_]+)(?:\([^`]*\))?`", PAGE)) - {("scipy.stats", "permutation_test")})


@pytest.mark.parametrize(("module", "function"), NAMED, ids=map(".".join, NAMED))
def test_each_function_of_the_page_is_there(module: str, function: str) -> None:
    assert callable(getattr(importlib.import_module(f"bench.analysis.{module}"), function))


def test_it_names_all_modules_of_many_settings() -> None:
    modules = {module for module, _ in NAMED}
    assert {
        "settings",
        "outcomes",
        "comparisons",
        "across",
        "resampling",
        "bayes",
        "targets",
        "reversals",
        "planning",
    } <= modules


def test_its_example_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    [example] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    found: dict[str, object] = {}
    exec(example, found)
    assert set(found["table"]["other"]) == {"fedavg"} and len(found["ranks"]) == 14  # type: ignore[index, arg-type]
