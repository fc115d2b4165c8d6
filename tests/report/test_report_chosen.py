"""Tables of a part of the results: conditions are met, full models stay beside every keep ratio, errors are kind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from reported import acc_of, source_of

from bench.analysis.comparisons import comparisons
from bench.cell import Cell
from bench.errors import BenchError
from bench.report.chosen import chosen
from bench.report.source import Source
from bench.report.table import table_of

MIXED = """
    [[cells]]
    method = ["fedavg", "orthdrop"]
    keep = 0.2
    seed = [0, 1]
    [[cells]]
    method = "orthdrop"
    budget = [{ bytes = 0.9 }, { macs = 0.5 }]
    seed = [0, 1]
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return source_of(tmp_path_factory.mktemp("chosen"))


def family(caption: str) -> int:
    """Return how many comparisons a caption says that the intervals hold together for."""
    return int(re.findall(r"Bonferroni, (\d+) comparison", caption)[0])


def seen(source: Source) -> set[tuple[object, ...]]:
    columns = source.cells[["task", "method", "keep", "seed"]]
    return set(columns.astype({"task": str, "method": str}).itertuples(index=False, name=None))


def test_conditions_hold_together_and_those_of_one_name_are_alternatives(source: Source) -> None:
    some = chosen(source, ["task=cnn-femnist", "method=prism", "method=orthdrop", "keep=0.20", "seed=1"])
    assert seen(some) == {("cnn-femnist", "prism", 0.2, 1), ("cnn-femnist", "orthdrop", 0.2, 1)}
    assert set(some.tables["rounds"]["cell"].astype(str)) == set(some.cells["cell"].astype(str))
    assert chosen(source, []) is source


def test_all_but_some(source: Source) -> None:
    some = chosen(source, ["method!=fedavg", "task=cnn-femnist", "keep!=0.2", "seed!=0", "seed!=2"])
    assert seen(some) == {("cnn-femnist", "prism", 0.5, 1), ("cnn-femnist", "orthdrop", 0.5, 1)}
    with pytest.raises(BenchError, match=r"'method=prsim': no finished cell .*did you mean 'prism'"):
        chosen(source, ["method!=prsim"])


def test_full_models_stay_beside_the_keep_ratio_that_is_chosen(source: Source) -> None:
    table = table_of(chosen(source, ["keep=0.5", "task=cnn-femnist"]), "gap")
    assert table.columns == ["cnn-femnist, natural, keep 0.5"]
    assert {label for label, _ in table.rows} == {"fedavg", "prism", "orthdrop"}
    assert family(table.caption) < family(table_of(source, "gap").caption)  # it is that of the question


def test_budgets_are_chosen_by_their_own_name(tmp_path: Path) -> None:
    source = source_of(tmp_path, MIXED)
    some = chosen(source, ["budget=bytes=0.9"])
    assert table_of(some).columns == ["cnn-femnist, natural, budget bytes=0.9"]
    assert {label for label, _ in table_of(some).rows} == {"fedavg", "orthdrop"}
    assert table_of(chosen(source, ["keep=0.2"])).columns == ["cnn-femnist, natural, keep 0.2"]
    with pytest.raises(BenchError, match=r"--only 'keep=bytes=0\.9': no finished cell .*; allowed: '0\.2'"):
        chosen(source, ["keep=bytes=0.9"])


def test_what_is_left_keeps_its_place(tmp_path: Path) -> None:
    """A method whose only cell left has keep ratio 1 is no full model, and a control stays one."""
    grid = """
        [[cells]]
        method = "prism"
        keep = [0.2, 1]
        seed = [0, 1]
        [[cells]]
        method = "orthdrop"
        keep = [0.2, 0.5]
        seed = [0, 1]
        [[cells]]
        method = "prism"
        keep = "0.2:0.5,1:0.5"
        capacity = ["fixed", "dealt"]
        seed = [0, 1]
    """
    source = source_of(tmp_path, grid)
    table = table_of(chosen(source, ["keep!=0.2", "keep!=0.2:0.5,1:0.5"]))
    assert table.columns == ["keep 0.5", "keep 1"]
    assert {label: [value.text != "–" for value in values] for label, values in table.rows} == {
        "orthdrop": [True, False], "prism": [False, True]
    }  # fmt: skip
    control = table_of(chosen(source, ["label=prism (dealt)"]))
    assert [label for label, _ in control.rows] == ["prism (dealt)"]
    assert control.columns == ["cnn-femnist, natural, keep 0.2:0.5,1:0.5"]


@pytest.mark.parametrize(("conditions", "words"), [
    (["methd=prism"], r"--only 'methd=prism': it reads name=value or name!=value; .*did you mean 'method'"),
    (["prism"], "reads name=value"),
    (["method=prsim"], r"no finished cell of .* has it; allowed: .*did you mean 'prism'"),
    (["keep=0.3"], r"'keep=0\.3': no finished cell .*allowed: '0\.2', '0\.5'"),
    (["method=fedavg", "task=lstm-imdb"], "no finished cell of .* has it; allowed: 'cnn-femnist'"),
])  # fmt: skip
def test_wrong_conditions_are_one_sentence(source: Source, conditions: list[str], words: str) -> None:
    with pytest.raises(BenchError, match=words):
        chosen(source, conditions)


def test_conditions_that_nothing_meets_together(tmp_path: Path) -> None:
    source = source_of(tmp_path, MIXED)
    with pytest.raises(BenchError, match=r"--only: no finished cell of tiny has method=fedavg and label=orthdrop"):
        chosen(source, ["method=fedavg", "label=orthdrop"])


def test_gaps_are_to_whom_one_asks(source: Source) -> None:
    def of(cell: tuple[str, float, int]) -> float:
        method, keep, seed = cell
        return acc_of(Cell("cnn-femnist", method, keep=keep, seed=seed))

    table = table_of(chosen(source, ["task=cnn-femnist"]), "gap", against="orthdrop")
    rows = {label: [value.text for value in values] for label, values in table.rows}
    assert table.columns == ["keep 0.2", "keep 0.5"] and "cnn-femnist, natural; " in table.caption
    for column, keep in enumerate((0.2, 0.5)):
        for label, own in (("prism", keep), ("fedavg", 1.0)):
            expected = sum(of((label, own, seed)) - of(("orthdrop", keep, seed)) for seed in range(3)) / 3
            assert rows[label][column] == f"{100 * expected:+.1f}"
    assert rows["orthdrop"] == ["0.0", "0.0"] and "less that of orthdrop in percentage points" in table.caption
    assert "do not tell apart from orthdrop, judged" in table.caption
    tested = comparisons(source.cells[source.cells["task"] == "cnn-femnist"], "orthdrop")["p_t"].notna().sum()
    assert family(table.caption) == tested  # without those whose differences have no spread


def test_who_gaps_are_to_has_to_be_there(source: Source) -> None:
    with pytest.raises(BenchError, match=r"--against: reference 'prsim' is no label .*did you mean 'prism'"):
        table_of(source, "gap", against="prsim")
    with pytest.raises(BenchError, match="--against 'prism': --value accuracy is beside nobody; allowed: --value gap"):
        table_of(source, "accuracy", against="prism")
