"""Comparing models, servers and runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from types import FunctionType, ModuleType
from typing import Any

from torch import Tensor, nn

from bench.api import Server
from bench.simulation.round import Round

MEASURED = ("seconds", "peak_memory_bytes")
"""What a round says of the machine: no two runs agree in it."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        rounds: the rounds as the simulation yielded them.
        server: the server after the last one.
        disturbed: names of the global sources of randomness whose state the run changed.
    """

    rounds: list[Round]
    server: Server
    disturbed: tuple[str, ...]


def values_of(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of a model's parameters by name."""
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


def largest_change(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> tuple[str, float]:
    """Return the tensor that differs most and by how much: ``||after - before|| / (1 + ||before||)``.

    The 1 makes the measure absolute for tensors that are zero, such as fresh biases.
    """
    changes = {
        name: float((after[name].double() - value.double()).norm() / (1 + value.double().norm()))
        for name, value in before.items()
    }
    worst = max(changes, key=lambda name: changes[name])
    return worst, changes[worst]


def difference(one: Run, other: Run) -> str:
    """Return in words where two runs differ in any bit, in the rounds that both have; empty if nowhere."""
    others = {this.number: this for this in other.rounds}
    for this in one.rounds:
        that = others.get(this.number, this)
        mine, theirs = _facts(this), _facts(that)
        for name in mine | theirs:
            if mine.get(name) != theirs.get(name):
                return f"{name} of round {this.number} is {mine.get(name)} and {theirs.get(name)}"
    return _other_state(_state(one.server), _state(other.server))


def _facts(this: Round) -> dict[str, str]:
    """Return each number of a round by name, as it is written in full: nan is then equal to itself."""
    values = {name: value for name, value in asdict(this).items() if name not in MEASURED}
    return dict(_leaves("", values))


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping | list):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _leaves(f"{name} {key}".lstrip(), item)
    else:
        yield name, repr(value)


def _other_state(mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> str:
    if mine.keys() != theirs.keys():
        return f"the server holds {', '.join(sorted(mine.keys() ^ theirs.keys()))} in one of them only"
    unlike = [name for name, tensor in mine.items() if not _same(tensor, theirs[name])]
    return f"{unlike[0]} of the server is not the same" if unlike else ""


def _state(server: Server) -> dict[str, Tensor]:
    memory = {f"memory[{name!r}]": tensor for name, tensor in server.memory.items()}
    return {**server.model.state_dict(), **memory}


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one == other).all())


def tensors_in(value: Any, seen: set[int] | None = None) -> Iterator[Tensor]:
    """Yield each tensor that is held by an object, in containers and attributes, once."""
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, type | FunctionType | ModuleType):
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item, seen)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from tensors_in(item, seen)
    elif hasattr(value, "__dict__"):
        yield from tensors_in(vars(value), seen)
