"""The partitioners: exact sizes, disjoint clients, the laws of the two Dirichlet kinds, and refusals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from partitions import KINDS, made
from scipy import stats

from bench.errors import BenchError
from bench.federation import by_shares
from bench.federation import partition as module
from bench.federation.partition import CONCENTRATED, LARGEST_ALPHA, LEAST_ALPHA, split
from bench.seeding import stream


def sample_by_sample(labels: np.ndarray, clients: int, alpha: float, rng: np.random.Generator) -> np.ndarray:
    """The balanced Dirichlet split as the paper's routine words it, one draw at a time; counts [clients, classes]."""
    left = np.bincount(labels)
    counts = np.zeros((clients, len(left)), dtype=int)
    shares = rng.dirichlet([alpha] * len(left), clients)

    def normalised(q: np.ndarray) -> np.ndarray:
        q = q.copy()
        q[left == 0] = 0
        q[left > 0] += 1e-5
        return q / q.sum()

    for client in range(clients):
        q = normalised(shares[client])
        for _ in range(len(labels) // clients):
            label = int(np.argmax(rng.multinomial(1, q)))
            counts[client, label] += 1
            left[label] -= 1
            if left[label] == 0 and left.sum() > 0:
                q = normalised(q)
    return counts


@pytest.mark.parametrize("alpha", [0.2, 2.0])
def test_lda_has_the_law_of_drawing_sample_by_sample(alpha: float) -> None:
    labels = np.repeat([0, 1, 2], [6, 5, 4])
    repeats = 2000
    rng = stream(0, "sample by sample")
    direct = np.array([sample_by_sample(labels, 3, alpha, rng) for _ in range(repeats)])
    rng = stream(0, "in runs")
    in_runs = np.array(
        [split("lda", labels, clients=3, rng=rng, alpha=alpha).counts(labels, 3) for _ in range(repeats)]
    )

    error = np.sqrt((direct.var(axis=0) + in_runs.var(axis=0)) / repeats)
    assert np.all(np.abs(direct.mean(axis=0) - in_runs.mean(axis=0)) < 4 * error)
    # The whole table of counts has the same law, not only its mean.
    tables = [Counter(map(bytes, counts[:, :2].astype(np.int8))) for counts in (direct, in_runs)]
    common = [key for key, number in (tables[0] + tables[1]).items() if number >= 20]
    observed = np.array([[table[key] for key in common] for table in tables])
    rest = repeats - observed.sum(axis=1, keepdims=True)
    assert stats.chi2_contingency(np.hstack([observed, rest + 1])).pvalue > 1e-3


def test_lda_shares_are_dirichlet_multinomial() -> None:
    classes, size, alpha = 5, 40, 0.5
    labels = np.repeat(np.arange(classes), 4000)
    counts = split("lda", labels, clients=400, rng=stream(1, "partition"), alpha=alpha, samples_per_client=size).counts(
        labels, classes
    )
    assert np.all(counts.sum(axis=1) == size)
    # 16,000 of 20,000 samples are used, and the first clients are far from emptying any class.
    first = counts[:150].ravel()
    share, total = 1 / classes, classes * alpha
    variance = size * share * (1 - share) * (size + total) / (1 + total)
    assert abs(first.mean() - size * share) < 1e-9
    # The variance of 150 x 5 counts has a relative standard error of about 7 %.
    assert first.var() == pytest.approx(variance, rel=0.25)


def test_lda_uses_every_sample_and_late_clients_take_what_is_left() -> None:
    labels = np.repeat(np.arange(10), 100)
    partition = made("lda", labels, 20, alpha=0.05)
    assert np.all(partition.sizes == 50)
    assert np.array_equal(np.sort(partition.indices), np.arange(1000))


@pytest.mark.parametrize("classes", [2, 10, 62])
@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
def test_by_the_prior_of_balanced_classes_is_lda_with_alpha_per_class(classes: int, alpha: float) -> None:
    labels = np.tile(np.arange(classes), 60)
    by_prior, per_class = made("lda-prior", labels, 12, alpha=alpha), made("lda", labels, 12, alpha=alpha / classes)
    assert np.array_equal(by_prior.indices, per_class.indices)
    assert np.array_equal(by_prior.offsets, per_class.offsets)


def test_by_the_prior_shares_have_mean_and_variance_of_dirichlet_multinomial() -> None:
    prior, size, alpha = np.array([0.6, 0.3, 0.1]), 20, 2.0
    labels = np.repeat([4, 7, 9], (prior * 40_000).astype(int))
    partition = split(
        "lda-prior", labels, clients=1000, rng=stream(1, "partition"), alpha=alpha, samples_per_client=size
    )
    # Half of the samples are used: no class runs out, and the clients are independent.
    counts = partition.counts(labels, 10)[:, [4, 7, 9]]
    variance = size * prior * (1 - prior) * (size + alpha) / (1 + alpha)
    assert np.all(np.abs(counts.mean(axis=0) - size * prior) < 4.5 * np.sqrt(variance / 1000))
    assert counts.var(axis=0) == pytest.approx(variance, rel=0.15)


def test_iid_exact_gives_every_client_equally_many_of_each_class() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 200))
    partition = made("iid-exact", labels, 20, samples_per_client=60)
    assert np.all(partition.counts(labels, 10) == 6)
    # Class after class in turn, as the released code deals them.
    assert np.array_equal(labels[partition.indices], np.tile(np.arange(10), 120))
    assert len(np.unique(partition.indices)) == 1200
    assert np.array_equal(np.sort(made("iid-exact", labels, 20).indices), np.arange(2000))
    assert partition.alpha is None and partition.convention == "none"


