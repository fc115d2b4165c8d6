"""Methods are found wherever they lie, and a broken file is a row with its reason."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import PATIENCE_S
from tiny import cell_of, plugin, write

import methods as package
from bench.errors import BenchError
from bench.launch.running import run_cell
from bench.plugins import registry
from bench.store.provenance import code_of

GOOD = "from methods.fedavg import FedAvg\nclass Mine(FedAvg):\n    {body}\n"

UNNAMED = GOOD.replace("{body}", "name = {name}")
BROKEN = {
    **{
        f"named-{number}": (UNNAMED.format(name=repr(name)), words)
        for number, (name, words) in enumerate(
            [
                (
                    "mine/v2",
                    "name = 'mine/v2' of Mine is not possible; allowed: letters, digits, '_', '-', '.' and '+'",
                ),
                ("..", "name = '..' of Mine is not possible"),
                (".mine", "name = '.mine' of Mine is not possible"),
                ("my method", "name = 'my method' of Mine is not possible"),
                ("[red]mine[/]", "name = '[red]mine[/]' of Mine is not possible"),
                ("mine\n", "name = 'mine\\n' of Mine is not possible"),
                ("\x1b[31m", "of Mine is not possible"),
                ("m" * 65, f"name = '{'m' * 64}...' of Mine is not possible"),
                (3, "name = 3 of Mine is not possible; allowed: a word in quotes"),
                (b"mine", "name = b'mine' of Mine is not possible; allowed: a word in quotes"),
            ]
        )
    },
    "family": (GOOD.format(body="family = 3"), "family = 3 of Mine is not possible; allowed: a word in quotes"),
    "summary": (GOOD.format(body="summary = None"), "summary = None of Mine is not possible"),
    "deviations": (GOOD.format(body="deviations = (3,)"), "deviations of Mine are no list of words"),
    "syntax": ("def f(:\n", "line 1: SyntaxError"),
    "missing": (
        "\nimport not_there_at_all\n",
        "ModuleNotFoundError: No module named 'not_there_at_all' (missing.py, line 2)",
    ),
    "raises": ("raise ValueError('two\\nlines')\n", "ValueError: two; lines (raises.py, line 1)"),
    "deeper": ("def f():\n    return 1 / 0\nf()\n", "ZeroDivisionError: division by zero (deeper.py, line 2, in f)"),
    "silent": ("raise ValueError\n", "ValueError: no message (silent.py, line 1)"),
    "leaves": ("\n\nimport sys; sys.exit(3)\n", "SystemExit: 3 (leaves.py, line 3)"),
    "says": ("from bench.errors import BenchError\nraise BenchError('its x is 3')\n", "its x is 3"),
    "nothing": ("x = 1\n", "it defines no subclass of bench.api.Method"),
    "imports": ("from methods.fedavg import FedAvg\n", "it defines no subclass"),
    "half": (
        "from bench.api import Method\nclass Half(Method):\n    def select(self, server, cohort, streams): ...\n",
        "Half lacks aggregate, extract",
    ),
    "twins": (
        GOOD.format(body="pass") + "class Third(FedAvg): name = 'third'\nclass Other(FedAvg): pass\n",
        "Mine, Other have the same name",
    ),
    "plain": (GOOD.format(body="class Params: a = 1"), "Params of Mine is not a dataclass"),
    "needy": (
        "import dataclasses\n@dataclasses.dataclass\nclass P:\n    a: int\n" + GOOD.format(body="Params = P"),
        "Params of Mine need a default",
    ),
    "unknown": (
        "import dataclasses\n@dataclasses.dataclass\nclass P:\n    a: 'Nowhere' = 1\n" + GOOD.format(body="Params = P"),
        "known type for each field: name 'Nowhere' is not defined",
    ),
}


@pytest.fixture(autouse=True)
def _fresh_registry() -> Iterator[None]:
    registry._installed_methods.cache_clear()
    yield
    registry._installed_methods.cache_clear()


def test_all_files_of_the_package_are_methods() -> None:
    files = {path.stem for path in Path(package.__path__[0]).glob("*.py")} - {"__init__"}
    found = registry.methods()
    assert {entry.source.stem for entry in found.values()} == files
    assert [entry for entry in found.values() if entry.kind is None] == []


@pytest.mark.parametrize("name", BROKEN)
def test_broken_plugin_is_a_row_and_a_sentence(tmp_path: Path, name: str) -> None:
    text, reason = BROKEN[name]
    path = write(tmp_path / f"{name}.py", text)
    entry = registry.methods([path])[name]
    assert entry.kind is None and reason in entry.reason and "\n" not in entry.reason
    # Who names a broken file is told so, whichever method they ask for.
    for method in (name, "fedavg", "somewhere"):
        with pytest.raises(BenchError) as refused:
            registry.method(method, [path])
        assert str(refused.value).startswith(f"plugin {path}: ") and reason in str(refused.value)
    assert registry.method("prism").kind is not None


def test_plugin_that_is_not_there(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "nowhere.py", "there is no such file"),
        (tmp_path, "it is a folder; name the files"),
    ):
        with pytest.raises(BenchError, match=f"it cannot be used: {reason}"):
            registry.method("fedavg", [path])
    text = write(tmp_path / "notes.txt", "x")
    with pytest.raises(BenchError, match="it is not a Python file"):
        registry.method("fedavg", [text])


def test_unknown_method_names_the_nearest() -> None:
    with pytest.raises(
        BenchError, match=r"unknown method 'orthdorp'; allowed: .*; did you mean 'orthdrop'\?.*--plugin$"
    ):
        registry.method("orthdorp")


def test_plugin_is_found_under_its_name_or_its_file(tmp_path: Path) -> None:
    unnamed = write(tmp_path / "mine.py", GOOD.format(body="pass"))
    named = write(tmp_path / "other.py", GOOD.format(body='name = "my-method"'))
    assert registry.method("mine", [unnamed, named]).source == unnamed
    assert registry.method("my-method", [unnamed, named]).source == named
    assert "other" not in registry.methods([named])


def test_the_code_of_a_method_holds_what_it_inherits_and_what_it_is_measured_against(tmp_path: Path) -> None:
    base = write(tmp_path / "base.py", GOOD.format(body="name = 'base'"))
    heir = write(tmp_path / "heir.py", "from methods.prism import PriSM\nclass Heir(PriSM):\n    pass\n")
    prism, fedavg = registry.method("prism").source, registry.method("fedavg").source
    assert registry.method("heir", [heir]).files() == [heir, prism]
    assert registry.method("base", [base]).files() == [base, fedavg]
    assert registry.method("fedavg").files() == [fedavg]
    codes = {code_of(cell_of("prism", diagnostics=kind)) for kind in ("basic", "errors", "cosine", "all")}
    assert len(codes) == 2


def test_two_methods_in_one_file(tmp_path: Path) -> None:
    path = write(tmp_path / "two.py", GOOD.format(body='name = "one"') + 'class Second(FedAvg):\n    name = "second"\n')
    assert {"one", "second"} < set(registry.methods([path]))
    assert registry.method("one", [path]).kind is not registry.method("second", [path]).kind


def test_plugin_takes_the_place_of_a_builtin_only_where_it_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "prism.py", GOOD.format(body="pass"))
    assert registry.method("prism", [path]).source == path
    assert registry.method("prism").source.parent == Path(package.__path__[0])
    assert code_of(cell_of("prism"), [path]) != code_of(cell_of("prism"))


@pytest.mark.parametrize("name", ["mine-v2", "Mine_2.0+", "μέθοδος", "m" * 64])
def test_names_that_are_allowed(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "mine.py", GOOD.format(body=f"name = {name!r}"))
    assert registry.method(name, [path]).name == name
    cell = cell_of(name, (path,))
    assert len(cell.folder.encode()) <= 255 and cell.folder.endswith(cell.identity)


def test_same_file_name_in_two_folders(tmp_path: Path) -> None:
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(write(tmp_path / folder / "mine.py", GOOD.format(body=f'name = "{folder}"')))
    found = registry.methods(paths)
    assert (found["a"].source, found["b"].source) == tuple(paths)


def test_file_dropped_into_the_methods_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = plugin(tmp_path, "dropped")
    write(tmp_path / "spoilt.py", "def f(:\n")
    write(tmp_path / "_private.py", "raise SystemExit\n")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    assert registry.method("dropped").source == path
    with pytest.raises(BenchError, match=r"method 'spoilt' cannot be used: .*spoilt.py: line 1: SyntaxError"):
        registry.method("spoilt")
    assert "_private" not in registry.methods()
    outcome = run_cell(cell_of("dropped"))
    assert (outcome.status, len(outcome.rounds)) == ("done", 3)


def test_a_folder_called_methods_where_the_user_stands_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "methods").mkdir()
    write(tmp_path / "methods" / "mine.py", "x = 1")
    write(tmp_path / "plugin.py", GOOD.format(body="summary = 'from here'"))
    script = (
        "from pathlib import Path; from bench.plugins import registry; "
        "found = registry.methods([Path('plugin.py')]); print(found['mine'].kind if 'mine' in found else None, "
        "found['fedavg'].kind.__module__, found['plugin'].kind.summary)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert result.stdout.split(maxsplit=2) == ["None", "methods.fedavg", "from here\n"], result


def test_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_package").mkdir()
    write(tmp_path / "their_package" / "__init__.py", "")
    path = plugin(tmp_path / "their_package", "theirs")
    points = [
        importlib.metadata.EntryPoint("theirs", f"their_package.{name}", registry.ENTRY_POINTS["method"])
        for name in ("theirs", "gone")
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "bench.methods" else [])
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.method("theirs").source == path
    assert registry.methods()["gone"].kind is None
    # The file behind the entry point is part of what a result depends on.
    assert len(code_of(cell_of("theirs"))) == len(code_of(cell_of("fedavg")))
    sys.modules.pop("their_package.theirs")


def test_a_name_that_two_installed_packages_define_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = ("one_package.theirs", "other_package.theirs", "other_package.fedavg")  # the last is a built-in name
    for module in modules:
        place, name = module.split(".")
        (tmp_path / place).mkdir(exist_ok=True)
        write(tmp_path / place / "__init__.py", "")
        plugin(tmp_path / place, name)
    group = registry.ENTRY_POINTS["method"]
    points = [importlib.metadata.EntryPoint(module, module, group) for module in modules]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "bench.methods" else [])
    monkeypatch.syspath_prepend(tmp_path)
    for name, first in (("theirs", "one_package"), ("fedavg", "methods")):
        both = f"method {name!r} is defined by .*{first}.{name}.py and by .*other_package.{name}.py; uninstall one"
        with pytest.raises(BenchError, match=both):
            registry.method(name)
    assert registry.method("prism").kind is not None
    # A file that the user names is what is meant.
    assert registry.method("theirs", [plugin(tmp_path, "theirs")]).source == tmp_path / "theirs.py"
    for loaded in (*modules, "one_package", "other_package"):
        sys.modules.pop(loaded)


def test_a_package_like_the_documented_one_is_found_once_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = (Path(__file__).resolve().parents[2] / "docs" / "add-a-method.md").read_text(encoding="utf-8")
    project = tomllib.loads(document.partition("```toml\n")[2].partition("```")[0])["project"]
    ((name, module),) = project["entry-points"][registry.ENTRY_POINTS["method"]].items()
    package, _, stem = module.partition(".")
    (tmp_path / package).mkdir()
    write(tmp_path / package / "__init__.py", "")
    path = plugin(tmp_path / package, stem)
    about = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir()
    write(about / "METADATA", f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    write(about / "entry_points.txt", f"[bench.methods]\n{name} = {module}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.method(name).source == path
    for loaded in (module, package):
        sys.modules.pop(loaded)


def test_unknown_task_names_the_nearest() -> None:
    with pytest.raises(BenchError, match=r"unknown task 'femnist'; allowed: .*; did you mean 'cnn-femnist'\?"):
        registry.task("femnist")
