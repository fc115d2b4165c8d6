"""What a plugin imports from beside it is found, is its own, is read anew, and counts in its identity."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest
from tiny import CNN, TRAINING, cell_of, write

import bench
from bench.errors import BenchError
from bench.launch.ray_task import Order, _Run
from bench.launch.running import run_cell
from bench.plugins import registry
from bench.plugins.beside import helpers_of
from bench.store.cells import Store
from bench.store.made import made
from bench.store.provenance import code_of

PLUGIN = """
import numpy as np
from bench.families.spectral import Spectral
from my_helper import helper


class Mine(Spectral):
    summary = "a test"

    def choose(self, sigma, rank, rng):
        return helper(len(sigma), rank, rng)
"""
HELPER = "import numpy as np\n\ndef helper(n, r, rng):\n    return np.sort(rng.choice(n, r, replace=False))\n"
FIRST = HELPER.replace("np.sort(rng.choice(n, r, replace=False))", "np.arange(r)")


def mine(folder: Path, helper: str = HELPER, text: str = PLUGIN) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "my_helper.py", helper)
    return write(folder / "mine.py", text)


def test_an_edited_helper_makes_results_stale_and_is_read_anew(tmp_path: Path) -> None:
    path = mine(tmp_path)
    cell = cell_of("mine", (path,), keep=0.2, training={"rounds": 1})
    store, losses = Store(tmp_path / "results"), []
    for helper in (HELPER, FIRST):
        write(tmp_path / "my_helper.py", helper)  # within one second, in which Python would not look again
        by = made(cell, (path,))
        state = store.record(cell, by, None).state
        assert state == ("stale" if losses else "to do")
        losses.append(run_cell(cell, store=store, plugins=(path,)).rounds[-1]["train_loss"])
        assert store.record(cell, by, None).state == "done"
    assert losses[0] != losses[1]
    write(tmp_path / "my_helper.py", "# What helps.\n" + FIRST)
    assert store.record(cell, made(cell, (path,)), None).state == "done"
    assert "my_helper" not in sys.modules and str(tmp_path) not in sys.path


def test_helpers_of_one_name_in_two_folders_are_each_plugins_own(tmp_path: Path) -> None:
    paths = [
        mine(
            tmp_path / folder, HELPER + f"name = '{folder}'\n", PLUGIN + f"    name = '{folder}'\n\nimport my_helper\n"
        )
        for folder in ("one", "other")
    ]
    found = registry.methods(paths)
    for name in ("one", "other"):
        kind = found[name].kind
        assert kind is not None and vars(sys.modules[kind.__module__])["my_helper"].name == name
    codes = {code_of(cell_of(name, tuple(paths)), tuple(paths)) for name in ("one", "other")}
    assert len(codes) == 2


SUBMODEL = """
import torch

class Wrapped(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, inputs):
        return self.inner(inputs)
"""
WRAPS = """
from methods.fedavg import FedAvg


class Wraps(FedAvg):
    summary = "a test"

    def extract(self, server, selection):
        from parts.wrapped import Wrapped  # not before it is needed
        return Wrapped(super().extract(server, selection))

    def aggregate(self, server, updates, streams):
        import parts.names
        updates = (parts.names.unwrapped(update) for update in updates)
        return super().aggregate(server, updates, streams)
"""
NAMES = """
from dataclasses import replace
from . import PREFIX

def unwrapped(update):
    values = {name.removeprefix(PREFIX): value for name, value in update.parameters.items()}
    return replace(update, parameters=values)
