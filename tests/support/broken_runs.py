"""Methods whose whole runs are not what they should be; see broken_methods."""

from __future__ import annotations

from broken_bases import FULL, SAMPLED, SPECTRAL, Case

RUNS = {
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
        SPECTRAL,
        """
        keep = 0.5

        def extract(self, server, selection):
            self.keep = selection.client.keep
            return super().extract(server, selection)

        def penalty(self, submodel):
            return self.keep * sum(tensor.square().sum() for tensor in submodel.parameters())
        """,
    ),
    "one keep ratio for all in the method": Case(
        "two runs agree",
        "choose returned",
        SPECTRAL,
        """
        def setup(self, model, task):
            self.ranks = {}
            return super().setup(model, task)

        def choose(self, sigma, rank, rng):
            return np.arange(self.ranks.setdefault(len(sigma), rank))
        """,
    ),
    "the laws of the first round in the method": Case(
        "resumed runs agree",
        "coverage_expected of round 2 is",
        SAMPLED,
        """
        first = None

        def designs(self, server, selections):
            self.first = self.first or super().designs(server, selections)
            return self.first
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
    "more learning rates than epochs": Case(
        "two runs agree",
        "learning_rates returned 7 rates",
        SPECTRAL,
        """
        def learning_rates(self, server, selection, round_number):
            return [0.1] * 7
        """,
    ),
}
"""Broken methods by what is wrong with them."""
