"""Sketch: half of a client's kernels are the leading ones, the others are drawn.

Say here what the method does and why, with the equations of its paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.api import parameter
from bench.families.spectral import Spectral, SpectralParams


@dataclass(frozen=True)
class SketchParams(SpectralParams):
    """What users set with ``--set``; the defaults are the paper's values."""

    leading: float = parameter(0.5, "share of the kernels that are the leading ones", low=0, high=1, search=(0.0, 1.0))


class Sketch(Spectral):
    """The ``leading`` share of the kernels are those of largest singular value, the others are drawn uniformly."""

    summary = "leading principal kernels, and others drawn uniformly"
    paper = "authors, title, venue, year"
    Params = SketchParams

    def choose(self, sigma: np.ndarray, rank: int, rng: np.random.Generator) -> np.ndarray:
        fixed = round(self.params.leading * rank)
        drawn = rng.choice(np.arange(fixed, len(sigma)), rank - fixed, replace=False)
        return np.concatenate([np.arange(fixed), np.sort(drawn)])
