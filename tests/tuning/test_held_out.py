"""Studies that are judged on few held-out samples say what one of them is worth."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from tiny import CommandLine

from bench.tuning.held_out import few_lines, held_out, in_words
from bench.tuning.study_file import read_study

STUDY = """
title = "few"
trials = 1
validation = 0.1
seeds = [0, 1]
report_seeds = [7]
last = 1
[common]
task = "cnn-femnist"
keep = 0.5
partition = "iid"
[common.training]
rounds = 1
clients = 4
cohort = 2
samples_per_client = {samples}
standin_train = 4000
standin_test = 60
[methods.prism]
"""


def study_of(folder: Path, samples: int) -> Path:
    path = folder / "few.toml"
    path.write_text(STUDY.format(samples=samples))
    return path


def test_what_one_sample_is_worth() -> None:
    assert in_words(21).startswith("the held-out set has 21 samples: one of them is 4.8 points, and chance alone moves")
    assert in_words(21).endswith("50 % by some 10.9 points")  # 100 * sqrt(0.25 / 21)
    assert "one of them is 4.8 points (1.6 in the mean of 3 seeds)" in in_words(21, seeds=3)
    assert in_words(21, seeds=3).endswith("by some 6.3 points")
    assert in_words(100) and not in_words(101)
    assert few_lines({"a": 20, "b": 2000}, 1) == [f"a: {in_words(20)}"]


@pytest.mark.parametrize(("samples", "held", "few"), [(50, 20, True), (500, 200, False)])
def test_the_samples_of_a_study(tmp_path: Path, samples: int, held: int, few: bool) -> None:
    study = read_study(study_of(tmp_path, samples))
    assert held_out(study) == {"cnn-femnist": held}
    assert bool(few_lines(held_out(study), 2)) == few


def test_a_study_of_few_says_so_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    bench = CommandLine(monkeypatch, capsys)
    said: list[str] = []

    def begin(*_: object, **__: object) -> None:
        said.extend(capsys.readouterr().out.splitlines())

    monkeypatch.setattr("bench.tuning.crew.run_searches", begin)
    bench("tune", study_of(tmp_path, 50), "--jobs", 1, "--device", "cpu", "--no-report")
    assert said[-1] == f"cnn-femnist: {in_words(20, seeds=2)}"


@pytest.mark.slow
def test_a_study_of_few_says_so_first_and_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    bench = CommandLine(monkeypatch, capsys)
    out = bench("tune", study_of(tmp_path, 50), "--jobs", 1, "--device", "cpu", "--no-report").out.splitlines()
    said = f"cnn-femnist: {in_words(20, seeds=2)}"
    head = [line for line in out[:3] if "compiled loops" not in line]  # whose building is said where it is the first
    assert head[1] == out[-1] == said and re.search("ended$", head[0])
    trials = pd.read_parquet("results/few/tables/trials.parquet")
    assert set(trials["held_out"]) == {20} and trials["classes"].iloc[0] > 1
