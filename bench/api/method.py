"""The contract of methods: four questions; what else a method may say is in the classes it inherits from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from bench.api.claims import Claims
from bench.api.draws import Draws
from bench.api.evaluation import Evaluated
from bench.api.exchange import Exchange
from bench.api.local_training import LocalTraining
from bench.api.values import Cohort, Selection, Server, Skip, Update
from bench.seeding import Streams

if TYPE_CHECKING:
    from bench.tasks.base import Task


@dataclass(frozen=True)
class NoParams:
    """Parameters of a method that has none."""


class Method(LocalTraining, Exchange, Evaluated, Draws, Claims, ABC):
    """A way of giving each client a part of the server model.

    Three of the four questions must be answered: :meth:`select`, :meth:`extract` and :meth:`aggregate`;
    :meth:`full_model` is the server's model if nothing is said.

    Class attributes:
        name: what users type; by default the module's name.
        family: "full", "spectral", "width" or any other word that groups methods in listings.
        summary: one line for ``bench list``.
        paper: authors, title, venue, year.
        deviations: named deviations from the paper or its released code, shown by ``bench list``.
        colour: of the method in figures, as "#0072b2"; by default one that no built-in method has.
        Params: a frozen dataclass whose fields are made with :func:`parameter`; the defaults are the paper's values.

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
    colour: ClassVar[str] = ""
    Params: ClassVar[type] = NoParams
    levels: tuple[float, ...] = (1.0,)
    seed: int = 0

    @abstractmethod
    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        """Return the part each client of the cohort gets, one selection a client, in the cohort's order."""

    @abstractmethod
    def extract(self, server: Server, selection: Selection) -> nn.Module:
        """Return a client's sub-model, which shares no memory with the server's: what it holds is what is counted.

        A small dense module, or a masked one that holds the kept entries and their places (``bench.models.masked``).

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
