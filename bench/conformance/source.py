"""What can be seen in a method's source without running it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

DEVICE = re.compile(r"(cuda|mps|xpu)(:\d+)?")
SEEDS = {
    "torch.manual_seed",
    "torch.seed",
    "torch.set_rng_state",
    "torch.cuda.manual_seed",
    "torch.cuda.manual_seed_all",
    "torch.random.manual_seed",
    "numpy.random.seed",
    "numpy.random.set_state",
    "random.seed",
    "random.setstate",
}


def fixed_devices(source: str) -> Iterator[str]:
    """Yield each place of a Python source that names an accelerator: a literal "cuda:0", a call of ``.cuda()``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and DEVICE.fullmatch(node.value):
            yield f"line {node.lineno}: {node.value!r}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "cuda":
            yield f"line {node.lineno}: .cuda()"


def global_seeds(source: str) -> Iterator[str]:
    """Yield each place of a Python source that seeds or sets a global source of randomness."""
    tree = ast.parse(source)
    names = _imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (called := _dotted(node.func, names)) in SEEDS:
            yield f"line {node.lineno}: {called}()"


def _imported(tree: ast.Module) -> dict[str, str]:
    """Return what each imported name stands for: ``np`` for ``numpy``, ``seed`` for ``random.seed``."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    """Return the full name of what is called, ``numpy.random.seed``; empty if it is not an imported name."""
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value, names)
        return f"{owner}.{node.attr}" if owner else ""
    return names.get(node.id, "") if isinstance(node, ast.Name) else ""
