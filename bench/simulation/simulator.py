"""The round loop: Algorithm 1 of the papers, with measures."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bench.api import Client, Selection, Server, Update
from bench.cost.cost import Cost, CostMeter, bytes_of
from bench.errors import BenchError
from bench.federation.federation import Federation
from bench.models.base import Model
from bench.simulation.diagnostics.observer import Observer
from bench.simulation.diagnostics.rank import layer_ranks
from bench.simulation.round import Level, Member, Round
from bench.spectral.decompose import NotFinite
from bench.training.engine import Engine
from bench.training.evaluation import Score, expected_acc
from bench.training.handing_out import Jobs
from bench.training.local import Diverged, Job

OPERATIONS = {
    "forward_macs": "macs",
    "train_macs": "train_macs",
    "ideal_forward_macs": "ideal_macs",
    "ideal_train_macs": "ideal_train_macs",
}
"""What a round counts of its cohort's operations, and what of a sample's it is made of."""


@dataclass(frozen=True)
class _HandedOut:
    """A sub-model that was handed out: its cost, bytes received, and operations a sample, by :data:`OPERATIONS`."""

    cost: Cost
    down_bytes: int
    operations: Mapping[str, float]


class Simulation:
    """One cell being run.

    Args:
        federation: task, method, data and clients.
        engine: who trains the clients.
    """

    def __init__(self, federation: Federation, engine: Engine) -> None:
        self.federation, self.engine = federation, engine
        self.method, self.recipe = federation.method, federation.task.recipe
        self.meter = CostMeter(federation.task)
        self.observer = Observer(self.method, engine, federation.cell.diagnostics)
        self.completed = 0
        self._handed_out: dict[int, _HandedOut] = {}
        """Of clients that have a sub-model and have not reported yet, by their place in the cohort."""
        self._operations: dict[float, float] = {}
        """Of both passes, a sample, as last counted, by keep ratio."""

    def rounds(self, resume: Mapping[str, Any] | None = None) -> Iterator[Round]:
        """Run the federation and yield each round when it is complete, round 0 (the initial model) first.

        Args:
            resume: a state to go on from, see :meth:`state`; its round and those before it are not yielded again.

        Raises:
            Diverged: a client's loss, the server model or a singular value of it is not finite.
            Skip: the method is not defined for this task.
        """
        self.server = self.method.setup(self.federation.initial_model(), self.federation.task)
        if resume is None:
            start = Round(0)
            self._evaluate(self.server, start)
            yield start
        else:
            self._restore(resume)
        for number in range(self.completed + 1, self.recipe.rounds + 1):
            this = Round(number, lr=self.recipe.lr_of(number))
            with _timed(this, "round"):
                try:
                    self.server = self._round(self.server, this)
                except NotFinite as error:
                    raise Diverged(f"round {number}: {error}") from error
                if self.recipe.evaluates(number):
                    self._evaluate(self.server, this)
                    self._evaluate_personal(self.server, this)
            this.peak_memory_bytes = self.engine.peak_memory_bytes()
            self.completed = number
            yield this

    def state(self) -> dict[str, Any]:
        """Return all that the rounds to come depend on, after a round that was yielded: numbers and tensors alone."""
        return {
            "round": self.completed,
            "model": {name: tensor.clone() for name, tensor in self.server.model.state_dict().items()},
            "memory": {name: tensor.clone() for name, tensor in self.server.memory.items()},
            **self.observer.state(),
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.completed = state["round"]
        self.server.model.load_state_dict(state["model"])
        self.server.memory = {name: tensor.clone() for name, tensor in state["memory"].items()}
        self.observer.restore(state)

    def _round(self, server: Server, this: Round) -> Server:
        """Sample a cohort, let it train, and return the server's next state."""
        cohort = self.federation.cohort(this.number)
        this.clients = len(cohort.clients)
        with _timed(this, "select"):
            selections = self.method.select(server, cohort, self.federation.streams("selection", this.number))
        if len(selections) != len(cohort.clients):
            raise BenchError(
                f"method {self.method.name!r}: select returned {len(selections)} selections for "
                f"{len(cohort.clients)} clients; allowed: one for each, in the cohort's order"
            )
        with _timed(this, "diagnose"):
            self.observer.before_training(server, cohort, selections, this, self.recipe.evaluates(this.number))
        this.seconds |= {"train": 0.0, "extract": 0.0, "count": 0.0}
        before = server
        with _timed(this, "aggregate"):
            updates = self._updates(server, selections, this)
            server = self.method.aggregate(server, updates, self.federation.streams("aggregation", this.number))
        if len(this.costs) != len(selections):
            raise BenchError(
                f"method {self.method.name!r}: aggregate went through {len(this.costs)} of {len(selections)} updates; "
                "allowed: all of them, once"
            )
        # Clients are trained while the server draws their updates: what is left of the time is the server's own.
        this.seconds["aggregate"] -= this.seconds["train"] + this.seconds["extract"] + this.seconds["count"]
        # A client's last step may overflow after its last loss was taken, and so may the product of its factors.
        if not _is_finite(server.model):
            raise Diverged(f"round {this.number}: the server model has parameters that are not finite")
        with _timed(this, "diagnose"):
            self.observer.after_training(before, server, selections, this)
        return server

    def _updates(self, server: Server, selections: list[Selection], this: Round) -> Iterator[Update]:
        """Train the cohort and yield one update after the other, in the cohort's order."""
        passes, loss = 0, 0.0
        self._handed_out.clear()
        trained = self.engine.train(self._jobs(server, selections, this))
        for place, selection in enumerate(selections):
            before = this.seconds["extract"] + this.seconds["count"]
            with _timed(this, "train"):
                result = next(trained)
            # The engine asks for the next sub-model while it trains: that time is the server's.
            this.seconds["train"] -= this.seconds["extract"] + this.seconds["count"] - before
            passes, loss = passes + result.passes, loss + result.loss * result.passes
            given = self._handed_out.pop(place)
            this.costs.append(given.cost)
            this.down_bytes += given.down_bytes
            up_bytes = bytes_of(result.parameters.values()) + bytes_of(result.momentum.values())
            this.up_bytes += up_bytes
            for name, operations in given.operations.items():
                setattr(this, name, getattr(this, name) + round(operations * result.passes))
            this.members.append(Member(selection.client, given.cost, given.down_bytes, up_bytes, result.loss))
            update = Update(selection, result.parameters, result.momentum, result.local)
            self.observer.keep(update)
            yield update
        this.train_loss = loss / passes if passes else None

    def _jobs(self, server: Server, selections: list[Selection], this: Round) -> Jobs:
        """Return the cohort's jobs, with what each is expected to take: operations times samples."""
        return Jobs(
            partial(self._job, server, selections, this), [self._work(selection.client) for selection in selections]
        )

    def _work(self, client: Client) -> float:
        """Return a client's operations an epoch as far as they are known: of no such client, in line with others."""
        by_keep = max((operations / keep for keep, operations in self._operations.items()), default=1.0)
        return self._operations.get(client.keep, client.keep * by_keep) * client.samples

    def _job(self, server: Server, selections: list[Selection], this: Round, place: int) -> Job:
        """Extract one sub-model, when the engine asks for it."""
        selection = selections[place]
        with _timed(this, "extract"):
            submodel = self.method.extract(server, selection)
            self._check_apart(server, submodel)
            momentum = self.method.initial_momentum(server, selection)
            learning_rates = self.method.learning_rates(server, selection, this.number)
            if learning_rates is not None and len(learning_rates) != self.recipe.local_epochs:
                raise BenchError(
                    f"method {self.method.name!r}: learning_rates returned {len(learning_rates)} rates; "
                    f"allowed: one for each of the {self.recipe.local_epochs} local epochs, or None"
                )
        with _timed(this, "count"):
            cost = self.meter.of(submodel)
            sent = list(self.method.received(server, selection, submodel))
            if not all(isinstance(tensor, Tensor) for tensor in sent):
                raise BenchError(f"method {self.method.name!r}: received named {sent!r:.80}; allowed: tensors")
            down_bytes = bytes_of(sent) + bytes_of((momentum or {}).values())
            networks = [(self.meter.of(network), passes) for network, passes in self.method.computed(submodel)]
        operations = {
            name: math.fsum(getattr(own, of_one) * passes for own, passes in networks)
            for name, of_one in OPERATIONS.items()
        }
        self._operations[selection.client.keep] = operations["train_macs"]
        self._handed_out[place] = _HandedOut(cost, down_bytes, operations)
        return Job(selection.client.number, this.number, submodel, momentum, learning_rates)

    def _check_apart(self, server: Server, submodel: nn.Module) -> None:
        """Refuse a sub-model whose training would change the server's model in place."""
        held = {tensor.data_ptr() for tensor in server.model.parameters()}
        for name, tensor in submodel.named_parameters():
            if tensor.data_ptr() in held:
                raise BenchError(
                    f"method {self.method.name!r}: extract returned a sub-model whose {name!r} is the server's own "
                    "memory; allowed: copies, for example bench.api.copy_of"
                )

    def _evaluate(self, server: Server, this: Round) -> None:
        with _timed(this, "evaluate"):
            this.score = self._score(self.method.full_model(server), "full_model")
            for keep, model in self.method.nested_models(server):
                this.levels.append(Level(float(keep), self._score(model, "nested_models"), self.meter.of(model)))
        this.validates = self.federation.validates
        if not math.isfinite(this.score.loss):
            raise Diverged(f"round {this.number}: the loss on {self.federation.evaluated_on} is {this.score.loss}")
        with _timed(this, "diagnose"):
            if isinstance(server.model, Model):
                this.ranks = layer_ranks(server.model)

    def _score(self, model: nn.Module, hook: str, by_class: bool = False) -> Score:
        """Return the score of a model that a hook of the method returned."""
        if not isinstance(model, nn.Module):
            raise BenchError(f"method {self.method.name!r}: {hook} gave {model!r:.80}; allowed: a module")
        if self.method.static_statistics:
            model = self.engine.calibrated(model)
        return self.engine.evaluate(model, by_class)

    def _evaluate_personal(self, server: Server, this: Round) -> None:
        """Score the models that clients use for themselves, each on the classes that its client has."""
        own, base = [], []
        servers: Score | None = None
        with _timed(this, "evaluate"):
            for member in this.members:
                model = self.method.personal_model(server, member.client)
                if model is not None:
                    servers = servers or self._score(self.method.full_model(server), "full_model", by_class=True)
                    counts = self.federation.label_counts(member.client.number).tolist()
                    score = self._score(model, "personal_model", by_class=True)
                    own.append(expected_acc(score.class_acc, counts))
                    base.append(expected_acc(servers.class_acc, counts))
        if own:
            this.personal_acc, this.personal_base_acc = statistics.fmean(own), statistics.fmean(base)


def _is_finite(model: nn.Module) -> bool:
    """Return whether all parameters are finite; their extremes tell, a nan being both, in a tenth of the time."""
    extremes = [extreme for tensor in model.parameters() for extreme in torch.aminmax(tensor.detach())]
    return bool(torch.stack(extremes).isfinite().all())


@contextmanager
def _timed(this: Round, phase: str) -> Iterator[None]:
    """Add the time spent to one phase of a round."""
    start = time.perf_counter()
    try:
        yield
    finally:
        this.seconds[phase] = this.seconds.get(phase, 0.0) + time.perf_counter() - start
