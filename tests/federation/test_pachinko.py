"""Pachinko allocation: its law, what happens where classes run out, how it is written, and refusals."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from bench.errors import BenchError
from bench.federation.pachinko import read_kind, written
from bench.federation.partition import LARGEST_ALPHA, LEAST_ALPHA, convention_of, split
from bench.seeding import stream


def by_the_book(
    sizes: list[int], coarse: list[int], clients: int, alpha: float, beta: float, rng: np.random.Generator
) -> np.ndarray:
    """One sample after the other, with a law for each node of the tree; counts [clients, classes]."""
    left, groups = list(sizes), sorted(set(coarse))
    children = {group: [label for label, of in enumerate(coarse) if of == group and left[label]] for group in groups}
    counts = np.zeros((clients, len(sizes)), dtype=int)
    per_client = sum(sizes) // clients
    for client in range(clients):
        alive = [group for group in groups if children[group]]
        root = dict(zip(alive, rng.dirichlet([alpha] * len(alive)), strict=True))
        below = {
            group: dict(zip(children[group], rng.dirichlet([beta] * len(children[group])), strict=True))
            for group in alive
        }
        for _ in range(per_client):
            group = rng.choice(list(root), p=np.array(list(root.values())) / sum(root.values()))
            law = below[group]
            label = rng.choice(list(law), p=np.array(list(law.values())) / sum(law.values()))
            counts[client, label] += 1
            left[label] -= 1
            if not left[label]:
                children[group].remove(label)
                del law[label]
                if not law:
                    del root[group]
    return counts


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 4.0), (3.0, 0.4)])
def test_it_has_the_law_of_drawing_down_the_tree_sample_by_sample(alpha: float, beta: float) -> None:
    """Classes run out in most of these, and coarse classes too."""
    sizes, coarse, repeats = [4, 2, 3, 3], [0, 0, 1, 1], 700
    labels = np.repeat(np.arange(4), sizes)
    rng = stream(0, "by the book")
    direct = np.array([by_the_book(sizes, coarse, 3, alpha, beta, rng) for _ in range(repeats)])
    rng = stream(0, "in runs")
    in_runs = np.array([
        split(f"pachinko:{beta}", labels, clients=3, rng=rng, alpha=alpha, coarse=np.array(coarse)).counts(labels, 4)
        for _ in range(repeats)
    ])  # fmt: skip
    error = np.sqrt((direct.var(axis=0) + in_runs.var(axis=0)) / repeats)
    assert np.all(np.abs(direct.mean(axis=0) - in_runs.mean(axis=0)) < 4 * error)
    tables = [Counter(map(bytes, counts[:, :2].astype(np.int8))) for counts in (direct, in_runs)]
    common = [key for key, number in (tables[0] + tables[1]).items() if number >= 20]
    observed = np.array([[table[key] for key in common] for table in tables])
    rest = repeats - observed.sum(axis=1, keepdims=True)
    assert stats.chi2_contingency(np.hstack([observed, rest + 1])).pvalue > 1e-3


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 10.0), (0.2, 0.5)])
def test_a_clients_classes_are_dirichlet_multinomial_at_both_levels(alpha: float, beta: float) -> None:
    """Means and products of counts against their closed form, within their Monte Carlo error."""
    coarse, size, clients = np.array([0, 0, 0, 1, 1, 2]), 12, 1500
    labels = np.repeat(np.arange(6), 30_000)  # a tenth of them is drawn: no class runs out
    partition = split(
        f"pachinko:{beta}", labels, clients=clients, rng=stream(4, "x"), alpha=alpha, coarse=coarse,
        samples_per_client=size,
    )  # fmt: skip
    counts = partition.counts(labels, 6).astype(float)
    width = np.bincount(coarse)[coarse]

    def product(one: int, other: int) -> float:
        """E[p_one p_other] of a client's shares."""
        if coarse[one] != coarse[other]:
            return alpha / (3 * (3 * alpha + 1)) / (width[one] * width[other])
        within = (beta + (one == other)) * beta / (width[one] * beta * (width[one] * beta + 1))
        return (alpha + 1) / (3 * (3 * alpha + 1)) * within

    def within_error(values: np.ndarray, expected: float) -> bool:
        return abs(values.mean() - expected) < 4.5 * values.std() / np.sqrt(clients)

    for one in range(6):
        assert within_error(counts[:, one], size / 3 / width[one])
        for other in range(6):
            expected = size * (size - 1) * product(one, other) + (one == other) * size / 3 / width[one]
            assert within_error(counts[:, one] * counts[:, other], expected), (one, other)


