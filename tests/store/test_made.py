"""What makes a cell's numbers: its declared revisions, and the code of files that have none."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import CNN, cell_of, write

from bench import revisions
from bench.plugins import registry
from bench.store import provenance
from bench.store.made import changes, made

HEIR = """
from methods.prism import PriSM

class Mine(PriSM):
    pass
"""


def test_a_cell_depends_on_its_task_its_method_and_what_they_share() -> None:
    assert made(cell_of("prism", keep=0.5)).revisions == {
        "harness": 1,
        "family spectral": 1,
        "method prism": 1,
        f"task {CNN}": 1,
    }
    assert set(made(cell_of("fedavg")).revisions) == {"harness", "method fedavg", f"task {CNN}"}


@pytest.mark.parametrize(
    ("table", "name", "stale"),
    [
        ("METHODS", "prism", {"prism"}),
        ("FAMILIES", "spectral", {"prism", "collective", "fedhm"}),
        ("FAMILIES", "width", {"origdrop"}),
        ("TASKS", CNN, {"prism", "collective", "fedhm", "origdrop", "fedavg"}),
        ("TASKS", "lstm-imdb", set()),
    ],
)
def test_a_raised_revision_makes_stale_what_depends_on_it(
    table: str, name: str, stale: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = {method: cell_of(method, keep=0.5) for method in ("prism", "collective", "fedhm", "origdrop", "fedavg")}
    before = {method: made(cell).facts() for method, cell in cells.items()}
    monkeypatch.setitem(getattr(revisions, table), name, 2)
    assert {method for method, cell in cells.items() if made(cell).changes(before[method])} == stale


def test_an_edit_or_a_new_measure_makes_nothing_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = cell_of("prism", keep=0.5)
    before = made(cell).facts()
    monkeypatch.setattr(provenance, "simulation_code", lambda: "changed")
    monkeypatch.setattr(revisions, "MEASURES", 2)
    after = made(cell)
    assert after.code != before["code"] and after.facts()["measures"] == 2 and after.changes(before) == ""


def test_results_from_before_revisions_are_said_to_be() -> None:
    assert changes({"code": "x"}, made(cell_of("fedavg")).facts()) == "it was made before results had revisions"


def test_a_file_of_the_users_counts_by_its_code_and_by_what_it_inherits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "mine.py", HEIR)
    cell = cell_of("mine", (path,), keep=0.5)
    before = made(cell, (path,))
    assert before.own_code and {"family spectral", "method prism"} < set(before.revisions)
    monkeypatch.setitem(revisions.METHODS, "prism", 2)
    assert "method prism is at revision 2" in made(cell, (path,)).changes(before.facts())
    monkeypatch.undo()
    write(path, HEIR + "    summary = 'other'\n")
    assert made(cell, (path,)).changes(before.facts()) == "files of your own that it runs have changed"


def test_a_users_file_of_a_built_in_name_is_not_the_built_in_one(tmp_path: Path) -> None:
    path = write(tmp_path / "fedavg.py", (registry.method("fedavg").source).read_text(encoding="utf-8"))
    cell = cell_of("fedavg", (path,))
    theirs = made(cell, (path,))
    assert theirs.own_code and "method fedavg" not in theirs.revisions
    assert theirs.changes(made(cell).facts()).startswith("method fedavg is at no revision and was at revision 1")


def test_a_file_put_into_the_folder_of_methods_counts_by_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever copies a method there and edits it would else keep the numbers of the copy."""
    assert made(cell_of("orthdrop", keep=0.5)).own_code == ""
    monkeypatch.delitem(revisions.METHODS, "orthdrop")
    assert made(cell_of("orthdrop", keep=0.5)).own_code
    monkeypatch.delitem(revisions.TASKS, CNN)
    assert made(cell_of("fedavg")).own_code


def test_every_file_that_is_built_in_has_a_revision() -> None:
    assert set(revisions.METHODS) == set(registry.methods())
    assert set(revisions.TASKS) == set(registry.tasks())
    bases = {above for entry in registry.methods().values() if entry.kind for above in entry.kind.__mro__}
    families = {vars(kind).get("family") for kind in bases if kind.__module__.startswith("bench.families")} - {None}
    assert set(revisions.FAMILIES) == families
