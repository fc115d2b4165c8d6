"""A cell: one run of one method on one task, and its canonical form.

Plain data, checked elsewhere (:mod:`bench.config.cells`), so that the training path needs no more than torch and numpy.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

ABSENT: dict[str, Any] = {"capacities": [], "capacity": "fixed", "diagnostics": "basic", "budget": ""}
"""Settings that are no part of the canonical form where they have these values."""
LONGEST_FOLDER = 200
"""Bytes of a folder's name: file systems allow 255, of which unfinished ones need 54 for their machine and process."""


@dataclass(frozen=True)
class Cell:
    """One point of a sweep.

    Attributes:
        task: the task's name.
        method: the method's name.
        keep: keep ratio of every client, in (0, 1]; where clients differ, the mean over them by their shares.
        capacities: (keep ratio, share of the clients), ascending; empty where all clients have the same keep ratio.
        capacity: "fixed" where a client has its keep ratio for the whole run; "dynamic" where capacities are drawn anew
            each round, with their shares as probabilities; "dealt" where those of a round's clients are shuffled among
            these each round.
        partition: a kind of :data:`bench.federation.partition.CONVENTIONS`; "pachinko:2" is "pachinko" with 2 for the
            concentration of the fine classes.
        alpha: concentration of the Dirichlet law; inf where the partition is iid, None where it has no alpha.
        seed: seed of every stream.
        tier: which of the task's recipes is the starting point.
        data: "real" or "stand-in".
        diagnostics: what is measured beside the usual: "basic" (nothing), "errors", "cosine" or "all".
        training: changes to the recipe, by field name.
        model: parameters of the task, by field name, where they differ from the tier's.
        parameters: parameters of the method, by field name, where they differ from the paper's.
        budget: what the keep ratios were found for, in words (:mod:`bench.budget.written`); empty where none was.
    """

    task: str
    method: str
    keep: float = 1.0
    capacities: tuple[tuple[float, float], ...] = ()
    capacity: str = "fixed"
    partition: str = "iid"
    alpha: float | None = None
    seed: int = 0
    tier: str = "quick"
    data: str = "stand-in"
    diagnostics: str = "basic"
    training: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    budget: str = ""

    def canonical(self) -> dict[str, Any]:
        """Return the cell as plain JSON values with empty settings left out, always in the same order."""
        values = {item.name: _plain(getattr(self, item.name)) for item in fields(self)}
        return {name: value for name, value in values.items() if value not in ({}, None, ABSENT.get(name))}

    @cached_property
    def identity(self) -> str:
        """A hash of the canonical form: ten hexadecimal digits."""
        text = json.dumps(self.canonical(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    @property
    def mixture(self) -> str:
        """The capacities as they are written, "0.2:0.6,0.4:0.4"; empty where all clients have the same keep ratio."""
        return ",".join(f"{keep:.12g}:{share:.12g}" for keep, share in self.capacities)

    @property
    def profile(self) -> str:
        """The budget or the mixture, with "dynamic" or "dealt" behind it where clients do not keep theirs."""
        words = self.budget or self.mixture
        return f"{words} {self.capacity}" if self.capacities and self.capacity != "fixed" else words

    @property
    def levels(self) -> tuple[float, ...]:
        """The keep ratios of the federation's clients, ascending, each once."""
        return tuple(dict.fromkeys(keep for keep, _ in self.capacities)) or (self.keep,)

    @property
    def label(self) -> str:
        """What a figure calls the series: method, parameters that are not the default, and profile or budget."""
        return self.label_with({})

    def label_with(self, settings: Mapping[str, Any]) -> str:
        """Return the label with further settings among the parameters."""
        shown = {**settings, **self.parameters}
        words = ", ".join(
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in sorted(shown.items())
        )
        label = f"{self.method} ({words})" if words else self.method
        if self.budget:
            return f"{label}, budget {self.profile}"
        return f"{label}, keep {self.profile}" if self.capacities else label

    @cached_property
    def folder(self) -> str:
        """The name of the cell's folder: readable, unique by its identity, cut in front of it where it is too long."""
        kind, _, fine = self.partition.partition(":")
        spread = kind if self.alpha is None or math.isinf(self.alpha) else f"{kind}{self.alpha:g}"
        spread += f"x{fine}" if fine else ""
        # 0.2:0.6,0.4:0.4 reads 0.2x0.6+0.4x0.4 there: not every file system allows colons.
        keep = self.profile.replace(":", "x").replace(",", "+").replace(" ", "-") or f"{self.keep:g}"
        readable = f"{self.task}-{self.method}-{'' if self.budget else 'keep'}{keep}-{spread}-seed{self.seed}".encode()
        room = LONGEST_FOLDER - len(self.identity) - 1
        return f"{readable[:room].decode(errors='ignore')}-{self.identity}"


def from_canonical(values: Mapping[str, Any]) -> Cell:
    """Return the cell of a canonical form."""
    alpha = values.get("alpha")
    capacities = tuple((keep, share) for keep, share in values.get("capacities", ()))
    return Cell(**{**values, "alpha": math.inf if alpha == "inf" else alpha, "capacities": capacities})


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: infinity by name, tuples as lists, mappings sorted."""
    if isinstance(value, float) and math.isinf(value):
        return "inf"
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(value[name]) for name in sorted(value)}
    return value
