"""What methods that are broken on purpose are made of: whole ones, to which a fault is added."""

from __future__ import annotations

import textwrap
from typing import NamedTuple

HEAD = """
import dataclasses

import numpy as np
import torch
from torch import nn

from bench.api import Method, Selection, Skip, copy_of
from bench.families.averaging import CoverageMean
from bench.families.spectral import Sampled, Spectral
from bench.families.width import Width
from bench.spectral.designs import FixedSize
from bench.spectral.inclusion import unbiased_inclusion
"""
SPECTRAL = """
class Broken(Spectral):
    def choose(self, sigma, rank, rng):
        return np.arange(rank)
"""
SAMPLED = """
class Broken(Sampled):
    def design(self, sigma, rank, clients):
        return FixedSize(unbiased_inclusion(sigma, rank))
"""
WIDTH = """
class Broken(Width):
    def choose(self, group, size, count, cohort, rng):
        return np.arange(count)
"""
FULL = """
class Full:
    uses_keep = False

    def select(self, server, cohort, streams):
        return [Selection(client) for client in cohort.clients]

    def extract(self, server, selection):
        return copy_of(server.model)

    def weight(self, client):
        return 1.0

    @torch.no_grad()
    def aggregate(self, server, updates, streams):
        means = {name: CoverageMean(tensor.detach()) for name, tensor in server.model.named_parameters()}
        for update in updates:
            for name, values in update.parameters.items():
                means[name].add(values, weight=self.weight(update.selection.client))
        for name, tensor in server.model.named_parameters():
            tensor.copy_(means[name].result())
        return server


class Broken(Full, Method):
"""


class Case(NamedTuple):
    """A broken method.

    Attributes:
        check: the check that must find it.
        words: what the sentence must say.
        base: the class it starts from.
        fault: what is added to the class.
    """

    check: str
    words: str
    base: str
    fault: str

    @property
    def source(self) -> str:
        """The plugin's code."""
        return HEAD + self.base + textwrap.indent(textwrap.dedent(self.fault), "    ")