"""


def wraps(folder: Path) -> Path:
    (folder / "parts").mkdir(parents=True)
    write(folder / "parts" / "__init__.py", "PREFIX = 'inner.'\n")
    write(folder / "parts" / "wrapped.py", SUBMODEL)
    write(folder / "parts" / "names.py", NAMES)
    write(folder / "parts" / "idle.py", "1 / 0\n")
    return write(folder / "wraps.py", WRAPS)


def test_worker_processes_have_the_same_helpers(tmp_path: Path) -> None:
    """Sub-models of a helper's class travel between processes."""
    path = wraps(tmp_path)
    settings = {"task": CNN, "plugin": path, **TRAINING, "rounds": 1}
    one, two, plain = (
        bench.run(**{**settings, **change}, inline=True)[["test_acc", "train_loss"]]
        for change in ({"method": "wraps"}, {"method": "wraps", "workers": 2}, {"method": "fedavg"})
    )
    pd.testing.assert_frame_equal(one, two)
    pd.testing.assert_frame_equal(one, plain)


def test_a_node_of_a_cluster_gets_the_helpers(tmp_path: Path) -> None:
    path = wraps(tmp_path / "here")
    cell = cell_of("wraps", (path,))
    sources = (registry.sources_of(path),)
    assert [name for name, _ in sources[0]] == ["wraps.py", "parts/__init__.py", "parts/wrapped.py", "parts/names.py"]
    there = _Run(Order(cell, "", "", "cpu", 1, 0.0, sources, {}), None, tmp_path / "there")._plugins()
    assert there != (path,) and code_of(cell, there) == code_of(cell, (path,))
    assert run_cell(cell, plugins=there).status == "done"


def test_files_that_count_are_those_beside_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "pack" / "deep").mkdir(parents=True)
    (tmp_path / "loose").mkdir()
    (tmp_path / "numpy").mkdir()
    files = {
        "mine.py": "import numpy, torch, json, one, pack.deep.leaf as leaf\nif False:\n    import loose.part\n",
        "one.py": "def late():\n    from two import *\n    import mine\n",
        "two.py": "from bench.api import Method\nimport methods.fedavg\nimport nowhere\n",
        "three.py": "",
        "json.py": "",
        "bench.py": "",
        "numpy/notes.py": "",
        "pack/__init__.py": "",
        "pack/deep/__init__.py": "from ..sister import thing\nfrom . import twig\n",
        "pack/deep/leaf.py": "",
        "pack/deep/twig.py": "def f(:",
        "pack/sister.py": "",
        "pack/other.py": "",
        "loose/part.py": "",
    }
    for name, text in files.items():
        write(tmp_path / name, text)
    found = [file.relative_to(tmp_path).as_posix() for file in helpers_of(tmp_path / "mine.py")]
    assert sorted(found) == sorted(
        ["one.py", "two.py", "pack/__init__.py", "pack/deep/__init__.py", "pack/deep/leaf.py", "pack/deep/twig.py",
         "pack/sister.py", "loose/part.py"]
    )  # fmt: skip


def test_a_helper_that_fails_is_the_plugins_reason_under_its_own_name(tmp_path: Path) -> None:
    path = mine(tmp_path, "import my_helper.part\n")
    entry = registry.methods([path])["mine"]
    assert entry.kind is None and "No module named 'my_helper.part'" in entry.reason
    write(tmp_path / "my_helper.py", HELPER)
    assert registry.method("mine", [path]).kind is not None


@pytest.mark.parametrize("head", [b"\xef\xbb\xbf", b"# coding: latin-1\n# caf\xe9\n"])
def test_a_plugin_in_another_encoding_has_an_identity(tmp_path: Path, head: bytes) -> None:
    path = mine(tmp_path)
    code = code_of(cell_of("mine", (path,)), (path,))
    path.write_bytes(head + path.read_bytes())
    assert code_of(cell_of("mine", (path,)), (path,)) == code


def test_a_plugin_that_cannot_be_looked_at_is_a_sentence(tmp_path: Path) -> None:
    loop = tmp_path / "loop.py"
    loop.symlink_to(loop)
    for path, words in ((loop, "no such file|loop"), (tmp_path / f"{'a' * 300}.py", "File name too long")):
        with pytest.raises(BenchError, match=rf"plugin .*: it cannot be used: .*({words})"):
            registry.method("fedavg", [path])
