"""Where a result comes from: the code that made it, the data it read, and the machine it was made on."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import io
import os
import platform
import subprocess
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bench import kernels
from bench.cell import Cell
from bench.errors import BenchError
from bench.plugins import registry
from bench.tasks.base import Task

PACKAGE = Path(__file__).parents[1]
SIMULATION_PATH = (
    "api",
    "cell.py",
    "cost/cost.py",
    "cost/operations.py",
    "cost/shapes.py",
    "data/characters.py",
    "data/dataset.py",
    "data/image_shape.py",
    "data/standin",
    "data/statistics.py",
    "data/text.py",
    "data/transfer.py",
    "families",
    "federation/by_shares.py",
    "federation/capacity.py",
    "federation/federation.py",
    "federation/holdout.py",
    "federation/pachinko.py",
    "federation/partition.py",
    "kernels",
    "models",
    "numerics/precision.py",
    "numerics/processor.py",
    "numerics/runtime.py",
    "parameters.py",
    "plugins",
    "seeding.py",
    "simulation/diagnostics",
    "simulation/round.py",
    "simulation/simulator.py",
    "spectral",
    "tasks",
    "training/captured.py",
    "training/descent.py",
    "training/engine.py",
    "training/evaluation.py",
    "training/handing_out.py",
    "training/lanes.py",
    "training/local.py",
    "training/replica.py",
    "training/shape.py",
    "training/static_norm.py",
    "written.py",
)
"""Files whose code can change the numbers; plots, store and command line cannot."""
CODE = (".py", ".cpp", ".h")
_OWN_DATA: dict[tuple[registry.TaskEntry, str], str | None] = {}
"""Fingerprints of what tasks of users have read themselves: decoding it may take a while."""
Entry = registry.MethodEntry | registry.TaskEntry
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "pandas", "pyarrow", "pydantic")


@functools.cache
def simulation_code() -> str:
    """Return a hash of the code of the simulation path."""
    files: list[Path] = []
    for name in SIMULATION_PATH:
        path = PACKAGE / name
        files += sorted(file for file in path.rglob("*.*") if file.suffix in CODE) if path.is_dir() else [path]
    return code_hash(files)


def code_of(cell: Cell, plugins: Iterable[Path] = ()) -> str:
    """Return a hash of the code that a cell runs: the simulation path, the files of its method and of its task.

    It says where a result comes from, and whether a checkpoint can be gone on from; what makes a finished result stale
    is in :mod:`bench.store.made`.

    To these belong the files of what they inherit from, and those that a user's file imports from beside it or from
    its own package; a built-in task is part of the simulation path. As this process has imported it: an edit that was
    made since changes nothing of what is run here.
    """
    plugins = tuple(plugins)
    entries: list[Entry] = [registry.method(cell.method, plugins), registry.task(cell.task, plugins)]
    if cell.diagnostics in ("cosine", "all"):
        entries.append(registry.method("fedavg"))
    files = tuple(dict.fromkeys(file for entry in dict.fromkeys(entries) for file in entry.files()))
    return f"{simulation_code()}-{files_code(files, tuple(entries))}"


@functools.cache  # a plugin that was edited is read anew, and is another entry then
def files_code(files: tuple[Path, ...], entries: tuple[Entry, ...]) -> str:
    """Return a hash of the files that some methods and tasks come from, as this process has imported them."""
    return _hash_of(_stripped(_installed().get(file) or _text_of(file)) for file in files)


def data_of(cell: Cell, plugins: Iterable[Path] = ()) -> str | None:
    """Return the fingerprint of the real data that a cell would read now.

    None for stand-ins, which the code itself generates, and where the data is not here.
    """
    if cell.data != "real":
        return None
    entry = registry.task(cell.task, plugins)
    if entry.kind.data is Task.data:
        return _data_set(entry.kind.dataset)
    asked = entry, repr((cell.tier, cell.training, cell.model))
    if asked not in _OWN_DATA:
        _OWN_DATA[asked] = _own_data(entry, cell)
    return _OWN_DATA[asked]


@functools.cache
def _data_set(name: str) -> str | None:
    from bench.data.sources import load

    try:
        return load(name).fingerprint
    except BenchError:
        return None


def _own_data(entry: registry.TaskEntry, cell: Cell) -> str | None:
    try:
        return entry.build(cell).data("real").fingerprint
    except Exception:  # the user's code may raise anything; why is said where the cell is run
        return None


@functools.cache
def _installed() -> dict[Path, str]:
    """Return the sources of the methods and tasks that are installed as they are when they are first asked for."""
    entries: list[Entry] = [entry for entry in registry.methods().values() if entry.kind]
    entries += registry.tasks().values()
    return {file: _text_of(file) for entry in entries for file in entry.files()}


def _text_of(file: Path) -> str:
    """Return a Python file's text, in whichever encoding it says it is in; of a compiled one a hash of its bytes."""
    content = file.read_bytes()
    return importlib.util.decode_source(content) if file.suffix == ".py" else hashlib.sha256(content).hexdigest()


