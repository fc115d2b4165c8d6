"""Methods that are broken on purpose, each in one way, for testing that the conformance kit finds it."""

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
from bench.families.spectral import Spectral
from bench.families.width import Width
"""
SPECTRAL = """
class Broken(Spectral):
    def choose(self, sigma, rank, rng):
        return np.arange(rank)
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


CASES = {
    "stale decomposition": Case(
        "keep 1 is the full model",
        "after a round the sub-model's outputs differ",
        SPECTRAL,
        """
        def setup(self, model, task):
            server = super().setup(model, task)
            self.first = server.spectra
            return server

        def extract(self, server, selection):
            vars(server)["spectra"] = self.first
            return super().extract(server, selection)
        """,
    ),
    "weights nobody asked for": Case(
        "keep 1 equals FedAvg",
        "of the way that FedAvg's model travels",
        FULL,
        """
        def weight(self, client):
            return 1.0 + client.number
        """,
    ),
    "tail dropped": Case(
        "untrained changes nothing", "that did not train change the server's", SPECTRAL, "keeps_tail = False"
    ),
    "unheld kernels dropped": Case("unheld parts stay", "principal kernels of", SPECTRAL, "keeps_tail = False"),
    "unheld channels moved": Case(
        "unheld parts stay",
        "entries of",
        WIDTH,
        """
        @torch.no_grad()
        def aggregate(self, server, updates, streams):
            before = {name: tensor.clone() for name, tensor in server.model.named_parameters()}
            server = super().aggregate(server, updates, streams)
            for name, tensor in server.model.named_parameters():
                tensor.add_((tensor - before[name]).abs().mean())
            return server
        """,
    ),
    "one update after the other": Case(
        "order does not matter",
        "in reverse order",
        FULL,
        """
        @torch.no_grad()
        def aggregate(self, server, updates, streams):
            for update in updates:
                for name, values in update.parameters.items():
                    server.model.get_parameter(name).lerp_(values, 0.5)
            return server
        """,
    ),
    "a slice of the server": Case(
        "memory of its own",
        "'classifier.weight' lies in the server's memory",
        FULL,
        """
        def extract(self, server, selection):
            submodel = super().extract(server, selection)
            submodel.classifier.weight.data = server.model.classifier.weight.data[:]
            return submodel
        """,
    ),
    "training counts on the server": Case(
        "memory of its own",
        "changed a tensor that the server holds",
        FULL,
        """
        def setup(self, model, task):
            server = super().setup(model, task)
            server.memory["steps"] = torch.zeros(1)
            return server

        def extract(self, server, selection):
            submodel = super().extract(server, selection)
            submodel.steps = server.memory["steps"]
            submodel.register_forward_hook(lambda module, inputs, outputs: module.steps.add_(1) and None)
            return submodel
        """,
    ),
    "masked full model": Case(
        "costs grow with keep", "parameters of sub-models of keep ratio", FULL, "uses_keep = True"
    ),
    "more than its share": Case(
        "costs grow with keep",
        "at keep ratio 0.25 the factorable layers hold",
        SPECTRAL,
        """
        def select(self, server, cohort, streams):
            larger = [dataclasses.replace(client, keep=(1 + client.keep) / 2) for client in cohort.clients]
            selections = super().select(server, dataclasses.replace(cohort, clients=tuple(larger)), streams)
            return [dataclasses.replace(one, client=own) for one, own in zip(selections, cohort.clients)]
        """,
    ),
    "unregistered tensor": Case(
        "costs as counted",
        "bytes down",
        WIDTH,
        """
        def extract(self, server, selection):
            submodel = super().extract(server, selection)
            submodel.extra = torch.zeros(100)
            return submodel
        """,
    ),
    "work that is not seen": Case(
        "costs as counted",
        "multiply-accumulates",
        FULL,
        """
        def extract(self, server, selection):
            submodel = super().extract(server, selection)
            submodel.register_forward_hook(self.work)
            return submodel

        @staticmethod
        def work(module, inputs, outputs):
            if outputs.device.type != "meta":
                torch.ones(3, 3) @ torch.ones(3, 3)
        """,
    ),
    "leading kernels, unbiased": Case("unbiased", "standard errors from the server's", SPECTRAL, "unbiased = True"),
    "unbiased without factors": Case("unbiased", "no low-rank layers", FULL, "unbiased = True"),
    "a generator without a seed": Case(
        "two runs agree",
        "two runs of the same cell are not equal",
        SPECTRAL,
        """
        def choose(self, sigma, rank, rng):
            return np.sort(np.random.default_rng().choice(len(sigma), rank, replace=False))
        """,
    ),
    "state in the method": Case(
        "two workers agree",
        "with two worker processes a run is another",
        FULL,
        """
        factor = 0.0

        def extract(self, server, selection):
            self.factor = 0.1
            return super().extract(server, selection)

        def penalty(self, submodel):
            return self.factor * sum(tensor.square().sum() for tensor in submodel.parameters())
        """,
    ),
    "rounds counted in the method": Case(
        "resumed runs agree",
        "after an interruption a run goes on otherwise",
        FULL,
        """
        completed = 0

        def weight(self, client):
            self.completed += 1
            return self.completed
        """,
    ),
    "numbers in the memory": Case(
        "resumed runs agree",
        "the state after a round cannot be saved",
        FULL,
        """
        def aggregate(self, server, updates, streams):
            server = super().aggregate(server, updates, streams)
            server.memory["completed"] = 1
            return server
        """,
    ),
    "the global generator": Case(
        "no global randomness",
        "changes the global random state of numpy",
        SPECTRAL,
        """
        def choose(self, sigma, rank, rng):
            return np.sort(np.random.permutation(len(sigma))[:rank])
        """,
    ),
    "the global generator, put back": Case(
        "no global randomness",
        "with other global random states a run is another",
        SPECTRAL,
        """
        def choose(self, sigma, rank, rng):
            with torch.random.fork_rng():
                return torch.randperm(len(sigma))[:rank].sort().values.numpy()
        """,
    ),
    "a seed": Case(
        "no global randomness",
        "seeds a global generator, line",
        SPECTRAL,
        """
        def setup(self, model, task):
            torch.manual_seed(0)
            return super().setup(model, task)
        """,
    ),
    "a device by name": Case(
        "any device",
        "'cuda:0'",
        FULL,
        """
        def full_model(self, server):
            return server.model.to("cuda:0") if torch.cuda.is_available() else server.model
        """,
    ),
    "a tensor elsewhere": Case(
        "any device",
        "the sub-model has tensors on meta",
        FULL,
        """
        def extract(self, server, selection):
            submodel = super().extract(server, selection)
            submodel.register_buffer("mask", torch.ones(3, device="meta"))
            return submodel
        """,
    ),
    "a client forgotten": Case(
        "order does not matter",
        "select returned selections for the clients [0, 1]",
        FULL,
        """
        def select(self, server, cohort, streams):
            return super().select(server, cohort, streams)[:2]
        """,
    ),
}
"""Broken methods by what is wrong with them."""
