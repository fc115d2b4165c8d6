"""What pages say in numbers is what the committed tables hold: each is computed again from them."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from pages import (
    FULL,
    NAMED,
    agree,
    check,
    chosen,
    half_width,
    headline,
    only,
    over_layers,
    over_rounds,
    page_tables,
    page_text,
    paired,
    rounds_to,
    shown,
    table,
)

ABSORBED = "prism (kappa=4, sigma=absorbed)"
WALLENIUS = "prism (clip_tau=10, kappa=4, multipliers=wallenius, sigma=absorbed)"
SPECTRAL = {
    FULL: "fedavg",
    "Top-n": "orthdrop (sigma=absorbed)",
    "prism": ABSORBED,
    "prism, Wallenius and ClipLR": WALLENIUS,
    "unbiased": "unbiased",
    "collective": "collective",
    "collective, `aggregate=product`": "collective (aggregate=product)",
}


@pytest.mark.parametrize(("above", "task"), [
    ("**CIFAR-10**", "resnet18-cifar10"), ("**IMDB**", "lstm-imdb"), ("**Digits by NIST writer**", "cnn-femnist")
])  # fmt: skip
def test_real_smoke(above: str, task: str) -> None:
    cells = table("real-smoke", "cells")
    labels = set(cells.loc[cells["task"] == task, "label"])

    def expected(row: str, column: str) -> list[float] | None:
        method = row.partition(",")[0]
        keep = 1.0 if row == FULL else float(shown(column)[-1])
        rate = re.search(r"lr (\S+?)[ ,]", column)
        label = f"{method} (lr={rate.group(1)})" if rate else method
        alpha = re.search(r"alpha (\S+?),", column)
        where: dict[str, object] = {"partition": "lda", "alpha": float(alpha.group(1))} if alpha else {}
        where |= {"partition": "iid"} if "iid" in column else {}
        rows = cells[(cells["task"] == task) & (cells["keep"] == keep)]
        label = label if label in labels else method
        if (rate and rate.group(1) != "0.3" and label == method) or not (rows["label"] == label).any():
            return None  # not run
        return headline(chosen("real-smoke", task=task, label=label, keep=keep, **where))

    assert check(only("docs/real-smoke.md", above=above), expected, above) >= 8


def test_real_smoke_losses() -> None:
    """The training losses that the page names."""
    text = " ".join(page_text("docs/real-smoke.md").split())
    found = re.search(r"still (\S+) after (\d+) rounds at keep 0.2 \(OrthDrop (\S+)\)", text)
    if found:  # the page may tell of something else once its runs are replaced
        rounds = table("real-smoke", "rounds")
        at = rounds[
            (rounds["task"] == "resnet18-cifar10") & (rounds["keep"] == 0.2) & (rounds["round"] == int(found.group(2)))
        ]
        for number, method in ((found.group(1), "prism"), (found.group(3), "orthdrop")):
            losses = at.loc[at["method"] == method, "train_loss"]
            assert any(rounds_to(number, loss) for loss in losses), (method, number, list(losses))


@pytest.mark.parametrize(("head", "task"), [
    ("CIFAR-10", "resnet18-cifar10"), ("digits by NIST writer", "cnn-femnist")
])  # fmt: skip
def test_spectral_real(head: str, task: str) -> None:
    def expected(row: str, column: str) -> list[float]:
        alpha = re.search(r"alpha (\S+?),", column)
        keep = 1.0 if row == FULL else float(shown(column)[-1])
        where = {"alpha": float(alpha.group(1))} if alpha else {}
        return headline(chosen("spectral-real", task=task, label=SPECTRAL[row], keep=keep, **where))

    assert check(only("docs/spectral-real.md", head=head), expected, head) > 10


def test_spectral_real_anme_and_cosines() -> None:
    text = " ".join(page_text("docs/spectral-real.md").split())
    found = re.search(
        r"ANME after (\d+) rounds at alpha 1, keep 0.2: Unbiased (\S+), Collective (\S+), PriSM (\S+), PriSM with "
        r"Wallenius multipliers (\S+), Top-n (\d+)\.",
        text,
    )
    assert found
    ranks = table("spectral-real", "ranks")
    at = ranks[
        (ranks["task"] == "resnet18-cifar10") & (ranks["keep"] == 0.2) & (ranks["alpha"] == 1)
        & (ranks["round"] == int(found.group(1))) & (ranks["status"] == "done")
    ]  # fmt: skip
    by_label = at.groupby(["label", "seed"])["anme"].mean().groupby("label").mean()
    for number, name in zip(
        found.groups()[1:],
        ("unbiased", "collective", "prism", "prism, Wallenius and ClipLR", "Top-n"),
        strict=True,
    ):
        assert rounds_to(number.rstrip(","), by_label[SPECTRAL[name]]), (name, number)

    found = re.search(
        r"highest for Top-n \((\S+) at alpha 1, keep 0.2, against (\S+) PriSM, (\S+) with Wallenius multipliers, (\S+) "
        r"Collective, (\S+) Unbiased",
        text,
    )
    assert found
    rounds = table("spectral-real", "rounds")
    at = rounds[
        (rounds["task"] == "resnet18-cifar10") & (rounds["keep"] == 0.2) & (rounds["alpha"] == 1)
        & (rounds["status"] == "done") & (rounds["round"] > 0) & rounds["cosine_fedavg"].notna()
    ]  # fmt: skip
    curves = at.groupby(["label", "round"])["cosine_fedavg"].mean()
    names = ("Top-n", "prism", "prism, Wallenius and ClipLR", "collective", "unbiased")
    for number, name in zip(found.groups(), names, strict=True):
        assert rounds_to(number, over_rounds(curves[SPECTRAL[name]])), (name, number)


def test_spectral_long_cosines_of_factored_layers() -> None:
    text = " ".join(page_text("docs/spectral-real.md").split())
    found = re.search(
        r"Wallenius multipliers is ahead \((\S+) on average, rising to (\S+)\) and the others lie between "
        r"(\S+) and (\S+), Top-n at (\S+):",
        text,
    )
    assert found
    ranks = table("spectral-long", "ranks")
    layers = ranks[(ranks["round"] > 0) & ranks["cosine_fedavg"].notna()]
    curves = layers.groupby(["label", "round"])["cosine_fedavg"].mean()
    means = {label: over_rounds(curves[label]) for label in curves.index.levels[0]}
    top = means.pop(SPECTRAL["Top-n"])
    ahead = means.pop(WALLENIUS)
    values = (ahead, curves[WALLENIUS].iloc[-1], min(means.values()), max(means.values()), top)
    assert all(map(rounds_to, found.groups(), values)), (found.groups(), values)


def test_spectral_long() -> None:
    found = only("docs/spectral-real.md", above="Forty rounds")

    def expected(row: str, column: str) -> list[float]:
        label = SPECTRAL[row]
        if column.startswith("accuracy"):
            return headline(chosen("spectral-long", label=label))
        if column.startswith("required"):
            return [100 * over_layers("spectral-long", label, "required_kernels", n, "kernels") for n in (0, 40)]
        anme = [over_layers("spectral-long", label, "anme", n) for n in (5, 40)]
        if anme[0] != anme[0]:
            return []  # the full model draws nothing
        return anme if any(anme) else [0.0]

    assert check(found, expected, "Forty rounds") > 30


def test_tuning() -> None:
    found = only("docs/tuning.md", head="method")
    report = table("cifar10-kappa-lambda", "report").set_index(["label", "values"])
    label = ""
    for name, values, held_out, test, gain in found.rows:
        label, kind = name or label, values.partition(":")[0]
        row = report.loc[(label, kind)]
        settings = [float(number) for number in re.findall(r"=([^,]+)", row["settings"])]
        assert agree(values.partition(":")[2], settings), (label, values, row["settings"])
        assert agree(held_out, [100 * row["validation_acc"]])
        assert agree(test, [100 * row[f"test_acc{end}"] for end in ("", "_low", "_high")])
        expected = [100 * row[f"difference{end}"] for end in ("", "_low", "_high")] if kind == "tuned" else []
        assert agree(gain.replace("+", ""), expected), (label, gain, expected)
    assert len(found.rows) == len(report)


def test_prism_ablation() -> None:
    """Each seed of each setting of PriSM, and its difference to the plain method."""
    found = only("docs/methods.md", head="setting")
    plain = chosen("prism-ablation", label="prism")
    labels = set(table("prism-ablation", "cells")["label"].astype(str))
    for row in found.rows:
        (name,) = NAMED.findall(row[0])
        label = name if name in labels else f"prism ({name.replace('=true', '=True')})"
        labels.remove(label)
        cells = chosen("prism-ablation", label=label)
        for column, words in zip(found.head[1:-1], row[1:-1], strict=True):
            value = cells["acc"][int(column.removeprefix("seed "))]
            assert agree(words, [] if pd.isna(value) else [value]), (label, column)
        gain = paired(cells, plain)
        numbers = [] if label == "prism" or len(gain) < 2 else [gain.mean(), half_width(gain)]
        assert agree(row[-1], numbers), (label, row[-1], numbers)
        assert not numbers or row[-1].startswith("**") == (abs(numbers[0]) > numbers[1]), label
    assert not labels, f"not on the page: {labels}"


KNOWN = {
    "docs/real-smoke.md": 4,
    "docs/spectral-real.md": 3,
    "docs/baselines.md": 6,
    "docs/tuning.md": 2,
    "README.md": 1,
}
"""How many tables each page has: the first of real-smoke.md and tuning.md, and README.md's, hold no results."""


@pytest.mark.parametrize("page", KNOWN)
def test_no_table_of_results_is_left_out(page: str) -> None:
    """A new table on these pages gets a test above, and then its number here."""
    assert len(page_tables(page)) == KNOWN[page]


@pytest.mark.parametrize(("number", "value", "is_it"), [
    ("0.4", 0.945, False), ("0.9", 0.945, True), ("1.9e-05", 1.851e-05, True), ("2,515", 2515.4, True),
    ("+1.7", 1.66, True), ("-0.4", -0.44, True), ("-0.4", 0.44, False), ("93", 93.51, False), ("92.4", 92.45, True),
])  # fmt: skip
def test_a_number_is_right_to_the_digits_shown(number: str, value: float, is_it: bool) -> None:
    assert rounds_to(number, value) == is_it