def _stripped(source: str) -> str:
    """Return source without comments; a helper that is no Python, and so never imported, as it is."""
    try:
        return stripped(source)
    except (SyntaxError, ValueError):
        return source


def code_hash(files: Iterable[Path]) -> str:
    """Return a hash of what files do: comments, docstrings and blank lines of Python do not count."""
    texts = ((path, path.read_text(encoding="utf-8")) for path in files)
    return _hash_of(stripped(text) if path.suffix == ".py" else text for path, text in texts)


def _hash_of(sources: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.encode() + b"\0")
    return digest.hexdigest()[:16]


def stripped(source: str) -> str:
    """Return Python source without comments, docstrings and blank lines.

    Works on the text and not on a dump of the syntax tree, which differs from one Python version to the next.
    """
    source = _without_docstrings(_without_comments(source))
    # Rows whose end is within a string: there spaces and blank lines count.
    in_string = {row for token in _tokens(source) for row in range(token.start[0], token.end[0])}
    kept = [(row, line if row in in_string else line.rstrip()) for row, line in enumerate(source.split("\n"), 1)]
    return "\n".join(line for row, line in kept if line or row in in_string or row - 1 in in_string)


def _tokens(source: str) -> Iterator[tokenize.TokenInfo]:
    return tokenize.generate_tokens(io.StringIO(source).readline)


def _without_comments(source: str) -> str:
    lines = source.split("\n")
    for token in _tokens(source):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return "\n".join(lines)


def _without_docstrings(source: str) -> str:
    """Return the source with an empty string in the place of each expression that is a string alone."""
    lines = source.encode().split(b"\n")
    strings = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    for node in sorted(strings, key=lambda node: (node.lineno, node.col_offset), reverse=True):
        assert node.end_lineno is not None
        before, after = lines[node.lineno - 1][: node.col_offset], lines[node.end_lineno - 1][node.end_col_offset :]
        alone = not before.strip() and not after.strip()
        lines[node.lineno - 1 : node.end_lineno] = [b"" if alone else before + b'""' + after]
    return b"\n".join(lines).decode()


def environment(device: str) -> dict[str, Any]:
    """Return what is known of this machine and its software."""
    return {
        "python": platform.python_version(),
        "packages": {name: version_of(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": device,
        "accelerator": _accelerator(device),
        "kernels": kernels.described(),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def version_of(package: str) -> str:
    """Return the version of an installed package; "not installed" where there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _accelerator(device: str) -> str | None:
    if not device.startswith("cuda"):
        return None
    import torch

    return torch.cuda.get_device_name(device)


@functools.cache
def _git(*arguments: str) -> str | None:
    """Return what git says of the source folder; None where there is no git or no repository."""
    try:
        result = subprocess.run(
            ["git", *arguments], cwd=PACKAGE, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
