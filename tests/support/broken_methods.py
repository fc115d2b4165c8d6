"""Methods that are broken on purpose, each in one way, for testing that the conformance kit finds it."""

from __future__ import annotations

from broken_bases import FULL, SAMPLED, SPECTRAL, WIDTH, Case
from broken_runs import RUNS

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
    "less at more": Case(
        "costs never shrink",
        "of a client of keep ratio 0.5 is",
        WIDTH,
        """
        def select(self, server, cohort, streams):
            odd = [dataclasses.replace(one, keep=0.2 if 0.6 < one.keep < 0.8 else one.keep) for one in cohort.clients]
            selections = super().select(server, dataclasses.replace(cohort, clients=tuple(odd)), streams)
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
    "leading kernels, unbiased": Case("unbiased", "no draw reached what is missing", SPECTRAL, "unbiased = True"),
    "drawn without weights, unbiased": Case(
        "unbiased", "standard errors from the server's in an entry", SAMPLED, "unbiased = True"
    ),
    "unbiased without factors": Case("unbiased", "no low-rank layers", FULL, "unbiased = True"),
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
    "a tensor made without a device": Case(
        "any device",
        "the sub-model has a tensor of shape (3,) that comes from one made without a device",
        FULL,
        """
        def extract(self, server, selection):
            submodel = super().extract(server, selection)
            submodel.register_buffer("mask", torch.tensor([True, True, False]) & True)
            return submodel
        """,
    ),
    "a memory made without a device": Case(
        "any device",
        "the server after a round has a tensor of shape (4,)",
        FULL,
        """
        def setup(self, model, task):
            server = super().setup(model, task)
            server.memory["rounds"] = torch.zeros(task.recipe.clients)
            return server
        """,
    ),
    "singular values changed in place": Case(
        "order does not matter",
        "copy it first",
        SPECTRAL.replace("def choose", "def leading"),
        """
        def choose(self, sigma, rank, rng):
            sigma /= sigma.sum()
            return np.sort(rng.choice(len(sigma), rank, replace=False, p=sigma))
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
    **RUNS,
}
"""Broken methods by what is wrong with them."""
