"""The part "memory": what a local step holds, counted from shapes and measured in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from bench.api import Client, Cohort, Skip
from bench.budget.taken import taken_by
from bench.cell import Cell
from bench.cost.cost import CostMeter, peak_memory_bytes, reset_peak_memory
from bench.federation.federation import Federation
from bench.numerics.runtime import prepare_process, release_memory
from bench.perf.apart import Apart
from bench.perf.plan import Plan
from bench.perf.report import Say, filled, split_by
from bench.perf.workloads import memory_cell
from bench.training.local import Job, learning_rate_on, local_batches, local_step, optimiser_of

METHODS: dict[str, float] = {"fedavg": 1.0, "prism": 0.2, "heterofl": 0.4, "inclusivefl": 0.4}
"""What is measured, at a keep ratio each: the full model, factors, channels, and layers that are frozen."""
STEPS = 2
"""Local steps: the optimiser's buffers are there from the second one on."""
SMALL = 4
"""Samples of the step that goes before, so that libraries are loaded and kernels built."""
CLOSE = 0.1
"""Of the count: what a measure may differ by without a word."""


@dataclass(frozen=True)
class Held:
    """What one client's local step holds, in bytes.

    Attributes:
        counted: by shapes (:class:`bench.budget.taken.Taken`).
        kept: parameters, buffers, gradients and the optimiser's buffers as they are, and the tensors that autograd
            really keeps of a batch, each once.
        peak: by how much the process, or what the accelerator has allocated, was larger at its largest than before the
            sub-model was made: workspace of libraries and the allocator's rounding are in it.
    """

    counted: int
    kept: int
    peak: int


def measure(plan: Plan, say: Say) -> list[dict[str, Any]]:
    """Return a row for each task, method and precision that the method is defined for."""
    rows = []
    for precision in plan.precisions:
        for task in plan.tasks:
            for method, keep in METHODS.items():
                cell = memory_cell(task, method, keep, precision)
                with closing(Apart(Scales, cell, plan.device)) as scales:
                    held = scales.call("held", keep)
                if held is None:
                    continue
                say(f"{task}, {method}, keep {keep:g}, {precision}: {held.counted / 1e6:.1f} MB counted")
                rows.append(row_of(task, method, keep, precision, held))
    return rows


def row_of(task: str, method: str, keep: float, precision: str, held: Held) -> dict[str, Any]:
    """Return a row of the table."""
    return {
        "task": task,
        "method": method,
        "keep": keep,
        "precision": precision,
        "repetitions": 1,
        "counted_bytes": held.counted,
        "kept_bytes": held.kept,
        "peak_bytes": held.peak,
        "kept_ratio": held.kept / held.counted,
        "peak_ratio": held.peak / held.counted,
    }


class Scales:
    """Trains one client for some steps and weighs what that holds.

    Args:
        cell: of the task's size; all clients have as many samples as the steps need.
        device: where it is trained.
    """

    def __init__(self, cell: Cell, device: str) -> None:
        prepare_process()
        self.federation = Federation.build(cell, device=device)

    def held(self, keep: float) -> Held | None:
        """Return what the step of a client of a keep ratio holds; None where the method is not defined for the task."""
        federation, method = self.federation, self.federation.method
        try:
            server = method.setup(federation.initial_model(), federation.task)
        except Skip:
            return None
        counted = taken_by(method, server, federation.task, keep, CostMeter(federation.task)).memory
        client = Client(0, int(federation.partition.sizes[0]), keep, tuple(range(federation.dataset.classes)))
        (selection,) = method.select(server, Cohort(1, (client,)), federation.streams("selection", 1))
        self._steps(Job(0, 1, method.extract(server, selection)), SMALL)
        release_memory()
        reset_peak_memory(federation.device)
        before = peak_memory_bytes(federation.device)
        kept = self._steps(Job(0, 1, method.extract(server, selection)))
        return Held(round(counted), kept, peak_memory_bytes(federation.device) - before)

    def _steps(self, job: Job, samples: int | None = None) -> int:
        """Train for some steps; return the bytes that the sub-model, its optimiser and autograd hold in the last."""
        federation, method = self.federation, self.federation.method
        submodel = job.submodel.train()
        lr = learning_rate_on(federation.device)
        optimiser = optimiser_of(submodel, lr, federation.task.recipe, method, None)
        kept = Kept(submodel)
        for number, (rate, inputs, targets) in enumerate(local_batches(job, federation)):
            if number == STEPS:
                break
            lr.fill_(rate)
            kept.forget()
            with saved_tensors_hooks(kept.keep, lambda tensor: tensor):
                local_step(submodel, optimiser, inputs[:samples], targets[:samples], federation.task, method)
        trained = [tensor for tensor in submodel.parameters() if tensor.requires_grad]
        tensors = [*submodel.parameters(), *submodel.buffers(), *trained, *optimiser.buffers.values()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors) + kept.bytes

    def close(self) -> None:
        """End nothing: there is no process of its own."""


class Kept:
    """Notes which memory autograd keeps, and how much; it holds on to none of it."""

    def __init__(self, model: nn.Module) -> None:
        self._own = {tensor.untyped_storage().data_ptr() for tensor in model.parameters()}
        self._bytes: dict[int, int] = {}

    def forget(self) -> None:
        """Begin anew."""
        self._bytes.clear()

    def keep(self, tensor: Tensor) -> Tensor:
        """Note a tensor that autograd keeps."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._own:
            self._bytes[storage.data_ptr()] = storage.nbytes()
        return tensor

    @property
    def bytes(self) -> int:
        """The bytes of all that is kept, each once."""
        return sum(self._bytes.values())


def shown(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Return the tables that are printed, one a precision."""
    return [
        filled(
            f"Memory of a local step, {precision}",
            here,
            ("client", "counted MB", "kept MB", "peak MB"),
            "Counted by shapes; kept: parameters, gradients, momentum and what autograd keeps, as they are; peak: of "
            "the process, workspace and the allocator's rounding included. In brackets: over what is counted.",
            _line,
        )
        for precision, here in split_by("precision", rows)
    ]


def _line(row: Mapping[str, Any]) -> list[str]:
    measured = [f"{row[f'{name}_bytes'] / 1e6:.1f} ({row[f'{name}_ratio']:.2f})" for name in ("kept", "peak")]
    return [f"{row['task']}, {row['method']} {row['keep']:g}", f"{row['counted_bytes'] / 1e6:.1f}", *measured]


def verdicts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each that differs from its count by more than a tenth."""
    return [
        f"{row['task']}, {row['method']}, {row['precision']}: {name} is {row[f'{name}_ratio']:.2f} of what is counted"
        for row in rows
        for name in ("kept", "peak")
        if abs(row[f"{name}_ratio"] - 1) > CLOSE
    ]
