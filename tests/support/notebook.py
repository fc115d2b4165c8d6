"""Writes docs/tutorial.ipynb from docs/tutorial.md: python blocks become cells, all else is text.

python tests/support/notebook.py
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
PAGE, NOTEBOOK = ROOT / "docs" / "tutorial.md", ROOT / "docs" / "tutorial.ipynb"
PLACE = """# Run in the clone's folder, wherever the notebook was opened.
import os
from pathlib import Path

while not Path("sweeps/compare.toml").exists() and Path.cwd() != Path.cwd().parent:
    os.chdir("..")"""
BLOCK = re.compile(r"^```python\n(.*?)^```\n?", re.MULTILINE | re.DOTALL)


def notebook(page: str) -> nbformat.NotebookNode:
    """Return a page as a notebook, without outputs."""
    made = nbformat.v4.new_notebook()
    made.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    parts = BLOCK.split(page)
    cells = [nbformat.v4.new_markdown_cell(parts[0].strip()), nbformat.v4.new_code_cell(PLACE)]
    for code, text in zip(parts[1::2], parts[2::2], strict=True):
        cells.append(nbformat.v4.new_code_cell(code.strip()))
        cells += [nbformat.v4.new_markdown_cell(text.strip())] if text.strip() else []
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    made.cells = cells
    return made


if __name__ == "__main__":
    nbformat.write(notebook(PAGE.read_text("utf-8")), NOTEBOOK)
