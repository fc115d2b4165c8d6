"""Wrong configurations are refused with one sentence, and equal ones have one identity."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import CELLS, CNN, COMMON, LSTM, RESNET, TRAINING, read, sweep_of, write

from bench.cell import Cell, from_canonical
from bench.config.cells import make_cell, read_sweep
from bench.config.settings import split_settings
from bench.config.validation import without_defaults
from bench.errors import BenchError
from bench.plugins import registry

QUICK = registry.task(CNN).kind.tiers["quick"]
ONE = '[[cells]]\nmethod = "prism"\n'

WRONG = [
    # (what is written, the words the sentence must hold)
    (COMMON + ONE + "kep = 0.2", ["cells 1", "'kep'", "did you mean 'keep'"]),
    ("titel = 'x'\n" + COMMON + ONE, ["'titel'", "did you mean 'title'"]),
    (COMMON.replace("task", "tsk") + ONE, ["common", "'tsk'", "did you mean 'task'"]),
    (COMMON.replace(CNN, "cnn-femnst") + ONE, ["cells 1", "'cnn-femnst'", f"did you mean '{CNN}'"]),
    (COMMON + ONE.replace("prism", "prsim"), ["cells 1", "'prsim'", "did you mean 'prism'"]),
    (COMMON + ONE.replace('"prism"', "5"), ["cells 1", "'5'", "allowed"]),
    (COMMON + ONE + "[[cells]]\nkeep = 0.2", ["cells 2", "'method' is missing"]),
    (ONE, ["cells 1", "'task' is missing"]),
    (COMMON + ONE + "[cells.training]\nlrr = 1", ["cells 1, training", "'lrr'", "did you mean 'lr'"]),
    (COMMON + ONE + "[cells.training]\nlr = 0", ["lr = 0 ", "above 0"]),
    (COMMON + ONE + "[cells.training]\nlr = nan", ["lr = nan", "a number above 0"]),
    (COMMON + ONE + "[cells.training]\nlr = inf", ["lr = inf", "a number above 0"]),
    (COMMON + ONE + '[cells.training]\nlr = "fast"', ["lr = 'fast'", "a number above 0"]),
    (COMMON + ONE + '[cells.training]\nrounds = "2"', ["rounds = '2'", "a whole number from 1"]),
    (COMMON + ONE + "[cells.training]\nrounds = true", ["rounds = True", "a whole number from 1"]),
    (COMMON + ONE + "[cells.training]\nrounds = 2.5", ["rounds = 2.5", "a whole number from 1"]),
    (COMMON + ONE + "[cells.training]\nrounds = 0", ["rounds = 0 ", "a whole number from 1"]),
    (COMMON + ONE + "[cells.training]\nmomentum = 1.5", ["momentum = 1.5", "from 0 to 1"]),
    (COMMON + ONE + "[cells.training]\nmomentum = false", ["momentum = False", "from 0 to 1"]),
    (COMMON + ONE + "[cells.training]\ndrop_last = 1", ["drop_last = 1 ", "true or false"]),
    (COMMON + ONE + "[cells.training]\nrounds = [[1, 2]]", ["rounds = [1, 2]", "a whole number"]),
    (COMMON + ONE + "[cells.training.lr]\nlow = 1", ["lr = {'low': 1}", "a number"]),
    (COMMON + ONE + "[cells.training]\nlr = []", ["lr is an empty list"]),
    (COMMON + ONE + "[cells.training]\ncohort = 5", ["training", "cohort = 5", "1 to clients = 4"]),
    (COMMON + ONE + "training = 3", ["cells 1, training", "3 is not a table"]),
    (COMMON + ONE + "[cells.model]\nvariant = 'papr'", ["model of cnn-femnist", "'papr'", "did you mean 'paper'"]),
    (COMMON + ONE + "[cells.model]\nwidth = 4", ["model of cnn-femnist", "'width'", "allowed: 'variant'"]),
    (COMMON + ONE + "[cells.parameters.prism]\nkapa = 1", ["parameters of prism", "'kapa'", "did you mean 'kappa'"]),
    (COMMON + ONE + "[cells.parameters.prism]\nkappa = 21", ["parameters of prism", "kappa = 21", "from 0 to 20"]),
    (COMMON + ONE + "[cells.parameters.prism]\nclip_tau = 3", ["clip_tau = 3", "no effect without multipliers"]),
    (
        COMMON + ONE + "[cells.parameters.prism]\nkappa = 3\nsampling = 'softmax'",
        ["kappa = 3", "no effect", "not drawn by powers"],
    ),
    (COMMON + ONE + "[cells.parameters.prism]\nkappa = 3\nas_released = true", ["kappa = 3", "no effect"]),
    (COMMON + ONE + "[cells.parameters.prism]\nkappa = true", ["kappa = True", "a number"]),
    (COMMON + ONE + "[cells.parameters.fedavg]\nweights = 'uniform'", ["'fedavg' is not a method", "'prism'"]),
    (COMMON + ONE + "[cells.parameters]\nkappa = 2", ["'kappa' is not a method", "'prism'"]),
    (COMMON + ONE + "[cells.parameters]\nprism = 2", ["parameters of prism", "2 is not a table"]),
    *[
        (COMMON + ONE + f"keep = {value}", ["cells 1", "keep = ", "above 0 and up to 1"])
        for value in ("0", "0.0", "-0.2", "1.01", "nan", "true", '"0.2"', "[[0.2]]", "{a = 1}")
    ],
    (COMMON + ONE + 'keep = [0.2, "0.2:0.6,0.4:0.3"]', ["cells 1: keep = '0.2:0.6,0.4:0.3'", "add up to 0.9"]),
    (COMMON + ONE + 'keep = "0.2:0.9,0.4:0.1"', ["none of 4 clients", "keep ratio 0.4"]),
    (COMMON + ONE + "diagnostics = 'eror'", ["diagnostics = 'eror'", "'basic'", "did you mean 'errors'"]),
    (COMMON + ONE + "diagnostics = true", ["diagnostics = True", "'cosine', 'all'"]),
    (COMMON + ONE + "keep = []", ["keep is an empty list"]),
    (COMMON + ONE.replace("prism", "fedavg") + "keep = 7", ["keep = 7", "above 0 and up to 1"]),
    *[
        (
            COMMON + ONE + f"partition = 'lda'\nalpha = {value}",
            ["alpha = ", "a number from 1e-100 to 1e+100, or inf for iid"],
        )
        for value in ("0", "1e-300", "1e307", "-1", "nan", "-inf", "true", '"1"', "[[1]]")
    ],
    (COMMON + ONE + "partition = 'natural'\nalpha = 1", ["alpha = 1 ", "'natural'"]),
    (COMMON + ONE + "partition = 'iid'\nalpha = 1", ["alpha = 1 ", "'iid'"]),
    (COMMON + ONE + "partition = 'iid-exact'\nalpha = 1", ["alpha = 1 ", "'iid-exact'"]),
    (COMMON + ONE + "partition = 'dirichlet'", ["'dirichlet' needs alpha"]),
    (COMMON + ONE + "partition = 'lda-prior'", ["'lda-prior' needs alpha"]),
    (COMMON + ONE + "partition = 'pachinko:2'", ["'pachinko' needs alpha"]),
    (COMMON + ONE + "partition = 'pachinko:-2'\nalpha = 1", ["'pachinko:-2'", "allowed behind 'pachinko:'"]),
    (COMMON + ONE + "partition = 'lda:2'\nalpha = 1", ["'lda:2'", "did you mean 'lda'"]),
    (COMMON + ONE + "partition = 'lda-prio'\nalpha = 1", ["'lda-prio'", "did you mean 'lda-prior'"]),
    (COMMON + ONE + "partition = 'ldaa'", ["'ldaa'", "did you mean 'lda'"]),
    (COMMON + ONE + "partition = 3", ["partition = 3 ", "'iid'"]),
    (COMMON + ONE + "tier = 'papers'", ["tier = 'papers'", "did you mean 'paper'"]),
    (COMMON + ONE + "tier = [['quick']]", ["tier = ['quick']", "'paper'"]),
    (COMMON + ONE + "data = 'reel'", ["data = 'reel'", "did you mean 'real'"]),
    *[
        (COMMON + ONE + f"seed = {value}", ["seed = ", "a whole number from 0"])
        for value in ("-1", "1.0", "true", '"1"', 2**63)
    ],
    *[
        (f"last = {value}\n" + COMMON + ONE, ["last = ", "a whole number from 1"])
        for value in ("0", "true", "1.5", '"3"')
    ],
    ("figures = ['acuracy-keep']\n" + COMMON + ONE, ["'acuracy-keep'", "did you mean 'accuracy-keep'"]),
    ("figures = 'accuracy-keep'\n" + COMMON + ONE, ["figures = 'accuracy-keep'", "words"]),
    ("figures = 4\n" + COMMON + ONE, ["figures = 4", "words"]),
    ("figures = [['accuracy-keep']]\n" + COMMON + ONE, ["figures = [['accuracy-keep']]", "words"]),
    ("title = 5\n" + COMMON + ONE, ["title = ", "words"]),
    ("common = 5\n" + ONE, ["common", "5 is not a table"]),
    (COMMON, ["no [[cells]] table"]),
    ("cells = []\n" + COMMON, ["no [[cells]] table"]),
    ("cells = 3\n" + COMMON, ["no [[cells]] table"]),
    ("cells = [3]\n" + COMMON, ["no [[cells]] table"]),
    ("", ["no [[cells]] table"]),
    ("this is no TOML", ["not a TOML file", "line 1"]),
]


@pytest.mark.parametrize(("text", "words"), WRONG, ids=range(len(WRONG)))
def test_wrong_sweep_file_is_one_sentence(tmp_path: Path, text: str, words: list[str]) -> None:
    path = write(tmp_path / "wrong.toml", text)
    with pytest.raises(BenchError) as refused:
        read_sweep(path)
    said = str(refused.value)
    assert said.startswith(str(path)) and "\n" not in said
    assert [word for word in words if word not in said] == [], said


def test_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(BenchError, match=r"nowhere.toml: the sweep file cannot be read \(No such file or directory\)$"):
        read_sweep(tmp_path / "nowhere.toml")
    near = sweep_of(tmp_path)
    with pytest.raises(BenchError, match=rf"did you mean '{near}'\?$"):
        read_sweep(tmp_path / "tinny.toml")
    with pytest.raises(BenchError, match=rf"cannot be read \(it is a folder\); allowed: '{near}'$"):
        read_sweep(tmp_path)
    with pytest.raises(BenchError, match="No such file"):
        read_sweep(tmp_path / "no" / "folder" / "here.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BenchError, match="is in UTF-16; save it in UTF-8"):
        read_sweep(tmp_path / "binary.toml")


def test_grid_is_the_product_of_its_lists(tmp_path: Path) -> None:
    grid = """
        [[cells]]
        method = ["prism", "orthdrop"]
        keep = [0.2, 0.4, 1]
        seed = [0, 1]
        [cells.training]
        lr = [0.3, 0.7]
        [cells.model]
        variant = ["paper", "released"]
        [cells.parameters.prism]
        kappa = [1, 3]
    """
    got = {(c.method, c.keep, c.seed, c.training["lr"], c.model.get("variant", "paper"), c.parameters.get("kappa"))
           for c in read(tmp_path, grid).cells}  # fmt: skip
    axes = [0.2, 0.4, 1.0], [0, 1], [0.3, 0.7], ["paper", "released"]
    wanted: set[tuple[Any, ...]] = {("prism", *point) for point in itertools.product(*axes, [1.0, 3.0])}
    wanted |= {("orthdrop", *point, None) for point in itertools.product(*axes)}
    assert got == wanted
    assert len(read(tmp_path, grid).cells) == len(wanted) == 3 * 2 * 2 * 2 * (2 + 1)


def test_mixed_keep_ratios_are_points_of_a_grid(tmp_path: Path) -> None:
    cells = read(tmp_path, ONE + 'keep = [0.1, 0.2, "0.2:0.5,0.4:0.5", "0.4:0.5,0.2:0.5"]\n').cells
    assert [(cell.keep, cell.capacities) for cell in cells] == [
        (0.1, ()),
        (0.2, ()),
        (0.3, ((0.2, 0.5), (0.4, 0.5))),
    ]


def test_capacity_is_an_axis_and_profiles_may_be_named(tmp_path: Path) -> None:
    cells = read(tmp_path, ONE + 'keep = [0.1, "a-e", "1:0.5,e:0.5"]\ncapacity = ["fixed", "dynamic"]\n').cells
    mixed = ((0.0625, 0.5), (1.0, 0.5))
    # Where all clients are alike there is nothing to draw, and the two names of a profile are one cell.
    assert [(cell.capacities, cell.capacity) for cell in cells] == [
        ((), "fixed"),
        (mixed, "fixed"),
        (mixed, "dynamic"),
    ]


def test_cells_that_come_out_equal_are_run_once(tmp_path: Path) -> None:
    cells = read(tmp_path, CELLS + CELLS).cells
    assert [(cell.method, cell.keep) for cell in cells] == [("fedavg", 1.0), ("orthdrop", 0.2), ("orthdrop", 0.5)]


def test_a_grid_adds_to_the_common_tables_and_wins_over_them(tmp_path: Path) -> None:
    (cell,) = read(tmp_path, ONE + "[cells.training]\nlr = 0.3\nrounds = 7").cells
    assert cell.training == {**TRAINING, "lr": 0.3, "rounds": 7} | {"local_epochs": 1}


@dataclass(frozen=True)
class Together:
    """Two values that want each other, the second filled in where it is missing."""

    first: int = 0
    second: int | None = None

    def __post_init__(self) -> None:
        if self.first == 1 and self.second is None:
            raise ValueError("first = 1 wants a second")
        if self.second is None:
            object.__setattr__(self, "second", 10 * self.first)


@pytest.mark.parametrize(
    ("values", "changed"),
    [
        ({"second": 0}, {}),
        ({"second": 20}, {"second": 20}),
        ({"first": 2, "second": 20}, {"first": 2}),
        ({"first": 1, "second": 10}, {"first": 1, "second": 10}),
        ({"first": 0, "second": 7}, {"second": 7}),
    ],
)
def test_what_a_dataclass_fills_in_by_itself_is_no_change(values: dict[str, int], changed: dict[str, int]) -> None:
    assert without_defaults(Together, values) == changed
    assert Together(**changed) == Together(**values)


@given(
    task=st.sampled_from([CNN, RESNET, LSTM]),
    method=st.sampled_from(["prism", "fedavg", "orthdrop", "origdrop"]),
    keep=st.floats(1e-6, 1),
    alpha=st.floats(1e-3, 1e3) | st.just(math.inf),
    seed=st.integers(0, 2**63 - 1),
    lr=st.floats(1e-6, 1e3),
)
def test_canonical_form_is_reversible(task: str, method: str, keep: float, alpha: float, seed: int, lr: float) -> None:
    values = {"task": task, "method": method, "keep": keep, "alpha": alpha, "seed": seed, "training": {"lr": lr}}
    cell = make_cell(values, "test")
    again: Cell = from_canonical(cell.canonical())
    assert again == cell and again.identity == cell.identity
    # What a sweep file says in another order is the same cell.
    assert make_cell(dict(reversed(values.items())), "test").identity == cell.identity


def test_tier_of_the_spectral_paper() -> None:
    cell = make_cell({"task": RESNET, "method": "prism", "tier": "spectral-paper"}, "test")
    assert (cell.partition, cell.alpha, cell.data, cell.model) == ("lda-prior", 1.0, "real", {})
    task = registry.task(RESNET).build(cell)
    recipe, shape = task.recipe, task.params
    assert (recipe.rounds, recipe.clients, recipe.cohort, recipe.samples_per_client) == (1000, 100, 10, 500)
    assert (recipe.local_epochs, recipe.batch_size, recipe.lr) == (2, 32, 0.1)
    assert (recipe.momentum, recipe.weight_decay) == (0.9, 1e-4)
    assert (shape.width, shape.norm, shape.inputs, shape.factored) == (64, "group", "spectral", "all")


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({"alpha": 10}, ("lda-prior", 10.0)),
        ({"partition": "lda-prior"}, ("lda-prior", 1.0)),
        ({"partition": "lda", "alpha": 0.1}, ("lda", 0.1)),
        ({"partition": "iid"}, ("iid", math.inf)),
        ({"alpha": math.inf}, ("iid", math.inf)),
        ({"partition": "iid-exact"}, ("iid-exact", None)),
    ],
)
def test_a_tier_has_its_own_partition_unless_the_cell_says_otherwise(
    given_: dict[str, Any], expected: tuple[str, float | None]
) -> None:
    cell = make_cell({"task": RESNET, "method": "prism", "tier": "spectral-paper", **given_}, "test")
    assert (cell.partition, cell.alpha) == expected
    assert make_cell({"task": RESNET, "method": "prism", "tier": "paper"}, "test").partition == "iid"


def test_settings_go_to_their_owner() -> None:
    words = ["kappa=.5", "variant=released", "lr=1e-2", "training.momentum=0", "training.drop_last=true"]
    assert split_settings(words, CNN, "prism", ()) == {
        "parameters": {"kappa": 0.5},
        "model": {"variant": "released"},
        "training": {"lr": 0.01, "momentum": 0, "drop_last": True},
    }


def test_values_that_go_together_are_judged_beside_the_tiers() -> None:
    """Six channels are shared by the two heads of the quick tier, though not by the four that are the default."""
    cell = make_cell({"task": "cct-cifar100", "method": "fedavg", "model": {"embedding": 6}}, "here")
    assert cell.model == {"embedding": 6}
    with pytest.raises(BenchError, match="heads = 3 do not share an embedding of 32 channels evenly"):
        make_cell({"task": "cct-cifar100", "method": "fedavg", "model": {"heads": 3}}, "here")
