"""FjORD's running statistics of each width: tracked by clients, averaged by the server, used in evaluation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close, setup
from channels import cohort, first
from helpers import CNN, LSTM, RESNET, batch_of, federation, initial, method_of, selections_of, small_task, update_of
from reference import SIZE, prepared
from torch import Tensor

from bench.errors import BenchError
from bench.models.factorise import narrowed
from bench.training.local import Job, train_client

P = (0.2, 0.4, 0.6, 0.8, 1.0)
ALL = [(RESNET, {}), (RESNET, {"norm": "group"}), (CNN, {}), (LSTM, {})]


def norm_inputs(model: Any, inputs: Tensor) -> list[np.ndarray]:
    """Return what reaches each batch normalisation of a model, in the order of its modules."""
    seen: dict[int, np.ndarray] = {}
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    handles = [
        norm.register_forward_pre_hook(lambda _, given, place=place: seen.update({place: given[0].detach().numpy()}))
        for place, norm in enumerate(norms)
    ]
    model(inputs)
    for handle in handles:
        handle.remove()
    return [seen[place] for place in range(len(norms))]


def running_by_hand(running: tuple[np.ndarray, np.ndarray], model: Any, inputs: Tensor) -> tuple[np.ndarray, ...]:
    """Return mean and variance of all layers after a batch: nine tenths of before and a tenth of the batch's."""
    given = [values.astype(np.float64) for values in norm_inputs(model, inputs)]
    means = np.concatenate([[channel.mean() for channel in x.transpose(1, 0, 2, 3)] for x in given])
    variances = np.concatenate(
        [[((c - c.mean()) ** 2).sum() / (c.size - 1) for c in x.transpose(1, 0, 2, 3)] for x in given]
    )
    return 0.9 * running[0] + 0.1 * means, 0.9 * running[1] + 0.1 * variances


@pytest.mark.parametrize(
    ("distillation", "updates"), [(False, "once"), (True, "once"), (True, "twice")], ids=["plain", "taught", "twice"]
)
def test_statistics_are_tracked_for_each_width_used(distillation: bool, updates: str) -> None:
    """The trained sub-model is replayed step by step: its own narrow copies say what reached each layer.

    Flower's step with a teacher computes the widest network, then the drawn one, be it the same.
    """
    parameters = {"distillation": distillation, "widest_updates": updates}
    built = federation("fjord", RESNET, keep=0.6, training=SIZE, parameters=parameters)
    server, selection = prepared(built)
    counts = {width: sum(len(first(RESNET, width)[g]) * n for g, n in LAYERS.items()) for width in (0.2, 0.4, 0.6)}
    drawn = [0.4, 0.2, 0.4, 0.6, 0.2, 0.4, 0.4, 0.6, 0.2, 0.6]
    selection = replace(selection, draws={"widths": torch.tensor(drawn, dtype=torch.float64)})
    submodel: Any = built.method.extract(server, selection)
    method: Any = built.method
    expected = {width: (np.zeros(counts[width]), np.ones(counts[width])) for width in counts}
    own_loss = method.local_loss

    def watched(module: Any, forward: Any, targets: Tensor) -> Any:
        width = module.remaining[0]
        computed = [0.6, width] if distillation else [width]
        for used in computed if updates == "twice" else dict.fromkeys(computed):
            copy = narrowed(module.model, {g: torch.tensor(kept) for g, kept in first(RESNET, used).items()}).train()
            expected[used] = running_by_hand(expected[used], copy, forward.args[1])  # type: ignore[assignment]
        return own_loss(module, forward, targets)

    method.local_loss = watched
    trained = train_client(Job(selection.client.number, 1, submodel), built)
    sent = {name: value for name, value in trained.parameters.items() if name.startswith("statistics/")}
    assert set(sent) == {"statistics/0.2", "statistics/0.4", "statistics/0.6"}
    for width, (mean, variance) in expected.items():
        assert_close(sent[f"statistics/{width}"], np.stack([mean, variance]), 1e-3)
        assert np.abs(mean).max() > 0.05


def test_what_is_learned_does_not_depend_on_how_often_statistics_are_updated() -> None:
    learned, statistics = [], []
    for updates in ("once", "twice"):
        parameters = {"distillation": True, "widest_updates": updates}
        built = federation("fjord", RESNET, keep=0.2, training=SIZE, parameters=parameters)
        server, selection = prepared(built)
        submodel = built.method.extract(server, selection)  # of one width alone, which every step draws
        sent = train_client(Job(selection.client.number, 1, submodel), built).parameters
        statistics.append(sent.pop("statistics/0.2"))
        learned.append(sent)
    assert all(torch.equal(value, learned[1][name]) for name, value in learned[0].items())
    assert not torch.allclose(*statistics, rtol=1e-2)


