"""What a user's file imports of the user's own counts in its cells, whichever way the file was brought in."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny import cell_of, write

import bench.tasks
from bench import revisions
from bench.plugins import reading, registry
from bench.plugins.imports import SUFFIXES
from bench.store import provenance
from bench.store.declared import imported
from bench.store.made import Made, made

METHOD = """
from methods.fedavg import FedAvg
{line}

class Mine(FedAvg):
    summary = "a test"
    paper = "none"
"""
CHANGED = "files of your own that it runs have changed"
COMPILED = SUFFIXES[0]
Look = Callable[[], Made]


@pytest.fixture
def way(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Look]]:
    """A folder of methods, a package or a plugin's folder, and what a new process would see of ``mine`` there."""
    known = set(sys.modules)
    if request.param == "methods":
        package = registry.own_methods()
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    if request.param == "package":
        group = registry.ENTRY_POINTS["method"]
        points = [importlib.metadata.EntryPoint("mine", f"{tmp_path.name}.mine", group)]
        monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "bench.methods" else [])
        monkeypatch.syspath_prepend(tmp_path.parent)
        write(tmp_path / "__init__.py", "")

    def look() -> Made:
        forget(known)
        plugins = (tmp_path / "mine.py",) if request.param == "plugin" else ()
        return made(cell_of("mine", plugins), plugins)

    yield tmp_path, look
    monkeypatch.undo()
    forget(known)


def forget(known: set[str]) -> None:
    """Have what was read since be read anew, as a new process does."""
    for name in set(sys.modules) - known:
        if name.startswith(("methods.", "bench.tasks.")) or "test_" in name or "bench_" in name:
            del sys.modules[name]
    importlib.invalidate_caches()
    for cached in (registry._installed_methods, registry._installed_tasks, reading.read_module):
        cached.cache_clear()
    for cached in (provenance._installed, provenance.files_code):
        cached.cache_clear()


def head(folder: Path, way: str) -> str:
    """Return what a method writes before the name of what lies beside it."""
    return {"methods": "methods.", "package": f"{folder.name}.", "plugin": ""}[way]


WAYS = ("methods", "package", "plugin")


@pytest.mark.parametrize(("way", "kind"), [(kind, kind) for kind in WAYS], indirect=["way"])
def test_an_edited_helper_makes_a_cell_stale(way: tuple[Path, Look], kind: str) -> None:
    """Also one that a helper imports, in a circle, within a function, from a package beside it; no other file does."""
    folder, look = way
    top = head(folder, kind)
    (folder / "_parts").mkdir()
    (folder / "_loose").mkdir()
    texts = {
        "mine.py": METHOD.format(line=f"from {top}_helper import NUMBER"),
        "_helper.py": f"NUMBER = 1\ndef late():\n    from {top}_parts import deep\n    import {top}_loose.part\n",
        "_parts/__init__.py": "",
        "_parts/deep.py": "from .twin import OTHER\nVALUE = 1\n",
        "_parts/twin.py": "from . import deep\nOTHER = 1\n",
        "_parts/idle.py": "",
        "_loose/part.py": "",
        "_idle.py": "",
    }
    for name, text in texts.items():
        write(folder / name, text)
    before = look()
    assert before.own_code and before.revisions["method fedavg"] == 1
    for name in texts:
        write(folder / name, "# Words.\n" + texts[name])
    assert look().changes(before.facts()) == ""
    for name in texts:
        write(folder / name, texts[name] + "EDITED = True\n")
        assert look().changes(before.facts()) == ("" if name.endswith("idle.py") else CHANGED), name
        write(folder / name, texts[name])


@pytest.mark.parametrize(("way", "kind"), [("methods", "methods"), ("package", "package")], indirect=["way"])
def test_relative_imports_and_a_package_that_gathers(way: tuple[Path, Look], kind: str) -> None:
    """A package that imports all its methods does not make each of them count as all."""
    folder, look = way
    write(folder / "mine.py", METHOD.format(line="from . import _helper\nfrom ._other import f"))
    for name in ("_helper", "_other", "_sister"):
        write(folder / f"{name}.py", "def f():\n    return 1\n")
    if kind == "package":
        write(folder / "__init__.py", "from . import mine, _sister\n")
    before = look()
    for name in ("_helper", "_other", "_sister"):
        write(folder / f"{name}.py", "def f():\n    return 2\n")
        assert look().changes(before.facts()) == (CHANGED if name != "_sister" else "")
        write(folder / f"{name}.py", "def f():\n    return 1\n")


@pytest.mark.parametrize("way", ["package"], indirect=True)
def test_what_is_taken_from_the_package_itself_counts(way: tuple[Path, Look]) -> None:
    folder, look = way
    write(folder / "mine.py", METHOD.format(line="from . import KAPPA"))
    write(folder / "__init__.py", "from .values import KAPPA\n")
    write(folder / "values.py", "KAPPA = 1\n")
    before = look()
    write(folder / "values.py", "KAPPA = 2\n")
    assert look().changes(before.facts()) == CHANGED


