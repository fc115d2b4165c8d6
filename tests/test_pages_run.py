"""The code on the pages for newcomers runs as it stands there, and the numbers they quote are those of other pages."""

from __future__ import annotations

import ast
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from notebook import BLOCK, NOTEBOOK, PAGE, ROOT, notebook
from pages import only

from bench.budget.shares import known_shares

nbformat = pytest.importorskip("nbformat")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages' code finds in a clone, that it may write to."""
    shutil.copytree(ROOT / "sweeps", tmp_path / "sweeps")
    (tmp_path / "results" / "compare").mkdir(parents=True)
    shutil.copy(ROOT / "results" / "compare" / "compare.bench", tmp_path / "results" / "compare")
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(code: str, names: dict[str, Any]) -> Any:
    """Run a block as a notebook does and return the value of its last line, None where that is no expression."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "page", "exec"), names)
    return eval(compile(ast.Expression(last.value), "page", "eval"), names) if isinstance(last, ast.Expr) else None


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_page_on_python_runs(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    values = [run(code, names) for code in BLOCK.findall((ROOT / "docs" / "python.md").read_text("utf-8"))]
    shown = [value for value in values if isinstance(value, pd.DataFrame)]
    assert len(shown) >= 5
    assert all(len(frame) for frame in shown)
    assert "did you mean 'prism'?" in capsys.readouterr().out
    assert names["table"]["pairs"].tolist() == [3, 3]
    assert names["again"]["round"].tolist() == [0, 1]


def test_the_notebook_is_the_page() -> None:
    assert nbformat.read(NOTEBOOK, 4) == notebook(PAGE.read_text("utf-8")), "run 'python tests/support/notebook.py'"


@pytest.mark.slow
def test_the_notebook_runs(clone: Path) -> None:
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    made = nbformat.read(NOTEBOOK, 4)
    made.metadata["kernelspec"]["name"] = "python3"
    client = nbclient.NotebookClient(
        made, timeout=1200, kernel_name="python3", resources={"metadata": {"path": "docs"}}
    )
    client.execute(env={**os.environ, "PYTHONPATH": f"{ROOT}:{':'.join(sys.path)}"})
    texts = [
        "".join(output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", ()))
        for cell in made.cells
    ]
    assert sum(bool(text) for text in texts) >= 6
    assert (clone / "results" / "compare-with-uniform" / "tables" / "compare.parquet").is_file()


def test_numbers_of_which_method_are_those_of_the_baselines() -> None:
    page = " ".join((ROOT / "docs" / "which-method.md").read_text("utf-8").split())
    digits = only("docs/baselines.md", above="**Digits by NIST writer**")
    less = {row[0].split("`")[1]: row[digits.head.index("less `fedavg`, paired")].strip("*") for row in digits.rows}
    sent = {row[0].split("`")[1]: row[digits.head.index("bytes")] for row in digits.rows}
    assert less["unbiased"].replace("-", "\N{MINUS SIGN}") == "+0.1 ± 0.9"
    said = f"({less['unbiased']} and {less['collective']} points)".replace("-", "\N{MINUS SIGN}")
    assert said in page
    assert f"was {less['federated_dropout'].lstrip('-')} points behind" in page
    assert f"({sent['prism']} of them)" in page
    assert f"methods send {sent['origdrop'] if 'origdrop' in sent else sent['heterofl']}" in page
    for method, shares in known_shares().items():
        for quantity, share in shares.items():
            assert f"({share:.2f}" in page or f"{share:.2f})" in page or share == 1, (method, quantity, share)