def test_all_samples_are_used_and_each_client_has_as_many() -> None:
    """The division of CIFAR-100 among 100 clients of 500, here a tenth of it; the last clients take what is left."""
    coarse, labels = np.arange(100) // 5, np.repeat(np.arange(100), 50)
    partition = split("pachinko", labels, clients=100, rng=stream(0, "partition"), alpha=1.0, coarse=coarse)
    assert set(partition.sizes) == {50}
    assert np.array_equal(np.sort(partition.indices), np.arange(5000))
    held = (partition.counts(labels, 100) > 0).reshape(100, 20, 5)
    # Alpha 1 leaves few of the 20 coarse classes to a client, and beta 10 shares each out among its five.
    first = held[:50].any(axis=2).sum(axis=1).mean()
    assert 10 < first < 17 < held[:50].sum(axis=(1, 2)).mean()


def test_a_coarse_class_keeps_its_share_while_one_of_its_classes_is_left() -> None:
    """Two coarse classes with equal shares: the one whose second class is nearly empty is drawn as often."""
    labels = np.repeat([0, 1, 2, 3], [3000, 2, 3000, 3000])
    partition = split(
        f"pachinko:{LARGEST_ALPHA}", labels, clients=10, rng=stream(0, "x"), alpha=LARGEST_ALPHA,
        coarse=np.array([0, 0, 1, 1]), samples_per_client=400,
    )  # fmt: skip
    counts = partition.counts(labels, 4)
    assert counts[:, 1].sum() == 2 and counts[0, 1] == 2
    first = counts[:, :2].sum()
    assert abs(first - 2000) < 4.5 * np.sqrt(4000 / 4)


def test_the_least_concentrations_have_one_class_until_it_is_empty() -> None:
    labels, coarse = np.repeat(np.arange(8), 20), np.arange(8) // 2
    partition = split(
        f"pachinko:{LEAST_ALPHA}", labels, clients=8, rng=stream(0, "x"), alpha=LEAST_ALPHA, coarse=coarse
    )
    assert sorted(np.bincount(partition.counts(labels, 8).argmax(axis=1), minlength=8)) == [1] * 8
    assert (partition.counts(labels, 8) > 0).sum() == 8


def test_how_its_two_concentrations_are_written() -> None:
    assert read_kind("pachinko", 0.1, 100) == ("pachinko", 10.0) == read_kind("pachinko:10", 0.1, 100)
    assert written("pachinko", 10.0) == "pachinko" and written("pachinko", 2.5) == "pachinko:2.5"
    assert written("lda", 2.5) == "lda"
    assert "with b = 10" in convention_of("pachinko") and "with b = 2" in convention_of("pachinko:2")
    for number in ("", "x", "0", "inf", "nan", "1e300", "2:3"):
        with pytest.raises(BenchError, match=rf"partition 'pachinko:{number}': '{number}' is no concentration"):
            split(f"pachinko:{number}", np.zeros(4, int), clients=1, rng=stream(0, "x"), alpha=1.0)


def test_without_coarse_classes_it_is_refused() -> None:
    for coarse in (None, np.array([], dtype=int)):
        with pytest.raises(BenchError, match="'pachinko' needs coarse classes, and this data set has none; allowed"):
            split("pachinko", np.zeros(4, int), clients=1, rng=stream(0, "x"), alpha=1.0, coarse=coarse)
