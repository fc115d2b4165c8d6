"""How cells ended, and what a diverged one counts as."""

from __future__ import annotations

import math

import pytest
from many_cells import joined, series

from bench.analysis.outcomes import outcomes, valued
from bench.errors import BenchError


def test_a_diverged_run_counts_by_the_stated_rule() -> None:
    cells = joined(series("prism", [0.5, None], classes=20, last_acc=0.3))
    values = {rule: valued(cells, rule)["final_acc"].tolist() for rule in ("chance", "last", "missing")}
    assert values["chance"] == [0.5, 1 / 20] and values["last"] == [0.5, 0.3]
    assert values["missing"][0] == 0.5 and math.isnan(values["missing"][1])
    assert valued(cells)["final_acc"].tolist() == values["chance"]


def test_a_rule_that_a_table_lacks_the_column_for_leaves_no_number() -> None:
    cells = joined(series("prism", [0.5, None])).drop(columns=["classes", "last_acc"])
    for rule in ("chance", "last"):
        assert valued(cells, rule)["final_acc"].isna().tolist() == [False, True]
        assert outcomes(cells, rule)["unvalued"].tolist() == [1]


def test_an_unknown_rule_is_one_sentence() -> None:
    with pytest.raises(BenchError, match=r"diverged = 'chanse' is not possible; allowed: .*did you mean 'chance'"):
        valued(joined(series("prism", [0.5])), "chanse")


def test_every_expected_cell_is_counted_once() -> None:
    cells = joined(
        series("prism", [0.5, None, 0.6]),
        series("prism", [0.5, 0.4], keep=0.4),
        series("fedhm", [0.5], keep=0.4),
        series("fedhm", {1: None}, keep=0.4, status="failed"),
        series("fjord", {2: None}, status="skipped"),
        series("fedavg", {0: 0.7, 1: math.inf}, keep=1.0),
    )
    table = outcomes(cells).set_index("label").drop(columns="counts_as")
    names = ["expected", "done", "diverged", "skipped", "failed", "missing", "unvalued"]
    # Seeds 0 to 2 at keep ratio 0.2 and 0 to 1 at 0.4, where the full model's two runs stand as well.
    assert {label: tuple(row) for label, row in zip(table.index, table[names].to_numpy(), strict=True)} == {
        "prism": (5, 4, 1, 0, 0, 0, 0),
        "fedhm": (5, 1, 0, 0, 1, 3, 0),
        "fjord": (5, 0, 0, 1, 0, 4, 0),
        "fedavg": (5, 4, 0, 0, 0, 1, 2),
    }
    assert (table["expected"] == table[["done", "diverged", "skipped", "failed", "missing"]].sum(axis=1)).all()
    by = outcomes(cells, by=["at"])
    assert by.groupby("label")["missing"].sum().to_dict() == table["missing"].to_dict()
    assert by[(by["label"] == "fedhm") & (by["at"] == "0.2")]["missing"].tolist() == [3]


def test_classes_are_those_of_other_cells_of_the_data_where_a_row_lacks_them() -> None:
    cells = joined(series("prism", [0.5, 0.6]), series("fedavg", [0.7, 0.8]))
    cells = cells.assign(classes=[math.nan, 4, 4, 4], status=["diverged", "done", "done", "done"])
    assert valued(cells)["final_acc"].tolist()[0] == 0.25
