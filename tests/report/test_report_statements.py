"""Files of statements, the published ones, and the table that results make of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from reported import source_of
from typer.testing import CliRunner

from bench.analysis.statements import MEASURES
from bench.cli.main import app
from bench.errors import BenchError
from bench.federation.partition import CONVENTIONS
from bench.plugins import registry
from bench.report.source import Source
from bench.report.statements import Written, read_statements, statements_table, with_guesses

ONE = """
[[statements]]
says = "PriSM | is above OrthDrop"
source = "a paper"
method = "prism"
other = "orthdrop"
claim = "above"
where = { task = "cnn-femnist", keep = 0.2 }

[[statements]]
says = "PriSM loses two points"
source = "a paper"
method = "prism"
other = "fedavg"
low = -3
theirs = -2

[[statements]]
says = "of a method that is not here"
source = "a paper"
method = "nefl"
low = 50
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return source_of(tmp_path_factory.mktemp("said"))


def written(folder: Path, text: str) -> Path:
    path = folder / "said.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_row_for_each_statement_and_setting(source: Source, tmp_path: Path) -> None:
    text = statements_table(source, read_statements(written(tmp_path, ONE)))
    rows = [line for line in text.splitlines() if line.startswith("| PriSM")]
    assert len(rows) == 1 + 4  # one setting, and all four
    assert rows[0].startswith(
        r"| PriSM \| is above OrthDrop | a paper | cnn-femnist, natural, keep 0.2 | prism less orthdrop | 3 |  | +"
    )
    assert all(" | −2.0 | +" in row and row.endswith("| **holds** |") for row in rows[1:])
    assert "1 round; seeds 0 to 2" in text and "Stand-in data: it says nothing of real data." in text
    assert text.endswith("Of 1 statement nothing was measured here.\n")


def test_published_statements_are_about_what_there_is() -> None:
    said = read_statements()
    assert len(said) > 15 and len({one.says for one in said}) == len(said)
    for one in said:
        for name in filter(None, (one.method, one.other)):
            method, _, settings = name.partition(" (")
            fields = {field.name for field in dataclasses.fields(registry.method(method).kind.Params)} | {"dealt"}
            assert {part.partition("=")[0] for part in settings.rstrip(")").split(", ") if part} <= fields, one
        assert set(one.where.get("task", [])) <= set(registry.tasks()), one
        assert set(one.where.get("partition", [])) <= set(CONVENTIONS), one
        assert one.measure == "accuracy" or one.measure in MEASURES


def test_measures_of_files_are_those_that_are_computed() -> None:
    assert set(get_args(get_type_hints(Written)["measure"])) == {"accuracy", *MEASURES}


def test_records_say_up_to_which_accuracy_one_may_have_guessed(source: Source) -> None:
    guesses = with_guesses(source)["guess"]
    assert guesses.notna().all() and (guesses >= 0.1).all() and (guesses < 0.3).all()


@pytest.mark.parametrize(("text", "words"), [
    ("statements = 3", r"it has no \[\[statements\]\]"),
    ("[[cells]]\nmethod = 'prism'", "this is a sweep: use 'bench sweep'"),
    (ONE.replace("claim", "clam"), r"said\.toml, statements 1: unknown name 'clam'; .*did you mean 'claim'"),
    (ONE.replace('"above"', '"abov"'), r"claim = 'abov' is not possible; .*did you mean 'above'"),
    (ONE.replace("keep = 0.2", "kep = 0.2"), r"statements 1, where: unknown name 'kep'; .*did you mean 'keep'"),
    (ONE.replace('source = "a paper"\nmethod = "nefl"', 'method = "nefl"'), "statements 3: source is missing"),
    (ONE.replace("low = 50", ""), "statements 3: low and high are missing"),
    (ONE.replace("low = 50", "low = 50\nhigh = 40"), r"statements 3: low = 50\.0 is above high = 40\.0"),
    (ONE.replace('claim = "above"', 'claim = "above"\nlow = 3'), "statements 1: low and high belong to"),
    (ONE.replace('other = "orthdrop"\n', ""), "statements 1: other is missing"),
    (ONE.replace("low = -3", 'low = "three"'), r"low = 'three' is not possible; allowed: a number"),
    (ONE.replace('where = { task = "cnn-femnist", keep = 0.2 }', "where = 3"), "where = 3 is not possible"),
])  # fmt: skip
def test_wrong_files_are_one_sentence(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=words):
        read_statements(written(tmp_path, text))


def test_names_that_nobody_knows_are_one_sentence(source: Source, tmp_path: Path) -> None:
    wrong = ONE.replace('method = "nefl"', 'method = "nelf"')
    with pytest.raises(
        BenchError, match=r"'of a method that is not here': unknown method 'nelf'; .*did you mean 'nefl'"
    ):
        statements_table(source, read_statements(written(tmp_path, wrong)))
    wrong = ONE.replace('task = "cnn-femnist"', 'task = "cnn-femist"')
    with pytest.raises(BenchError, match=r"unknown task 'cnn-femist'; .*did you mean 'cnn-femnist'"):
        statements_table(source, read_statements(written(tmp_path, wrong)))


def test_tables_of_earlier_versions_do_not_say_what_guessing_gives(source: Source) -> None:
    known = [dataclasses.replace(cell, facts={}) for cell in source.known]
    finals = source.cells.drop(columns="classes")
    old = dataclasses.replace(source, known=tuple(known), tables={**source.tables, "finals": finals})
    assert with_guesses(old)["guess"].isna().all()


def test_results_that_have_none_of_the_methods(source: Source, tmp_path: Path) -> None:
    said = read_statements(written(tmp_path, ONE))[2:]
    with pytest.raises(BenchError, match="has the methods of none of the 1 statement"):
        statements_table(source, said)


def test_the_command(tmp_path: Path) -> None:
    words = ["statements", "results/compare", "--only", "task=cnn-femnist", "--only", "method=prism"]
    ended = CliRunner().invoke(app, [*words, "--only", "method=fedavg", "--file", str(written(tmp_path, ONE))])
    assert ended.exit_code == 0, ended.exception
    assert "PriSM loses two points" in ended.stdout and "is above OrthDrop |" not in ended.stdout
