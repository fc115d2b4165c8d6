"""A figure is a plugin as a method is: one file, drawn with the stamp of its data, and left out where it fails."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pandas as pd
import pytest
from figure_tables import make_rounds, words
from tiny import CommandLine, sweep_of, write

import bench.figures
from bench.config.cells import read_sweep
from bench.errors import BenchError
from bench.figures import FIGURES, Options, Skip, draw_all
from bench.plugins import registry
from bench.report.figures import broken_figures, figures_with

FIGURE = """
from bench.figure_spec import FigureSpec, Skip


def draw(tables, options):
    from matplotlib.figure import Figure
    {body}
    figure = Figure()
    figure.subplots().plot([0, 1], [0, len(tables["rounds"])])
    return [("{suffix}", figure)]


SPEC = FigureSpec({name!r}, "lines of a test", {needs!r}, draw)
"""
TASKS = ("cnn-femnist", "lstm-imdb")


def figure_file(
    folder: Path, name: str = "mine", body: str = "pass", suffix: str = "all", needs: tuple[str, ...] = ("rounds",)
) -> Path:
    return write(folder / f"{name}.py", FIGURE.format(name=name, body=body, suffix=suffix, needs=needs))


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    choices = {"labels": [("prism", "prism")], "keeps": (0.2,), "seeds": (0,)}
    real, stand_in = (
        make_rounds(tasks=(task,), rounds=rounds, stand_in=task == TASKS[1], **choices)  # type: ignore[arg-type]
        for task, rounds in zip(TASKS, (4, 7), strict=True)
    )
    return {"rounds": pd.concat([real, stand_in])}


@pytest.fixture
def command(command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setenv("COLUMNS", "200")
    return command


def draw(path: Path, tables: dict[str, pd.DataFrame], folder: Path, name: str = "mine") -> tuple[list[str], str]:
    """Return the names of the files that are drawn, and why nothing is."""
    skipped: dict[str, str] = {}
    written = draw_all(tables, folder / "out", [name], on_skip=skipped.__setitem__, known=figures_with([path]))
    return [file.name for file in written], skipped.get(name, "")


def stamped(
    path: Path, tables: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> tuple[str, bool]:
    """Return the words of the only figure that a file draws, and whether the room for them is above its panel."""
    seen = []
    monkeypatch.setattr(bench.figures, "save_figure", lambda figure, *_: seen.append(figure) or [])
    draw(path, tables, folder)
    return " ".join(words(seen[0]).split()), seen[0].get_layout_engine().get()["rect"][3] < 1


@pytest.mark.parametrize(
    ("suffix", "said", "unsaid"),
    [
        ("all", ["STAND-IN DATA", "4 to 7 rounds"], []),
        ("lstm-imdb", ["STAND-IN DATA", "7 rounds"], ["4 to 7"]),
        ("cnn-femnist", ["4 rounds"], ["STAND-IN", "4 to 7"]),
    ],
)
def test_the_harness_stamps_what_a_figure_rests_on(
    tmp_path: Path, tables: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch, suffix: str, said: list[str],
    unsaid: list[str],
) -> None:  # fmt: skip
    shown, has_room = stamped(figure_file(tmp_path, suffix=suffix), tables, monkeypatch, tmp_path)
    assert has_room and shown.startswith("Lines of a test")
    assert [word for word in said if word not in shown] == [] and [word for word in unsaid if word in shown] == []


def test_a_table_of_runs_is_stamped_by_their_rounds_and_a_title_is_the_heading(
    tmp_path: Path, tables: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(
        tmp_path / "mine.py",
        FIGURE.format(name="mine", body="pass", suffix="all", needs=("cells",))
        .replace('tables["rounds"]', 'tables["cells"]')
        .replace("figure = Figure()", 'figure = Figure(); figure.suptitle("My own words")'),
    )
    cells = tables["rounds"].drop_duplicates("cell").drop(columns="round").iloc[:1]
    shown, _ = stamped(path, {**tables, "cells": cells}, monkeypatch, tmp_path)
    assert shown.startswith("My own words") and shown.count("My own words") == 1
    assert "4 rounds" in shown and "STAND-IN" not in shown


def test_a_figure_that_stamps_itself_is_stamped_once(
    tmp_path: Path, tables: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = FIGURE.format(name="mine", body="pass", suffix="all", needs=("rounds",))
    own = "from bench.figures.style import stamp; stamp(figure, tables, 'Mine')\n    return"
    path = write(tmp_path / "mine.py", text.replace("return", own))
    assert stamped(path, tables, monkeypatch, tmp_path)[0].count("STAND-IN DATA") == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"body": "raise Skip('nothing to see')"}, "nothing to see"),
        ({"body": "1 / 0"}, "ZeroDivisionError: division by zero (mine.py, line 7, in draw)"),
        ({"body": "raise SystemExit(3)"}, "SystemExit: 3 (mine.py, line 7, in draw)"),
        ({"body": "return 3"}, "returned int; allowed: a list of pairs (suffix of the file name, Figure)"),
        ({"body": "return [('a', 3)]"}, "returned int for 'a'; allowed: a list of pairs"),
        ({"body": "return [('a', Figure())] * 2"}, "returned one suffix twice; allowed: one file for each"),
        ({"suffix": "../a"}, "returned the suffix '../a'; allowed: letters, digits"),
        ({"needs": ("round",)}, "needs the table 'round'; allowed: 'cells', 'rounds'"),
        ({"needs": ("round",)}, "did you mean 'rounds'?"),
        ({"needs": ("levels",)}, "the table 'levels' has no rows"),
        ({"needs": ()}, "KeyError: 'rounds'"),
    ],
)
def test_a_figure_that_fails_is_left_out_with_its_reason(
    tmp_path: Path, tables: dict[str, pd.DataFrame], change: dict[str, str], reason: str
) -> None:
    files, said = draw(figure_file(tmp_path, **change), tables, tmp_path)  # type: ignore[arg-type]
    assert files == [] and reason in said and "\n" not in said
    assert list((tmp_path).glob("out/*")) == [] and not (tmp_path / "a").exists()


def test_a_users_figure_changes_no_table(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    path = figure_file(tmp_path, body="del tables['rounds']['seed']; tables.clear(); raise Skip('')")
    before = tables["rounds"].copy()
    draw(path, tables, tmp_path)
    pd.testing.assert_frame_equal(tables["rounds"], before)


BROKEN = {
    "named": (FIGURE.format(name="my figure", body="pass", suffix="", needs=()), "name = 'my figure' of Fig"),
    "needs": (FIGURE.format(name="mine", body="pass", suffix="", needs="rounds"), "needs = 'rounds' of FigureSpec("),
    "draws": ("from bench.figure_spec import FigureSpec\nSPEC = FigureSpec('a', 'b', (), 3)\n", "draw = 3 of Figure"),
    "described": ("from bench.figure_spec import FigureSpec\nSPEC = FigureSpec('a', 3, (), print)\n", "description ="),
    "twins": (
        "from bench.figure_spec import FigureSpec\nA, B, C = (FigureSpec(name, 'b', (), print) for name in 'aca')\n",
        "its figures 'a', 'a' have the same name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_a_row_and_a_sentence(tmp_path: Path, name: str) -> None:
    text, reason = BROKEN[name]
    path = write(tmp_path / f"{name}.py", text)
    [(of, source, said)] = broken_figures([path])
    assert (of, source) == (name, path) and reason in said
    assert figures_with([path]).keys() == FIGURES.keys()
    with pytest.raises(BenchError, match=f"plugin {path}: it cannot be used: "):
        registry.method("fedavg", [path])


def test_a_figure_of_a_plugin_may_be_named_in_a_sweep_file_and_unknown_ones_have_a_sentence(tmp_path: Path) -> None:
    path = figure_file(tmp_path)
    head = 'figures = ["mine", "gap"]\n'
    assert read_sweep(sweep_of(tmp_path, head=head), [path]).figures == ("mine", "gap")
    with pytest.raises(BenchError, match=r"tiny.toml: unknown figure 'mine'; allowed: 'ablation', .*"):
        read_sweep(sweep_of(tmp_path, head=head))
    with pytest.raises(BenchError, match=r"unknown figure 'mnie'; .*'mine'; did you mean 'mine'\?"):
        read_sweep(sweep_of(tmp_path, head='figures = ["mnie"]\n'), [path])


def test_two_files_with_one_name_are_refused_and_a_figure_that_is_imported_is_not_defined_twice(tmp_path: Path) -> None:
    one = figure_file(tmp_path)
    (tmp_path / "b").mkdir()
    two = figure_file(tmp_path / "b")
    with pytest.raises(
        BenchError, match=f"plugin {two}: it cannot be used: it defines the figure 'mine', as {one} does"
    ):
        registry.check([one, two])
    imports = [write(tmp_path / f"{name}.py", f"from bench.figures.gap import SPEC\n{name} = SPEC\n") for name in "xy"]
    registry.check(imports)


def test_file_dropped_into_the_folder_and_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure_file(tmp_path, "dropped")
    write(tmp_path / "spoilt.py", "def f(:\n")
    monkeypatch.setattr(bench.figures, "__path__", [*bench.figures.__path__, str(tmp_path)])
    found, broken = bench.figures._found()
    assert list(found) == [*FIGURES, "dropped"] and broken["spoilt"].startswith("SyntaxError")
    (tmp_path / "their_figures").mkdir()
    write(tmp_path / "their_figures" / "__init__.py", "")
    figure_file(tmp_path / "their_figures", "theirs")
    points = [
        importlib.metadata.EntryPoint(name, f"their_figures.{name}", "bench.figures") for name in ("theirs", "gone")
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "bench.figures" else [])
    monkeypatch.syspath_prepend(tmp_path)
    assert "theirs" in figures_with() and "theirs" in registry.figure_names()
    assert [name for name, _, _ in broken_figures()] == ["gone"]
    for name in ("their_figures.theirs", "their_figures", "bench.figures.dropped"):
        sys.modules.pop(name)


def test_a_plugin_takes_the_place_of_a_built_in_figure_where_it_is_named(tmp_path: Path) -> None:
    path = figure_file(tmp_path, "gap")
    assert figures_with([path])["gap"].description == "lines of a test"
    assert figures_with()["gap"] is FIGURES["gap"]


def test_the_listing_shows_figures_of_plugins(tmp_path: Path, command: CommandLine) -> None:
    path, broken = figure_file(tmp_path), write(tmp_path / "spoilt.py", "def f(:\n")
    shown = command("list", "figures", "--plugin", path, "--plugin", broken)
    assert shown.code == 0 and "lines of a test" in shown.out and "broken" in shown.out and "SyntaxError" in shown.out


def test_the_documented_figure_is_drawn(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "figures.md").read_text(encoding="utf-8")
    path = write(tmp_path / "mine.py", page.partition("```python\n")[2].partition("```")[0])
    cells = tables["rounds"].drop_duplicates("cell").drop(columns="round").assign(final_acc=0.5)
    files, said = draw(path, {**tables, "cells": cells}, tmp_path, "accuracy-bytes")
    wanted = {f"accuracy-bytes-{task}.{kind}" for task in TASKS for kind in ("png", "pdf")}
    assert set(files) == wanted and said == ""
    empty = cells.assign(final_acc=float("nan"))
    assert draw(path, {**tables, "cells": empty}, tmp_path, "accuracy-bytes")[1] == "no cell has a final accuracy"


def test_what_a_figure_is_needs_nothing_that_draws() -> None:
    with pytest.raises(Skip):
        raise Skip
    assert Options is sys.modules["bench.figure_spec"].Options
