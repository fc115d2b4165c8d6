"""The numbers that models compute in: asked for by name, in a model's passes and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import CNN, LSTM, RESNET, federation, numbers, run, small_cell
from thinned import every, thinned
from torch import Tensor, nn

from bench.config.cells import make_cell
from bench.config.possible import check_possible
from bench.errors import BenchError
from bench.models import cnn
from bench.numerics.precision import outputs_of, products_in


def flags() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize(("precision", "rounds"), [("fp32", False), ("tf32", True), ("bf16", False)])
def test_products_round_meanwhile_only(precision: Any, rounds: bool) -> None:
    before = flags()
    with products_in(precision):
        assert flags() == (rounds, rounds)
    with pytest.raises(ValueError, match="it fails"), products_in(precision):
        raise ValueError("it fails")
    assert flags() == before


def test_the_server_works_in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a tf32 cell the models' passes may round, forward and backward; the server's products of factors may not."""
    built = federation("prism", CNN, keep=0.4, training={"precision": "tf32"})
    before = flags()
    seen: dict[str, set[tuple[bool, bool]]] = {"passes": set(), "server": set()}
    loss_of, aggregate, extract = built.task.loss, built.method.aggregate, built.method.extract

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        seen["passes"].add(flags())
        if outputs.requires_grad:
            outputs.register_hook(lambda gradient: seen["passes"].add(flags()))
        return loss_of(outputs, targets)

    def aggregated(*arguments: Any) -> Any:
        result = aggregate(*arguments)
        seen["server"].add(flags())
        return result

    def extracted(*arguments: Any) -> Any:
        seen["server"].add(flags())
        return extract(*arguments)

    monkeypatch.setattr(built.task, "loss", loss)
    monkeypatch.setattr(built.method, "aggregate", aggregated)
    monkeypatch.setattr(built.method, "extract", extracted)
    run(built)
    # A loss of an evaluation is taken behind the model's passes.
    assert seen == {"passes": {(True, True), before}, "server": {before}} and flags() == before


@pytest.mark.parametrize("task", thinned([CNN, LSTM, RESNET], every(3)))
def test_a_cpu_has_no_units_for_tf32(task: str) -> None:
    """There it gives the numbers of fp32, and bf16 gives others."""
    ends = [
        numbers(run(federation("prism", task, keep=0.4, training={"precision": name}))[0])
        for name in ("fp32", "tf32", "bf16")
    ]
    assert ends[0] == ends[1] != ends[2]


def test_tf32_is_refused_where_it_would_be_fp32() -> None:
    cell = small_cell("fedavg", training={"precision": "tf32"})
    check_possible([cell], "cuda:1")
    with pytest.raises(BenchError, match=f"cell {cell.folder}: precision = 'tf32' is for CUDA GPUs; .*'cpu' allowed"):
        check_possible([cell], "cpu")


def test_outputs_are_never_narrower_than_single_precision() -> None:
    model, inputs = nn.Linear(3, 2), torch.ones(1, 3)
    outputs = outputs_of(model, inputs, "bf16")
    assert outputs.dtype == torch.float32 and torch.equal(outputs, outputs.bfloat16().float())
    assert not torch.equal(outputs, outputs_of(model, inputs, "fp32"))
    double = model.double()
    assert outputs_of(double, inputs.double(), "fp32").dtype == torch.float64


def test_the_weights_of_a_step_are_read_anew() -> None:
    model, inputs = nn.Linear(3, 2), torch.ones(1, 3)
    before = outputs_of(model, inputs, "bf16")
    with torch.no_grad():
        model.weight += 1
    torch.testing.assert_close(outputs_of(model, inputs, "bf16"), before + 3, rtol=2**-6, atol=2**-6)


def test_an_outer_autocast_does_not_reach_a_model_in_single_precision() -> None:
    model, inputs = nn.Linear(3, 2), torch.ones(1, 3)
    with torch.autocast("cpu", torch.bfloat16):
        inner = outputs_of(model, inputs, "fp32")
    assert torch.equal(inner, model(inputs))


@pytest.mark.parametrize("name", ["fp23", "bfloat16", "FP32", 16])
def test_another_precision_is_refused_in_a_sentence(name: Any) -> None:
    with pytest.raises(BenchError, match=r"precision.*(fp32|'bf16')") as error:
        make_cell({"task": CNN, "method": "fedavg", "training": {"precision": name}}, "the file")
    assert "\n" not in str(error.value)


def test_the_server_does_not_compute_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither while it selects, extracts and averages, nor while it draws the clients' updates, which they train."""
    built = federation("prism", CNN, keep=0.4, training={"precision": "bf16", "rounds": 1, "samples_per_client": 4})
    seen: dict[str, set[bool]] = {name: set() for name in ("select", "extract", "aggregate", "penalty", "passes")}
    for hook in ("select", "extract", "penalty"):
        monkeypatch.setattr(built.method, hook, watching(seen[hook], getattr(built.method, hook)))
    aggregate = built.method.aggregate

    def aggregated(server: Any, updates: Any, streams: Any) -> Any:
        def drawn() -> Any:
            for update in updates:
                seen["aggregate"].add(torch.is_autocast_enabled("cpu"))
                assert {tensor.dtype for tensor in update.parameters.values()} == {torch.float32}
                yield update

        seen["aggregate"].add(torch.is_autocast_enabled("cpu"))
        return aggregate(server, drawn(), streams)

    monkeypatch.setattr(built.method, "aggregate", aggregated)
    monkeypatch.setattr(cnn.CNN, "forward", watching(seen["passes"], cnn.CNN.forward))
    run(built)
    assert seen.pop("passes") == {True}
    assert all(kinds == {False} for kinds in seen.values()), seen


def watching(seen: set[bool], function: Any) -> Any:
    """Return a function that notes whether autocast is on."""

    def watched(*arguments: Any) -> Any:
        if not any(isinstance(given, Tensor) and given.is_meta for given in arguments):  # where costs are counted
            seen.add(torch.is_autocast_enabled("cpu"))
        return function(*arguments)

    return watched