@pytest.mark.parametrize("way", WAYS, indirect=True)
def test_a_compiled_helper_counts_by_its_bytes(way: tuple[Path, Look], request: pytest.FixtureRequest) -> None:
    """It goes before source of its name, as for Python; it is not loaded here."""
    folder, look = way
    top = head(folder, request.node.callspec.params["way"])
    write(folder / "mine.py", METHOD.format(line=f"def late():\n    from {top}_fast import f"))
    write(folder / "_fast.py", "")
    (folder / f"_fast{COMPILED}").write_bytes(b"\x7fELF\0\xff")
    before = look()
    (folder / f"_fast{COMPILED}").write_bytes(b"\x7fELF\0\xfe")
    assert look().changes(before.facts()) == CHANGED


@pytest.mark.parametrize("way", ["plugin"], indirect=True)
def test_a_plugin_that_uses_the_users_methods_counts_their_files(
    way: tuple[Path, Look], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, look = way
    home, package = tmp_path_factory.mktemp("test_home"), registry.own_methods()
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(home)])
    write(home / "theirs.py", METHOD.format(line="from methods._shared import f").replace("Mine", "Theirs"))
    write(home / "_shared.py", "def f():\n    return 1\n")
    write(folder / "mine.py", "from methods.theirs import Theirs\n\nclass Mine(Theirs):\n    summary = 'a test'\n")
    before = look()
    write(home / "_shared.py", "def f():\n    return 2\n")
    assert look().changes(before.facts()) == CHANGED


def test_the_other_packages_of_a_namespace_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known, space = set(sys.modules), "test_space"
    one, other = tmp_path / "one" / space, tmp_path / "other" / space
    for folder in (one, other):
        folder.mkdir(parents=True)
        monkeypatch.syspath_prepend(folder.parent)
    write(one / "mine.py", METHOD.format(line="from . import here\nfrom test_space.there import g"))
    write(one / "here.py", "")
    write(other / "there.py", "g = 1\n")
    for name, files in (("one", ("mine.py", "here.py")), ("other", ("there.py",))):
        about = tmp_path / name / f"test_{name}-1.dist-info"
        about.mkdir()
        write(about / "METADATA", f"Metadata-Version: 2.1\nName: test-{name}\nVersion: 1\n")
        write(about / "RECORD", "".join(f"{space}/{file},,\n" for file in files))
    write(tmp_path / "one" / "test_one-1.dist-info" / "entry_points.txt", f"[bench.methods]\nmine = {space}.mine\n")
    forget(known)
    assert registry.method("mine").files() == [one / "mine.py", registry.method("fedavg").source, one / "here.py"]
    monkeypatch.undo()
    forget(known)


def test_a_users_task_in_the_folder_of_tasks_counts_with_what_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = set(sys.modules)
    monkeypatch.setattr(bench.tasks, "__path__", [*bench.tasks.__path__, str(tmp_path)])
    body = "from bench.tasks.cnn_femnist import CNNFemnist\nfrom ._scale import SCALE\n\n"
    write(tmp_path / "dropped.py", body + "class Mine(CNNFemnist):\n    name = 'dropped'\n    summary = 'a test'\n")
    write(tmp_path / "_scale.py", "SCALE = 1\n")
    looks = []
    for text in ("SCALE = 1\n", "SCALE = 2\n"):
        write(tmp_path / "_scale.py", text)
        forget(known)
        looks.append(made(cell_of("fedavg", task="dropped")))
    assert "task cnn-femnist" in looks[0].revisions and looks[1].changes(looks[0].facts()) == CHANGED
    monkeypatch.undo()
    forget(known)


def test_every_module_of_the_folder_of_tasks_is_known_to_be_built_in() -> None:
    files = {file.stem for file in (Path(bench.__file__).parent / "tasks").glob("[!_]*.py")}
    assert files == {*revisions.TASK_PARTS, *(name.replace("-", "_") for name in revisions.TASKS)}


@pytest.mark.parametrize(
    ("line", "table", "name"),
    [
        ("from methods.prism import PriSMParams", "METHODS", "prism"),
        ("import methods.prism", "FAMILIES", "spectral"),
        ("from bench.families.product_decay import product_decay", "FAMILIES", "spectral"),
        ("from bench.families import layerwise", "METHODS", "fedlama"),
        ("from bench.tasks.lstm_imdb import LSTMParams", "TASKS", "lstm-imdb"),
    ],
)
def test_a_plugin_depends_on_the_revisions_of_what_it_only_calls(
    line: str, table: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "helper.py", line + "\n")
    path = write(tmp_path / "mine.py", METHOD.format(line="import helper"))
    cell = cell_of("mine", (path,))
    before = made(cell, (path,)).facts()
    known = {key: value for key, value in before["revisions"].items() if "fedavg" in key or key == "harness"}
    assert made(cell, (path,)).changes({**before, "revisions": known | {"task cnn-femnist": 1}}) == ""
    monkeypatch.setitem(getattr(revisions, table), name, 2)
    assert f"{name} is at revision 2 and was at revision 1" in made(cell, (path,)).changes(before)
    # One that was made before what is imported counted is of the first revision.
    words = made(cell, (path,)).changes({**before, "revisions": known | {"task cnn-femnist": 1}})
    assert f"{name} is at revision 2 and was at revision 1" in words


def test_what_several_families_share_counts_as_the_harness() -> None:
    assert imported(["bench.families.averaging", "bench.families.choice", "bench.api", "methods._own"]) == {}
