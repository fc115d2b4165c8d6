"""How budgets are written, and the sentences on those that are not possible."""

from __future__ import annotations

from typing import Any

import pytest
from shares import counted

from bench.analysis.budgets import is_budget, nominal
from bench.budget.shares import QUANTITIES, known_shares
from bench.budget.written import budgets_in, read_budget
from bench.errors import BenchError
from bench.plugins import registry


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("memory=0.2", "memory=0.2"),
        ("  bytes=0.4   memory=.20 ", "memory=0.2 bytes=0.4"),
        ("bytes=1.50MB", "bytes=1.5MB"),
        ("macs=10 M", None),
        ("macs=1e1M", "macs=10M"),
        ("parameters=100k", "parameters=100k"),
        ("memory=0.4:0.5,0.1:0.5", "memory=0.1:0.5,0.4:0.5"),
        ("memory=4MB:0.25,1MB:0.75", "memory=1MB:0.75,4MB:0.25"),
        ("memory=1:0.25,0.5:0.5,0.1:0.25", "memory=0.1:0.25,0.5:0.5,1:0.25"),
    ],
)
def test_the_same_budget_has_the_same_words(written: str, words: str | None) -> None:
    if words is None:
        with pytest.raises(BenchError, match="'M' is no limit"):
            read_budget(written)
        return
    assert read_budget(written).words == words
    assert read_budget(words).words == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"memory": [0.1, 0.2]}, ["memory=0.1", "memory=0.2"]),
        ({"bytes": [0.1, 0.2], "memory": 0.4}, ["memory=0.4 bytes=0.1", "memory=0.4 bytes=0.2"]),
        ([{"memory": 0.1}, "macs=0.2", {"bytes": "2MB"}], ["memory=0.1", "macs=0.2", "bytes=2MB"]),
        ({"memory": "0.1:0.5,0.4:0.5"}, ["memory=0.1:0.5,0.4:0.5"]),
    ],
)
def test_an_axis_of_a_sweep_file_is_a_budget_for_each_combination(value: Any, words: list[str]) -> None:
    assert budgets_in(value) == words


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            "memry=0.2",
            "unknown quantity 'memry'; allowed: 'memory', 'parameters', 'bytes', 'macs'; did you mean 'memory'",
        ),
        ("memory=0", "memory = '0' is not possible"),
        ("memory=-1MB", "is not possible"),
        ("memory=inf", "is not possible"),
        ("memory=nan", "is not possible"),
        ("memory=1e999MB", "is not possible"),
        ("memory=2Mb", "unknown unit 'Mb'; allowed: 'B', 'kB', 'MB', 'GB', 'KiB', 'MiB', 'GiB'; did you mean 'MB'"),
        ("macs=2MB", "unknown unit 'MB'; allowed: 'k', 'M', 'G'"),
        ("memory", "'memory' is no limit; it reads quantity=amount"),
        ("", "is empty"),
        ("memory=0.2 memory=0.4", "limited twice"),
        ("memory=0.1:0.5,0.4:0.5 bytes=0.2", "one quantity where clients differ"),
        ("memory=0.1:0.5,0.1:0.5", "stands there twice"),
        ("memory=0.1:0.5,0.4:0.4", "memory = '0.1:0.5,0.4:0.4' is not possible: the shares add up to 0.9"),
        ("memory=0.1:0.5,0.4:x", "the share 'x' is not possible"),
        ("memory=0.1:0.5,4MB:0.5", "different units"),
        ({}, "allowed: a table of quantities"),
        ({"memory": []}, "empty list"),
        ({"memory": True}, "is not possible"),
        ({"memory": None}, "is not possible"),
        (0.2, "allowed: a table of quantities"),
    ],
)
def test_what_is_no_budget_is_a_sentence(value: Any, sentence: str) -> None:
    with pytest.raises(BenchError) as caught:
        budgets_in(value)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_a_share_of_no_client_is_refused_where_the_clients_are_known() -> None:
    assert read_budget("memory=0.1:0.01,0.4:0.99", None).shares == (0.01, 0.99)
    with pytest.raises(BenchError, match="none of 20 clients"):
        read_budget("memory=0.1:0.01,0.4:0.99", 20)


def test_shares_are_of_the_full_models_cost_and_units_are_not() -> None:
    share, amount = read_budget("memory=0.25 bytes=2MB").limits
    assert share.allowed(0, 400.0) == 100.0
    assert amount.allowed(0, 400.0) == 2e6
    mixed = read_budget("memory=1KiB:0.5,2KiB:0.5").limits[0]
    assert [mixed.allowed(level, 1.0) for level in (0, 1)] == [1024.0, 2048.0]


def test_tables_know_budgets_from_profiles_and_sort_them_by_their_mean_amount() -> None:
    words = ["memory=0.2", "bytes=1.5MB memory=0.4", "memory=0.1:0.25,0.5:0.75", "macs=0.3:0.5,0.5:0.5 dynamic"]
    assert [nominal(one) for one in words] == [0.2, 1.5, 0.4, 0.4]
    assert [read_budget(one).limits[0].mean for one in words[::2]] == pytest.approx([0.2, 0.4])
    assert all(map(is_budget, words))
    assert not is_budget("0.2:0.6,0.4:0.4 dynamic") and not is_budget("")


def test_all_built_in_methods_have_their_shares_in_the_listing() -> None:
    names = {name for name, entry in registry.methods().items() if entry.kind is not None}
    assert set(known_shares()) == names
    assert known_shares()["fedavg"] == {"memory": 1.0, "bytes": 1.0, "macs": 1.0}


@pytest.mark.parametrize("name", ["fedavg", "heterofl"])
def test_shares_are_as_they_are_counted_now(name: str) -> None:
    (row,) = counted([name])
    assert {of: float(row[of]) for of in QUANTITIES} == known_shares()[name]


@pytest.mark.slow
def test_all_shares_are_as_they_are_counted_now() -> None:
    for row in counted(known_shares()):
        assert {of: float(row[of]) for of in QUANTITIES} == known_shares()[row["method"]], row["method"]
