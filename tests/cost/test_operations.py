"""Operations and activations of a client's training, against formulae worked by hand and against what is executed."""

from __future__ import annotations

import copy
import math
from functools import cache

import pytest
import torch
from helpers import CNN, LSTM, RESNET, batch_of, initial, method_of, paper_task, selections_of, small_task
from helpers import cohort_of as cohort
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bench.cost.cost import Cost, CostMeter, capacity, cost_of
from bench.cost.operations import operations
from bench.models.base import Model
from bench.models.factorise import low_rank_layers
from bench.tasks.base import Task


def counts_of(model: nn.Module, task: Task) -> tuple[int, int, int]:
    """Return multiply-accumulates of the forward pass and of both, and the activations."""
    counted = operations(model, task)
    return counted.macs, counted.train_macs, counted.activations


def frozen(model: Model, parts: int) -> Model:
    """Return a copy of a model whose first parts are not trained."""
    model = copy.deepcopy(model)
    prefixes = tuple(prefix for part in model.parts()[:parts] for prefix in part)
    for name, tensor in model.named_parameters():
        tensor.requires_grad_(not name.startswith(prefixes))
    return model


@cache
def resnet20_client(blocks: int | None) -> Cost:
    """Return the cost of a client that does not train the stem and this many blocks; None trains all."""
    task = paper_task(RESNET, architecture="resnet20")
    return cost_of(frozen(initial(task), 0 if blocks is None else 1 + blocks), task)


@pytest.mark.parametrize(
    ("blocks", "parameters", "activations", "share"),
    [(None, 272_762, 6_947_136, 1.0), (3, 257_994, 2_752_832, 0.42), (6, 206_346, 917_824, 0.16)],
)
def test_clients_of_resnet20_have_the_published_capacities(
    blocks: int | None, parameters: int, activations: int, share: float
) -> None:
    cost, full = resnet20_client(blocks), resnet20_client(None)
    assert cost.trained_parameters == parameters
    assert 32 * cost.activations == activations
    assert round(capacity(cost, full, batch_size=32), 2) == share
    assert (cost.parameters, cost.macs) == (full.parameters, full.macs)


def test_a_larger_batch_weighs_activations_more() -> None:
    full, weak = Cost(10, 0, 1, 40, 10, 6, 3, 0), Cost(10, 0, 1, 40, 8, 1, 2, 0)
    assert capacity(weak, full, 1) == 9 / 16 and capacity(weak, full, 5) == 13 / 40


FIRST, SECOND, LAST = 28**2 * 25 * 64, 14**2 * 9 * 64 * 64, 49 * 64 * 62
CNN_TRAINING = [
    # parts that are frozen; activations; multiply-accumulates of the backward pass.
    (0, 28**2 * 64 + 14**2 * 64 + 62, FIRST + 2 * SECOND + 2 * LAST),
    (1, 14**2 * 64 + 62, SECOND + 2 * LAST),
    (2, 62, LAST),
    (3, 0, 0),
]


@pytest.mark.parametrize(("parts", "activations", "backward"), CNN_TRAINING)
def test_a_cnn_trains_at_the_cost_worked_by_hand(parts: int, activations: int, backward: int) -> None:
    task = paper_task(CNN)
    forward = FIRST + SECOND + LAST
    assert counts_of(frozen(initial(task), parts), task) == (forward, forward + backward, activations)


def test_a_frozen_layer_in_the_middle_still_passes_gradients_on() -> None:
    task = paper_task(CNN)
    model = initial(task)
    model.get_submodule("conv2").requires_grad_(False)
    counted = operations(model, task)
    assert counted.train_macs == counted.macs + FIRST + SECOND + 2 * LAST
    assert counted.activations == 28**2 * 64 + 14**2 * 64 + 62


def resnet18_convolutions() -> list[tuple[int, int]]:
    """Return multiply-accumulates and outputs of each convolution of ResNet-18, the stem first."""
    macs, inputs, side = [(32 * 32 * 27 * 64, 32 * 32 * 64)], 64, 32
    for stage, outputs in enumerate((64, 128, 256, 512)):
        side = 32 // 2**stage
        if stage:
            macs.append((inputs * outputs * side**2, outputs * side**2))
        for _ in range(4):
            macs.append((9 * inputs * outputs * side**2, outputs * side**2))
            inputs = outputs
    return macs


