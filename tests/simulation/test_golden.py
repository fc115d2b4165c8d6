"""Golden cells: what each task gives with each method is kept; a change that moves it names the revision to raise."""

from __future__ import annotations

import inspect
import json
import math
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import golden
import pytest
from golden import CELLS, KEEPS, UNDEFINED, complaint, kept, machine, moved, numbers_of, revisions_of, undocumented
from helpers import LSTM, federation, run
from thinned import every, thinned

from bench import revisions, seeding
from bench.api import Skip
from bench.families import averaging
from bench.families.nested import Nested
from bench.models import hadamard
from bench.spectral import inclusion, sampling
from bench.tasks.base import Recipe
from bench.training import local
from methods.inclusivefl import InclusiveFL

ONE_OF_EACH = ("fedavg", "prism", "heterofl", "fedpara", "fedlmt", "inclusivefl", "depthfl", "nefl", "splitmix")
"""Methods whose cells are computed always on every task; those of the others on the CNN alone."""


def _is_computed_always(name: str) -> bool:
    return name.startswith("cnn") or name.endswith(ONE_OF_EACH)


@pytest.mark.parametrize("name", thinned(CELLS, _is_computed_always))
def test_a_cell_gives_the_numbers_that_are_kept(name: str) -> None:
    expected = kept().get(name)
    assert expected, f"golden cell {name} is not recorded: run 'make golden'"
    if expected["revisions"] != revisions_of(name):
        pytest.fail(f"a revision of golden cell {name} is not that which was recorded: run 'make golden'")
    numbers = numbers_of(name)
    parts = moved(name, numbers)
    if parts:
        pytest.fail(complaint(name, parts))
    bits = expected["bits"].get(machine())
    if bits is not None:
        assert numbers["bits"] == bits, "a refactoring moves no number, not by a bit; if it is meant, run 'make golden'"


FEDAVG = "cnn-femnist-fedavg"
MUTATIONS: dict[str, tuple[Callable[..., Any], str, str, str]] = {
    "the learning rate falls a round too early": (Recipe.lr_of, "(round_number - 1)", "round_number", FEDAVG),
    "a stream forgets its client": (seeding.key_of, "/{client}", "", FEDAVG),
    "no weight decays": (local.optimiser_of, "recipe.weight_decay)", "0.0)", "lstm-imdb-fedavg"),
    "no momentum": (local.optimiser_of, "recipe.momentum", "0.0", FEDAVG),
    "kernels drawn by their singular values, not by a power": (
        sampling.log_powers,
        "return kappa *",
        "return",
        "lstm-imdb-prism",
    ),
    "the reciprocal of a square root": (
        inclusion.horvitz_thompson,
        "np.divide(1.0, inclusion,",
        "np.divide(1.0, np.sqrt(inclusion),",
        "lstm-imdb-unbiased",
    ),
    "one client too many": (
        inclusion.collective_inclusion,
        "clients - 1.0",
        "clients",
        "lstm-imdb-collective",
    ),
    "a mean over twice the weight": (averaging._mean, ", weight, 1.0", ", 2 * weight, 1.0", "lstm-imdb-origdrop"),
    "the last channels and not the first": (
        Nested.choose,
        "np.arange(count)",
        "np.arange(size - count, size)",
        "cnn-femnist-heterofl",
    ),
    "a sum of halves and not their product": (hadamard.composed, "halves[0] * (", "halves[0] + (", "lstm-imdb-fedpara"),
    "a mean loss over a batch too many": (local.mean_loss, "total / passes", "total / (passes + 1)", FEDAVG),
    "clients that train more than they can": (
        InclusiveFL.frozen_parts,
        "<= keep)",
        "<= 2 * keep)",
        "cnn-femnist-inclusivefl",
    ),
}


def mutate(monkeypatch: pytest.MonkeyPatch, rule: Callable[..., Any], old: str, new: str) -> None:
    """Exchange some text in a function, wherever it is already known."""
    source = textwrap.dedent(inspect.getsource(rule))
    assert source.count(old) == 1, f"{rule.__qualname__} has no such text any more"
    space = dict(rule.__globals__)
    exec(compile(source.replace(old, new), "mutation", "exec", flags=annotations.compiler_flag), space)
    monkeypatch.setattr(rule, "__code__", space[rule.__name__].__code__)


@pytest.mark.parametrize("what", thinned(MUTATIONS, every(3)))
def test_a_wrong_formula_moves_its_golden_cell(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, old, new, name = MUTATIONS[what]
    mutate(monkeypatch, rule, old, new)
    assert moved(name, numbers_of(name))


@pytest.mark.parametrize(
    ("which", "raised"),
    [
        (lambda task, method: (task, method) == (LSTM, "prism"), "METHODS['prism']"),
        (lambda task, method: method in ("prism", "orthdrop", "collective", "unbiased"), "FAMILIES['spectral']"),
        (lambda task, method: task == LSTM, "TASKS['lstm-imdb']"),
        (lambda task, method: True, "HARNESS"),
    ],
)
def test_the_narrowest_revision_is_named(which: Callable[[str, str], bool], raised: str) -> None:
    sentence = complaint("lstm-imdb-prism", ["losses", "updates"], lambda name: which(*CELLS[name]))
    assert sentence.startswith("golden cell lstm-imdb-prism moved: its losses and updates are not those kept")
    assert f"raise {raised} in bench/revisions.py" in sentence and "make golden" in sentence


def test_a_number_that_is_none_has_moved() -> None:
    numbers = dict(kept()[FEDAVG])
    numbers["losses"] = [numbers["losses"][0], *[[math.nan, math.nan]] * (len(numbers["losses"]) - 1)]
    assert moved(FEDAVG, numbers) == ["losses"]


def test_a_cost_that_moved_raises_the_revision_of_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = dict(kept()[FEDAVG])
    numbers["costs"] = {**numbers["costs"], "train_macs": numbers["costs"]["train_macs"] + 1}
    assert moved(FEDAVG, numbers) == ["costs"]
    assert "raise MEASURES in" in complaint(FEDAVG, ["costs"])


def test_every_method_has_a_golden_cell_on_each_task_that_defines_it() -> None:
    assert {method for _, method in CELLS.values()} == set(revisions.METHODS)
    assert {task for task, _ in CELLS.values()} == set(revisions.TASKS)
    for task, method in UNDEFINED:
        with pytest.raises(Skip):
            run(federation(method, task, keep=KEEPS[method]))


def test_every_raised_revision_says_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert undocumented() == []
    monkeypatch.setattr(revisions, "HARNESS", 99)
    monkeypatch.setitem(revisions.METHODS, "prism", 99)
    assert undocumented() == ["harness 99", "method prism 99"]


def test_a_cell_that_moved_is_not_recorded_without_a_new_revision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else 'make golden' would hide what it is there to show."""
    name = "lstm-imdb-fedavg"
    before = {name: kept()[name]}
    monkeypatch.setattr(golden, "CELLS", {name: CELLS[name]})
    monkeypatch.setattr(golden, "FILE", tmp_path / "golden.json")
    monkeypatch.setattr(golden, "complaint", lambda name, parts: f"{name}: {parts}")
    golden.FILE.write_text(json.dumps(before))
    mutate(monkeypatch, local.mean_loss, "total / passes", "total / (passes + 1)")
    assert golden.record() == [f"{name}: ['losses']"] and kept() == before
    monkeypatch.setattr(revisions, "HARNESS", 2)
    assert golden.record() == []
    assert kept()[name]["revisions"]["harness"] == 2 and kept()[name]["losses"] != before[name]["losses"]
    assert list(kept()[name]["bits"]) == [machine()]