def test_iid_exact_takes_what_the_rarest_class_allows() -> None:
    labels = np.repeat([3, 5], [11, 40])
    partition = made("iid-exact", labels, 5)
    assert np.all(partition.counts(labels, 6)[:, [3, 5]] == 2) and set(partition.sizes) == {4}
    assert len(np.unique(partition.indices)) == 20


def test_iid_exact_shuffles_each_class() -> None:
    labels = np.tile([0, 1], 10)
    rng = stream(3, "partition")
    draws = [split("iid-exact", labels, clients=2, rng=rng, samples_per_client=4) for _ in range(2000)]
    held = np.bincount(np.concatenate([partition.client(0) for partition in draws]), minlength=20) / 2000
    assert np.all(np.abs(held - 0.2) < 4.5 * np.sqrt(0.2 * 0.8 / 2000))


def test_dirichlet_shares_have_mean_and_variance_of_the_prior() -> None:
    clients, alpha, samples, repeats = 5, 0.7, 2000, 600
    labels = np.zeros(samples, dtype=int)
    rng = stream(2, "partition")
    shares = np.array(
        [split("dirichlet", labels, clients=clients, rng=rng, alpha=alpha).sizes / samples for _ in range(repeats)]
    )
    variance = (1 / clients) * (1 - 1 / clients) / (clients * alpha + 1)
    assert np.all(np.abs(shares.mean(axis=0) - 1 / clients) < 4 * np.sqrt(variance / repeats))
    assert shares.var() == pytest.approx(variance, rel=0.1)


def test_dirichlet_leaves_no_client_empty_and_uses_every_sample() -> None:
    labels = np.repeat(np.arange(10), 20)
    partition = made("dirichlet", labels, 150, alpha=0.01)
    assert partition.sizes.min() == 1
    assert np.array_equal(np.sort(partition.indices), np.arange(200))


def test_iid_is_uniform() -> None:
    labels = np.repeat(np.arange(4), 25)
    rng = stream(3, "partition")
    draws = [split("iid", labels, clients=2, rng=rng, samples_per_client=10) for _ in range(2000)]
    # With 10 of 100 samples each, a sample is with client 0 in a tenth of the draws.
    held = np.bincount(np.concatenate([partition.client(0) for partition in draws]), minlength=100) / 2000
    assert np.all(np.abs(held - 0.1) < 4.5 * np.sqrt(0.1 * 0.9 / 2000))


