"""Identities of cells: what changes them, what does not, and those that old results have."""

from __future__ import annotations

import math
from typing import Any

import pytest
from tiny import CNN, LSTM, RESNET, cell_of

from bench.config.cells import make_cell
from bench.plugins import registry

QUICK = registry.task(CNN).kind.tiers["quick"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"keep": 1}, {"keep": 1.0}),
        ({"partition": "lda", "alpha": 1}, {"partition": "lda", "alpha": 1.0}),
        ({"parameters": {"kappa": 2}}, {"parameters": {"kappa": 2.0}}),
        ({"parameters": {"kappa": 2, "sigma": "frozen"}}, {"parameters": {"sigma": "frozen", "kappa": 2}}),
        ({}, {"seed": 0, "tier": "quick", "data": "stand-in", "partition": "natural", "keep": 1.0}),
        ({}, {"training": {"lr": QUICK.lr, "momentum": 0.9, "evaluate_every": QUICK.evaluate_every}}),
        ({}, {"model": {"variant": "paper"}}),
        ({"alpha": math.inf}, {"partition": "iid"}),
        ({"alpha": math.inf, "partition": "dirichlet"}, {"partition": "iid", "alpha": math.inf}),
        ({"alpha": math.inf, "partition": "lda-prior"}, {"partition": "iid"}),
        ({"alpha": math.inf, "partition": "iid-exact"}, {"partition": "iid-exact"}),
        ({"keep": "0.5:1"}, {"keep": 0.5}),
        ({}, {"diagnostics": "basic"}),
        ({"partition": "pachinko", "alpha": 1}, {"partition": "pachinko:10.0", "alpha": 1}),
    ],
)
def test_what_means_the_same_has_one_identity(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert cell_of("prism", **one).identity == cell_of("prism", **other).identity
    assert cell_of("prism", **one) == cell_of("prism", **other)


def test_what_changes_the_numbers_changes_the_identity() -> None:
    changes: list[dict[str, Any]] = [
        {}, {"keep": 0.5}, {"seed": 1}, {"alpha": 1.0}, {"alpha": 0.1}, {"partition": "iid"},
        {"partition": "iid-exact"}, {"partition": "lda-prior", "alpha": 1.0}, {"keep": "0.25:0.5,0.75:0.5"},
        {"diagnostics": "errors"}, {"diagnostics": "all"},
        {"partition": "dirichlet", "alpha": 1.0}, {"training": {"lr": 0.2}}, {"training": {"rounds": 3}},
        {"model": {"variant": "released"}}, {"parameters": {"kappa": 1.0}}, {"data": "real"}, {"tier": "paper"},
        {"partition": "pachinko", "alpha": 1.0}, {"partition": "pachinko:2", "alpha": 1.0},
    ]  # fmt: skip
    cells = [cell_of("prism", **change) for change in changes] + [cell_of("orthdrop")]
    assert len({cell.identity for cell in cells}) == len({cell.folder for cell in cells}) == len(changes) + 1


def test_width_of_the_tier_spelled_out_is_the_default() -> None:
    plain = make_cell({"task": RESNET, "method": "fedavg"}, "test")
    assert make_cell({"task": RESNET, "method": "fedavg", "model": {"width": 8}}, "test") == plain
    # In the paper's tier the same width is a change, and 64 is not.
    paper = make_cell({"task": RESNET, "method": "fedavg", "tier": "paper", "model": {"width": 64}}, "test")
    assert paper.model == {}
    assert make_cell({"task": RESNET, "method": "fedavg", "model": {"width": 64}}, "test").model == {"width": 64}


IDENTITIES = [
    ({"task": CNN, "method": "fedavg"}, "cnn-femnist-fedavg-keep1-natural-seed0-a9c99a45c8"),
    ({"task": CNN, "method": "prism", "keep": 0.2, "seed": 3}, "cnn-femnist-prism-keep0.2-natural-seed3-b926d4a6dc"),
    (
        {"task": RESNET, "method": "orthdrop", "keep": 0.4, "tier": "paper", "partition": "lda", "alpha": 0.1},
        "resnet18-cifar10-orthdrop-keep0.4-lda0.1-seed0-ce9c60721b",
    ),
    (
        {"task": LSTM, "method": "prism", "alpha": math.inf, "training": {"rounds": 3}, "parameters": {"kappa": 1}},
        "lstm-imdb-prism-keep1-iid-seed0-1a39824c9e",
    ),
]


@pytest.mark.parametrize(("values", "folder"), IDENTITIES)
def test_new_settings_do_not_change_the_identity_of_old_cells(values: dict[str, Any], folder: str) -> None:
    """The folders were written down when cells had neither capacities nor diagnostics."""
    assert make_cell(values, "test").folder == folder


def test_a_folder_of_many_levels_is_shortened_and_keeps_its_identity() -> None:
    keep = ",".join(f"{0.02 + 0.01 * level:.2f}:0.04" for level in range(25))
    cells = [
        make_cell({"task": CNN, "method": "prism", "keep": keep, "seed": seed, "training": {"clients": 25}}, "test")
        for seed in (0, 1)
    ]
    for cell in cells:
        assert len(cell.folder) == 200 and cell.folder.startswith("cnn-femnist-prism-keep0.02x0.04+0.03x0.04")
        assert cell.folder.endswith(f"-{cell.identity}")
    assert cells[0].folder != cells[1].folder
