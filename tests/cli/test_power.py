"""The command that says how many seeds a difference needs."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from many_cells import joined, series
from tiny import CommandLine

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    return CommandLine(monkeypatch, capsys)


def stored(folder: Path, cells: pd.DataFrame) -> Path:
    """Write tables in which each cell has one round, with its final accuracy."""
    (folder / "tables").mkdir(parents=True)
    counted = dict.fromkeys(("down_bytes", "up_bytes", "forward_macs", "round_s", "evaluate_s", "diagnose_s"), 0)
    rounds = cells.assign(round=1, test_acc=cells["final_acc"], **counted)
    cells.assign(capacities="").to_parquet(folder / "tables" / "cells.parquet")
    rounds.to_parquet(folder / "tables" / "rounds.parquet")
    return folder


def two(*own: float | None) -> pd.DataFrame:
    return joined(series("prism", list(own)), series("fedavg", [0.6] * len(own), keep=1.0))


def said(bench: CommandLine, *words: object) -> str:
    """Return what the command prints where nothing is wrong."""
    result = bench("power", *words)
    assert result.code == 0, result.err
    return result.out


def test_a_folder_and_a_bundle_are_answered_in_sentences(bench: CommandLine, tmp_path: Path) -> None:
    folder = stored(tmp_path / "results" / "tiny", two(0.51, 0.5, 0.49))
    of_folder = said(bench, folder, "--points", 1)
    assert "to show a difference of 1 point between prism and fedavg on cnn-femnist needs 10 seeds" in of_folder
    assert "1.00 (2)" in of_folder
    shipped = said(bench, ROOT / "results" / "compare")  # which holds nothing but a bundle
    assert re.search(r"in the middle: to show .* needs \d+ seeds, \d+ as one of 38 comparisons", shipped)


def test_all_pairs_or_one_reference(bench: CommandLine, tmp_path: Path) -> None:
    cells = joined(series("a", [0.5, 0.6]), series("b", [0.5, 0.5]), series("c", [0.4, 0.3]))
    folder = stored(tmp_path / "results", cells)
    assert "where 3 comparisons" in said(bench, folder)  # without a full model each with each
    assert "where 2 comparisons" in said(bench, folder, "--reference", "b")
    assert "where 3 comparisons" in said(bench, folder, "--all-pairs")
    assert "over 10,000" in said(bench, folder, "--points", 0.001)


def test_what_cannot_be_said_is_said(bench: CommandLine, tmp_path: Path) -> None:
    one = said(bench, stored(tmp_path / "one", two(0.5)))
    assert "of 1 pair nothing can be said: fewer than two seeds" in one and "guessing" not in one
    assert "runs that diverged count as guessing" in said(bench, stored(tmp_path / "gone", two(0.5, None, 0.4)))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--points", 0), r"--points 0: it is not possible; allowed: points of accuracy above 0"),
        (("--points", "much"), r"--points 'much': it is not possible"),
        (("--power", 1), r"--power 1: it is not possible; allowed: a probability above 0.05 and below 1"),
        (("--reference", "prsim"), r"reference 'prsim' is no label .* did you mean 'prism'"),
        (("--reference", "prism", "--all-pairs"), r"give one of them"),
    ],
)
def test_wrong_options_are_one_sentence(
    bench: CommandLine, tmp_path: Path, words: tuple[object, ...], reason: str
) -> None:
    folder = stored(tmp_path / "results", two(0.5, 0.4))
    assert re.search(reason, bench.refused("power", folder, *words))


def test_tables_without_columns_and_without_pairs_are_one_sentence(bench: CommandLine, tmp_path: Path) -> None:
    older = stored(tmp_path / "older", two(0.5, 0.4).drop(columns="data_title"))
    refused = bench.refused("power", older)
    assert "no column 'data_title'" in refused and "results upgrade" in refused
    alone = stored(tmp_path / "alone", joined(series("prism", [0.5, 0.4])))
    assert "no two methods share a setting" in bench.refused("power", alone)
    assert "cannot be read" in bench.refused("power", tmp_path / "nowhere")