@pytest.mark.parametrize(
    ("parameters", "missing"), [({}, "distillation"), ({"distillation": True, "statistics": "batch"}, "statistics of")]
)
def test_updates_of_what_is_not_tracked_are_refused(parameters: dict[str, Any], missing: str) -> None:
    with pytest.raises(BenchError, match=f"widest_updates = twice has no effect without {missing}"):
        federation("fjord", RESNET, parameters={**parameters, "widest_updates": "twice"})


LAYERS = {
    "stage0": 3, "stage0.0": 1, "stage0.1": 1,
    **{f"stage{stage}": 3 for stage in (1, 2, 3)},
    **{f"stage{stage}.{block}": 1 for stage in (1, 2, 3) for block in (0, 1)},
}  # fmt: skip
"""Normalisations of each group of channels: of a stage's stream the stem's or the projection's, and two blocks'."""


def test_widths_that_were_not_used_are_not_sent_and_count_for_nothing() -> None:
    method, server, _ = setup("fjord", small_task(RESNET))
    method.levels = (0.4, 0.6)
    server = method.setup(server.model, small_task(RESNET))
    assert set(server.memory) == {"statistics/0.2", "statistics/0.4", "statistics/0.6"}
    before = {name: value.clone() for name, value in server.memory.items()}
    selections = selections_of(method, server, cohort((0.4, 0.6, 0.6)))
    updates, used = [], ([0.4], [0.4, 0.6], [])
    for selection, widths in zip(selections, used, strict=True):
        submodel: Any = method.extract(server, selection)
        for width in widths:
            submodel.statistics(width).add_(1 + selection.client.number)
            submodel.used.add(width)
        sent = method.upload(submodel)
        assert {name for name in sent if "/" in name} == {f"statistics/{width}" for width in widths}
        updates.append(replace(update_of(method, server, selection), parameters=sent))
    after = method.aggregate(server, updates, STREAMS).memory
    assert torch.equal(after["statistics/0.2"], before["statistics/0.2"])
    torch.testing.assert_close(after["statistics/0.4"], before["statistics/0.4"] + (10 * 1 + 20 * 2) / 30)
    torch.testing.assert_close(after["statistics/0.6"], before["statistics/0.6"] + 2)


@pytest.mark.parametrize("level", [0.4, 1.0])
def test_each_width_is_evaluated_with_its_own_statistics(level: float) -> None:
    task = small_task(RESNET)
    method: Any = method_of("fjord")
    method.levels = (level,)
    server = method.setup(initial(task), task)
    assert method.full_model(server) is server.model  # nobody has held anything
    updates = [update_of(method, server, s) for s in selections_of(method, server, cohort((level,)))]
    server = method.aggregate(server, updates, STREAMS)
    generator = torch.Generator().manual_seed(0)
    for values in (value for name, value in server.memory.items() if name.startswith("statistics/")):
        values.copy_(torch.rand(values.shape, generator=generator) + 0.5)
    inputs = batch_of(task, 5)
    models = dict(method.nested_models(server))
    assert tuple(models) == tuple(p for p in P if p <= level)
    for width, model in {**models, level: method.full_model(server)}.items():
        plain = narrowed(server.model, {g: torch.tensor(kept) for g, kept in first(RESNET, width).items()})
        start = 0
        means, variances = server.memory[f"statistics/{width}"]
        for norm in (module for module in plain.modules() if isinstance(module, torch.nn.BatchNorm2d)):
            stop = start + norm.num_features
            norm.register_forward_pre_hook(normalise(means[start:stop], variances[start:stop]))
            norm.forward = affine(norm)  # type: ignore[method-assign]
            start = stop
        assert start == len(means)
        torch.testing.assert_close(model.eval()(inputs), plain.eval()(inputs), rtol=1e-3, atol=1e-4)


def normalise(mean: Tensor, variance: Tensor) -> Any:
    return lambda _, given: ((given[0] - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt(), *given[1:])


def affine(norm: Any) -> Any:
    def forward(inputs: Tensor, shortcut: Tensor | None = None, relu: bool = False) -> Tensor:
        outputs = inputs * norm.weight[:, None, None] + norm.bias[:, None, None]
        outputs = outputs if shortcut is None else outputs + shortcut
        return outputs.relu() if relu else outputs

    return forward


@pytest.mark.parametrize(("name", "model"), ALL)
def test_statistics_exist_where_batches_normalise(name: str, model: dict[str, Any]) -> None:
    task = small_task(name, **model)
    for statistics in ("per-width", "batch"):
        method = method_of("fjord", statistics=statistics)
        server = method.setup(initial(task), task)
        tracked = (name, model, statistics) == (RESNET, {}, "per-width")
        assert bool(server.memory) == tracked
        (selection,) = selections_of(method, server, cohort((0.6,)))
        assert len(list(method.extract(server, selection).buffers())) == (3 if tracked else 0)
