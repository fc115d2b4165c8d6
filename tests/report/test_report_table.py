"""Tables for a paper: numbers, the best in bold, marks and notes, and nothing that LaTeX takes for its own."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from reported import GRID, source_of
from scipy import stats

from bench.cell import Cell
from bench.errors import BenchError
from bench.report.chosen import chosen
from bench.report.source import Source
from bench.report.table import VALUES, Table, Value, latex, markdown, table_of

ONE_SETTING = GRID.replace('task = ["cnn-femnist", "resnet18-cifar10"]', "").replace("[0.2, 0.5]", "0.2")


def acc_of(cell: Cell) -> float | None:
    """Return accuracies in which "orthdrop" is far behind, and "fedavg" within its seeds of "prism"."""
    if cell.method == "orthdrop":
        return 0.1 + 0.001 * cell.seed
    return 0.5 + 0.001 * cell.seed if cell.method == "prism" else (0.49, 0.51, 0.48)[cell.seed]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return source_of(tmp_path_factory.mktemp("tabled"), ONE_SETTING, acc_of)


def entries(table: Table) -> dict[str, Value]:
    return {label: values[0] for label, values in table.rows}


def test_means_and_intervals_are_those_of_the_seeds(source: Source) -> None:
    accs = 100 * np.array([0.49, 0.51, 0.48])
    half = stats.t.ppf(0.975, 2) * accs.std(ddof=1) / np.sqrt(3)
    found = entries(table_of(source))
    assert found["fedavg"].text == f"{accs.mean():.1f}"
    assert found["fedavg"].ends == f"[{accs.mean() - half:.1f}, {accs.mean() + half:.1f}]"


def test_the_best_is_bold_and_who_is_not_told_apart_is_marked(source: Source) -> None:
    found = entries(table_of(source))
    assert found["prism"].is_best and not found["prism"].is_near
    assert found["fedavg"].is_near and not found["orthdrop"].is_near and not found["orthdrop"].is_best
    text = markdown(table_of(source))
    assert (
        "| prism | **50.1** [49.9, 50.3] |" in text and "| fedavg | 49.3† [" in text and "| orthdrop | 10.1 [" in text
    )
    of_latex = latex(table_of(source))
    assert r"prism & \textbf{50.1} [49.9, 50.3] \\" in of_latex and r"fedavg & 49.3$^\dagger$ [" in of_latex


def test_latex_is_a_whole_table_of_booktabs(source: Source) -> None:
    text = latex(table_of(source))
    places = [text.index(word) for word in (r"\begin{table}", r"\caption{", r"\toprule", r"\midrule", r"\bottomrule")]
    assert places == sorted(places) and text.endswith("\\end{table}\n")
    rows = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len(rows) == 3 and all(row.count("&") == 1 and row.endswith(r"\\") for row in rows)


def test_names_are_not_taken_for_commands() -> None:
    table = Table([r"a_b, 50% & more"], [(r"x_y\{z}|*", [Value("−1.0")])], "50 % of_it <b>", ["$^~#"])
    text = latex(table)
    bare = re.sub(r"\\[_%&{}$#]|\\[a-z]+(\{\})?|\$-\$", "", "".join(text.splitlines(keepends=True)[4:]))
    assert not re.search(r"[_%#~^]", bare), bare
    assert r"x\_y\textbackslash{}\{z\}" in text and "$-$1.0" in text
    assert r"x\_y\\{z}\|\*" in markdown(table) and r"\<b>" in markdown(table)


def test_other_values(source: Source) -> None:
    gap = entries(table_of(source, "gap"))
    assert gap["fedavg"].text == "0.0" and gap["orthdrop"].text == "−39.2" and gap["orthdrop"].ends.startswith("[−")
    assert {label: value.text for label, value in entries(table_of(source, "rank")).items()} == {
        "prism": "1", "fedavg": "2", "orthdrop": "3",
    }  # fmt: skip
    assert gap["prism"].is_near and not gap["orthdrop"].is_near  # beside the full model, as the intervals are
    caption = table_of(source, "gap").caption
    assert "Bonferroni, 2 comparisons" in caption and "from the full model, judged among 2 comparisons" in caption
    assert all(value.is_best for value in entries(table_of(source, "bytes")).values())
    assert len(VALUES) == 6
    with pytest.raises(BenchError, match=r"--value 'acuracy': .*did you mean 'accuracy'"):
        table_of(source, "acuracy")


def test_captions_and_notes_say_the_scale_and_what_is_missing(tmp_path: Path) -> None:
    def diverging(cell: Cell) -> float | None:
        return None if (cell.method, cell.seed) == ("orthdrop", 1) else acc_of(cell)

    table = table_of(source_of(tmp_path, ONE_SETTING, diverging))
    assert (
        "FEMNIST-like stand-in data; 1 round; seeds 0 to 2" in table.caption and "judged among 3 comp" in table.caption
    )
    assert "ranks no method on real data" in table.caption
    where = "orthdrop in cnn-femnist, natural, keep 0.2"
    assert table.notes == [f"{where}: 1 of 3 runs diverged; in no mean, and guessing where it is compared."]


def test_without_full_model_or_seeds_it_is_said(tmp_path: Path) -> None:
    source = source_of(tmp_path, ONE_SETTING.replace('"fedavg", ', "").replace("[0, 1, 2]", "0"), acc_of)
    with pytest.raises(BenchError, match="no full model"):
        table_of(source, "gap")
    table = table_of(source)
    assert entries(table)["prism"].ends == "" and "One seed has no interval, and tells no methods apart." in table.notes
    assert not any(value.is_near for value in entries(table).values())


def test_level_methods_share_their_place_and_are_both_the_best(tmp_path: Path) -> None:
    def level(cell: Cell) -> float | None:
        return acc_of(cell) if cell.method == "orthdrop" else 0.5 + 0.01 * cell.seed

    source = source_of(tmp_path, ONE_SETTING, level)
    ranks = entries(table_of(source, "rank"))
    assert {label: value.text for label, value in ranks.items()} == {"fedavg": "1–2", "prism": "1–2", "orthdrop": "3"}
    assert [label for label, value in entries(table_of(source)).items() if value.is_best] == ["fedavg", "prism"]
    assert "1--2" in latex(table_of(source, "rank"))


def test_ends_of_intervals_beyond_what_is_possible_are_said(tmp_path: Path) -> None:
    def near_the_ends(cell: Cell) -> float:
        return (
            0.01 + 0.02 * cell.seed if cell.method == "orthdrop" else 0.99 - 0.03 * cell.seed * (cell.method == "prism")
        )

    source = source_of(tmp_path, ONE_SETTING, near_the_ends)
    found = entries(table_of(source))
    assert found["orthdrop"].ends.startswith("[≤ 0, ") and found["prism"].ends.endswith(", ≥ 100]")
    assert r"[$\leq$ 0, " in latex(table_of(source))


def test_who_diverged_is_the_best_nowhere(tmp_path: Path) -> None:
    """Bold and places follow the rule of comparisons: a run that diverged has guessed."""

    def acc(cell: Cell) -> float | None:
        return (0.9 if cell.seed == 0 else None) if cell.method == "orthdrop" else 0.8 + 0.001 * cell.seed

    source = source_of(tmp_path, ONE_SETTING, acc)
    found = entries(table_of(source))
    assert found["orthdrop"].text == "90.0" and not found["orthdrop"].is_best and found["prism"].is_best
    assert entries(table_of(source, "rank"))["orthdrop"].text == "3"


def test_three_seeds_of_one_method_are_no_single_seed(source: Source) -> None:
    table = table_of(chosen(source, ["method=prism"]))
    assert table.notes == [] and "0 comparisons" not in table.caption
