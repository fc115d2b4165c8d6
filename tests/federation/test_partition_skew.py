"""How uneven a partition is, and the figure that shows it."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from partitions import made

from bench.federation.partition import CONCENTRATED, CONVENTIONS, Partition
from bench.federation.skew import skew_of
from bench.figures.partition import draw_partition


@pytest.mark.parametrize("kind", CONVENTIONS)
def test_the_figure_has_words_for_every_kind(kind: str) -> None:
    labels = np.arange(60) % 3
    title = draw_partition(made(kind, labels, 4), labels, 3, "some data").get_suptitle()
    assert ("alpha" in title) == (kind in CONCENTRATED) and "4 clients" in title


@pytest.mark.parametrize(("clients", "classes", "drawn"), [(1, 2, 1), (10, 10, 10), (100, 62, 100), (250, 10, 100)])
def test_the_figure_shows_the_counts(clients: int, classes: int, drawn: int) -> None:
    labels = np.arange(5000) % classes
    partition = made("dirichlet", labels, clients)
    figure = draw_partition(partition, labels, classes, "CIFAR-10-like stand-in data")
    figure.draw_without_rendering()
    bars, heat = figure.axes[:2]
    shown = np.asarray(heat.images[0].get_array())
    by_hand = [
        [np.sum(labels[partition.client(number)] == label) for number in range(drawn)] for label in range(classes)
    ]
    assert np.array_equal(shown, by_hand)
    assert [bar.get_height() for bar in bars.containers[0]] == list(partition.sizes[:drawn])
    assert "CIFAR-10-like stand-in data: Dirichlet" in figure.get_suptitle()
    assert (f"first 100 of {clients}" in figure.get_suptitle()) == (clients > 100)


def test_the_skew_is_that_of_the_counts() -> None:
    labels = np.repeat([0, 1, 3], [12, 6, 6])
    partition = Partition("natural", None, "none", np.arange(24), np.array([0, 12, 20, 24]))
    skew = skew_of(partition, labels)
    assert (skew.classes_per_client, skew.fewest, skew.most, skew.classes) == (pytest.approx(4 / 3), 1, 2, 3)
    # One class of half of the samples; 6 and 2 of two classes of a quarter each; one class of a quarter.
    mixed = 0.75 * math.log2(0.75 / 0.25) + 0.25 * math.log2(0.25 / 0.25)
    assert skew.divergence_bits == pytest.approx((1 + mixed + 2) / 3)
    assert str(skew) == "1.33 of 3 classes a client (1 to 2), 1.4 bits from the prior"


def test_the_skew_of_equal_clients_is_none_and_of_one_class_each_the_whole() -> None:
    labels = np.repeat(np.arange(8), 40)
    assert skew_of(made("iid-exact", labels, 5), labels).divergence_bits == pytest.approx(0, abs=1e-15)
    alone = skew_of(made("natural", labels, 8, users=labels), labels)
    assert alone.classes_per_client == 1 and alone.divergence_bits == pytest.approx(3)


def documented_skew(alpha: float) -> list[str]:
    """Return a row of the table on the page of tasks and data."""
    unequal = np.rint(0.7 ** np.arange(10) / (0.7 ** np.arange(10)).sum() * 5000).astype(int)
    cells = [f"{alpha:g}"]
    for sizes in (np.full(10, 500), unequal):
        labels = np.repeat(np.arange(10), sizes)
        skews = [skew_of(made("lda", labels, 20, seed, alpha=alpha), labels) for seed in range(3)]
        cells += [f"{np.mean([skew.classes_per_client for skew in skews]):.1f}"]
        cells += [f"{np.mean([skew.divergence_bits for skew in skews]):.2f}"]
    return cells


def test_a_smaller_alpha_can_give_more_classes_as_the_page_says() -> None:
    page = (Path(__file__).parents[2] / "docs/tasks-and-data.md").read_text(encoding="utf-8")
    rows = {alpha: documented_skew(alpha) for alpha in (0.001, 0.01, 0.1, 1.0, 10.0)}
    for row in rows.values():
        assert f"| {' | '.join(row)} |" in page
    assert float(rows[0.001][3]) > float(rows[0.1][3]) and float(rows[0.001][4]) < float(rows[0.1][4])


def test_the_figure_says_the_skew_of_all_clients() -> None:
    labels = np.arange(5000) % 10
    title = draw_partition(made("dirichlet", labels, 250), labels, 10, "some data").get_suptitle()
    assert re.search(r"\n[\d.]+ of 10 classes a client \(\d+ to \d+\), [\d.]+ bits from the prior$", title)
