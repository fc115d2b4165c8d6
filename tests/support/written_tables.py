"""Tables of pages that ``bench table`` writes, each behind the command that makes it; run as a script it renews them.

>>> # python tests/support/written_tables.py [PAGE ...]

A page holds ``<!-- bench table results/budget --only task=cnn-femnist -->``, the table, and ``<!-- end of table -->``.
"""

from __future__ import annotations

import re
import shlex
import sys
import textwrap
from pathlib import Path

from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"<!-- bench ((?:table|statements) [^\n]+?) -->\n(.*?)<!-- end of table -->\n", re.DOTALL)


def pages() -> list[Path]:
    """Return the pages that hold such tables."""
    known = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [page for page in known if BLOCK.search(page.read_text(encoding="utf-8"))]


def renewed(text: str) -> str:
    """Return a page's text with its tables as the commands beside them write them now."""
    return BLOCK.sub(lambda found: f"<!-- bench {found[1]} -->\n{output_of(found[1])}\n<!-- end of table -->\n", text)


def output_of(command: str) -> str:
    """Return what a command of ``bench`` prints, its paths those of the repository.

    Raises:
        ValueError: it does not end well.
    """
    from bench.cli.main import app

    words = [str(ROOT / word) if word.startswith(("results/", "docs/")) else word for word in shlex.split(command)]
    ended = CliRunner().invoke(app, words)
    if ended.exit_code:
        raise ValueError(f"bench {command} ended with {ended.exit_code}: {ended.output}{ended.exception or ''}")
    return "\n".join(map(_wrapped, ended.stdout.strip("\n").split("\n"))) + "\n"


def _wrapped(line: str) -> str:
    """Return a caption in lines as short as those of the pages; tables and lists as they are."""
    return line if line.startswith(("|", "-")) else textwrap.fill(line, 125, break_on_hyphens=False)


def renew(names: list[str]) -> None:
    """Write pages anew, all that hold such tables if none is named, and say which changed."""
    for page in [Path(name).resolve() for name in names] or pages():
        before = page.read_text(encoding="utf-8")
        after = renewed(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
        print(f"{page.relative_to(ROOT)}: {'written anew' if after != before else 'as it was'}")


if __name__ == "__main__":
    renew(sys.argv[1:])