def test_a_resnet_trains_at_three_times_its_forward_pass_but_for_the_input() -> None:
    task = paper_task(RESNET)
    convolutions = resnet18_convolutions()
    forward = sum(macs for macs, _ in convolutions) + 5120
    kept = sum(outputs for _, outputs in convolutions) + 10
    assert counts_of(initial(task), task) == (forward, 3 * forward - convolutions[0][0], kept)


@pytest.mark.parametrize("keep", [0.2, 0.5])
def test_both_factors_of_a_convolution_are_counted(keep: float) -> None:
    task, method = paper_task(CNN), method_of("prism")
    server = method.setup(initial(task), task)
    submodel = method.extract(server, selections_of(method, server, cohort(keep))[0])
    rank = low_rank_layers(submodel)["conv2"].factors().u.shape[1]
    second = 14**2 * rank * (9 * 64 + 64)
    forward = FIRST + second + LAST
    kept = 28**2 * 64 + 14**2 * (rank + 64) + 62
    assert counts_of(submodel, task) == (forward, 3 * forward - FIRST, kept)


def test_channels_that_are_padded_are_not_kept() -> None:
    task, method = paper_task(CNN), method_of("origdrop", variant="released")
    server = method.setup(initial(task), task)
    submodel = method.extract(server, selections_of(method, server, cohort(0.5))[0])
    # Half of the outputs of each convolution; the second one reads 64 channels, half of them zeros.
    forward = FIRST // 2 + SECOND // 2 + LAST
    assert counts_of(submodel, task) == (forward, 3 * forward - FIRST // 2, 14**2 * 32 * 5 + 62)


def test_the_samples_of_a_batch_share_what_is_computed_of_weights_alone() -> None:
    task, method = paper_task(CNN), method_of("fedpara", rank_rule="share")
    method.levels = (0.4,)
    server = method.setup(initial(task), task)
    submodel = method.extract(server, selections_of(method, server, cohort(0.4))[0])
    rank = submodel.get_parameter("conv2.weight_o1").shape[0]
    # For each half a core [R, R, 9] with the inputs' factor [R, 64], and the result [R, 64, 9] with the outputs'.
    product = 2 * (9 * rank * rank * 64 + 9 * rank * 64 * 64)
    forward = FIRST + SECOND + LAST
    counted = operations(submodel, task)
    assert task.recipe.batch_size == 32
    assert counted.macs == forward + math.ceil(product / 32)
    # Backwards each product is made twice, for both of what it is made of.
    assert counted.train_macs == 3 * forward - FIRST + math.ceil(3 * product / 32)


HIDDEN, EMBEDDING, LENGTH = 5, 3, 6


def lstm_task(length: int = LENGTH) -> Task:
    return small_task(LSTM, hidden=HIDDEN, embedding=EMBEDDING, length=length)


@pytest.mark.parametrize("length", [1, 2, 3, LENGTH])
@pytest.mark.parametrize("parts", [0, 1, 2, 3])
def test_an_lstm_trains_at_the_cost_worked_by_hand(parts: int, length: int) -> None:
    task, gates = lstm_task(length), 4 * HIDDEN
    into, recurrent, last = [gates * EMBEDDING, gates * HIDDEN], gates * HIDDEN, HIDDEN
    forward = length * (sum(into) + 2 * recurrent) + last
    # The gradients of what is trained, and those of the inputs where something before them is trained.
    backward, kept = last + (last if parts < 3 else 0), 1 + (length * EMBEDDING if parts < 1 else 0)
    for layer in (0, 1):
        if parts <= layer + 1:
            backward += length * (into[layer] + recurrent) + (length - 1) * recurrent  # no step before the first
            backward += length * into[layer] if parts <= layer else 0
            kept += length * 2 * gates
    assert counts_of(frozen(initial(task), parts), task) == (forward, forward + backward, kept)


@pytest.mark.parametrize("length", [1, 3, LENGTH])
def test_a_factored_lstm_trains_at_the_cost_worked_by_hand(length: int) -> None:
    task, method, gates = lstm_task(length), method_of("prism"), 4 * HIDDEN
    server = method.setup(initial(task), task)
    submodel = method.extract(server, selections_of(method, server, cohort(0.6))[0])
    layer = low_rank_layers(submodel)["lstm"]
    forward, backward, kept = HIDDEN, 2 * HIDDEN, length * EMBEDDING + 1
    for number, inputs in enumerate((EMBEDDING, HIDDEN)):
        into, recurrent = (layer.factors(f"weight_{kind}_l{number}").v.shape[0] for kind in ("ih", "hh"))
        step = into * (inputs + gates) + recurrent * (HIDDEN + gates)
        forward += length * step
        backward += 2 * length * step - recurrent * HIDDEN
        kept += length * (into + recurrent + 2 * gates)
    assert counts_of(submodel, task) == (forward, forward + backward, kept)


def test_factors_that_are_frozen_keep_nothing() -> None:
    task, method = lstm_task(), method_of("prism")
    server = method.setup(initial(task), task)
    submodel = method.extract(server, selections_of(method, server, cohort(0.6))[0])
    for name, tensor in submodel.named_parameters():
        tensor.requires_grad_(name.startswith("classifier."))
    counted = operations(submodel, task)
    assert (counted.train_macs - counted.macs, counted.activations) == (HIDDEN, 1)


class _Products(TorchDispatchMode):
    """Multiplies out the shapes of products and convolutions, forward and backward, as they are executed."""

    macs = 0

    def __torch_dispatch__(self, function: object, types: object, args: tuple = (), kwargs: dict | None = None):  # type: ignore[type-arg, no-untyped-def]
        result = function(*args, **(kwargs or {}))  # type: ignore[operator]
        name = function.overloadpacket.__name__  # type: ignore[attr-defined]
        if name in ("mm", "addmm", "bmm"):
            left, right = args[-2:]
            self.macs += left.numel() * right.shape[-1]
        elif name == "convolution":
            self.macs += result.numel() * args[1][0].numel()
        elif name == "convolution_backward":
            arriving, _, weight = args[:3]
            self.macs += arriving.numel() * weight[0].numel() * sum(args[-1][:2])
        return result


@pytest.mark.parametrize("method_name", ["fedavg", "prism", "origdrop"])
@pytest.mark.parametrize("architecture", ["resnet18", "resnet20"])
def test_the_count_is_that_of_a_real_step(method_name: str, architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # On small maps a hand-written convolution computes the gradient of its inputs even where nobody asks for it.
    monkeypatch.setattr("bench.models.convolution._is_small", lambda *_: False)
    task, method = small_task(RESNET, architecture=architecture, norm="group", factored="all"), method_of(method_name)
    server = method.setup(initial(task), task)
    submodel = method.extract(server, selections_of(method, server, cohort(0.5))[0])
    images = batch_of(task, 1)
    with _Products() as counted:
        submodel(images).sum().backward()
    assert operations(submodel, task).train_macs == counted.macs


class _Grown(nn.Module):
    """A linear layer whose weight is a product of two parameters, multiplied out in every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Parameter(torch.ones(62, 3)), nn.Parameter(torch.ones(3, 784))

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ (self.left @ self.right).T


def test_a_product_of_weights_is_no_activation_of_a_sample() -> None:
    assert operations(_Grown(), paper_task(CNN)).activations == 62


def test_training_counts_do_not_depend_on_the_state_of_autograd() -> None:
    task = lstm_task()
    model = initial(task)
    with torch.no_grad():
        counted = operations(model, task)
    assert counted == operations(model, task) and counted.activations > 0
    assert all(tensor.grad is None for tensor in model.parameters())


def test_the_meter_tells_frozen_parts_apart() -> None:
    task = small_task(RESNET, architecture="resnet20")
    model, meter = initial(task), CostMeter(task)
    costs = [meter.of(frozen(model, parts)) for parts in (0, 4, 7)]
    assert costs == [cost_of(frozen(model, parts), task) for parts in (0, 4, 7)]
    for name in ("trained_parameters", "activations", "train_macs"):
        values = [getattr(cost, name) for cost in costs]
        assert values[0] > values[1] > values[2] > 0
