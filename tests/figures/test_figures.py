"""The figures, drawn from made-up tables of the shape that sweeps leave behind."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from figure_tables import (
    METHOD_LABELS,
    at_budgets,
    check_words,
    diverge,
    figures_of,
    lines,
    make_fits,
    make_rounds,
    make_tables,
    panels,
    words,
)

from bench.errors import BenchError
from bench.figures import BROKEN, FIGURES, Options, draw_all
from bench.figures.base import evaluations
from bench.figures.style import METHODS
from bench.plugins import registry

ROOT = Path(__file__).resolve().parents[2]
ONE_TASK = ("resnet18-cifar10",)


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return make_tables(tasks=ONE_TASK, keeps=(0.2, 0.8))


def test_every_figure_of_a_sweep_is_written(tmp_path: Path) -> None:
    natural = (("natural", math.nan),)
    labels = METHOD_LABELS[:2]
    tables = make_tables(tasks=("lstm-imdb",), labels=labels, keeps=(0.2,), partitions=natural, seeds=(0,), rounds=1)
    skipped: list[str] = []
    front = Options(front=("prism",))
    written = draw_all(
        tables, tmp_path / "new" / "figures", None, front, on_skip=lambda name, why: skipped.append(name)
    )
    assert skipped == ["ablation", "accuracy-budget", "fits", "personal", "profiles"]
    assert sorted(path.name for path in (tmp_path / "new" / "figures").iterdir()) == sorted(p.name for p in written)
    drawn = {
        *("accuracy-keep-lstm-imdb", "training-curves-lstm-imdb-round", "required-kernels-lstm-imdb"),
        *("accuracy-cost-lstm-imdb", "gap-lstm-imdb", "levels-lstm-imdb"),
        *("rank-methods-lstm-imdb-entropy", "rank-methods-lstm-imdb-renyi", "exploration-lstm-imdb"),
        *("anme-lstm-imdb", "approximation-error-lstm-imdb-submodel", "approximation-error-lstm-imdb-cohort"),
        *("aggregation-error-lstm-imdb", "cosine-lstm-imdb", "footprint-lstm-imdb"),
    }
    tabled = {
        *("accuracy-cost-lstm-imdb", "gap-lstm-imdb", "levels-lstm-imdb"),
        *("accuracy-keep-lstm-imdb", "rank-methods-lstm-imdb", "exploration-lstm-imdb", "anme-lstm-imdb"),
        *("exploration-lstm-imdb-rounds-until", "aggregation-error-lstm-imdb", "cosine-lstm-imdb"),
        *("approximation-error-lstm-imdb-submodel", "approximation-error-lstm-imdb-cohort", "footprint-lstm-imdb"),
    }
    expected = {f"{stem}.{kind}" for stem in drawn for kind in ("png", "pdf")}
    expected |= {f"{stem}.{kind}" for stem in tabled for kind in ("csv", "md")}
    assert {path.name for path in written} == expected
    for path in written:
        head = path.read_bytes()[:8]
        assert {".png": head == b"\x89PNG\r\n\x1a\n", ".pdf": head.startswith(b"%PDF")}.get(path.suffix, bool(head))


def test_a_sweep_file_is_checked_against_the_figures_there_are() -> None:
    assert tuple(FIGURES) == registry.figure_names() and BROKEN == {}


def test_the_numbers_beside_figure_4_are_the_means(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    draw_all(tables, tmp_path, ["accuracy-keep"])
    numbers = pd.read_csv(tmp_path / "accuracy-keep-resnet18-cifar10.csv")
    rows = tables["rounds"].query("label == 'prism' and keep == 0.2 and partition == 'iid' and round >= 18")
    row = numbers.query("label == 'prism' and keep == 0.2 and partition == 'iid'").iloc[0]
    assert row["mean"] == pytest.approx(rows["test_acc"].mean())
    assert row["seeds"] == 2


def test_same_tables_give_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    script = (
        "import sys, pandas as pd; from pathlib import Path; from bench.figures import draw_all; "
        "draw_all({'rounds': pd.read_pickle(sys.argv[1])}, Path(sys.argv[2]), ['accuracy-keep'])"
    )
    rounds = make_rounds(tasks=("cnn-femnist",), keeps=(0.2,), seeds=(0,), rounds=3)
    draw_all({"rounds": rounds}, tmp_path / "here", ["accuracy-keep"])
    rounds.to_pickle(tmp_path / "rounds.pickle")
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "rounds.pickle"), str(tmp_path / "there")], check=True, cwd=ROOT
    )
    here = {path.name: path.read_bytes() for path in (tmp_path / "here").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "there").iterdir()} == here
    assert len(here) == 4


def test_figures_do_not_import_the_simulation() -> None:
    script = (
        "import sys, bench.figures; "
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'methods') "
        "or m in ('bench.store.cells', 'bench.simulation.simulator', 'bench.training.local', 'bench.api')])"
    )
    result = subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.strip() == "[]"


def test_accuracy_points_lie_at_their_values(tables: dict[str, pd.DataFrame]) -> None:
    panel = panels(figures_of("accuracy-keep", tables)["resnet18-cifar10"])["iid"]
    ends = tables["rounds"].query("partition == 'iid' and round >= 18").groupby(["label", "keep"], observed=True)
    percent = 100 * ends["test_acc"].mean()
    by_colour = {colour: (x, y) for colour, x, y in lines(panel)}
    x, y = by_colour[METHODS["orthdrop"][0]]
    assert x == pytest.approx([0.2, 0.8], abs=0.02)
    assert y == pytest.approx([percent["orthdrop", 0.2], percent["orthdrop", 0.8]])
    assert by_colour[METHODS["fedavg"][0]][1] == pytest.approx([percent["fedavg", 1.0]] * 2)


@pytest.mark.parametrize(
    ("x", "label", "per_round"),
    [
        ("round", "round", 1.0),
        ("bytes", "sent, down and up (GB)", 2 * 20 * 4 * 11_173_962 * 0.2 / 1e9),
        ("macs", "forward work of all clients (TMAC)", 20 * 960 * 5.6e8 * 0.2 / 1e12),
        ("seconds", "wall clock of the method (s)", 3.0 * 0.7),
    ],
)
def test_curves_run_over_each_axis(tables: dict[str, pd.DataFrame], x: str, label: str, per_round: float) -> None:
    figure = figures_of("training-curves", tables, Options(x=x))[f"resnet18-cifar10-{x}"]
    assert label in words(figure)
    panel = panels(figure)["keep 0.2; iid"]
    [position] = [position for colour, position, _ in lines(panel) if colour == METHODS["prism"][0]]
    assert position == pytest.approx([per_round * number for number in range(21)])


def test_seconds_are_said_to_be_without_evaluations_and_diagnoses(tables: dict[str, pd.DataFrame]) -> None:
    said = "without its evaluations and diagnoses"
    for x in ("seconds", "round"):
        [figure] = figures_of("training-curves", tables, Options(x=x)).values()
        assert (said in words(figure).replace("\n", " ")) == (x == "seconds")


@pytest.mark.parametrize("name", ["accuracy-keep", "levels", "accuracy-cost", "gap"])
def test_a_caption_says_no_more_evaluations_than_there_were(name: str) -> None:
    short = make_tables(tasks=ONE_TASK, rounds=2)
    for last, said in ((3, "of the last 2 evaluations"), (2, "of the last 2 ev"), (1, "of the last evaluation")):
        figure = figures_of(name, short, Options(last=last)).popitem()[1]
        assert said in words(figure).replace("\n", " ")


def test_a_caption_says_up_to_how_many_evaluations_there_were() -> None:
    uneven = pd.concat([make_rounds(ONE_TASK, rounds=2), make_rounds(ONE_TASK, seeds=(7,), rounds=5)])
    of_levels = make_tables(tasks=ONE_TASK, rounds=4)["levels"]
    assert evaluations(3, uneven) == "up to the last 3 evaluations"
    assert evaluations(3, uneven.assign(status="diverged")) == "the last 3 evaluations"
    assert evaluations(5, of_levels, "level_acc") == "the last 4 evaluations"


def test_every_figure_is_explained() -> None:
    explained = re.findall(r"^\*\*`([\w-]+)`\*\*:", (ROOT / "docs" / "figures.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(explained) == sorted(FIGURES)


def test_unknown_axis_and_unknown_figure_are_one_sentence(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    with pytest.raises(BenchError, match="did you mean 'bytes'"):
        draw_all(tables, tmp_path, ["training-curves"], Options(x="byte"))
    with pytest.raises(BenchError, match="did you mean 'footprint'"):
        draw_all(tables, tmp_path, ["footprints"])


def test_stand_in_data_is_named_on_every_figure_it_touches() -> None:
    tables = make_tables(tasks=ONE_TASK, keeps=(0.2,), stand_in=True, rounds=3, seeds=(4,))
    for name in ("accuracy-keep", "training-curves", "required-kernels"):
        for figure in figures_of(name, tables).values():
            assert "STAND-IN DATA: CIFAR-10-like stand-in data; 3 rounds; 1 seed" in words(figure).replace("\n", " ")


def test_real_and_stand_in_data_never_share_a_figure() -> None:
    real = make_rounds(tasks=ONE_TASK, keeps=(0.2,), rounds=3)
    stand_in = make_rounds(tasks=ONE_TASK, keeps=(0.2,), rounds=3, stand_in=True)
    both = pd.concat([real, stand_in.assign(cell="stand-in " + stand_in["cell"])])
    figures = figures_of("accuracy-keep", {"rounds": both})
    assert ["STAND-IN" in words(figure) for figure in figures.values()] == [False, True]
    assert list(figures) == ["resnet18-cifar10-cifar-10", "resnet18-cifar10-cifar-10-like-stand-in-data"]


def test_diverged_runs_are_counted_and_marked() -> None:
    rounds = make_rounds(tasks=ONE_TASK, keeps=(0.2,), partitions=(("iid", math.inf),))
    cells = sorted(rounds.loc[rounds["label"] == "orthdrop", "cell"].unique())
    tables = {"rounds": diverge(rounds, cells, last_round=7)}
    figure = figures_of("accuracy-keep", tables)["resnet18-cifar10"]
    assert "20 rounds; 2 seeds; 2 of 8 runs diverged" in words(figure)
    crosses = [line for line in figure.axes[0].get_lines() if line.get_marker() == "x"]
    assert [line.get_color() for line in crosses] == [METHODS["orthdrop"][0]]
    curves = figures_of("training-curves", tables)["resnet18-cifar10-round"].axes[0].get_lines()
    assert [line.get_xdata()[0] for line in curves if line.get_marker() == "x"] == [7, 7]  # type: ignore[index]


def test_required_kernels_group_layers_by_size(tables: dict[str, pd.DataFrame]) -> None:
    figure = figures_of("required-kernels", tables)["resnet18-cifar10"]
    sizes = [64, 128, 256, 512]
    assert [panel.get_title() for panel in figure.axes[:4]] == [f"$R$ = {size}; iid" for size in sizes]
    for panel, size in zip(figure.axes[:4], sizes, strict=True):
        *layers, full = lines(panel)
        assert len(layers) == 4
        assert set(full[2]) == {100}
        rows = tables["ranks"].query("kernels == @size and method == 'fedavg' and partition == 'iid'")
        final = rows[rows["round"] == 20].groupby("layer", observed=True)["required_kernels"].mean()
        assert sorted(y[-1] for _, _, y in layers) == pytest.approx(sorted(100 * final / size))


def test_footprint_joins_labels_of_equal_size(tables: dict[str, pd.DataFrame]) -> None:
    figure = figures_of("footprint", tables)["resnet18-cifar10"]
    assert "prism, orthdrop" in words(figure)
    _, keep, share = lines(figure.axes[1])[0]
    assert keep == [0.2, 0.8]
    assert share == pytest.approx([100 * (0.05 + 0.95 * keep * 10 / 9) for keep in (0.2, 0.8)])


def test_footprint_shows_what_an_ideal_kernel_would_compute_of_masked_models(tables: dict[str, pd.DataFrame]) -> None:
    dense = figures_of("footprint", tables)["resnet18-cifar10"]
    assert "ideal kernel" not in words(dense)
    footprint = tables["footprint"]
    masked = footprint["method"] == "prism"
    footprint = footprint.assign(ideal_macs=footprint["macs"].where(~masked, footprint["macs"] // 2))
    figure = figures_of("footprint", {**tables, "footprint": footprint})["resnet18-cifar10"]
    assert "without masked weights (ideal kernel)" in words(figure)
    drawn = [line for line in figure.axes[1].get_lines() if line.get_fillstyle() == "none"]
    assert [line.get_color() for line in drawn] == [METHODS["prism"][0]]
    rows = footprint[masked & (footprint["task"] == "resnet18-cifar10")].sort_values("keep")
    share = 100 * rows["ideal_macs"] / rows["full_macs"]
    assert np.asarray(drawn[0].get_ydata(), dtype=float).tolist() == pytest.approx(share.tolist())


@pytest.mark.parametrize("missing", ["absent", "empty", "not measured"])
def test_what_cannot_be_drawn_is_skipped_with_a_reason(tmp_path: Path, missing: str) -> None:
    full = make_tables(tasks=ONE_TASK, labels=[("prism", "prism")], keeps=(0.2,), seeds=(0,), rounds=1)
    nothing = dict.fromkeys(["test_acc", "coverage", "coverage_expected", "cosine_fedavg"], np.nan)
    tables = {
        "absent": {},
        "empty": {name: table.iloc[:0] for name, table in full.items()},
        "not measured": {"rounds": full["rounds"].assign(**nothing)},
    }[missing]
    skipped: dict[str, str] = {}
    assert draw_all(tables, tmp_path, on_skip=skipped.__setitem__) == []
    assert set(skipped) == set(FIGURES)
    if missing == "not measured":
        assert skipped["accuracy-keep"] == "no cell was evaluated on the test set after its first round"
        assert skipped["exploration"] == "no finished cell has a coverage after its first round"
        assert "diagnostics 'cosine'" in skipped["cosine"]


def test_required_kernels_of_a_method_without_cells_names_those_with_some(tmp_path: Path) -> None:
    tables = make_tables(tasks=ONE_TASK, labels=[("prism", "prism")], keeps=(0.2,), seeds=(0,), rounds=1)
    skipped: dict[str, str] = {}
    assert draw_all(tables, tmp_path, ["required-kernels"], on_skip=skipped.__setitem__) == []
    assert "allowed: 'prism'" in skipped["required-kernels"]


@pytest.mark.parametrize("name", list(FIGURES))
def test_no_words_overlap_and_none_leave_the_figure(name: str) -> None:
    variants = ["prism (clip_tau=10, multipliers=wallenius)", "prism (aggregate=product), keep 0.2:0.6,0.4:0.4"]
    labels = [*METHOD_LABELS, *(("prism", variant) for variant in variants), ("mine", "mine (depth=3)")]
    labels.append(("pfedpara", "pfedpara"))
    tables = make_tables(tasks=ONE_TASK, labels=labels, keeps=(0.2, 0.8), stand_in=True, rounds=5)
    if name in ("accuracy-budget", "fits"):
        budgets = ("memory=0.1:0.5,0.4:0.5", "memory=0.2", "memory=0.4 bytes=1.5MB")
        mine = [pair for pair in labels if ", keep" not in pair[1]]
        tables["rounds"] = at_budgets(make_rounds(ONE_TASK, mine, (0.2,), stand_in=True, rounds=5))
        tables["fits"] = make_fits(mine, budgets, ONE_TASK[0])
    for figure in figures_of(name, tables, Options(named=True)).values():
        check_words(figure)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BenchError, match="cannot write"):
        draw_all(tables, tmp_path / "file" / "figures", ["footprint"])
