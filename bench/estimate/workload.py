"""How much there is to do in a cell: counted from its settings and its partition."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.cell import Cell
from bench.federation.federation import partition_of
from bench.plugins import registry


@dataclass(frozen=True)
class Workload:
    """What a cell does, in numbers.

    Attributes:
        rounds: communication rounds.
        cohort: clients of a round.
        steps: local steps of a client in a round, in the mean over the clients.
        evaluations: how often models are evaluated, the initial one too.
        tested: samples that a model is evaluated on.
        trained: samples that all clients together hold.
    """

    rounds: int
    cohort: int
    steps: float
    evaluations: int
    tested: int
    trained: int


class Workloads:
    """The workloads of cells; what cells have in common is counted once.

    Args:
        plugins: files of methods and tasks the user named.
    """

    def __init__(self, plugins: Iterable[Path] = ()) -> None:
        self._plugins = tuple(plugins)
        self._known: dict[tuple[str, ...], Workload] = {}

    def of(self, cell: Cell) -> Workload:
        """Return a cell's workload; of two cells that differ in their seed alone that of the first that is asked for.

        Raises:
            BenchError: its data is not here, or its partition is not possible.
        """
        parts = cell.task, cell.tier, cell.data, cell.partition, cell.alpha, dict(cell.training), dict(cell.model)
        key = tuple(map(repr, parts))
        if key not in self._known:
            self._known[key] = self._counted(cell)
        return self._known[key]

    def _counted(self, cell: Cell) -> Workload:
        task = registry.task(cell.task, self._plugins).build(cell)
        recipe, dataset = task.recipe, task.data(cell.data)
        held = partition_of(cell, task, dataset).sizes
        trained = [round(int(size) * (1 - recipe.validation)) for size in held]
        tested = len(dataset.test.labels) if not recipe.validation else int(held.sum()) - sum(trained)
        return Workload(
            rounds=recipe.rounds,
            cohort=recipe.cohort,
            steps=sum(map(recipe.local_steps, trained)) / len(trained),
            evaluations=1 + sum(map(recipe.evaluates, range(1, recipe.rounds + 1))),
            tested=tested,
            trained=sum(trained),
        )
