"""A task is a plugin as a method is: one file, found by name, whose code counts in what a result depends on."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import CNN, TRAINING, CommandLine, write

import bench
import bench.tasks
from bench.cell import Cell
from bench.config.cells import make_cell
from bench.errors import BenchError
from bench.launch.footprint import footprint
from bench.launch.ray_task import Order, _Run
from bench.launch.running import run_cell
from bench.plugins import registry
from bench.store.provenance import code_of, data_of

TASK = "from bench.tasks.cnn_femnist import CNNFemnist\nclass Mine(CNNFemnist):\n    {body}\n"
METHOD = "from methods.fedavg import FedAvg\nclass Own(FedAvg):\n    {body}\n"
WITH_HELPER = """
from bench.tasks.cnn_femnist import CNNFemnist
from my_scale import SCALE


class Mine(CNNFemnist):
    "Characters, darker."

    def prepare(self, inputs):
        return super().prepare(inputs) * SCALE
"""


@pytest.fixture(autouse=True)
def _fresh_registry() -> Iterator[None]:
    registry._installed_tasks.cache_clear()
    yield
    registry._installed_tasks.cache_clear()


@pytest.fixture
def command(command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setenv("COLUMNS", "200")
    return command


def cell_on(task: str, plugins: tuple[Path, ...], **values: object) -> Cell:
    return make_cell({"task": task, "method": "fedavg", "training": {**TRAINING, "rounds": 1}, **values}, "t", plugins)


BROKEN = {
    "bare": (
        "from bench.tasks.base import Recipe, Task\nclass Mine(Task):\n    tiers = {'quick': Recipe()}\n",
        "Mine lacks correct, example, initialise, loss, model, prepare",
    ),
    "lacking": ("from bench.tasks.images import ImageTask\nclass Mine(ImageTask): ...\n", "Mine lacks example"),
    "named": (TASK.format(body="name = 'my task'"), "name = 'my task' of Mine is not possible; allowed: letters"),
    "dataset": (TASK.format(body="dataset = None"), "dataset = None of Mine is not possible; allowed: a word in quot"),
    "tiers": (TASK.format(body="tiers = {}"), "tiers of Mine are no table of names and recipes; allowed: for example"),
    "tier": (TASK.format(body="tiers = {'a b': CNNFemnist.tiers['quick']}"), "the name 'a b' is not possible"),
    "params": (TASK.format(body="class Params: a = 1"), "Params of Mine is not a dataclass"),
    "tier-params": (
        TASK.format(body="tier_params = {'quick': {'width': 3}}"),
        "tier_params of Mine for the tier 'quick' do not go with its Params",
    ),
    "tier-partitions": (
        TASK.format(body="tier_partitions = {'fast': ('iid', None)}"),
        "tier_partitions of Mine name the tier 'fast'; allowed: 'paper', 'quick'",
    ),
    "no-table": (TASK.format(body="tier_params = 3"), "tier_params of Mine is no table"),
    "twins": (TASK.format(body="pass") + "class Other(CNNFemnist): pass\n", "Mine, Other have the same name"),
    "nothing": ("x = 1\n", "no subclass of bench.tasks.base.Task and no bench.figure_spec.FigureSpec"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_a_row_and_a_sentence(tmp_path: Path, name: str) -> None:
    text, reason = BROKEN[name]
    path = write(tmp_path / f"{name}.py", text)
    (broken,) = registry.broken_tasks([path])
    assert (broken.name, broken.source) == (name, path) and reason in broken.reason and "\n" not in broken.reason
    for task in (CNN, name):
        with pytest.raises(BenchError) as refused:
            registry.task(task, [path])
        assert str(refused.value).startswith(f"plugin {path}: it cannot be used: ") and reason in str(refused.value)
    assert set(registry.tasks([path])) == set(registry.tasks())


def test_a_task_is_found_under_its_name_or_its_files_and_only_where_it_is_named(tmp_path: Path) -> None:
    unnamed = write(tmp_path / "darker.py", TASK.format(body="pass"))
    named = write(tmp_path / "other.py", TASK.format(body="name = 'my-task'"))
    assert registry.task("darker", [unnamed, named]).source == unnamed
    assert registry.task("my-task", [unnamed, named]).source == named
    assert registry.task(CNN, [unnamed, named]).source.parent.name == "tasks"
    with pytest.raises(BenchError, match=r"unknown task 'drker'; allowed: .*; did you mean 'darker'\?.*--plugin$"):
        registry.task("drker", [unnamed])
    with pytest.raises(BenchError, match="unknown task 'darker'"):
        registry.task("darker")


def test_no_built_in_task_is_broken() -> None:
    assert registry.broken_tasks() == []


def test_a_base_of_tasks_may_stand_beside_the_task_that_completes_it(tmp_path: Path) -> None:
    text = "from bench.tasks.base import Task\nclass Base(Task): ...\n" + TASK.format(body="pass")
    assert registry.task("mine", [write(tmp_path / "mine.py", text)]).kind.__name__ == "Mine"


def test_task_and_method_in_one_file(tmp_path: Path) -> None:
    path = write(tmp_path / "both.py", TASK.format(body="name = 'on'") + METHOD.format(body="name = 'by'"))
    cell = make_cell({"task": "on", "method": "by", "training": {**TRAINING, "rounds": 1}}, "t", (path,))
    assert registry.task("on", [path]).files() == [path]
    assert run_cell(cell, plugins=(path,)).status == "done"


@pytest.mark.parametrize("word", ["task", "method"])
def test_two_files_that_define_one_name_are_refused(tmp_path: Path, word: str) -> None:
    text = (TASK if word == "task" else METHOD).format(body="name = 'same'")
    one, other = (write(tmp_path / f"{name}.py", text) for name in ("one", "other"))
    find = registry.task if word == "task" else registry.method
    with pytest.raises(BenchError) as refused:
        find("fedavg" if word == "method" else CNN, [one, other])
    assert str(refused.value) == (
        f"plugin {other}: it cannot be used: it defines the {word} 'same', as {one} does; give one of them another name"
    )
    assert find("same", [one, one, tmp_path / "x" / ".." / "one.py"]).source.name == "one.py"


def test_an_edited_task_or_helper_is_another_identity_and_a_built_in_task_is_none(tmp_path: Path) -> None:
    helper = write(tmp_path / "my_scale.py", "SCALE = 0.5\n")
    path = write(tmp_path / "mine.py", WITH_HELPER)
    method = write(tmp_path / "own.py", METHOD.format(body="pass"))
    cell, plugins = cell_on("mine", (path,)), (path, method)
    codes = [code_of(cell, plugins)]
    write(tmp_path / "my_scale.py", "# Half as dark.\nSCALE = 0.5\n")
    assert code_of(cell, plugins) == codes[0]
    for file, text in ((helper, "SCALE = 0.25\n"), (path, WITH_HELPER.replace("* SCALE", "* SCALE * 1.0"))):
        write(file, text)
        codes.append(code_of(cell, plugins))
    assert len(set(codes)) == 3
    # A cell that does not use the file is not touched by it.
    assert code_of(cell_on(CNN, ()), plugins) == code_of(cell_on(CNN, ()))
    of_task, of_both = (code_of(cell_on("mine", plugins, method=name), plugins) for name in ("fedavg", "own"))
    assert of_task != of_both


def test_a_node_of_a_cluster_gets_the_task_and_its_helper(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    write(tmp_path / "here" / "my_scale.py", "SCALE = 0.5\n")
    path = write(tmp_path / "here" / "mine.py", WITH_HELPER)
    cell = cell_on("mine", (path,))
    order = Order(cell, "", "", "cpu", 1, 0.0, (registry.sources_of(path),), {})
    there = _Run(order, None, tmp_path / "there")._plugins()
    assert there != (path,) and code_of(cell, there) == code_of(cell, (path,))
    assert registry.task("mine", there).kind.__doc__ == "Characters, darker."


def test_a_task_that_reads_its_data_itself_has_their_fingerprint(tmp_path: Path) -> None:
    text = """
    from bench.data.dataset import Dataset
    from bench.tasks.cnn_femnist import CNNFemnist
    class Mine(CNNFemnist):
        dataset = "nowhere"
        def data(self, source):
            if self.recipe.rounds == 7:
                raise RuntimeError("no file")
            return Dataset("mine", "mine", None, None, 2, False, f"{source} {self.recipe.batch_size}")
    """
    path = write(tmp_path / "mine.py", text)
    changes: list[dict[str, int]] = [{}, {"batch_size": 5}, {"rounds": 7}]
    values = {"task": "mine", "method": "fedavg", "data": "real"}
    cells = [make_cell({**values, "training": change}, "test", (path,)) for change in changes]
    assert [data_of(cell, (path,)) for cell in cells] == ["real 32", "real 5", None]


def test_a_task_that_two_installed_packages_define_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("a_theirs", "b_theirs")
    sources = [write(tmp_path / f"{name}.py", TASK.format(body="name = 'shared'")) for name in names]
    points = [importlib.metadata.EntryPoint(name, name, "bench.tasks") for name in names]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "bench.tasks" else [])
    monkeypatch.syspath_prepend(tmp_path)
    assert "shared" not in registry.tasks()
    with pytest.raises(
        BenchError, match=r"task 'shared' cannot be used: .*is defined by .*a_theirs.py and by .*b_theirs"
    ):
        registry.task("shared")
    assert registry.task("shared", [sources[0]]).files() == [sources[0]]
    for name in names:
        sys.modules.pop(name)


def test_file_dropped_into_the_folder_and_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "dropped_task.py", TASK.format(body="name = 'dropped'"))
    write(tmp_path / "spoilt.py", "def f(:\n")
    (tmp_path / "their_tasks").mkdir()
    write(tmp_path / "their_tasks" / "__init__.py", "")
    theirs = write(tmp_path / "their_tasks" / "theirs.py", TASK.format(body="pass"))
    points = [importlib.metadata.EntryPoint(name, f"their_tasks.{name}", "bench.tasks") for name in ("theirs", "gone")]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "bench.tasks" else [])
    monkeypatch.setattr(bench.tasks, "__path__", [*bench.tasks.__path__, str(tmp_path)])
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.task("dropped").kind.summary
    assert registry.task("theirs").files() == [theirs]
    assert [broken.name for broken in registry.broken_tasks()] == ["spoilt", "gone"]
    with pytest.raises(BenchError, match=r"task 'spoilt' cannot be used: .*spoilt.py: line 1: SyntaxError"):
        registry.task("spoilt")
    for name in ("their_tasks.theirs", "their_tasks", "bench.tasks.dropped_task"):
        sys.modules.pop(name)


def test_the_footprint_of_a_task_without_the_papers_tier(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py", TASK.format(body="tiers = {'mine': CNNFemnist.tiers['quick']}"))
    table = footprint([cell_on("mine", (path,), tier="mine", data="stand-in")], (path,), keeps=(1.0,))
    assert table["task"].to_pylist() == ["mine"]


def test_listing_and_details_show_the_users_task(tmp_path: Path, command: CommandLine) -> None:
    write(tmp_path / "my_scale.py", "SCALE = 0.5\n")
    path = write(tmp_path / "mine.py", WITH_HELPER)
    broken = write(tmp_path / "spoilt.py", "def f(:\n")
    listed = command("list", "tasks", "--plugin", path, "--plugin", broken)
    assert listed.code == 0 and "SyntaxError" in listed.out and "broken" in listed.out
    assert "mine" in listed.out and "mine" not in command("list", "tasks").out
    told = command("list", "tasks", "mine", "--plugin", path)
    assert told.code == 0 and "Characters, darker." in told.out and "mine.py" in told.out and "quick" in told.out
    assert "unknown task 'minr'" in command.refused("list", "tasks", "minr", "--plugin", path)
    assert "unknown task 'mine'" in command.refused("partition", "--task", "mine")
