"""The page of a report: its numbers are those of the tables, and it says what cannot be said."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from reported import GRID, Page, acc_of, page, shared, source_of
from scipy import stats

from bench.analysis.comparisons import comparisons
from bench.cell import Cell
from bench.figures import FIGURES
from bench.figures.style import METHODS
from bench.report.page import verdict
from bench.report.page.compute import Numbers
from bench.report.page.frontier import legend
from bench.report.page.limits import limits
from bench.report.page.pictures import pictures_of
from bench.report.page.verdict import against_full
from bench.report.source import Source

ONE = GRID.replace("seed = [0, 1, 2]", "seed = [0]")
ONE_SETTING = GRID.replace('task = ["cnn-femnist", "resnet18-cifar10"]', "").replace("[0.2, 0.5]", "0.2")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return shared(tmp_path_factory.mktemp)[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return shared(tmp_path_factory.mktemp)[1]


def by_hand(source: Source) -> pd.DataFrame:
    """Return the accuracy of each cell from the rounds, without the benchmark's analysis."""
    rounds = source.tables["rounds"]
    last = rounds[rounds["round"] > 0].groupby("cell", observed=True)["test_acc"].mean()
    cells = source.tables["cells"].astype({"task": str, "label": str, "cell": str})
    return cells.assign(acc=cells["cell"].map({str(cell): value for cell, value in last.items()}))


def numbers_in(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"[-+]?\d+(?:\.\d+)?", text.replace("−", "-"))]


def test_the_leaderboard_has_what_pandas_computes(source: Source, whole: Page) -> None:
    cells, rows = by_hand(source), whole.rows("leaderboard-table")
    assert len(rows) == 12
    for row in rows:
        task, _, keep = row["Setting"].split(", ")
        here = cells[(cells["task"] == task) & (cells["label"] == row["Method"])]
        here = here[(here["label"] == "fedavg") | (here["keep"] == float(keep.removeprefix("keep ")))]
        accs = 100 * here.sort_values("seed")["acc"].to_numpy()
        half = stats.t.ppf(0.975, 2) * accs.std(ddof=1) / np.sqrt(3)
        shown = numbers_in(row["Accuracy, %"])
        np.testing.assert_allclose(shown, [accs.mean(), accs.mean() - half, accs.mean() + half], atol=0.0501)
        full = cells[(cells["task"] == task) & (cells["label"] == "fedavg")].sort_values("seed")["acc"].to_numpy()
        if row["Method"] != "fedavg":
            shown = numbers_in(row["Less full model, points"])
            assert shown[0] == pytest.approx((accs - 100 * full).mean(), abs=0.0501)


def test_win_rates_and_ranks_are_what_pandas_computes(source: Source, whole: Page) -> None:
    cells = by_hand(source)
    full = cells[cells["label"] == "fedavg"]
    beside = pd.concat([cells[cells["label"] != "fedavg"], *(full.assign(keep=keep) for keep in (0.2, 0.5))])
    means = beside.pivot_table("acc", ["task", "keep"], "label", "mean", observed=True)
    ranks = means.rank(axis=1, ascending=False).mean()
    shown = {row["Method"]: numbers_in(row["Mean rank"])[0] for row in whole.rows("ranks-table")}
    assert shown == pytest.approx(ranks.to_dict(), abs=0.00501)
    for row in whole.rows("wins-table"):
        for other in means:
            if other != row["Ahead of"]:
                rate = (means[row["Ahead of"]] > means[other]).mean()
                assert float(row[other]) == pytest.approx(100 * rate)


def test_every_number_leads_to_the_cells_that_it_is_made_of(source: Source, whole: Page) -> None:
    targets = [link.removeprefix("#") for link in whole.links if re.fullmatch("#s[0-9]+", link)]
    assert targets and set(targets) <= set(whole.ids) and len(set(whole.ids)) == len(whole.ids)
    listed = {row["Identity"]: row for name in whole.tables if name.startswith("cells-") for row in whole.rows(name)}
    assert set(listed) == {str(cell).rsplit("-", 1)[-1] for cell in source.tables["cells"]["cell"]}
    assert len(listed) == 30
    for row in whole.rows("leaderboard-table"):
        seeds = [one["Seed"] for one in listed.values() if one["Series"] == row["From"]]
        assert seeds == ["0", "1", "2"]


def test_what_was_compared_is_said(source: Source, whole: Page) -> None:
    (first, second), words = whole.rows("settings-table"), whole.words
    assert first["Task"] == "cnn-femnist" and second["Task"] == "resnet18-cifar10"
    assert (
        first["Keep ratios, budgets"] == "0.2 and 0.5" and first["Seeds"] == "0 to 2" and first["Test samples"] == "60"
    )
    assert "stand-in data" in whole.words and "harness, method fedavg" in words
    record = source.known[0]
    assert f"torch {record.environment['packages']['torch']}" in words and str(record.environment["processor"]) in words


