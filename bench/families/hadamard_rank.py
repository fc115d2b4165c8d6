"""How many numbers the entry-wise products of FedPara hold, and how their factors are drawn."""

from __future__ import annotations

import math
from typing import Literal

from bench.models.hadamard import factor_shapes

Rule = Literal["interpolated", "share"]
Init = Literal["fan_in", "fan_out", "matched"]


def factor_count(shape: tuple[int, ...], rank: int) -> int:
    """Return the numbers in the factors of a weight: ``2 R (m + n)``, or ``2 R (O + I + R k1 k2)`` of a kernel."""
    return 2 * sum(math.prod(factor) for factor in factor_shapes(shape, rank).values())


def smallest_rank(shape: tuple[int, ...], rule: Rule) -> int:
    """Return the rank below which a rule never goes: of the square roots of outputs and inputs the larger or smaller.

    ``R ** 2`` bounds the rank of the weight, read as a matrix of outputs and inputs, so that the smaller root
    ("interpolated") is enough for full rank; the authors' notebook ("share") takes the larger one.
    """
    sizes = shape[:2]
    return 1 + math.isqrt((max(sizes) if rule == "share" else min(sizes)) - 1)


def rank_for(shape: tuple[int, ...], keep: float, rule: Rule) -> int:
    """Return the rank R of a weight for a keep ratio g.

    "interpolated" (the paper, section 3.1, with g as its gamma; Flower's baseline): between the smallest rank and the
    largest that holds no more numbers than the weight, ``ceil((1 - g) R_min + g R_max)``. "share" (the authors'
    notebook): the smallest R that holds at least g of the weight's numbers, and at least :func:`smallest_rank`; for a
    kernel ``2 R (O + I + R k^2) >= g O I k^2``. Neither code has matrices; for them the same is asked of
    ``2 R (m + n)``.

    What is rounded up is rounded to nine decimals first, as :func:`bench.spectral.decompose.rank_of` does:
    60.0000000001 is 60 and not 61, whether the excess is binary rounding or a digit of the keep ratio.
    """
    least = smallest_rank(shape, rule)
    if rule == "share":
        return max(least, math.ceil(round(_rank_of_count(shape, keep), 9)))
    most = max(least, math.floor(round(_rank_of_count(shape, 1.0), 9)))
    return math.ceil(round((1 - keep) * least + keep * most, 9))


def _rank_of_count(shape: tuple[int, ...], share: float) -> float:
    """Return the real R at which the factors hold this share of the weight's numbers."""
    wanted, sides = share * math.prod(shape) / 2, shape[0] + shape[1]
    if len(shape) == 2:
        return wanted / sides
    area = math.prod(shape[2:])
    return math.sqrt((sides / (2 * area)) ** 2 + wanted / area) - sides / (2 * area)


def pays(shape: tuple[int, ...], rule: Rule) -> bool:
    """Return whether the smallest rank of a rule holds fewer numbers than the weight; if not, it stays whole."""
    return factor_count(shape, smallest_rank(shape, rule)) < math.prod(shape)


def factor_deviations(
    shape: tuple[int, ...], rank: int, init: Init, deviation: float, offset: float
) -> dict[str, float]:
    """Return the standard deviations from which factors are drawn, by their letter.

    He's, ``sqrt(2 / fan)``, with the fan of each factor by its own shape: "fan_in" (the authors' notebook) has
    ``R k^2``, outputs and inputs for T, O and I, so that ``W_1 * W_2`` starts with the deviation
    ``8 R / (k^2 O I)``, or ``4 R / (m n)`` for a matrix. "fan_out" (Flower) has ``R k^2``, R and R: ``8 / (R k^2)``, or
    ``4 / R``. "matched" has one deviation for all factors, such that the weight's is the one it would have had.

    Args:
        shape: of the weight.
        rank: of its halves.
        init: one of the three.
        deviation: standard deviation of the task's own initial weight, for "matched".
        offset: what is added to the second half.
    """
    shapes = factor_shapes(shape, rank)
    if init != "matched":
        # As torch counts them: the first dimension leads out, the second in, and k x k entries belong to each.
        sides = {"fan_in": 1, "fan_out": 0}[init]
        return {letter: math.sqrt(2 / (of[sides] * math.prod(of[2:]))) for letter, of in shapes.items()}
    # The variance v of both halves: v * (v + offset^2) is that of the weight, and v is a sum of R or R^2 products.
    variance = (math.sqrt(offset**4 + 4 * deviation**2) - offset**2) / 2
    terms = rank ** (len(shapes) - 1)
    return dict.fromkeys(shapes, (variance / terms) ** (1 / (2 * len(shapes))))
