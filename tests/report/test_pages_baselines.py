"""The numbers of the page on the baselines, computed again from the committed tables."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from pages import (
    NAMED,
    PageTable,
    agree,
    check,
    chosen,
    half_width,
    headline,
    only,
    page_text,
    paired,
    rounds_to,
    shown,
    table,
)
from scipy import stats

from bench.config.cells import make_cell
from bench.launch.footprint import footprint


def costs(cells: pd.DataFrame, full: pd.DataFrame, column: str) -> list[float]:
    name = "bytes" if column == "bytes" else "train_macs"
    return [float(cells[name].mean() / full[name].mean())]


def check_against_full(found: PageTable, sweep: str, **where: object) -> None:
    """Check a table of accuracies, paired distances to the full model and costs."""
    everywhere = {name: value for name, value in where.items() if name != "capacities"}
    full = chosen(sweep, label="fedavg", **everywhere)

    def expected(label: str, column: str) -> list[float]:
        cells = full if label == "fedavg" else chosen(sweep, label=label, **where)
        if column == "accuracy":
            return headline(cells)
        if column in ("bytes", "operations"):
            return costs(cells, full, column)
        differences = paired(cells, full)
        return [] if label == "fedavg" else [float(differences.mean()), half_width(differences)]

    for row in found.rows:
        for label in NAMED.findall(row[0]):
            own = f"{label}, keep {where['capacities']}" if "capacities" in where and label != "fedavg" else label
            check(PageTable(found.above, "", found.head, [[own, *row[1:]]]), expected, f"{sweep} {where}")
            values = expected(own, "less")
            if values:
                bold = row[found.head.index("less `fedavg`, paired")].startswith("**")
                assert bold == (abs(values[0]) > values[1]), (label, values)


@pytest.mark.parametrize(("above", "task"), [
    ("**Digits by NIST writer**", "cnn-femnist"), ("**CIFAR-10**", "resnet18-cifar10"), ("**IMDB**", "lstm-imdb")
])  # fmt: skip
def test_baselines(above: str, task: str) -> None:
    found = only("docs/baselines.md", above=above)
    assert len(found.rows) > 8
    check_against_full(found, "baselines", task=task)


MIXED = {"strong": 1.0, "moderate": 0.42, "weak": 0.16}


def profile_of(row: str) -> str:
    shares = {MIXED[name]: float(share) / 100 for share, name in re.findall(r"(\S+) % (strong|moderate|weak)", row)}
    return ",".join(f"{keep:g}:{share:g}" for keep, share in sorted(shares.items()))


def test_mixed_capacities() -> None:
    found = only("docs/baselines.md", head="clients")
    full = chosen("mixed-capacity", label="fedavg")
    slides: dict[str, list[float]] = {}
    own: dict[str, list[float]] = {}
    for row in found.rows:
        for column, words in zip(found.head[1:], row[1:], strict=True):
            (method,) = NAMED.findall(column)
            if not words:
                continue
            cells = chosen("mixed-capacity", method=method, capacities=profile_of(row[0]))
            mine, _, theirs = words.partition("(")
            assert agree(mine, headline(cells)), (row[0], method, words, headline(cells))
            differences = paired(cells, full)
            assert words.startswith("**") == (abs(differences.mean()) > half_width(differences)), (row[0], method)
            if theirs:
                slides.setdefault(method, []).append(float(shown(theirs)[0]))
                own.setdefault(method, []).append(float(cells["acc"].mean()))
    text = " ".join(page_text("docs/baselines.md").split())
    said = re.search(r"correlation (\S+) with the slides' for width reduction, and (\S+) for InclusiveFL", text)
    assert said and len(slides["inclusivefl"]) == len(slides["origdrop"]) == 9
    for number, method in zip(said.groups(), ("origdrop", "inclusivefl"), strict=True):
        value = float(stats.spearmanr(own[method], slides[method]).statistic)
        assert rounds_to(number, value), (method, number, value)
    said = re.search(r"The full model has (\S+ ± \S+) %", text)
    assert said and agree(said.group(1), headline(full))


def test_mixed_capacities_case_7() -> None:
    found = only("docs/baselines.md", above="All methods that ran in case 7")
    check_against_full(found, "mixed-capacity", capacities=profile_of("12.5 % strong, 87.5 % weak"))


def test_baselines_footprint() -> None:
    """The columns that the committed table has; FedPara's ranks have another default since, and are computed here."""
    found = only("docs/baselines.md", above="A keep ratio cuts")
    cell = make_cell({"task": "resnet18-cifar10", "method": "fedpara", "keep": 0.4}, "test")
    own = footprint([cell], keeps=[0.02, 0.4]).to_pandas().astype({"label": str})
    kept = table("baselines", "footprint")
    kept = kept[(kept["task"] == "resnet18-cifar10") & ~kept["label"].isin(["fedpara", "pfedpara"])]
    costs_of = pd.concat([kept, own]).drop_duplicates(["label", "keep"]).set_index(["label", "keep"])
    full = costs_of.loc[("fedavg", 1.0)]
    columns = {"parameters held": "parameters", "multiply-accumulates": "train_macs", "activations": "activations"}
    checked = 0
    for row in found.rows:
        for label in NAMED.findall(row[0]):
            if (label, 0.4) not in costs_of.index:
                continue
            here = costs_of.loc[(label, 0.4)]
            for head, words in zip(found.head[1:5], row[1:5], strict=True):
                name = next((name for start, name in columns.items() if head.startswith(start)), "capacity")
                value = here[name] if name == "capacity" else here[name] / full[name]
                assert agree(words, [value]), (label, head, words, value)
                checked += 1
    assert checked > 40
    (fedpara,) = [row for row in found.rows if "fedpara" in NAMED.findall(row[0])]
    assert agree(fedpara[5], [costs_of.loc[("fedpara", 0.02), "capacity"]])


def test_sentences_of_the_baselines() -> None:
    text = " ".join(page_text("docs/baselines.md").split())
    rounds = table("baselines", "rounds").sort_values("round")
    rows = rounds[(rounds["label"] == "pfedpara") & (rounds["task"] == "resnet18-cifar10") & (rounds["round"] > 0)]
    last = rows[rows["personal_acc"].notna()].groupby("cell").tail(3)
    own = 100 * last.groupby("seed")[["personal_acc", "personal_base_acc"]].mean()
    gain = own["personal_acc"] - own["personal_base_acc"]
    said = re.search(r"own models gain (\S+ ± \S+) points over it \((\S+ and \S+) % on the classes", text)
    assert said and agree(said.group(1), [gain.mean(), half_width(gain)])
    assert agree(said.group(2), [own["personal_acc"].mean(), own["personal_base_acc"].mean()])
    said = re.search(r"`origdrop` has (\S+ ± \S+) % in case 5 with them and (\S+ ± \S+) % without", text)
    assert said
    for words, capacities in zip(said.groups(), ("0.16:0.5,1:0.5 dynamic", "0.16:0.5,1:0.5"), strict=True):
        assert agree(words, headline(chosen("mixed-capacity", method="origdrop", capacities=capacities)))
