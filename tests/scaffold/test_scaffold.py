"""``bench new``: what it writes passes the checks as it stands, and what it refuses."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import CommandLine, check_here

from bench.parameters import about
from bench.plugins import registry

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = ("spectral", "width", "plain")
FEW = ("--task", "lstm-imdb", "--task", "cnn-femnist")
"""Residual networks take most of the time; one family is checked on them too."""


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    check_here(monkeypatch)  # processes take seconds to start
    return CommandLine(monkeypatch, capsys)


@pytest.mark.parametrize(
    ("family", "tasks"),
    [
        ("spectral", FEW),
        pytest.param("width", (), marks=pytest.mark.slow),
        pytest.param("plain", FEW, marks=pytest.mark.slow),
        pytest.param("spectral", (), marks=pytest.mark.slow),
        pytest.param("plain", (), marks=pytest.mark.slow),
    ],
)
def test_new_method_passes_its_checks_and_its_own_test(bench: CommandLine, family: str, tasks: tuple[str, ...]) -> None:
    made = bench("new", "my_method", "--family", family, "--folder", "there")
    assert made.code == 0
    source, test = Path("there/methods/my_method.py"), Path("there/tests/test_my_method.py")
    assert f"wrote {source}" in made.out and f"wrote {test}" in made.out
    assert f"python -m bench check my_method --plugin {source}" in made.out
    assert "ketch" not in source.read_text() + test.read_text()
    entry = registry.methods([source])["my_method"]
    assert entry.kind is not None and entry.kind.__name__ == "MyMethod" and entry.kind.summary and entry.kind.paper
    assert any(about(field).search for field in dataclasses.fields(entry.kind.Params))
    checked = bench("check", "--plugin", source, *tasks)
    assert checked.code == 0 and checked.out.count(" ok ") > 10, checked.out
    _run_own_tests(test)


@pytest.mark.parametrize("kind", ["task", "figure"])
def test_new_task_and_figure_work_as_they_stand(bench: CommandLine, tmp_path: Path, kind: str) -> None:
    made = bench("new", kind, "my_own", "--folder", "there")
    source, test = Path(f"there/{kind}s/my_own.py"), Path("there/tests/test_my_own.py")
    assert made.code == 0 and f"wrote {source}" in made.out and f"wrote {test}" in made.out
    assert f"--plugin {source}" in made.out and "ketch" not in source.read_text() + test.read_text()
    assert len(source.read_text().splitlines()) <= 50
    listed = bench("list", f"{kind}s", "--plugin", source)
    assert listed.code == 0 and "my_own" in listed.out and "broken" not in listed.out
    module = _loaded(test)
    if kind == "figure":
        module.test_every_seed_is_a_dot()
        module.test_it_is_drawn_from_the_tables_of_a_sweep(tmp_path / "drawn")
    else:
        module.test_it_begins_at_chance()
        for method in ("prism", "heterofl"):
            module.test_methods_train_on_it(method)


def _loaded(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("of_my_own", path.resolve())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run_own_tests(path: Path) -> None:
    """Run the tests of a file but the one that the kit was just run for."""
    module = _loaded(path)
    tests = [test for name, test in vars(module).items() if name.startswith("test_") and name != "test_conforms"]
    assert len(tests) == 1
    tests[0]()


def test_new_files_have_this_projects_style(bench: CommandLine) -> None:
    for family in FAMILIES:
        assert bench("new", "method", f"my_{family}", "--family", family).code == 0
    for kind in ("task", "figure"):
        assert bench("new", kind, f"my_{kind}").code == 0
    # Elsewhere than in this checkout ruff does not know which imports are the project's own.
    settings = ["--config", str(ROOT / "pyproject.toml"), "--config", 'lint.isort.known-first-party=["bench"]']
    for words in (["check"], ["format", "--check"]):
        ended = subprocess.run([sys.executable, "-m", "ruff", *words, *settings, "."], capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.slow
def test_the_new_test_passes_in_a_process_of_its_own(bench: CommandLine) -> None:
    assert bench("new", "my_method", "--folder", "there").code == 0
    words = [sys.executable, "-m", "pytest", "-q", "there/tests/test_my_method.py"]
    ended = subprocess.run(words, capture_output=True, text=True)
    assert ended.returncode == 0 and "2 passed" in ended.stdout, ended.stdout


def test_a_method_of_this_checkout_needs_no_plugin_option(
    bench: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(registry.own_methods(), "__path__", [str(tmp_path / "methods")])
    monkeypatch.setattr(registry, "methods", dict)
    assert "python -m bench check mine\n" in bench("new", "mine").out


def test_a_folder_named_methods_is_not_taken_for_this_checkouts(
    bench: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path("methods").mkdir()
    Path("methods/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "methods")
    assert "python -m bench check foo_bar --plugin methods/foo_bar.py\n" in bench("new", "foo_bar").out


@pytest.mark.parametrize("name", ["mysketch", "sketch", "a_sketch"])
def test_a_name_that_holds_the_templates_own_name(bench: CommandLine, name: str) -> None:
    assert bench("new", name).code == 0
    entry = registry.methods([Path(f"methods/{name}.py")])[name]
    assert entry.kind is not None
    assert entry.kind.__name__ == {"mysketch": "Mysketch", "sketch": "Sketch", "a_sketch": "ASketch"}[name]
    assert f'registry.method("{name}", [PLUGIN])' in Path(f"tests/test_{name}.py").read_text()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("My-Method", ["'My-Method'", "small letters", "try 'my_method'"]),
        ("FedAvg", ["'FedAvg'", "try 'fed_avg'"]),
        ("2fast", ["'2fast'", "a letter first"]),
        ("lambda", ["'lambda'", "none of Python's own words"]),
        ("", ["''"]),
        ("a/b", ["'a/b'", "try 'a_b'"]),
        ("prism", ["'prism' exists already", "prism.py"]),
        ("task", ["new task: its name is missing", "'new task my_task'"]),
        ("taken", ["methods/taken.py exists already"]),
        ("tested", ["tests/test_tested.py exists already"]),
    ],
)
def test_new_refuses_in_one_sentence(bench: CommandLine, name: str, words: list[str]) -> None:
    Path("methods").mkdir()
    Path("tests").mkdir()
    taken = [Path("methods/taken.py"), Path("tests/test_tested.py")]
    for path in taken:
        path.write_text("mine")
    sentence = bench.refused("new", name)
    assert [word for word in words if word not in sentence] == []
    assert sorted(Path().rglob("*.py")) == sorted(taken) and {path.read_text() for path in taken} == {"mine"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tsak", "mine"], ["unknown kind 'tsak'", "allowed: 'method', 'task', 'figure'", "did you mean 'task'?"]),
        (["task", "my-own"], ["cannot be the name of a task's file", "try 'my_own'"]),
        (["figure", "gap"], ["the figure 'gap' exists already", "list figures"]),
        (["task", "mine", "--family", "width"], ["--family width", "methods alone have families, and this is a task"]),
    ],
)
def test_new_refuses_kinds_in_one_sentence(bench: CommandLine, arguments: list[str], words: list[str]) -> None:
    sentence = bench.refused("new", *arguments)
    assert [word for word in words if word not in sentence] == [] and list(Path().iterdir()) == []


def test_new_says_where_it_cannot_write(bench: CommandLine) -> None:
    Path("methods").write_text("a file")
    assert "methods/mine.py cannot be written" in bench.refused("new", "mine")


def test_new_writes_both_files_or_none(bench: CommandLine) -> None:
    Path("tests").write_text("a file")
    assert "tests/test_mine.py cannot be written" in bench.refused("new", "mine")
    assert list(Path().rglob("*.py")) == []
    Path("tests").unlink()
    assert bench("new", "mine").code == 0
