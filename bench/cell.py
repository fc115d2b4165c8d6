"""A cell: one run of one method on one task, and its canonical form.

Plain data, checked elsewhere (:mod:`bench.config`), so that the training path needs no more than torch and numpy.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Cell:
    """One point of a sweep.

    Attributes:
        task: the task's name.
        method: the method's name.
        keep: keep ratio of every client, in (0, 1].
        partition: "iid", "lda", "dirichlet" or "natural".
        alpha: concentration of the Dirichlet law; inf where the partition is iid, None where it is natural.
        seed: seed of every stream.
        tier: which of the task's recipes is the starting point.
        data: "real" or "stand-in".
        training: changes to the recipe, by field name.
        model: parameters of the task, by field name, where they differ from the tier's.
        parameters: parameters of the method, by field name, where they differ from the paper's.
    """

    task: str
    method: str
    keep: float = 1.0
    partition: str = "iid"
    alpha: float | None = None
    seed: int = 0
    tier: str = "quick"
    data: str = "stand-in"
    training: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def canonical(self) -> dict[str, Any]:
        """Return the cell as plain JSON values with empty settings left out, always in the same order."""
        values = {name: _plain(value) for name, value in dataclasses.asdict(self).items()}
        return {name: value for name, value in values.items() if value not in ({}, None)}

    @property
    def identity(self) -> str:
        """A hash of the canonical form: ten hexadecimal digits."""
        text = json.dumps(self.canonical(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    @property
    def label(self) -> str:
        """What a figure calls the series: the method and its parameters that are not the default."""
        shown = ", ".join(f"{name}={value}" for name, value in sorted(self.parameters.items()))
        return f"{self.method} ({shown})" if shown else self.method

    @property
    def folder(self) -> str:
        """The name of the cell's folder: readable, unique by its identity."""
        spread = self.partition if self.alpha is None or math.isinf(self.alpha) else f"{self.partition}{self.alpha:g}"
        return f"{self.task}-{self.method}-keep{self.keep:g}-{spread}-seed{self.seed}-{self.identity}"


def from_canonical(values: Mapping[str, Any]) -> Cell:
    """Return the cell of a canonical form."""
    alpha = values.get("alpha")
    return Cell(**{**values, "alpha": math.inf if alpha == "inf" else alpha})


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: infinity by name, mappings sorted."""
    if isinstance(value, float) and math.isinf(value):
        return "inf"
    if isinstance(value, Mapping):
        return {str(name): _plain(value[name]) for name in sorted(value)}
    return value