def test_natural_keeps_users_whole_and_in_order() -> None:
    users = np.array([7, 2, 2, 9, 4, 7, 4, 9, 11])
    labels = np.zeros(9, dtype=int)
    partition = split("natural", labels, clients=2, users=users, rng=stream(0, "partition"))
    assert [sorted(users[partition.client(number)]) for number in range(2)] == [[2, 2, 4, 4], [7, 7, 9, 9]]
    single = split("natural", labels, clients=3, users=users, users_per_client=1, rng=stream(0, "partition"))
    assert [set(users[single.client(number)]) for number in range(3)] == [{2}, {4}, {7}]


def test_natural_cap_keeps_a_random_subset() -> None:
    users = np.repeat(np.arange(4), [10, 2, 10, 3])
    rng = stream(0, "partition")
    kept = [
        split("natural", users, clients=2, users=users, samples_per_client=5, rng=rng).client(0) for _ in range(200)
    ]
    assert {len(member) for member in kept} == {5}
    assert set(np.concatenate(kept)) == set(range(12))


@settings(max_examples=60)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) >= 24),
    clients=st.integers(1, 8),
    seed=st.integers(0, 2**32),
)
def test_clients_are_disjoint_and_depend_on_the_stream_alone(
    kind: str, sizes: list[int], clients: int, seed: int
) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    partition = made(kind, labels, clients, seed)
    assert len(partition) == clients
    assert partition.indices.dtype == partition.offsets.dtype == np.int64
    assert len(np.unique(partition.indices)) == len(partition.indices) == partition.sizes.sum()
    assert np.all((partition.indices >= 0) & (partition.indices < len(labels)))
    assert partition.sizes.min() >= 1
    if kind in ("iid", "lda", "lda-prior", "pachinko"):
        assert set(partition.sizes) == {len(labels) // clients}
    counts = partition.counts(labels, len(sizes))
    assert [Counter(labels[partition.client(number)]) for number in range(clients)] == [
        Counter({label: number for label, number in enumerate(row) if number}) for row in counts
    ]
    again = made(kind, labels, clients, seed)
    assert np.array_equal(partition.indices, again.indices)
    assert np.array_equal(partition.offsets, again.offsets)


def test_another_seed_gives_another_partition() -> None:
    labels = np.repeat(np.arange(5), 40)
    for kind in ("iid", "lda", "lda-prior", "pachinko", "dirichlet"):
        assert not np.array_equal(made(kind, labels, 4, seed=0).indices, made(kind, labels, 4, seed=1).indices)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("alpha", [0.001, 1000.0])
def test_the_work_grows_with_the_clients_and_not_with_their_samples(
    kind: str, alpha: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client's draws are made at once, and anew only where a class runs out; an empty client takes one sample."""
    runs: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            runs[name] += 1
            return function(*arguments)

        return called

    for owner, name in ((by_shares, "_draws_until_empty"), (module.heapq, "heapreplace")):
        monkeypatch.setattr(owner, name, counted(name, getattr(owner, name)))
    labels = np.repeat(np.arange(10), 5000)
    options: dict[str, Any] = dict.fromkeys(KINDS[kind], alpha)
    partition = made(kind, labels, 1000, **options)
    assert len(partition) == 1000 and partition.sizes.min() >= 1
    by_class = kind in ("lda", "lda-prior", "pachinko")
    assert 1000 * by_class <= runs["_draws_until_empty"] <= (1000 + 10) * by_class
    assert runs["heapreplace"] <= 1000 * (kind == "dirichlet")


@pytest.mark.parametrize("kind", CONCENTRATED)
@pytest.mark.parametrize("alpha", [LEAST_ALPHA, LARGEST_ALPHA])
def test_the_smallest_and_largest_alpha_have_their_limits(kind: str, alpha: float) -> None:
    """One class a client (one client a class), each as likely; or the same shares for all."""
    labels, rng = np.tile(np.arange(5), 20_000), stream(0, "partition")
    if kind == "dirichlet":  # of each class, who has it: the classes of one partition are independent
        labels = labels[:500]
        draws = [split(kind, labels, clients=5, rng=rng, alpha=alpha).counts(labels, 5).T for _ in range(100)]
        counts = np.concatenate(draws)
    else:
        each = np.arange(5)  # where a coarse class has one class, its concentration is that of the class
        partition = split(kind, labels, clients=1000, rng=rng, alpha=alpha, samples_per_client=20, coarse=each)
        counts = partition.counts(labels, 5)
    if alpha == LARGEST_ALPHA:
        np.testing.assert_allclose(counts.sum(axis=0) / counts.sum(), 0.2, atol=0.02)
    else:
        assert (counts.max(axis=1) >= counts.sum(axis=1) - 4).mean() > 0.99
        assert stats.chisquare(np.bincount(counts.argmax(axis=1), minlength=5)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("ida", {}, "unknown kind 'ida'; allowed: 'iid', 'iid-exact', 'lda', .* did you mean '(lda|iid)'"),
        ("iid", {"clients": 0}, "clients=0 is not possible"),
        ("iid", {"clients": 13}, "clients=13 with samples_per_client=1 need 13 samples; the training split has 12"),
        ("iid", {"samples_per_client": 5}, "clients=3 with samples_per_client=5 need 15 samples"),
        ("iid", {"samples_per_client": 0}, "samples_per_client=0"),
        ("iid", {"alpha": 0.1}, "alpha=0.1 has no meaning for 'iid'"),
        ("lda", {}, r"'lda' needs an alpha from 1e-100 to 1e\+100, not None \(for clients without skew take 'iid'\)"),
        ("lda", {"alpha": 1e307}, r"from 1e-100 to 1e\+100, not 1e\+307"),
        ("lda-prior", {"alpha": 1e307}, r"from 1e-100 to 1e\+100, not 1e\+307"),
        ("dirichlet", {"alpha": 1e-300}, r"from 1e-100 to 1e\+100, not 1e-300"),
        ("lda", {"alpha": 0.0}, "not 0.0"),
        ("lda", {"alpha": float("nan")}, "not nan"),
        ("lda-prior", {}, "'lda-prior' needs an alpha from .*, not None"),
        ("iid-exact", {"alpha": 1.0}, "alpha=1.0 has no meaning for 'iid-exact'; allowed for: 'lda', 'lda-prior'"),
        (
            "iid-exact",
            {"samples_per_client": 3},
            "samples_per_client=3 .* a multiple of the 2 classes up to 4, .* has 6",
        ),
        ("iid-exact", {"samples_per_client": 6}, "clients=3 and samples_per_client=6 is not possible; .* up to 4"),
        ("iid-exact", {"clients": 7}, "clients=7 and samples_per_client=0 is not possible; .* up to 0"),
        ("dirichlet", {"alpha": float("inf")}, "not inf"),
        ("dirichlet", {"alpha": -1.0}, "not -1.0"),
        ("dirichlet", {"alpha": 1.0, "clients": 13}, "clients=13 need a sample each; the training split has 12"),
        ("dirichlet", {"alpha": 1.0, "samples_per_client": 2}, "no meaning for 'dirichlet'"),
        ("lda", {"alpha": 1.0, "users_per_client": 2}, "users_per_client=2 has no meaning for 'lda'"),
        ("natural", {}, "no natural users"),
        (
            "natural",
            {"users": np.arange(12) // 6},
            "clients=3 with users_per_client=1 need 3 users; the training split has 2",
        ),
        (
            "natural",
            {"users": np.arange(12) // 3, "users_per_client": 2},
            "clients=3 with users_per_client=2 need 6 users",
        ),
    ],
)
def test_impossible_requests_are_refused_in_one_sentence(kind: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BenchError, match=sentence) as caught:
        split(kind, np.arange(12) % 2, **{"clients": 3, "rng": stream(0, "partition"), **options})
    assert "\n" not in str(caught.value)


def test_a_client_that_is_not_there_is_refused() -> None:
    with pytest.raises(BenchError, match="no client 4; allowed: 0 to 3"):
        made("iid", np.zeros(8, dtype=int), 4).client(4)
