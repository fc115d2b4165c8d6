"""What the pages say in words of the statements on a small model for all is what their tables show."""

from __future__ import annotations

import re

import pytest
from pages import page_text

from bench.analysis.statements import FAILS, HOLDS


@pytest.mark.parametrize("page", ["docs/equal-budgets.md", "docs/which-method.md"])
def test_how_often_a_small_model_is_as_good(page: str) -> None:
    tables = page_text("docs/equal-budgets.md").partition("## Is anything better")[2].partition("\n## ")[0]
    shown = []
    for part in tables.split("**CIFAR-10**"):
        rows = re.findall(r"^\| a small model .*\| (.*) \|$", part, re.MULTILINE)
        assert rows and f"**{FAILS}**" not in rows
        shown.append((str(rows.count(f"**{HOLDS}**")), str(len(rows))))
    words = " ".join(page_text(page).split())
    assert re.findall(r"(\d+) of (\d+) (?:comparisons|on CIFAR-10)", words) == shown
