"""Sketch: a window of channels that moves on every round.

Say here what the method does and why, with the equations of its paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.api import Cohort, parameter
from bench.families.width import Width


@dataclass(frozen=True)
class SketchParams:
    """What users set with ``--set``; the defaults are the paper's values."""

    step: int = parameter(1, "channels the window moves on each round", low=0, search=(1, 8))


class Sketch(Width):
    """In round t clients hold the channels from ``t * step`` on, those beyond the last one from the start again."""

    summary = "a window of channels that moves on every round"
    paper = "authors, title, venue, year"
    Params = SketchParams

    def choose(self, group: str, size: int, count: int, cohort: Cohort, rng: np.random.Generator) -> np.ndarray:
        start = cohort.round_number * self.params.step
        return np.sort((start + np.arange(count)) % size)
