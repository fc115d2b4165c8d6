"""Checks of what a sub-model costs, counted a second time in other ways than the harness counts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bench.api import Method, Selection, Server
from bench.budget.fitting import Counted, Scale
from bench.budget.written import UNITS
from bench.conformance.compare import tensors_in
from bench.conformance.outcome import Failure, Undefined
from bench.conformance.subject import Subject, simulate
from bench.cost.cost import Cost, cost_of
from bench.federation.federation import Federation
from bench.training.engine import InlineEngine
from bench.training.local import Job, Trained

KEEPS = (0.25, 0.5, 1.0)
RISING = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Without 1, where a method may hand out the dense model, which costs less than two large factors."""
SLACK = 0.1
"""Whole units: a quarter of 6 kernels is 2 of them."""


def costs_grow(subject: Subject) -> None:
    """The costs that a method reduces grow strictly from keep ratio 0.25 to 0.5 to 1, in federations of these.

    By default these are parameters, bytes and multiply-accumulates; ``reduces`` names others. Where a method cuts
    between whole parts of a model (``cuts_parts``), 0.25 and 0.5 may be the same cut. If parameters are among the
    costs, those in the layers that a method may factor or narrow are at most ``keep + 0.1`` of those at keep ratio 1,
    unless the method says that its keep ratio is no share (``keep_is_share``). The whole sub-model is not held to that:
    stem, normalisation and classifier may stay whole, and at keep ratio 1 two factors hold more than the matrix they
    stand for.
    """
    method = subject.stage().method
    if not method.uses_keep:
        raise Undefined("it trains the full model whatever the keep ratio (uses_keep is False)")
    costs = [_cost_at(subject, keep) for keep in KEEPS]
    for name in method.reduces:
        low, middle, high = (getattr(cost, name) for cost in costs)
        if not (low <= middle < high if method.cuts_parts else low < middle < high):
            raise Failure(
                f"{name} of sub-models of keep ratio 0.25, 0.5 and 1 are {low:,}, {middle:,} and {high:,}",
                "growing numbers",
                "cut the tensors; zeros in a full model save nothing, a mask held as values and places is counted",
            )
    for keep, cost in zip(KEEPS, costs, strict=True):
        if "parameters" not in method.reduces or not method.keep_is_share:
            break
        if cost.factored_parameters > (keep + SLACK) * costs[-1].factored_parameters:
            raise Failure(
                f"at keep ratio {keep:g} the factorable layers hold {cost.factored_parameters:,} parameters",
                f"at most {keep + SLACK:g} of the {costs[-1].factored_parameters:,} at keep ratio 1",
                "bench.spectral.decompose.rank_of says how many units a keep ratio leaves",
            )


def costs_never_shrink(subject: Subject) -> None:
    """What a client takes never falls where the keep ratio rises: memory, parameters, bytes and operations.

    Budgets rest on it: the largest keep ratio that fits is found by halving an interval. One client is counted, in its
    first round, at keep ratios from 0.1 to 0.9. It may stay where it is: a method may have few sizes.
    """
    stage = subject.stage()
    if not stage.method.uses_keep:
        raise Undefined("it trains the full model whatever the keep ratio (uses_keep is False)")
    if not stage.method.costs_rise:
        raise Undefined("it says that they may (costs_rise is False), and budgets try every keep ratio")
    counted = Counted(lambda: subject.stage().method, Scale(stage.federation.task))
    taken = [counted.at(keep) for keep in RISING]
    for (keep, less), (larger, more) in itertools.pairwise(zip(RISING, taken, strict=True)):
        for quantity in UNITS:
            if less.of(quantity) > more.of(quantity):
                raise Failure(
                    f"{quantity} of a client of keep ratio {keep:g} is {less.of(quantity):,.6g}, of {larger:g} "
                    f"{more.of(quantity):,.6g}",
                    "no less at the larger keep ratio",
                    "a larger sub-model sends, holds and computes as much; budgets find the largest that fits",
                )


def _cost_at(subject: Subject, keep: float) -> Cost:
    """Return the cost of a client of this keep ratio in a federation of such clients, and of full ones if needed."""
    full = subject.needs_full_clients and keep < 1
    stage = subject.counted_stage(f"{keep:g}:0.5,1:0.5" if full else keep)
    return cost_of(stage.submodel(keep), stage.federation.task)


