"""The code hash counts code and nothing else; the environment names what a result depends on."""

from __future__ import annotations

import ast
import contextlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from patience import PATIENCE_S

from bench.cell import Cell
from bench.store.provenance import PACKAGE, SIMULATION_PATH, code_hash, code_of, environment, simulation_code, stripped

PLAIN = 'def f(x: str) -> str:\n    y = x + "#"\n    return y\n'

SAME = [
    '"""A module."""\n' + PLAIN,
    "# a comment\n" + PLAIN + "# another",
    PLAIN.replace("\n    return", "\n\n\n    return"),
    PLAIN.replace('"#"\n', '"#"   # a comment with "quotes"\n'),
    PLAIN.replace("str:\n", 'str:\n    """Return\n\n    something."""\n'),
    PLAIN.replace("str:\n", 'str:\n    """Grüße."""  # Ü\n'),
    PLAIN.replace("\n", "   \n"),
]
OTHER = [
    PLAIN.replace('"#"', '"#1"'),
    PLAIN.replace('"#"', '"# "'),
    PLAIN.replace("x +", "x  +"),  # spelled otherwise: counts, since only rewriting the file could tell
    PLAIN.replace("return y", "return x"),
    PLAIN.replace("    return y", "return y"),
    PLAIN.replace('"#"', '"""#\n\n"""'),
]


@pytest.mark.parametrize("source", SAME)
def test_comments_docstrings_and_blank_lines_do_not_count(source: str) -> None:
    assert stripped(source) == stripped(PLAIN)


@pytest.mark.parametrize("source", OTHER)
def test_code_counts(source: str) -> None:
    assert stripped(source) != stripped(PLAIN)


def test_the_text_of_strings_counts() -> None:
    text = 'x = """a\n# no comment\n\nb"""\n'
    assert stripped(text) == text.rstrip()
    assert stripped(text) != stripped('x = """a\n# no comment\nb"""\n')
    assert stripped('x = """a  \nb"""') != stripped('x = """a\nb"""')
    assert stripped('x = f"""{1}\n\n{2}"""') != stripped('x = f"""{1}\n{2}"""')
    assert stripped('x = "a\u2028b"  # c\ny = 1 # d') == 'x = "a\u2028b"\ny = 1'


def test_code_beside_a_docstring_counts() -> None:
    assert stripped('def f(): "doc"; return 1') != stripped('def f(): "doc"; return 2')
    assert stripped('def f(): "doc"; return 1') == stripped('def f(): "other words"; return 1')
    assert stripped('x = 1; "ü"; y = 2') != stripped('x = 1; "ü"; y = 3')
    assert stripped('class A: """doc\n\n  # more"""\nb = 1') == stripped('class A: "doc"\nb = 1')


