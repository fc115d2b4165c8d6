"""A plugin whose clients keep a layer for themselves: its text, for tests that name it as a file."""

KEEPER = '''
"""Full training, but each client keeps its classifier; a cohort stays for two rounds."""

import torch

from bench.api import Method, Selection, copy_of
from bench.families.averaging import CoverageMean

OWN = "classifier."


class Keeper(Method):
    summary, paper, family, uses_keep, equals_fedavg = "own classifiers", "a test", "full", False, False
    cohort_rounds = 2

    def select(self, server, cohort, streams):
        return [Selection(client) for client in cohort.clients]

    def extract(self, server, selection):
        return self._of(server, selection.client.number)

    def _of(self, server, number):
        model = copy_of(server.model)
        for name, tensor in model.named_parameters():
            own = server.memory.get(f"client/{number}/{name}")
            if own is not None:
                tensor.data.copy_(own)
        return model

    def received(self, server, selection, submodel):
        return [tensor for name, tensor in submodel.state_dict().items() if not name.startswith(OWN)]

    def upload(self, submodel):
        return {name: t.detach() for name, t in submodel.named_parameters() if not name.startswith(OWN)}

    def local_state(self, submodel):
        return {name: t.detach() for name, t in submodel.named_parameters() if name.startswith(OWN)}

    @torch.no_grad()
    def aggregate(self, server, updates, streams):
        model = dict(server.model.named_parameters())
        means = {name: CoverageMean(tensor.detach()) for name, tensor in model.items() if not name.startswith(OWN)}
        for update in updates:
            for name, values in update.parameters.items():
                means[name].add(values)
            for name, values in update.local.items():
                server.memory[f"client/{update.selection.client.number}/{name}"] = values
        for name, mean in means.items():
            model[name].copy_(mean.result())
        return server

    def personal_model(self, server, client):
        return self._of(server, client.number)
'''
