"""Clients of different capacity: how a profile is read, who has which keep ratio, and what is trained."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from helpers import LSTM, federation, selections_of
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tiny import cell_of

from bench.cell import from_canonical
from bench.errors import BenchError
from bench.federation.capacity import capacities_of, counts_of, mean_keep
from bench.federation.profiles import read_profile

PROFILE = "0.2:0.6,0.4:0.4"


def by_largest_remainder(shares: list[int], clients: int) -> list[int]:
    """Share clients out by whole numbers alone: shares are thousandths."""
    counts = [share * clients // 1000 for share in shares]
    rests = [share * clients % 1000 for share in shares]
    for _ in range(clients - sum(counts)):
        largest = max(range(len(rests)), key=lambda level: (rests[level], -level))
        counts[largest] += 1
        rests[largest] = -1
    return counts


@given(cuts=st.sets(st.integers(1, 999), max_size=6), clients=st.integers(1, 300))
def test_counts_are_those_of_the_largest_remainder(cuts: set[int], clients: int) -> None:
    edges = [0, *sorted(cuts), 1000]
    shares = [after - before for before, after in itertools.pairwise(edges)]
    capacities = tuple(((level + 1) / 10, share / 1000) for level, share in enumerate(shares))
    counts = counts_of(capacities, clients)
    assert counts.tolist() == by_largest_remainder(shares, clients) and counts.sum() == clients
    assert all(abs(count - share * clients / 1000) < 1 for count, share in zip(counts, shares, strict=True))


@pytest.mark.parametrize(
    ("shares", "clients", "counts"),
    [
        ([0.6, 0.4], 100, [60, 40]),
        ([0.29, 0.71], 100, [29, 71]),
        ([0.6, 0.4], 4, [2, 2]),
        ([0.5, 0.5], 5, [3, 2]),
        ([0.5, 0.3, 0.2], 7, [4, 2, 1]),
        ([0.333, 0.667], 3, [1, 2]),
        ([0.001, 0.062, 0.937], 200, [0, 13, 187]),
    ],
)
def test_counts_by_hand(shares: list[float], clients: int, counts: list[int]) -> None:
    capacities = tuple(((level + 1) / 10, share) for level, share in enumerate(shares))
    assert counts_of(capacities, clients).tolist() == counts


def test_the_draw_depends_on_the_seed_alone() -> None:
    first = capacities_of(cell_of("prism", keep=PROFILE), 100)
    assert first.dtype == np.float64 and Counter(first) == {0.2: 60, 0.4: 40}
    others: list[dict[str, Any]] = [
        {"alpha": 0.1}, {"tier": "paper"}, {"data": "real"}, {"diagnostics": "all"},
        {"training": {"lr": 0.3}}, {"model": {"variant": "released"}},
    ]  # fmt: skip
    for other in others:
        assert np.array_equal(capacities_of(cell_of("orthdrop", keep=PROFILE, **other), 100), first)
    assert not np.array_equal(capacities_of(cell_of("prism", keep=PROFILE, seed=1), 100), first)


def test_every_client_is_as_likely_to_be_strong() -> None:
    draws = [capacities_of(cell_of("prism", keep=PROFILE, seed=seed), 10) for seed in range(800)]
    strong = np.sum(np.array(draws) == 0.4, axis=0)
    # Four of ten in each draw: the counts of the ten clients spread as hypergeometric indicators, 9 degrees of freedom.
    statistic = np.sum((strong - 320) ** 2) / (800 * 0.4 * 0.6) * 9 / 10
    assert stats.chi2(9).ppf(1e-4) < statistic < stats.chi2(9).ppf(1 - 1e-4)


def test_one_keep_ratio_for_all() -> None:
    assert capacities_of(cell_of("prism", keep=0.3), 4).tolist() == [0.3] * 4
    assert cell_of("prism", keep="0.3:1") == cell_of("prism", keep=0.3)


def test_a_cell_of_mixed_capacities() -> None:
    cell = cell_of("prism", keep="0.4:0.4, 0.2:0.6")
    assert cell == cell_of("prism", keep=PROFILE) == cell_of("prism", keep="0.20:0.60,.4:.4")
    assert cell.capacities == ((0.2, 0.6), (0.4, 0.4)) and cell.keep == 0.28
    assert cell.label == f"prism, keep {PROFILE}"
    assert cell_of("prism", keep=PROFILE, parameters={"kappa": 1}).label == f"prism (kappa=1), keep {PROFILE}"
    assert "-keep0.2x0.6+0.4x0.4-" in cell.folder and ":" not in cell.folder
    same_mean = cell_of("prism", keep=0.28)
    assert len({each.identity for each in (cell, same_mean, cell_of("prism", keep="0.2:0.5,0.4:0.5"))}) == 3
    assert same_mean.canonical().keys() == cell.canonical().keys() - {"capacities"}


def test_a_method_that_trains_the_full_model_has_no_capacities() -> None:
    assert cell_of("fedavg", keep=PROFILE) == cell_of("fedavg")
    assert capacities_of(cell_of("fedavg", keep=PROFILE), 3).tolist() == [1.0] * 3
    with pytest.raises(BenchError, match="add up to"):
        cell_of("fedavg", keep="0.2:0.6,0.4:0.3")


@given(
    levels=st.lists(st.integers(1, 1000), min_size=2, max_size=5, unique=True),
    weights=st.lists(st.integers(1, 9), min_size=5, max_size=5),
)
def test_canonical_form_is_reversible(levels: list[int], weights: list[int]) -> None:
    shares = [weight / sum(weights[: len(levels)]) for weight in weights[: len(levels)]]
    words = ",".join(f"{level / 1000}:{share!r}" for level, share in zip(levels, shares, strict=True))
    cell = cell_of("prism", keep=words, training={"clients": 1000})
    again = from_canonical(json.loads(json.dumps(cell.canonical())))
    assert again == cell and again.identity == cell.identity and hash(again.capacities) == hash(cell.capacities)
    assert cell.keep == pytest.approx(sum(level * share for level, share in zip(levels, shares, strict=True)) / 1000)
    assert [keep for keep, _ in cell.capacities] == sorted(level / 1000 for level in levels)


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ("0.2:0.6,0.4:0.3", ["the shares add up to 0.9", "add up to 1"]),
        ("0.2:0.6,0.4:0.6", ["the shares add up to 1.2"]),
        ("0:0.6,0.4:0.4", ["the keep ratio 0 is outside", "above 0 and up to 1"]),
        ("1.2:0.6,0.4:0.4", ["the keep ratio 1.2 is outside"]),
        ("-0.2:0.6,0.4:0.4", ["the keep ratio -0.2 is outside"]),
        ("nan:0.6,0.4:0.4", ["unknown level 'nan'; a keep ratio, or allowed"]),
        ("1e-300:0.6,0.4:0.4", ["the keep ratio 1e-300 is outside", "(at least 0.000001)"]),
        ("0.2:1e-300,0.4:1", ["the share 1e-300 is outside", "(at least 0.000001)"]),
        ("\u0660.\u0662:0.6,0.4:0.4", ["unknown level '\u0660.\u0662'"]),
        ("0.2:\u0660.\u0666,0.4:0.4", ["a number is written with the digits 0 to 9, as 0.25"]),
        ("0.2:0_6,0.4:0.4", ["a number is written with the digits 0 to 9, as 0.25"]),
        ("0.2:0.6,0.20000000000000004:0.4", ["the keep ratio 0.2 stands there twice"]),
        ("0.2:0,0.4:1", ["the share 0 is outside", "above 0 and up to 1"]),
        ("0.2:-0.5,0.4:1.5", ["the share -0.5 is outside"]),
        ("0.2:nan,0.4:1", ["a keep ratio above 0 and up to 1, or"]),
        ("0.2:inf,0.4:1", ["the share inf is outside"]),
        ("0.2:0.6,0.2:0.4", ["the keep ratio 0.2 stands there twice"]),
        ("0.2:0.6,0.20:0.4", ["the keep ratio 0.2 stands there twice"]),
        ("0.2:0.95,0.4:0.05", ["none of 4 clients would have the keep ratio 0.4 by its share 0.05"]),
        *[
            (text, ["a keep ratio above 0 and up to 1, or keep ratios with their shares", f"for example {PROFILE!r}"])
            for text in (
                "",
                "0.2",
                ":",
                "0.2:",
                "0.2:1,",
                "0.2:0.6;0.4:0.4",
                "0.2=0.6,0.4=0.4",
                "a:",
                "a,e",
                "0.2:0.6:0.4",
            )
        ],
    ],
)
def test_mistakes_are_sentences(profile: str, words: list[str]) -> None:
    with pytest.raises(BenchError) as refused:
        cell_of("prism", keep=profile)
    said = str(refused.value)
    assert said.startswith(f"test: keep = {profile!r} is not possible") and "\n" not in said
    assert [word for word in words if word not in said] == [], said


def test_the_smallest_share_that_is_possible() -> None:
    assert read_profile("0.2:0.99,0.4:0.01", 100) == ((0.2, 0.99), (0.4, 0.01))
    assert mean_keep(((0.1, 0.5), (0.2, 0.25), (1.0, 0.25))) == 0.35


@pytest.mark.parametrize("method", ["orthdrop", "prism", "origdrop", "federated_dropout", "fjord"])
def test_each_client_trains_what_it_can_in_every_round(method: str) -> None:
    built = federation(method, LSTM, keep="0.25:0.5,0.75:0.5")
    capacities = built.capacities
    assert Counter(capacities) == {0.25: 2, 0.75: 2}
    server = built.method.setup(built.initial_model(), built.task)
    seen = set()
    for number in range(1, 9):
        cohort = built.cohort(number)
        for client, selection in zip(cohort.clients, selections_of(built.method, server, cohort), strict=True):
            assert client.keep == capacities[client.number]
            seen.add((client.number, client.keep))
            # Eight hidden units: two or six of them, and of the kernels of the matrices of rank 8 or 6.
            sizes = {len(kept) for kept in selection.indices.values()}
            assert sizes <= ({2} if client.keep == 0.25 else {5, 6})
    assert len(seen) == 4
