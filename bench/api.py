"""What the author of a method needs, and nothing else.

A method answers three questions: which part of the server model does each client get (:meth:`Method.select` and
:meth:`Method.extract`), how do the parts come back (:meth:`Method.aggregate`), and what is the full model
(:meth:`Method.full_model`). Everything else (data, batches, optimiser, evaluation, costs) belongs to the harness, so
that two methods differ only where their papers differ.

A file in ``methods/``, or one named with ``--plugin``, that defines a subclass of :class:`Method` is found without
any registration.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from bench.parameters import parameter
from bench.seeding import Streams

if TYPE_CHECKING:
    from bench.spectral.designs import Design
    from bench.tasks.base import Task

Measures = dict[str, dict[str, float]]
"""Measures by name for each piece of the model."""

__all__ = ["Client", "Cohort", "Method", "Selection", "Server", "Skip", "Streams", "Update", "copy_of", "parameter"]


class Skip(Exception):
    """Raised by :meth:`Method.setup` where a method is not defined, with the reason; the cell counts as skipped."""


@dataclass(frozen=True)
class Client:
    """One client of a round's cohort.

    Attributes:
        number: index of the client in the federation, from 0.
        samples: number of training samples it holds.
        keep: keep ratio of the sub-model it can train, in (0, 1].
        labels: the classes among its samples, ascending; what it would tell the server of them.
    """

    number: int
    samples: int
    keep: float
    labels: tuple[int, ...] = ()


@dataclass(frozen=True)
class Cohort:
    """The clients that take part in one communication round.

    Attributes:
        round_number: the communication round, from 1.
        clients: the clients in the order in which they were drawn.
    """

    round_number: int
    clients: tuple[Client, ...]


@dataclass(frozen=True)
class Selection:
    """The part of the server model that one client gets.

    Attributes:
        client: who gets it.
        indices: for each named piece of the model (a factored weight, a channel group) the kept indices, int64 and
            ascending. Empty for the full model.
        multipliers: for each named piece frozen factors of the kept units, where a method weighs them; empty for ones.
        draws: what else was drawn for the client, by name, for example the width of each of its local steps.
    """

    client: Client
    indices: Mapping[str, Tensor] = field(default_factory=dict)
    multipliers: Mapping[str, Tensor] = field(default_factory=dict)
    draws: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Update:
    """What one client sends back.

    Attributes:
        selection: the part it was given.
        parameters: the trained tensors of its sub-model by name, those of :meth:`Method.upload`.
        momentum: the optimiser's momentum buffers by parameter name; empty unless :attr:`Method.returns_momentum`.
        local: what the client does not send and keeps for its next round, see :meth:`Method.local_state`. It is here
            because the simulation stores it, in the server's memory, for that client; no other use may be made of it.
    """

    selection: Selection
    parameters: Mapping[str, Tensor]
    momentum: Mapping[str, Tensor] = field(default_factory=dict)
    local: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass
class Server:
    """What the server keeps from one round to the next.

    Attributes:
        model: the full model in its original space; it is what is evaluated unless a method says otherwise.
        memory: further tensors that a method carries across rounds, by name; what clients keep for themselves is in it
            too. Model and memory are what a checkpoint holds; anything else must follow from them.
    """

    model: nn.Module
    memory: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class NoParams:
    """Parameters of a method that has none."""


class Method(ABC):
    """A way of giving each client a part of the server model.

    Where clients are trained in worker processes, ``local_loss``, ``penalty``, ``decay_free``, ``adjust_gradients``,
    ``upload`` and ``local_state`` are called on another instance there, which has seen ``setup`` alone: what they need
    belongs into the sub-model. What only ``upload`` and ``local_state`` read there belongs into its attribute
    ``carried``, of any type, in which sub-models that are trained alike may differ.

    Class attributes:
        name: what users type; by default the module's name.
        family: "full", "spectral", "width" or any other word that groups methods in listings.
        summary: one line for ``bench list``.
        paper: authors, title, venue, year.
        deviations: named deviations from the paper or its released code, shown by ``bench list``.
        Params: a frozen dataclass whose fields are made with :func:`parameter`; the defaults are the paper's values.
        uses_keep: False for a method that trains the full model whatever the keep ratio.
        needs_full_clients: True for a method that is not defined unless some clients have keep ratio 1.
        follows_levels: True where a client's sub-model depends on the others' keep ratios, as FedPara's rank does.
        reduces: which costs of a sub-model grow with the keep ratio, as fields of :class:`bench.cost.cost.Cost`;
            ``bench check`` holds a method to it. A method that cuts nothing but what is sent says so here.
        cuts_parts: True where a client gets whole parts of the model, so that near keep ratios may get the same.
        keep_is_share: False where a keep ratio is no share of what it cuts, but says how far a sub-model lies between
            the smallest and the largest one, as FedPara's gamma does.
        equals_fedavg: True if at keep ratio 1 a whole run equals FedAvg's; False where local training has other
            dynamics, as factors have. ``bench check`` holds a method to it.
        discards_unheld: True where the server discards on purpose what no client of a round held, as FedHM does;
            ``bench check`` then asks of full clients alone that nothing changes where nothing was trained.
        unbiased: True if the mean of a client's sub-model over all selections is the server's model; ``bench check``
            holds a method to it by Monte Carlo.
        returns_momentum: True where clients send their momentum buffers with their update.
        drop_last: True to leave out each client's last, smaller batch whatever the task's recipe says; like the hooks
            that touch training it is for departures that a paper or its code makes, under a name of their own.
        cohort_rounds: rounds for which a cohort stays together, where the method's own rule needs that.
        static_statistics: True where batch normalisation is evaluated with the statistics of one pass over the training
            samples of all clients (HeteroFL's static batch normalisation).

    Attributes that the harness sets before :meth:`setup`:
        levels: the keep ratios of the federation's clients, ascending.
        seed: the cell's seed, for what a method draws once a run (:func:`bench.seeding.stream` with a purpose of its
            own); what is drawn in a round comes from the streams given to the hooks.
    """

    name: ClassVar[str] = ""
    family: ClassVar[str] = "other"
    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    deviations: ClassVar[Sequence[str]] = ()
    Params: ClassVar[type] = NoParams
    uses_keep: ClassVar[bool] = True
    needs_full_clients: ClassVar[bool] = False
    follows_levels: ClassVar[bool] = False
    reduces: ClassVar[Sequence[str]] = ("parameters", "down_bytes", "macs")
    cuts_parts: ClassVar[bool] = False
    keep_is_share: bool = True
    equals_fedavg: bool = True
    discards_unheld: bool = False
    unbiased: bool = False
    returns_momentum: bool = False
    drop_last: bool = False
    cohort_rounds: int = 1
    static_statistics: bool = False
    levels: tuple[float, ...] = (1.0,)
    seed: int = 0

    def __init__(self, params: Any = None) -> None:
        self.params = self.Params() if params is None else params

    def setup(self, model: nn.Module, task: Task) -> Server:
        """Return the server's state before the first round; raise :class:`Skip` where the method is not defined.

        Args:
            model: the initialised full model, to be kept (not copied).
            task: the task, for facts such as its weight decay.
        """
        self.task = task
        if self.needs_full_clients and max(self.levels) < 1:
            raise Skip(
                f"no client trains the full model (the largest keep ratio is {max(self.levels):g}), and what only full "
                "clients train would keep its initial values"
            )
        return Server(model)

    @classmethod
    def implied(cls, task: Task) -> Mapping[str, Any]:
        """Return by name what parameters whose default is None stand for on a task; tuning starts from there.

        Parameters that None switches off are left out.
        """
        return {}

    @abstractmethod
    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        """Return the part each client of the cohort gets, one selection a client, in the cohort's order."""

    @abstractmethod
    def extract(self, server: Server, selection: Selection) -> nn.Module:
        """Return a client's sub-model: a small dense module that shares no memory with the server's.

        The clients of a cohort are asked for in any order, as workers become free: what is drawn at random is drawn in
        ``select``.
        """

    @abstractmethod
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        """Return the server's next state from the updates, which arrive one by one in the cohort's order.

        Parts that no client held keep their value.
        """

    def full_model(self, server: Server) -> nn.Module:
        """Return the model to evaluate on the test set."""
        return server.model

    def nested_models(self, server: Server) -> Iterator[tuple[float, nn.Module]]:
        """Yield (keep ratio, model) for the sub-models that lie in one another, to be evaluated beside the full model.

        Empty for methods whose clients of one keep ratio do not all get the same part.
        """
        return iter(())

    def personal_model(self, server: Server, client: Client) -> nn.Module | None:
        """Return the model that a client of the last cohort uses for itself; None where that is the server's."""
        return None

    def local_loss(self, submodel: nn.Module, forward: Callable[[], Tensor], targets: Tensor) -> Tensor | None:
        """Return the mean loss of a batch, a scalar; None for the task's loss of the sub-model's outputs.

        Args:
            submodel: in training mode; may be changed between calls of ``forward``.
            forward: returns the sub-model's outputs for the batch, each time it is called.
            targets: the labels, int64 ``[batch]``.
        """
        return None

    def penalty(self, submodel: nn.Module) -> Tensor | None:
        """Return a scalar added to a client's loss, or None."""
        return None

    def decay_free(self, submodel: nn.Module) -> set[str]:
        """Return the names of the sub-model's parameters to which the optimiser applies no weight decay."""
        return set()

    def adjust_gradients(self, submodel: nn.Module) -> None:  # noqa: B027 - most methods have nothing to change
        """Change a client's gradients in place, after each backward pass and before the optimiser's step."""

    def learning_rates(self, server: Server, selection: Selection, round_number: int) -> Sequence[float] | None:
        """Return the learning rate of each of a client's local epochs; None for the recipe's, the same in all."""
        return None

    def initial_momentum(self, server: Server, selection: Selection) -> Mapping[str, Tensor] | None:
        """Return the momentum buffers with which a client starts, by parameter name; None starts from zero."""
        return None

    def upload(self, submodel: nn.Module) -> dict[str, Tensor]:
        """Return the tensors a client sends back: by default all trainable parameters."""
        return {name: tensor.detach() for name, tensor in submodel.named_parameters() if tensor.requires_grad}

    def local_state(self, submodel: nn.Module) -> dict[str, Tensor]:
        """Return the tensors that a client keeps for its next round and does not send; they cost no bytes."""
        return {}

    def received(self, server: Server, selection: Selection, submodel: nn.Module) -> Iterable[Tensor]:
        """Return the tensors of a sub-model that are sent to the client: by default all parameters and buffers.

        What a client has kept from its last round is not sent.
        """
        return submodel.state_dict().values()

    def computed(self, submodel: nn.Module) -> Iterable[tuple[nn.Module, float]]:
        """Yield (network, passes) for what a client computes in training, passes per sample of its batches.

        By default the sub-model, once. The harness counts the networks' operations.
        """
        return ((submodel, 1.0),)

    def designs(self, server: Server, selections: Sequence[Selection]) -> dict[str, list[Design]]:
        """Return for each piece of the model how each client's units were drawn; empty where that is not known.

        The harness records the diversity of the draws and the coverage to be expected from them.
        """
        return {}

    def expected_errors(self, server: Server, selections: Sequence[Selection]) -> Measures:
        """Return by piece what follows from the laws of the draws before training, by column name; empty: nothing."""
        return {}

    def errors(self, server: Server, selections: Sequence[Selection], updates: Sequence[Update]) -> Measures:
        """Return by piece what is measured once the updates are there, by column name; empty: nothing.

        Args:
            server: as :meth:`select` got it; its model may have been changed in place by :meth:`aggregate`.
            selections: the parts the clients got.
            updates: what they sent back.
        """
        return {}

    def coverage(self, server: Server, selection: Selection) -> dict[str, tuple[Tensor, int]]:
        """Return for each piece of the model the units this selection trains and how many units the piece has.

        The harness unites them over clients and rounds into the coverage it records. Empty: nothing to cover.
        """
        return {}


def copy_of(model: nn.Module) -> nn.Module:
    """Return a copy of a model that shares no memory with it."""
    with torch.no_grad():
        return copy.deepcopy(model)
