"""Tables of pages are what ``bench table`` writes of the committed results today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from written_tables import BLOCK, ROOT, output_of, pages, renewed

BLOCKS = [(page, found) for page in pages() for found in BLOCK.finditer(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("page", "found"), BLOCKS, ids=[f"{page.name}-{found[1]}" for page, found in BLOCKS])
def test_pages_show_what_the_command_writes(page: Path, found: re.Match[str]) -> None:
    assert found[2] == f"{output_of(found[1])}\n", f"{page.name}: python tests/support/written_tables.py writes it anew"


def test_a_table_that_is_not_what_the_command_writes_is_noticed_and_mended() -> None:
    command = "table results/compare --only task=cnn-femnist --only method=prism"
    page = f"Before.\n\n<!-- bench {command} -->\n| method | 99.9 |\n<!-- end of table -->\n\nAfter.\n"
    found = renewed(page)
    assert found.startswith("Before.\n") and found.endswith("\nAfter.\n") and "99.9" not in found
    assert "\n| prism | " in found and renewed(found) == found


def test_a_command_that_fails_says_so() -> None:
    with pytest.raises(ValueError, match=r"ended with 1: .*no finished cell"):
        output_of("table results/compare --only method=prsim")


def test_every_marked_page_is_looked_at() -> None:
    marked = {path for path in ROOT.glob("docs/*.md") if "<!-- bench " in path.read_text(encoding="utf-8")}
    assert marked <= set(pages())
