"""What is timed: the bare loop and the harness train the same, and rounds are real."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from thinned import every, thinned

from bench.cell import Cell
from bench.config.cells import make_cell
from bench.cost.cost import bytes_of
from bench.cost.operations import operations
from bench.federation.federation import Federation
from bench.models.low_rank import LowRankLayer
from bench.numerics.runtime import prepared
from bench.perf import clients, keep, memory, training, workloads
from bench.perf.bare import BareLoop
from bench.perf.clients import Size
from bench.perf.contenders import Contender, trainer
from bench.perf.harness import Harness
from bench.perf.plan import plan_of
from bench.perf.rounds import Rounds
from bench.perf.workloads import Workload
from bench.spectral.decompose import rank_of
from bench.tasks.resnet18_cifar10 import ResNet18Cifar10

SMALL = {
    "clients": 3,
    "cohort": 2,
    "samples_per_client": 40,
    "batch_size": 16,
    "local_epochs": 2,
    "standin_train": 400,
    "standin_test": 10,
}
LSTM: dict[str, Any] = {"hidden": 8, "length": 12}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path_factory.getbasetemp() / "perf-data"))
    with prepared():
        yield


def small_cell(task: str, method: str = "fedavg", share: float = 1.0, **values: Any) -> Cell:
    head = {"task": task, "method": method, "keep": share, "tier": "paper", "data": "stand-in", "partition": "iid"}
    training = {**SMALL, **values.pop("training", {})}
    return make_cell({**head, "training": training, "model": values}, "test")


CASES = [
    ("cnn-femnist", "fedavg", 1.0, {}),
    ("lstm-imdb", "fedavg", 1.0, LSTM),
    ("cnn-femnist", "prism", 0.2, {}),
    ("lstm-imdb", "prism", 0.5, LSTM),
    ("resnet18-cifar10", "prism", 0.2, {"width": 4, "norm": "group", "training": {"lr": 0.01}}),
]


@pytest.mark.parametrize(("task", "method", "share", "model"), thinned(CASES, every(5)))
def test_the_bare_loop_and_the_harness_train_the_same_models(
    task: str, method: str, share: float, model: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of factored models too: the same factors, batches, penalty and decay, up to rounding.

    Images are not augmented here: the bare loop draws crops and flips batch by batch, the harness for a whole epoch.
    """
    monkeypatch.setattr(ResNet18Cifar10, "augment", lambda self, inputs, rng: inputs)
    federation = Federation.build(small_cell(task, method, share, **model))
    bare, harness = BareLoop(federation, threads=1), Harness(federation, workers=1)
    initial = [
        {name: tensor.detach().clone() for name, tensor in job.submodel.named_parameters()}
        for job in harness.jobs(harness.cohort(3))
    ]
    trained = list(harness.engine.train(harness.jobs(harness.cohort(3))))
    for ours, theirs, start in zip(trained, bare.trained(bare.cohort(3)), initial, strict=True):
        assert any(isinstance(module, LowRankLayer) for module in theirs.modules()) == (method == "prism")
        for name, tensor in theirs.named_parameters():
            torch.testing.assert_close(ours.parameters[name], tensor.detach(), rtol=2e-3, atol=2e-5)
        assert any(not torch.equal(ours.parameters[name], tensor) for name, tensor in start.items())