def test_the_verdict_names_who_is_ahead_and_on_which_scale(whole: Page) -> None:
    assert "Over 4 settings of 2 tasks, prism has mean rank 1.00" in whole.words
    assert re.search(r"Over 4 settings, prism is more accurate than orthdrop in 4 \(\+[12]\d\.\d points", whole.words)
    assert re.search(r"no difference below [\d.]+ points had good odds \(0.8\) of being seen", whole.words)
    assert "3 seeds in each pair" in whole.words


def test_the_sentence_on_ranks_says_what_counts_as_independent(source: Source, whole: Page) -> None:
    assert "(Friedman's test over 2 places: p" in whole.words
    assert "A full model is the same run at every keep ratio of its place" in whole.words
    cells = source.cells[source.cells["method"] != "fedavg"]
    ones = replace(source, tables={**source.tables, "finals": cells[cells["task"] == "cnn-femnist"]})
    first = verdict.over_settings(Numbers(ones))[0]
    assert "Its settings of one task count as independent, which they are not: its p-value is too small." in first.scale


def level(cell: Cell) -> float:
    """Return accuracies in which "fedavg" and "prism" are level, and ahead of "orthdrop"."""
    return 0.3 if cell.method == "orthdrop" else 0.5 + 0.01 * cell.seed


def test_level_methods_share_their_place_and_stand_by_name(tmp_path: Path) -> None:
    numbers = Numbers(source_of(tmp_path, ONE_SETTING, level))
    (setting,) = numbers.settings
    assert ", level with prism." in verdict.of_setting(numbers, setting)[0].text
    assert verdict.of_setting(numbers, setting)[0].text.startswith("Most accurate is fedavg with ")
    rows = page(numbers.source).rows("leaderboard-table")
    assert [(row["Method"], row["Rank"]) for row in rows] == [("fedavg", "1–2"), ("prism", "1–2"), ("orthdrop", "3")]
    (tmp_path / "both").mkdir()
    both = Numbers(source_of(tmp_path / "both", GRID, level))
    assert "mean rank 1.50 " in verdict.over_settings(both)[0].text
    assert "places 1 to 2, level with prism, of 3." in verdict.over_settings(both)[0].text


def test_one_comparison_is_spoken_of_as_one(tmp_path: Path) -> None:
    words = page(source_of(tmp_path, ONE_SETTING.replace('"fedavg", "orthdrop", ', '"fedavg", '))).words
    assert re.search("[Jj]udged by itself, 3 seeds in each pair", words) and not re.search(
        r"\b1 (comparison|pair)s? (is|are)\b", words
    )
    assert "among 1 " not in words and "all 1 " not in words and "it is the only pair of the page" in words.lower()


def test_cells_that_nobody_knows_of_are_counted_as_missing(source: Source, whole: Page) -> None:
    assert {row["missing"] for row in whole.rows("outcomes-table")} == {"–"}
    gone = source.cells[(source.cells["task"] == "cnn-femnist") & (source.cells["seed"] == 2)]
    lost = set(gone.loc[gone["method"].isin(["fedavg", "prism"]), "cell"])
    tables = {**source.tables, "finals": source.cells[~source.cells["cell"].isin(lost)]}
    known = tuple(cell for cell in source.known if cell.name not in lost)
    rows = {
        row["Label"]: row["missing"] for row in page(replace(source, tables=tables, known=known)).rows("outcomes-table")
    }
    assert rows == {"fedavg": "1", "orthdrop": "–", "prism": "2"}  # a full model is one run at both keep ratios
    failed = (*known, *(replace(cell, state="failed") for cell in source.known if cell.name in lost))
    rows = {row["Label"]: row for row in page(replace(source, tables=tables, known=failed)).rows("outcomes-table")}
    assert (rows["prism"]["failed"], rows["prism"]["missing"]) == ("2", "–")


def test_variants_of_a_method_look_apart(tmp_path: Path) -> None:
    grid = ONE_SETTING.replace('["fedavg", "orthdrop", "prism"]', '"prism"')
    grid += "\n    [cells.parameters.prism]\n    kappa = [2, 3, 4]\n"
    marks = legend(Numbers(source_of(tmp_path, grid, lambda cell: 0.5)))
    assert len(marks) == 3
    assert len({(one["marker"]["filled"], one["marker"]["hollow"], one["marker"]["colour"]) for one in marks}) == 3
    assert len({one["marker"]["colour"] for one in marks}) == 3


