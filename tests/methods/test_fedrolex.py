"""FedRolex: where its window stands, that it comes everywhere, and how the parts come back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from aggregation import STREAMS, assert_close, setup
from channels import SIZES, cohort, means
from helpers import CNN, RESNET, federation, initial, method_of, run, selections_of, small_task, update_of, values_of

from bench.simulation.diagnostics.coverage import Coverage

WINDOWS = {
    "forward": [[0, 1], [1, 2], [2, 3], [3, 4], [0, 4], [0, 1], [1, 2]],
    "backward": [[0, 1], [0, 4], [3, 4], [2, 3], [1, 2], [0, 1], [0, 4]],
}
"""Two of five channels in rounds 1 to 7, ascending."""


def chosen(direction: str, size: int, count: int, round_number: int) -> list[int]:
    method: Any = method_of("fedrolex", direction=direction)
    return method.choose("any", size, count, cohort((0.4,), round_number=round_number), None).tolist()


@pytest.mark.parametrize("direction", WINDOWS)
def test_the_window_moves_by_one_channel_a_round(direction: str) -> None:
    assert [chosen(direction, 5, 2, number) for number in range(1, 8)] == WINDOWS[direction]


def test_the_released_window_is_the_head_of_the_rolled_channels() -> None:
    for size, count, number in ((7, 3, 1), (7, 3, 5), (7, 7, 4), (4, 1, 9), (16, 5, 40)):
        rolled = torch.roll(torch.arange(size), (number - 1) % size, -1)
        assert chosen("backward", size, count, number) == sorted(rolled[:count].tolist())


@pytest.mark.parametrize("direction", WINDOWS)
def test_after_as_many_rounds_as_channels_each_was_held_alike(direction: str) -> None:
    for size, count in ((5, 2), (8, 3), (6, 6)):
        times = [0] * size
        for number in range(4, 4 + size):
            for channel in chosen(direction, size, count, number):
                times[channel] += 1
        assert times == [count] * size


def test_clients_of_a_round_share_the_start_of_their_windows() -> None:
    task, method = small_task(RESNET), method_of("fedrolex")
    server = method.setup(initial(task), task)
    for number in (1, 4, 30):
        small, large = selections_of(method, server, cohort((0.3, 0.6), round_number=number))
        for group, size in SIZES[RESNET].items():
            counts = [-(-3 * size // 10), -(-6 * size // 10)]
            starts = [(number - 1 + place) % size for place in range(counts[1])]
            assert set(small.indices[group].tolist()) == set(starts[: counts[0]])
            assert set(large.indices[group].tolist()) == set(starts)


@pytest.mark.parametrize("name", [CNN, RESNET])
@pytest.mark.parametrize("label_rows", [True, False])
def test_entries_are_means_over_their_holders(name: str, label_rows: bool) -> None:
    method, server, before = setup("fedrolex", small_task(name), label_rows=label_rows)
    labels = ((0, 1), (1, 2, 5))
    selections = selections_of(method, server, cohort((0.3, 0.75), labels, round_number=4))
    updates = [update_of(method, server, selection, 0.1) for selection in selections]
    channels = [
        {
            group: sorted((3 + place) % size for place in range(-(-round(100 * keep) * size // 100)))
            for group, size in SIZES[name].items()
        }
        for keep in (0.3, 0.75)
    ]
    expected = means(name, before, updates, channels, (1, 1), labels if label_rows else None)
    after = values_of(method.aggregate(server, updates, STREAMS).model)
    for parameter, value in expected.items():
        assert_close(after[parameter], value)


def test_the_whole_model_is_evaluated_or_the_channels_held_so_far() -> None:
    task = small_task(CNN)
    for tail in ("keep", "drop"):
        method = method_of("fedrolex", tail=tail)
        server = method.setup(initial(task), task)
        for number in (1, 2, 3):
            selections = selections_of(method, server, cohort((0.25,), round_number=number))
            server = method.aggregate(server, [update_of(method, server, s) for s in selections], STREAMS)
        evaluated = method.full_model(server)
        if tail == "keep":
            assert evaluated is server.model
        else:
            kept = server.model.get_parameter("conv2.weight")[:18, :18]  # 16 channels, moved on twice
            assert torch.equal(evaluated.get_parameter("conv2.weight"), kept)
        assert list(method.nested_models(server)) == []


def test_hidden_outputs_are_scaled_relative_to_the_whole_model() -> None:
    task, method = small_task(CNN), method_of("fedrolex")
    method.levels = (0.25, 0.4)
    server = method.setup(initial(task), task)
    for selection in selections_of(method, server, cohort((0.25, 0.4))):
        submodel: Any = method.extract(server, selection)
        assert submodel.hidden_scale == selection.client.keep


def test_expected_coverage_is_the_coverage_seen() -> None:
    rounds, _ = run(federation("fedrolex", CNN, keep=0.25, training={"rounds": 3}))
    assert [this.coverage for this in rounds] == [None, 16 / 64, 17 / 64, 18 / 64]
    assert [this.coverage_expected for this in rounds] == pytest.approx([None, 16 / 64, 17 / 64, 18 / 64])
    task, method = small_task(RESNET), method_of("fedrolex")
    server, coverage = method.setup(initial(task), task), Coverage()
    for number in range(1, 33):
        (selection,) = selections_of(method, server, cohort((0.2,), round_number=number))
        coverage.add(method.coverage(server, selection))
    assert coverage.share() == 1.0


@pytest.mark.parametrize("name", [CNN, RESNET])
def test_without_its_switches_and_with_all_channels_it_is_fedavg(name: str) -> None:
    parameters = {"masked_loss": False, "label_rows": False, "statistics": "batch"}
    _, expected = run(federation("fedavg", name, parameters={"weights": "uniform"}))
    _, after = run(federation("fedrolex", name, keep=1.0, parameters=parameters))
    assert all(torch.equal(after[parameter], value) for parameter, value in expected.items())