class WithoutStrings(ast.NodeTransformer):
    """Drops docstrings from a syntax tree."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node


def test_what_is_left_of_our_own_files_is_their_code() -> None:
    compared = 0
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        with contextlib.suppress(SyntaxError):  # a class that is a docstring alone has no body left
            left = ast.parse(stripped(source))
            assert ast.dump(WithoutStrings().visit(left)) == ast.dump(WithoutStrings().visit(ast.parse(source)))
            compared += 1
    assert compared > 50


def test_hash_does_not_depend_on_time_or_place(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    one, other = tmp_path / "a.py", tmp_path / "b" / "c.py"
    for path, time in ((one, 0), (other, 1e9)):
        path.write_text(PLAIN)
        os.utime(path, (time, time))
    assert code_hash([one]) == code_hash([other])
    other.write_text(OTHER[0])
    assert code_hash([one]) != code_hash([other])
    # Where one file ends and the next begins counts too.
    assert code_hash([one, other]) != code_hash([other, one])


def test_simulation_path_exists_and_holds_all_that_trains() -> None:
    assert [name for name in SIMULATION_PATH if not (PACKAGE / name).exists()] == []
    assert len(simulation_code()) == 16


RUN_A_CELL = """
import sys
from bench.cell import Cell
from bench.training.engine import InlineEngine
from bench.federation.federation import Federation
from bench.simulation.simulator import Simulation
training = {"rounds": 1, "clients": 2, "cohort": 1, "samples_per_client": 8, "standin_train": 400, "standin_test": 20}
built = Federation.build(Cell("cnn-femnist", "prism", keep=0.5, diagnostics="all", training=training))
list(Simulation(built, InlineEngine(built)).rounds())
print(*(module for module in sys.modules if module.split(".")[0] == "bench"))
"""
CANNOT_CHANGE_NUMBERS = {
    "colours.py",
    # What reads real data in: its fingerprint is part of a result.
    *(f"data/{name}.py" for name in ("archives", "cache", "download", "femnist", "images", "imdb", "tiny_imagenet")),
    *(f"data/cifar{part}.py" for part in ("", "10", "10_classes", "100", "100_classes")),
    *(f"data/cifar_{part}.py" for part in ("batches", "binary", "pictures", "set")),
    *(
        f"data/{name}.py"
        for name in ("femnist_leaf", "imdb_reviews", "imdb_tables", "labels", "shards", "tables", "tree")
    ),
    *(f"data/{name}.py" for name in ("imported", "shakespeare", "shakespeare_tff", "sources")),
    *(f"data/{name}.py" for name in ("image_arrays", "image_folders", "own", "own_classes", "pixels")),
    # Processes and how they end, words for mistakes, writing of files, and this very hash.
    "agg.py",
    "processes/children.py",
    "processes/failure.py",
    "numerics/limits.py",
    "processes/pool.py",
    "errors.py",
    "figure_spec.py",
    "files.py",
    "revisions.py",
    "store/provenance.py",
    # What a room is for, in words.
    "__init__.py",
    *(f"{room}/__init__.py" for room in ("cost", "data", "federation", "numerics", "plugins", "processes")),
    *(f"{room}/__init__.py" for room in ("simulation", "store", "training")),
}


def test_a_run_imports_nothing_else_that_could_change_its_numbers() -> None:
    result = subprocess.run([sys.executable, "-c", RUN_A_CELL], capture_output=True, text=True, timeout=PATIENCE_S)
    assert result.returncode == 0, result.stderr
    files = set()
    for module in result.stdout.split():
        path = PACKAGE.joinpath(*module.split(".")[1:])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        files.add(file.relative_to(PACKAGE).as_posix())
    covered = {file for file in files if any(file == name or file.startswith(f"{name}/") for name in SIMULATION_PATH)}
    assert files - covered <= CANNOT_CHANGE_NUMBERS


def test_environment_names_versions_device_and_commit() -> None:
    facts = environment("cpu")
    assert facts["python"] == platform.python_version()
    assert torch.__version__.startswith(facts["packages"]["torch"])  # the build ("+cpu") is not part of it
    assert "not installed" not in facts["packages"].values()
    assert (facts["device"], facts["cores"]) == ("cpu", os.cpu_count())
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PACKAGE, capture_output=True, text=True, check=False)
    assert facts["git_commit"] == (git.stdout.strip() if git.returncode == 0 else None)


EDIT_WHILE_IT_RUNS = """
from pathlib import Path
from bench.plugins import registry
from bench.cell import Cell
from bench.store.provenance import code_of
code_of(Cell("cnn-femnist", "fedavg"))
path = registry.method("orthdrop").source
path.write_text(path.read_text() + "EDITED = 1")
print(code_of(Cell("cnn-femnist", "orthdrop")))
"""


def test_the_code_is_that_which_a_process_has_imported(tmp_path: Path) -> None:
    """A method that is edited while a sweep runs is not what its processes run."""
    for name in ("bench", "methods"):
        shutil.copytree(PACKAGE.parent / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    codes = []
    for _ in range(2):
        result = subprocess.run(
            [sys.executable, "-B", "-c", EDIT_WHILE_IT_RUNS],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert result.returncode == 0, result.stderr
        codes.append(result.stdout)
        edits = (tmp_path / "methods" / "orthdrop.py").read_text().count("EDITED")
        assert edits == len(codes)
    assert codes[0].strip() == code_of(Cell("cnn-femnist", "orthdrop"))
    assert codes[1] != codes[0]