def test_probabilities_over_settings_need_enough_of_them(
    source: Source, whole: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "P(better by more than 0.5 points)"
    assert said not in whole.words and "bootstrap interval" not in whole.words.split("Leaderboard")[0]
    monkeypatch.setattr(verdict, "ENOUGH", 4)
    assert any(said in sentence.text for sentence in verdict.over_settings(Numbers(source)))


def test_ones_own_method_is_judged_by_its_own_comparisons(source: Source) -> None:
    """Beside three others in four settings: the family of these comparisons, with the sign of one's own method."""
    own = replace(source, front=("orthdrop",))
    (sentence,) = verdict.of_own(Numbers(own), "orthdrop")
    rows = comparisons(source.cells, "orthdrop")
    assert f"{len(rows)} comparisons of orthdrop with others" in sentence.text
    assert f"judged among {int(rows['family'].max())} comparisons" in sentence.scale
    told = rows[rows["verdict"] == "better"]  # than orthdrop
    assert (f"worse in {len(told)}:" in sentence.text) == bool(len(told))


def test_a_diverged_run_without_a_value_is_not_said_to_have_one(tmp_path: Path) -> None:
    before = source_of(tmp_path, ONE_SETTING, diverging)
    assert "a diverged run counts as guessing" in page(before).words
    finals = before.cells.assign(classes=math.nan)
    words = page(replace(before, tables={**before.tables, "finals": finals})).words
    assert "1 of them count nowhere" in words
    assert "as guessing" not in words.split("Leaderboard")[0]


def diverging(cell: Cell) -> float | None:
    return None if cell.method == "orthdrop" and cell.seed == 1 else acc_of(cell)


@pytest.mark.parametrize(
    ("grid", "acc", "sentence"),
    [
        (ONE, acc_of, "Every method was run with one seed: there is no spread, no interval and no test"),
        (ONE_SETTING, acc_of, "All was compared in one setting: whether it holds elsewhere cannot be said"),
        (ONE_SETTING, lambda cell: 0.5, "All runs of a task ended with the same accuracy: no method is told apart"),
        (ONE_SETTING, lambda cell: None, "Every run diverged: there is no accuracy to compare"),
        (ONE_SETTING, lambda cell: 0.02, "Cnn-femnist on FEMNIST-like stand-in data: all 9 finished cells are at"),
        (ONE_SETTING.replace('["fedavg", "orthdrop", "prism"]', '"prism"'), acc_of, "There is one method, prism"),
        (ONE_SETTING, diverging, "1 run of 9 diverged (orthdrop). In comparisons and ranks a diverged run counts as"),
        (GRID, diverging, "4 runs of 30 diverged (orthdrop)"),
        (ONE_SETTING.replace('"fedavg", ', ""), acc_of, "There is no full model (fedavg) beside the others"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_said(grid: str, acc: Any, sentence: str, tmp_path: Path) -> None:
    numbers = Numbers(source_of(tmp_path, grid, acc))
    assert any(one.text.startswith(sentence) and one.is_limit for one in [*limits(numbers), *against_full(numbers)])


@pytest.mark.parametrize(
    ("grid", "acc"),
    [
        (ONE_SETTING.replace("[0, 1, 2]", "0"), acc_of),
        (ONE_SETTING, lambda cell: None),
        (ONE_SETTING.replace('["fedavg", "orthdrop", "prism"]', '"prism"'), acc_of),
    ],
)  # fmt: skip
def test_a_page_that_can_say_little_has_no_number_that_is_none(grid: str, acc: Any, tmp_path: Path) -> None:
    found = page(source_of(tmp_path, grid, acc))
    assert found.rows("leaderboard-table")
    text = re.sub(r'base64,[^"]*', "", found.html.split("<script>")[0]).replace("None of", "")
    assert not re.search(r"\b(nan|inf|None)\b", text)


def test_diverged_runs_are_counted_where_they_are(tmp_path: Path) -> None:
    found = page(source_of(tmp_path, ONE_SETTING, diverging))
    rows = {row["Method"]: row for row in found.rows("leaderboard-table")}
    assert rows["orthdrop"]["Seeds"] == "2, 1 diverged" and rows["prism"]["Seeds"] == "3"
    outcomes = {row["Label"]: row for row in found.rows("outcomes-table")}
    assert (outcomes["orthdrop"]["done"], outcomes["orthdrop"]["diverged"]) == ("2", "1")
    assert "diverged: training loss is not finite in round 1" in found.words


HOSTILE = '<script>alert("x")</script>'


def test_names_are_never_markup(source: Source) -> None:
    tables = {name: table.copy() for name, table in source.tables.items()}
    for name in ("cells", "rounds", "finals"):
        tables[name]["label"] = tables[name]["label"].astype(str).replace("prism", f"prism ({HOSTILE}=1)")
        tables[name]["data_title"] = '"><img src=x onerror=alert(1)>'
    known = tuple(replace(cell, reason=HOSTILE, state="failed", label=HOSTILE) for cell in source.known)
    found = page(replace(source, tables=tables, known=known, title=HOSTILE, notes=(HOSTILE,)))
    assert HOSTILE not in found.html and "<img src=x" not in found.html and found.html.count("<script>") == 1
    assert HOSTILE in found.words


def test_the_page_is_whole_in_itself(whole: Page) -> None:
    assert all(link.startswith("#") for link in whole.links)
    assert all(one.startswith("data:image/png;base64,") for one in whole.sources)
    assert not re.search(r"https?://(?!www\.w3\.org/)|@import|url\(", whole.html)
    script = whole.html.split("<script>")[1].split("</script>")[0]
    seal = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{seal}'" in whole.html and "default-src 'none'" in whole.html


def test_equal_results_are_equal_bytes(source: Source, whole: Page) -> None:
    assert page(source).html == whole.html


def test_figures_are_shown_until_there_is_no_room(tmp_path: Path) -> None:
    names = ("levels-cnn-femnist", "gap-cnn-femnist", "mine-a")
    for name in names:
        Image.new("RGB", (60, 40), "white").save(tmp_path / f"{name}.png")
    (tmp_path / "personal-torn.png").write_bytes(b"\x89PNG")
    files = [tmp_path / f"{name}.png" for name in (*names, "personal-torn")]
    groups, left_out = pictures_of(files, FIGURES, 10_000)
    assert [kind for kind, _ in groups] == ["gap", "levels", "mine-a"] and left_out == ["personal-torn.png"]
    first = groups[0][1][0]
    assert first.alt.startswith("Final accuracy less the full model's") and first.alt.endswith(": cnn femnist")
    size = len(first.data)
    groups, left_out = pictures_of(files, FIGURES, 2 * size)
    assert [kind for kind, _ in groups] == ["gap", "levels"] and left_out == ["mine-a.png", "personal-torn.png"]


def test_a_method_keeps_its_colour_in_a_compressed_figure(tmp_path: Path) -> None:
    looks = [to_rgb(colour) for colour, _ in METHODS.values()]
    shades = np.linspace(0, 255, 256).astype(np.uint8)
    image = np.full((300, 256, 3), 255, dtype=np.uint8)
    image[-1] = shades[:, None]
    for number, look in enumerate(looks):
        image[10 * number : 10 * number + 2, :20] = np.round(255 * np.array(look))
    Image.fromarray(image).save(tmp_path / "gap-a.png")
    (picture,) = pictures_of([tmp_path / "gap-a.png"], FIGURES, 100_000)[0][0][1]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.data.split(",")[1]))).convert("RGB"))
    assert np.abs(shown.astype(int) - image).max() <= 16