def test_the_bare_loop_adds_the_penalty_and_spares_the_factors_of_decay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without either its factors would end elsewhere, so that the yardstick trains what the harness trains."""
    federation = Federation.build(small_cell("cnn-femnist", "prism", 0.2, training={"weight_decay": 0.05}))
    bare = BareLoop(federation, threads=1)
    name = "conv2.weight_u"
    (right, *_) = [dict(model.named_parameters())[name].detach() for model in bare.trained(bare.cohort(1))]
    for hook, returned in (("penalty", None), ("decay_free", set())):
        with monkeypatch.context() as changed:
            changed.setattr(federation.method, hook, lambda submodel, returned=returned: returned)
            (other, *_) = [dict(model.named_parameters())[name].detach() for model in bare.trained(bare.cohort(1))]
        assert not torch.allclose(right, other, rtol=1e-3, atol=1e-6), hook


def test_both_count_every_sample_of_every_epoch() -> None:
    federation = Federation.build(small_cell("resnet18-cifar10", width=2))
    expected = 2 * 40 * 2
    for made in (BareLoop(federation, threads=1), Harness(federation, workers=1)):
        assert made.train(made.cohort(1)) == expected


def test_bf16_reaches_the_bare_loop_and_the_harness() -> None:
    for kind in ("bare loop", "harness"):
        ends = []
        for precision in ("fp32", "bf16"):
            cell = small_cell("cnn-femnist", training={"precision": precision})
            made = trainer(Contender(kind, 1, 1, 1.0, precision), cell, "cpu")
            if isinstance(made, BareLoop):
                (model, _) = made.trained(made.cohort(1))
                ends.append(next(model.parameters()).detach())
            else:
                assert isinstance(made, Harness)
                ends.append(next(iter(next(made.engine.train(made.jobs(made.cohort(1)))).parameters.values())))
        assert not torch.equal(*ends) and torch.allclose(*ends, atol=0.02), kind


def test_the_bare_loop_gets_the_threads_it_asks_for() -> None:
    federation = Federation.build(small_cell("lstm-imdb", hidden=2, length=5))
    trainer(Contender("bare loop", 1, 2), federation.cell, "cpu")
    assert torch.get_num_threads() == 2


def test_a_trainer_takes_other_keep_ratios() -> None:
    made = Harness(Federation.build(small_cell("cnn-femnist", "prism")), workers=1)
    for share in (0.2, 0.7):
        ranks = {len(job.submodel.conv2.weight_v) for job in made.jobs(made.cohort(1, share))}
        assert ranks == {rank_of(share, 64)}
        (job, _) = made.jobs(made.cohort(1, share))
        assert made.macs(share) == operations(job.submodel, made.federation.task).macs
    assert made.seconds(1, 0.2) > 0


def test_rounds_are_those_of_a_simulation() -> None:
    cell = small_cell("cnn-femnist", "prism", 0.2)
    rounds = Rounds(cell, "cpu", workers=1)
    passed = [rounds.run(), rounds.run()]
    assert rounds.simulation.completed == 2
    for one in passed:
        parts = sum(seconds for phase, seconds in one.seconds.items() if phase != "round")
        assert 0 < parts <= one.seconds["round"] and one.seconds["train"] > 0
    footing = rounds.footing()
    train, test = rounds.federation.dataset.train, rounds.federation.dataset.test
    assert footing.data_bytes == (400 + 10) * (28 * 28 + 8)
    assert len(train) + len(test) == 410
    assert footing.server_bytes == bytes_of(rounds.federation.initial_model().state_dict().values())
    assert footing.submodel_bytes < footing.server_bytes < footing.runtime_bytes
    assert passed[-1].peak_memory_bytes > footing.runtime_bytes / 2
    rounds.close()


@pytest.mark.slow
def test_the_parts_run_from_end_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """With real processes and tiny work: every contender, point and size gives a row."""
    said: list[str] = []
    monkeypatch.setitem(workloads.WORKLOADS, "cnn-femnist", Workload(8, 1, "tiny"))
    plan = replace(plan_of("cpu", 1, tasks=["cnn-femnist"], precisions=["fp32"]), workers=1, cohort=1)
    rows = training.measure(plan, said.append)
    assert {row["contender"] for row in rows} == {"bare loop", "harness"} and len(rows) == 4
    monkeypatch.setattr(clients, "SIZES", (Size(100, 20), Size(1000, 20)))
    monkeypatch.setattr(workloads, "FEDERATIONS", (100, 1000))
    sizes = clients.measure(plan, said.append)
    assert [(row["clients"], row["cohort"]) for row in sizes] == [(100, 20), (1000, 20)]
    monkeypatch.setattr(keep, "keep_cell", lambda method, cohort, precision: small_cell("cnn-femnist", method))
    points = keep.measure(plan, said.append)
    assert len(points) == 1 + len(keep.METHODS) * len(workloads.KEEPS)
    assert points[0]["macs_ratio"] == 1 and all(row["seconds"] > 0 for row in points)
    assert said


@pytest.mark.parametrize(("method", "keep"), [("fedavg", 1.0), ("heterofl", 0.4), ("inclusivefl", 0.4)])
def test_a_step_keeps_what_is_counted_of_the_cnn(method: str, keep: float) -> None:
    """The CNN's layers are PyTorch's own: autograd keeps what the shapes say, beside the loss and the pooling's."""
    with prepared():
        held = memory.Scales(workloads.memory_cell("cnn-femnist", method, keep, "fp32"), "cpu").held(keep)
    assert held is not None
    assert held.kept == pytest.approx(held.counted, rel=0.08)
    assert held.peak > 0.8 * held.kept


def test_memory_is_measured_where_a_method_is_defined() -> None:
    cell = make_cell({"task": "lstm-imdb", "method": "heterofl", "keep": 0.4, "model": LSTM, "training": SMALL}, "test")
    with prepared():
        assert memory.Scales(cell, "cpu").held(0.4) is None