def costs_are_as_counted(subject: Subject) -> None:
    """The parameters, bytes and multiply-accumulates that a round reports are those of what was really sent.

    Bytes are those of all tensors that a sub-model holds, registered or not, and of what comes back; where a method
    says that less is sent (``received``), what it names must be tensors of the sub-model, each once. Operations are
    counted on a real batch, operator by operator.
    """
    federation = subject.federation()
    scales = _Scales(federation)
    rounds = simulate(federation, scales).rounds
    reported = {
        "parameters": [cost.parameters for this in rounds for cost in this.costs],
        "multiply-accumulates": [cost.macs for this in rounds for cost in this.costs],
        "bytes down": [sum(this.down_bytes for this in rounds)],
        "bytes up": [sum(this.up_bytes for this in rounds)],
    }
    measured = {
        "parameters": scales.parameters,
        "multiply-accumulates": scales.macs,
        "bytes down": [sum(scales.down)],
        "bytes up": [sum(scales.up)],
    }
    for name, values in reported.items():
        if values != measured[name]:
            raise Failure(
                f"{name} are reported as {values} and measured as {measured[name]}",
                "the same numbers",
                "register every tensor of a sub-model as a parameter or a buffer, and compute the same for any input",
            )


class _Scales(InlineEngine):
    """Trains in this process and weighs what goes to the clients and comes back."""

    def __init__(self, federation: Federation) -> None:
        super().__init__(federation)
        self.parameters: list[int] = []
        self.macs: list[int] = []
        self.down: list[int] = []
        self.up: list[int] = []
        self._sends_all = type(federation.method).received is Method.received
        self._named: list[int] = []
        own = federation.method.received

        def noted(server: Server, selection: Selection, submodel: nn.Module) -> list[Tensor]:
            sent = list(own(server, selection, submodel))
            self._named = [tensor.data_ptr() for tensor in sent if tensor.numel()]
            return sent

        federation.method.received = noted  # type: ignore[method-assign]

    def train(self, jobs: Iterable[Job]) -> Iterator[Trained]:
        for trained in super().train(self._weighed(job) for job in jobs):
            self.up.append(sum(_bytes(tensor) for tensor in tensors_in([trained.parameters, trained.momentum])))
            yield trained

    def _weighed(self, job: Job) -> Job:
        held = list(tensors_in(job.submodel))
        self.parameters.append(sum(tensor.numel() for tensor in held if isinstance(tensor, nn.Parameter)))
        self.down.append(sum(_bytes(tensor) for tensor in [*self._sent(held), *tensors_in(job.momentum)]))
        batch = self.federation.client_data(job.client)[0][: self.federation.task.recipe.batch_size]
        with torch.no_grad(), Multiplications() as counted:
            job.submodel(self.federation.task.prepare(batch))
        self.macs.append(math.ceil(counted.macs / len(batch)))  # products of weights are shared by a batch
        return job

    def _sent(self, held: list[Tensor]) -> list[Tensor]:
        """Return which of the tensors that the last sub-model holds are sent to its client."""
        if self._sends_all:
            return held
        named, memory = self._named, {tensor.data_ptr() for tensor in held if tensor.numel()}
        if len(set(named)) < len(named) or not set(named) <= memory:
            raise Failure(
                "received names a tensor twice, or one that the sub-model does not hold",
                "those of the sub-model's tensors that are sent",
                "take them from submodel.state_dict()",
            )
        return [tensor for tensor in held if tensor.numel() and tensor.data_ptr() in named]


def _bytes(tensor: Tensor) -> int:
    return tensor.detach().numpy().nbytes


class Multiplications(TorchDispatchMode):
    """Counts the multiply-accumulates of convolutions and matrix products as they are executed."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        if name in ("mm", "bmm", "addmm", "baddbmm"):
            left, right = args[-2:]
            self.macs += left.numel() * right.shape[-1]
        elif name == "convolution":
            weight = args[1]
            self.macs += result.numel() * weight[0].numel()
        elif name == "_scaled_dot_product_flash_attention_for_cpu":
            query, key, value = args[:3]
            self.macs += (query.shape[:3].numel() * key.shape[2]) * (key.shape[3] + value.shape[3])
        elif name == "mkldnn_rnn_layer":
            sequence, into, recurrent = args[:3]
            self.macs += sequence.shape[0] * sequence.shape[1] * (into.numel() + recurrent.numel())
        return result