def test_a_figure_is_shown_with_its_words_and_one_without_room_is_named(source: Source, tmp_path: Path) -> None:
    Image.new("RGB", (60, 40), "white").save(tmp_path / "gap-cnn-femnist.png")
    (tmp_path / "personal-torn.png").write_bytes(b"\x89PNG")
    found = page(replace(source, figures=(tmp_path / "gap-cnn-femnist.png", tmp_path / "personal-torn.png")))
    assert found.sources and all(one.startswith("data:image/png;base64,") for one in found.sources)
    assert "Not shown, so that the page stays below 5 MB: personal-torn.png" in found.words


def test_the_templates_are_in_the_package() -> None:
    import tomllib

    values = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert "report/page/templates/*" in values["tool"]["setuptools"]["package-data"]["bench"]


def test_numbers_of_the_script_are_numbers(whole: Page) -> None:
    values = re.findall(r'data-value="([^"]*)">(?:<span[^>]*></span>)?([^<]+)', whole.html)
    assert all(json.loads(value) is not None for value, text in values if re.fullmatch(r"[\d.,]+", text) and value)


def test_two_full_models_beside_a_budget_are_on_the_page(tmp_path: Path) -> None:
    grid = """
        [[cells]]
        task = "cnn-femnist"
        method = ["fedavg", "heterofl"]
        budget = { bytes = 0.5 }
        seed = [0, 1, 2]
        parameters = { fedavg = { weights = ["samples", "uniform"] } }
    """
    source = source_of(tmp_path, grid, lambda cell: 0.4 + 0.01 * cell.seed + 0.1 * (cell.method == "heterofl"))
    html = page(source).html
    assert "budget bytes=0.5" in html and "fedavg (weights=uniform)" in html
