"""A sub-model in memory that stays where it is, so that its local step can be recorded once and repeated."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.api import Method, copy_of
from bench.federation.federation import Federation
from bench.training.lanes import Lane, Step
from bench.training.local import (
    Job,
    Trained,
    learning_rate_on,
    local_batches,
    local_step,
    mean_loss,
    method_of,
    momentum_of,
    optimiser_of,
    tensors_of,
)
from bench.training.shape import CARRIED, PLAIN, shape_of

WARM_UPS = 3
RECORDED_SIZES = 8
"""Batch sizes of which a replica records the step; clients of unequal size have last batches of many sizes."""


class Unrecordable(Exception):
    """A sub-model's local step cannot be recorded.

    Attributes:
        broken: recording began and was broken off, after which nothing more is recorded in this run.
    """

    def __init__(self, reason: str, broken: bool = False) -> None:
        super().__init__(reason)
        self.broken = broken


@dataclass(frozen=True)
class _Recorded:
    """A step that can be repeated, and where it reads its batch."""

    samples: Tensor
    targets: Tensor
    step: Step


def kind_of(job: Job, federation: Federation) -> Hashable:
    """Return what a replica must have in common with a job to do it: all but numbers.

    Raises:
        Incomparable: see :func:`bench.training.shape.shape_of`.
    """
    method = method_of(job, federation)
    exempt = frozenset(method.decay_free(job.submodel))
    shape = shape_of(job.submodel.train())
    return shape, exempt, job.reference, _has_momentum(job, federation), _settings_of(method)


def _settings_of(method: Method) -> Hashable:
    """Return the plain attributes of a method: its hooks may depend on them, and a recorded step holds their values."""
    return tuple((name, type(value), value) for name, value in vars(method).items() if isinstance(value, PLAIN))


def _has_momentum(job: Job, federation: Federation) -> bool:
    """Return whether there are buffers in training: for no momentum, only those that a client is given."""
    return federation.task.recipe.momentum != 0 or job.momentum is not None


class Replica:
    """Trains sub-models of one kind, one after the other, in memory of its own.

    Momentum buffers are always there and start from zero: a first step with them is the first step without.

    Args:
        job: one of those it is to do.
        federation: what is trained.
        lane: where its work is queued; it is entered from here on whenever the replica is used.
    """

    def __init__(self, job: Job, federation: Federation, lane: Lane) -> None:
        self.federation, self.lane, self.method = federation, lane, method_of(job, federation)
        self.model = copy_of(job.submodel)
        for module in self.model.modules():
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters()  # in one piece, as cuDNN reads them
        self.lr = learning_rate_on(federation.device)
        momentum: dict[str, Tensor] | None = {} if _has_momentum(job, federation) else None
        self.optimiser = optimiser_of(self.model, self.lr, federation.task.recipe, self.method, momentum)
        self.momentum = momentum_of(self.model, self.optimiser)
        self.total = torch.zeros((), device=federation.device)
        self.weights = [*self.model.parameters(), *self.model.buffers()]
        self._steps: dict[int, _Recorded] = {}

    @torch.enable_grad()
    def train(self, job: Job) -> Callable[[], Trained]:
        """Queue a client's training as :func:`bench.training.local.train_client` does it; return what waits for it.

        Raises:
            Unrecordable: nothing has been done.
        """
        self._load(job)
        passes = 0
        for rate, samples, targets in local_batches(job, self.federation):
            self.lr.fill_(rate)
            self._step(samples, targets)
            passes += len(targets)
        parameters = _copies(tensors_of(self.method, "upload", self.model))
        local = _copies(tensors_of(self.method, "local_state", self.model))
        momentum = _copies(self.momentum if self.method.returns_momentum else {})
        total = self.total.clone().to("cpu", non_blocking=True)
        wait = self.lane.done([*parameters.values(), *momentum.values(), *local.values()])

        def trained() -> Trained:
            wait()
            # Only now may what the job holds be given up: the lane has read it.
            return Trained(parameters, momentum, mean_loss(job, float(total), passes), passes, local)

        return trained

    @torch.no_grad()
    def _load(self, job: Job) -> None:
        """Take over the numbers of a job, and what its sub-model carries for the hooks that read it after training."""
        if CARRIED in vars(job.submodel):
            setattr(self.model, CARRIED, vars(job.submodel)[CARRIED])
        torch._foreach_copy_(self.weights, [*job.submodel.parameters(), *job.submodel.buffers()])
        for name, buffer in self.momentum.items():
            if job.momentum is not None and name in job.momentum:
                buffer.copy_(job.momentum[name])
            else:
                buffer.zero_()
        self.total.zero_()

    def _step(self, samples: Tensor, targets: Tensor) -> None:
        size = len(targets)
        if size not in self._steps and len(self._steps) < RECORDED_SIZES:
            self._steps[size] = self._recorded(samples.clone(), targets.clone())
        recorded = self._steps.get(size)
        if recorded is None:
            self._move(samples, targets)
            return
        recorded.samples.copy_(samples)
        recorded.targets.copy_(targets)
        recorded.step()

    def _move(self, samples: Tensor, targets: Tensor) -> None:
        loss = local_step(self.model, self.optimiser, samples, targets, self.federation.task, self.method)
        self.total.add_(loss * len(targets))

    def _recorded(self, samples: Tensor, targets: Tensor) -> _Recorded:
        """Record the step on batches of one size, and leave the numbers of replica and method as they are."""

        def step() -> None:
            self._move(samples, targets)

        state, about = [*self.weights, *self.momentum.values(), self.total], dict(vars(self.method))
        with torch.no_grad():
            before = [tensor.clone() for tensor in state]
        try:
            self._warm_up(step)
            recorded = self.lane.record(step)
        except (torch.OutOfMemoryError, Unrecordable):
            raise
        except Exception as error:
            # What breaks a recording off makes its end fail too, and came first.
            raise Unrecordable(_first_line(error.__context__ or error), broken=True) from error
        finally:
            vars(self.method).update(about)
        with torch.no_grad():
            torch._foreach_copy_(state, before)
        return _Recorded(samples, targets, recorded)

    def _warm_up(self, step: Step) -> None:
        """Do a step a few times, so that libraries choose their algorithms and workspaces before it is recorded.

        What would wait for the device, or change what the step is, shows here, while nothing is broken yet.
        """
        try:
            shape = shape_of(self.model)
            step()
            settings = _settings_of(self.method)
            with self.lane.without_waiting():
                for _ in range(WARM_UPS - 1):
                    step()
            unchanged = shape_of(self.model) == shape and _settings_of(self.method) == settings and self._in_place()
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise Unrecordable(_first_line(error)) from error
        if not unchanged:
            raise Unrecordable("a step changes more than the values of its tensors")

    def _in_place(self) -> bool:
        """Return whether weights, buffers and momentum are still the tensors that they were."""
        now = [*self.model.parameters(), *self.model.buffers(), *momentum_of(self.model, self.optimiser).values()]
        return [id(tensor) for tensor in now] == [id(tensor) for tensor in (*self.weights, *self.momentum.values())]


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
