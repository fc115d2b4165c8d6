"""What an ideal kernel for sparse weights leaves out, in columns of its own: by hand, and beside dense sub-models."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from helpers import (
    CNN,
    LSTM,
    RESNET,
    cohort_of,
    federation,
    initial,
    method_of,
    paper_task,
    run,
    selections_of,
    small_task,
)
from torch import nn

from bench.cost.cost import Cost, cost_of
from bench.launch.counted import _with_ideal
from bench.models.base import SparseLayer
from bench.simulation.rows import client_rows, level_rows, round_row
from bench.store import schema
from bench.store.table_files import table_in

FIRST, SECOND, LAST = (28**2, 25 * 64), (14**2, 9 * 64 * 64), (1, 49 * 64 * 62)
"""Positions of an output and entries of the weight, of the CNN's layers."""


def sub_model(name: str, method_name: str, keep: float, paper: bool = False) -> tuple[nn.Module, Cost]:
    task, method = (paper_task if paper else small_task)(name), method_of(method_name)
    method.levels = (keep,)
    server = method.setup(initial(task), task)
    (selection,) = selections_of(method, server, cohort_of(keep))
    submodel = method.extract(server, selection)
    return submodel, cost_of(submodel, task)


@pytest.mark.parametrize(
    ("name", "method"), [(CNN, "heterofl"), (RESNET, "fedhm"), (LSTM, "prism"), (CNN, "fedpara"), (RESNET, "fedavg")]
)
def test_of_a_dense_sub_model_nothing_is_left_out(name: str, method: str) -> None:
    _, cost = sub_model(name, method, 0.5)
    assert (cost.ideal_macs, cost.ideal_train_macs) == (cost.macs, cost.train_macs)


def test_a_masked_cnn_leaves_out_what_is_worked_by_hand() -> None:
    submodel, cost = sub_model(CNN, "fiarse", 0.3, paper=True)
    _, full = sub_model(CNN, "fedavg", 1.0, paper=True)
    assert (cost.macs, cost.train_macs, cost.activations) == (full.macs, full.train_macs, full.activations)
    kept = [submodel.get_parameter(f"{layer}.weight_values").numel() for layer in ("conv1", "conv2", "classifier")]
    products = [positions * number for (positions, _), number in zip((FIRST, SECOND, LAST), kept, strict=True)]
    assert cost.ideal_macs == sum(products)
    # Of the images no gradient is computed.
    assert cost.ideal_train_macs == 3 * sum(products) - products[0]


def test_a_masked_lstm_leaves_out_products_of_every_step() -> None:
    submodel, cost = sub_model(LSTM, "fiarse", 0.5)
    _, full = sub_model(LSTM, "fedavg", 1.0)
    length = small_task(LSTM).example(1, "meta").shape[1]
    pruned = sum(
        tensor.numel() - submodel.get_parameter(f"lstm.{name}_values").numel()
        for name, tensor in initial(small_task(LSTM)).get_submodule("lstm").named_parameters()
        if name.startswith("weight")
    )
    linear = 8 - submodel.get_parameter("classifier.weight_values").numel()
    assert cost.macs == full.macs
    assert full.macs - cost.ideal_macs == length * pruned + linear
    assert full.train_macs - cost.ideal_train_macs == 3 * (length * pruned + linear)


def test_a_frozen_input_saves_the_gradient_that_is_not_computed() -> None:
    submodel, _ = sub_model(LSTM, "fiarse", 0.5)
    layer = submodel.get_submodule("lstm")
    assert isinstance(layer, SparseLayer)
    inputs, outputs = torch.zeros(1, 7, 6), torch.zeros(1, 7, 8)
    with_gradient = layer.skipped(inputs.clone().requires_grad_(), outputs)
    first = 4 * 8 * 6 - submodel.get_parameter("lstm.weight_ih_l0_values").numel()
    assert layer.skipped(inputs, outputs) == (with_gradient[0], with_gradient[1] - 7 * first)


def test_rounds_clients_and_levels_have_the_columns() -> None:
    rounds, _ = run(federation("fiarse", LSTM, keep="0.25:0.5,0.75:0.5"))
    last = rounds[-1]
    row = round_row(last)
    assert 0 < row["ideal_forward_macs"] < row["forward_macs"] and 0 < row["ideal_train_macs"] < row["train_macs"]
    assert 0 < row["client_ideal_macs"] < row["client_macs"]
    assert {own["ideal_train_macs"] < own["train_macs"] for own in client_rows(last)} == {True}
    low, high = (own["ideal_macs"] / own["macs"] for own in level_rows(last))
    assert low < high < 1
    dense, _ = run(federation("prism", LSTM, keep=0.5))
    row = round_row(dense[-1])
    assert row["ideal_train_macs"] == row["train_macs"] and row["client_ideal_macs"] == row["client_macs"]


def test_tables_without_the_columns_still_load(tmp_path: Path) -> None:
    """A cell of the same version that was made before them."""
    rounds, _ = run(federation("fedavg", LSTM))
    table = schema.table_of([round_row(this) for this in rounds], schema.ROUNDS)
    later = ["client_ideal_macs", "ideal_forward_macs", "ideal_train_macs"]
    pq.write_table(table.drop_columns(later), tmp_path / "rounds.parquet")
    read = table_in(tmp_path, "rounds")
    assert read.schema.equals(schema.ROUNDS) and read.column("ideal_train_macs").null_count == len(read)
    assert read.drop_columns(later).equals(table.drop_columns(later))
    pq.write_table(table.drop_columns(["train_macs"]), tmp_path / "rounds.parquet")
    with pytest.raises((pa.ArrowException, ValueError)):
        table_in(tmp_path, "rounds")


def test_footprints_counted_before_are_of_dense_sub_models() -> None:
    old = {"macs": 7, "train_macs": 20, "ideal_macs": None, "ideal_train_macs": None}
    assert _with_ideal(old) == {**old, "ideal_macs": 7, "ideal_train_macs": 20}
    new = {"macs": 7, "train_macs": 20, "ideal_macs": 0, "ideal_train_macs": 5}
    assert _with_ideal(new) == new
