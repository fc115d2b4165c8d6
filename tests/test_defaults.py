"""Every default is the one that its source names: docs/defaults.csv against the code."""

from __future__ import annotations

import csv
import dataclasses
import importlib
from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from bench.plugins import registry
from bench.tasks.base import Recipe, Task

TABLE = Path(__file__).resolve().parents[1] / "docs" / "defaults.csv"
OURS = "ours"


def in_words(value: Any) -> str:
    """Return a value as the table has it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and 0 < value < 1:
        return f"{value:f}".rstrip("0")
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {in_words(entry)}" for name, entry in value.items())
    if isinstance(value, tuple | list):
        return ", ".join(map(in_words, value))
    return str(value)


def defaults(params: type) -> dict[str, Any]:
    """Return the defaults of a dataclass, each of which has one."""
    fields = {field.name: field.default for field in dataclasses.fields(params)}
    assert dataclasses.MISSING not in fields.values()
    return fields


def of_tier(kind: type[Task], tier: str) -> dict[str, Any]:
    """Return what a tier sets: where it differs from the common recipe, of the model, and the partition."""
    usual, recipe = defaults(Recipe), dataclasses.asdict(kind.tiers[tier])
    values = {name: value for name, value in recipe.items() if value != usual[name]}
    values |= kind.tier_params.get(tier, {})
    if tier in kind.tier_partitions:
        values["partition"], values["alpha"] = kind.tier_partitions[tier]
    return values


def found() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield all places that have defaults, with their names and values."""
    yield "training", defaults(Recipe)
    for name, task in registry.tasks().items():
        yield f"task {name}", defaults(task.kind.Params) | {"partition": task.kind.partition}
        for tier in task.kind.tiers:
            yield f"tier {name}/{tier}", of_tier(task.kind, tier)
    for name, method in registry.methods().items():
        assert method.kind is not None
        yield f"method {name}", defaults(method.kind.Params)


def rows() -> list[dict[str, str]]:
    with TABLE.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_default_has_a_line_and_every_line_a_default() -> None:
    code = {(where, name): in_words(value) for where, values in found() for name, value in values.items()}
    table = {(row["where"], row["field"]): row["value"] for row in rows() if not row["where"].startswith("constant ")}
    assert code == table


def constants() -> list[dict[str, str]]:
    return [row for row in rows() if row["where"].startswith("constant ")]


@pytest.mark.parametrize("row", constants(), ids=lambda row: row["where"] + "." + row["field"])
def test_every_constant_is_as_its_source_has_it(row: dict[str, str]) -> None:
    module = importlib.import_module(row["where"].removeprefix("constant "))
    value = reduce(getattr, row["field"].split("."), module)
    assert in_words(value) == row["value"]


def test_every_line_names_a_source_and_stands_once() -> None:
    table = rows()
    assert len({(row["where"], row["field"]) for row in table}) == len(table)
    for row in table:
        assert list(row) == ["where", "field", "value", "source"]
        # A choice of our own says why.
        assert row["source"].removeprefix(OURS).startswith(": ") or (row["source"] and row["source"] != OURS), row


@pytest.mark.parametrize(
    ("task", "paper"),
    [
        ("resnet18-cifar10", (1000, 100, 20, 500, None, 2, 32, 0.1, 1e-4, 0.9, 5e-4)),
        ("cnn-femnist", (300, 100, 20, None, 10, 2, 32, 0.01, 1e-4, 0.9, 5e-4)),
        ("lstm-imdb", (300, 100, 20, 375, None, 2, 32, 0.1, 1e-4, 0.9, 2e-4)),
    ],
)
def test_the_papers_tiers_are_tables_5_to_7(task: str, paper: tuple[Any, ...]) -> None:
    """As the papers' tables print them; where a tier leaves something out, the common recipe has to be right."""
    recipe = registry.task(task).kind.tiers["paper"]
    names = "rounds clients cohort samples_per_client users_per_client local_epochs batch_size lr lr_end momentum"
    assert tuple(getattr(recipe, name) for name in [*names.split(), "weight_decay"]) == paper
