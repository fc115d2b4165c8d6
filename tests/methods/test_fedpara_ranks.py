"""The ranks of FedPara: its rules, by direct search and by published counts."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import pytest
from helpers import (
    CNN,
    initial,
    method_of,
    paper_task,
)

from bench.api import Method, Server
from bench.families.hadamard import FACTOR
from bench.families.hadamard_rank import Rule, factor_count, pays, rank_for, smallest_rank
from bench.tasks.base import Task

SHAPES = [(o, i, k, k) for o, i in itertools.product((3, 8, 30, 64), repeat=2) for k in (3, 5)]
SHAPES += [(40, 9, 3, 1), (256, 256, 3, 3), (256, 64), (64, 64), (1024, 256), (90, 7)]
USUAL: Rule = "interpolated"
"""The rule of the paper, section 3.1, and of Flower."""


def fedpara(task: Task, levels: tuple[float, ...] = (0.5,), seed: int = 0, **parameters: Any) -> tuple[Method, Server]:
    method = method_of("fedpara", **parameters)
    method.levels, method.seed = levels, seed
    return method, method.setup(initial(task), task)


def counted(shape: tuple[int, ...], rank: int) -> int:
    """Return ``2 R (O + I + R k1 k2)``, or ``2 R (m + n)``."""
    core = rank * math.prod(shape[2:]) if len(shape) > 2 else 0
    return 2 * rank * (shape[0] + shape[1] + core)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_ranks_are_those_of_a_direct_search(shape: tuple[int, ...]) -> None:
    size = math.prod(shape)
    larger = next(rank for rank in itertools.count(1) if rank**2 >= max(shape[:2]))
    smaller = next(rank for rank in itertools.count(1) if rank**2 >= min(shape[:2]))
    assert (smallest_rank(shape, "share"), smallest_rank(shape, "interpolated")) == (larger, smaller)
    assert pays(shape, "share") == (counted(shape, larger) < size)
    assert pays(shape, "interpolated") == (counted(shape, smaller) < size)
    most = max(rank for rank in range(0, 400) if counted(shape, rank) <= size)
    for keep in (Fraction(1, 10), Fraction(1, 5), Fraction(2, 5), Fraction(7, 10), Fraction(1)):
        enough = next(rank for rank in itertools.count(1) if counted(shape, rank) >= keep * size)
        assert rank_for(shape, float(keep), "share") == max(larger, enough)
        between = math.ceil((1 - keep) * smaller + keep * max(smaller, most))
        assert rank_for(shape, float(keep), "interpolated") == between
        assert factor_count(shape, between) == counted(shape, between)
        if pays(shape, "interpolated"):
            assert counted(shape, between) <= size


@pytest.mark.parametrize(
    ("keep", "published"), [(0.1, 60_192), (0.3, 178_050), (0.5, 296_434), (0.7, 414_792), (0.9, 533_192)]
)
def test_the_counts_that_the_authors_notebook_prints(keep: float, published: int) -> None:
    shape = (256, 256, 3, 3)
    assert factor_count(shape, rank_for(shape, keep, "share")) == published


@pytest.mark.parametrize(("keep", "classes", "published"), [(0.1, 10, 1.547), (0.4, 100, 4.532)])
def test_the_millions_of_parameters_of_the_papers_vgg16(keep: float, classes: int, published: float) -> None:
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    kernels = [(outputs, inputs, 3, 3) for inputs, outputs in itertools.pairwise(widths)]
    factors = sum(factor_count(shape, rank_for(shape, keep, USUAL)) for shape in kernels)
    others = 3 * sum(widths[1:]) + 2 * (512 * 512 + 512) + 512 * classes + classes  # biases, norms, linear layers
    assert round((factors + others) / 1e6, 3) == published


def test_the_papers_rule_is_the_default_and_the_notebooks_a_switch() -> None:
    """CNN, 64 x 64 x 3 x 3 at 0.4: ceil(0.6 * 8 + 0.4 * 38) = 20, and 23 for 0.4 * 36,864 <= 2 R (128 + 9 R)."""
    for name in ("fedpara", "pfedpara"):
        assert method_of(name).params.rank_rule == USUAL == "interpolated"
        assert any("rank_rule=share" in words for words in method_of(name).deviations)
    for parameters, rank in (({}, 20), ({"rank_rule": "interpolated"}, 20), ({"rank_rule": "share"}, 23)):
        _, server = fedpara(paper_task(CNN), (0.4,), **parameters)
        assert len(server.memory[f"{FACTOR}conv2.weight_o1"]) == rank


@pytest.mark.parametrize("rule", ["interpolated", "share"])
@pytest.mark.parametrize("shape", [(512, 512, 3, 3), (256, 128, 3, 3), (64, 64, 3, 3), (1024, 256)], ids=str)
def test_ranks_that_are_whole_are_not_rounded_up(shape: tuple[int, ...], rule: Rule) -> None:
    """At a keep ratio at which the rule gives R exactly, and where it gives R and 1e-10."""
    least, most = smallest_rank(shape, rule), max(r for r in range(600) if counted(shape, r) <= math.prod(shape))
    for rank in range(least + 1, most):
        exact = Fraction(counted(shape, rank), math.prod(shape))
        slope = (counted(shape, rank + 1) - counted(shape, rank)) / math.prod(shape)
        if rule == "interpolated":
            exact, slope = Fraction(rank - least, most - least), 1 / (most - least)
        for excess in (0.0, 1e-10, -1e-10):
            assert rank_for(shape, float(exact) + excess * slope, rule) == rank
        assert rank_for(shape, float(exact) + 1e-6, rule) == rank + 1
