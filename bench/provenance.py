"""What a result depends on beside its configuration: the code that made it, and the machine it was made on."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import io
import os
import platform
import subprocess
import sys
import tokenize
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent
SIMULATION_PATH = (
    "api.py",
    "cost.py",
    "data/partition.py",
    "data/standin",
    "diagnostics.py",
    "engine.py",
    "evaluation.py",
    "families",
    "federation.py",
    "models",
    "parameters.py",
    "seeding.py",
    "simulator.py",
    "spectral",
    "tasks",
    "training.py",
)
"""Files whose code can change the numbers; plots, store and command line cannot."""
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "pandas", "pyarrow", "pydantic")


@functools.cache
def simulation_code() -> str:
    """Return a hash of the code of the simulation path."""
    files: list[Path] = []
    for name in SIMULATION_PATH:
        path = PACKAGE / name
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return code_hash(files)


def code_hash(files: Iterable[Path]) -> str:
    """Return a hash of what files do: comments, docstrings and blank lines do not count."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(stripped(path.read_text(encoding="utf-8")).encode() + b"\0")
    return digest.hexdigest()[:16]


def stripped(source: str) -> str:
    """Return Python source without comments, docstrings and blank lines.

    Works on the text and not on a dump of the syntax tree, which differs from one Python version to the next.
    """
    lines = source.splitlines()
    for token in reversed(list(tokenize.generate_tokens(io.StringIO(source).readline))):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        # An expression that is a string alone does nothing: a docstring of a module, class, function or constant.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for row in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                lines[row - 1] = ""
    return "\n".join(line.rstrip() for line in lines if line.strip())


def environment(device: str) -> dict[str, Any]:
    """Return what is known of this machine and its software."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": device,
        "accelerator": _accelerator(device),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def _version(package: str) -> str:
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


def command_line() -> str:
    """Return the command that started this process, for the log."""
    return " ".join(sys.argv)
