"""The settings of cells, and full models beside every keep ratio of their place."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from many_cells import joined, series

from bench.analysis.comparisons import comparisons
from bench.analysis.settings import with_settings
from bench.errors import BenchError


def test_a_setting_is_a_readable_word_for_all_that_two_cells_share() -> None:
    cells = joined(
        series("prism", [0.5], task="resnet18-cifar10", partition="lda", alpha=0.5, data_title="CIFAR-10"),
        series("prism, keep 0.2:0.5,0.6:0.5", [0.5], keep=0.4),
        series("prism", [0.5]),
        series("prism", [0.5], task="lstm-imdb", partition="iid", alpha=math.inf, data_title="IMDB"),
    )
    rows = with_settings(cells)
    assert rows["setting"].tolist() == [
        "cnn-femnist, natural, keep 0.2",
        "cnn-femnist, natural, keep 0.2:0.5,0.6:0.5",
        "lstm-imdb, iid, keep 0.2",
        "resnet18-cifar10, lda, alpha 0.5, keep 0.2",
    ]
    assert set(rows["label"]) == {"prism"} and rows["place"].nunique() == 3


def test_data_is_named_where_a_task_has_several() -> None:
    cells = joined(
        series("prism", [0.5]),
        series("prism", [0.5], stand_in=True),
        series("prism", [0.5], data_title="letters"),
    )
    assert set(with_settings(cells)["place"]) == {
        "cnn-femnist, FEMNIST, natural",
        "cnn-femnist, FEMNIST (stand-in), natural",
        "cnn-femnist, letters, natural",
    }


def test_full_models_stand_beside_every_keep_ratio_of_their_place() -> None:
    cells = joined(
        series("fedavg", [0.9, 0.8], keep=1.0),
        series("prism", [0.5, 0.6]),
        series("prism", [0.6, 0.7], keep=0.4),
        series("prism, keep 0.2:0.5,0.6:0.5", [0.5], keep=0.4),
        series("fedavg", [0.7], keep=1.0, task="lstm-imdb"),
    )
    rows = with_settings(cells)
    full = rows[rows["label"] == "fedavg"]
    assert full["whole"].all() and not rows.loc[rows["label"] == "prism", "whole"].any()
    assert full.groupby("setting")["final_acc"].agg(list).to_dict() == {
        "cnn-femnist, natural, keep 0.2": [0.9, 0.8],
        "cnn-femnist, natural, keep 0.4": [0.9, 0.8],
        "cnn-femnist, natural, keep 0.2:0.5,0.6:0.5": [0.9, 0.8],
        "lstm-imdb, natural": [0.7],
    }


def test_a_method_that_also_has_smaller_models_is_no_full_one_at_keep_ratio_1() -> None:
    cells = joined(series("prism", [0.5], keep=1.0), series("prism", [0.4]), series("fedavg", [0.6], keep=1.0))
    rows = with_settings(cells)
    found = sorted(zip(rows["label"], rows["at"], strict=True))
    assert found == [("fedavg", "0.2"), ("fedavg", "1"), ("prism", "0.2"), ("prism", "1")]


def test_the_column_whole_has_the_last_word() -> None:
    cells = joined(series("mine", [0.5], keep=1.0, whole=False), series("prism", [0.4], whole=False))
    rows = with_settings(cells)
    assert sorted(zip(rows["label"], rows["at"], strict=True)) == [("mine", "1"), ("prism", "0.2")]


def test_two_cells_of_one_series_and_seed_are_an_error() -> None:
    twins = series("prism", [0.5])
    with pytest.raises(BenchError, match="allowed is one cell per label"):
        with_settings(joined(twins, twins.assign(cell="another")))


def test_a_table_of_an_earlier_version_is_one_sentence() -> None:
    with pytest.raises(BenchError, match=r"the table has no column 'data_title', .*results upgrade"):
        with_settings(joined(series("prism", [0.5])).drop(columns="data_title"))


def test_a_cell_that_is_there_twice_is_one_run() -> None:
    """Tables of a sweep and of a comparison with it, put together, have the others' cells twice."""
    cells = joined(series("prism", [0.5, 0.6]), series("fedavg", [0.7, 0.8]))
    assert with_settings(pd.concat([cells, cells])).equals(with_settings(cells))


def test_dealt_capacities_are_a_rival_of_fixed_ones_in_their_setting() -> None:
    mixture = "keep 0.2:0.5,1:0.5"
    cells = joined(
        series(f"prism, {mixture}", [0.5, 0.6], keep=0.6),
        series(f"prism, {mixture} dealt", [0.7, 0.65], keep=0.6),
        series(f"fjord (momentum=0), {mixture}", [0.4, 0.4], keep=0.6),
        series(f"fjord (momentum=0), {mixture} dealt", [0.3, 0.5], keep=0.6),
        series(f"fedhm, {mixture} dealt", [0.3], keep=0.6),
    )
    rows = with_settings(cells)
    together = rows[rows["setting"] == f"cnn-femnist, natural, {mixture}"]
    assert set(together["label"]) == {"prism", "prism (dealt)", "fjord (momentum=0)", "fjord (momentum=0, dealt)"}
    assert rows.loc[rows["setting"].str.endswith("dealt"), "label"].tolist() == ["fedhm"], "it has nothing beside it"
    pairs = comparisons(cells, "prism").set_index("label")
    assert pairs.loc["prism (dealt)", "difference"] == pytest.approx(0.125)
