"""What is read off a short run, and what follows for the whole cell, against sums written out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import cell_of

from bench.estimate.estimates import Estimate, whole
from bench.estimate.pace import Pace
from bench.estimate.workload import Workload
from bench.numerics.runtime import cores

SHORT = Workload(rounds=5, cohort=2, steps=8, evaluations=4, tested=300, trained=512)
PARTS = {"select": 0.5, "extract": 0.2, "train": 3.2, "aggregate": 0.4}


def rows(evaluated_s: float = 0.6, calibrating_s: float = 0.0) -> list[dict[str, Any]]:
    """Rounds of a run whose parts take known times; the first takes ten times as long."""
    found = []
    for number in range(6):
        factor = 0.0 if number == 0 else 10.0 if number == 1 else 1.0
        is_evaluated = number in (0, 3, 4, 5)
        row = {f"{part}_s": factor * seconds for part, seconds in PARTS.items()}
        row["evaluate_s"] = (evaluated_s + calibrating_s) * is_evaluated
        row["diagnose_s"] = factor * (0.1 + 0.3 * is_evaluated)
        row["round_s"] = sum(row.values()) if number else 0.0
        found.append(row | {"round": number, "down_bytes": 200 * (number > 0), "up_bytes": 100 * (number > 0)})
    return found


def test_each_part_is_read_off() -> None:
    taken = sum(row["round_s"] for row in rows()) + 0.6 + 7.0
    pace = Pace.of(rows(), taken, SHORT, calibrates=False)
    assert pace.start == pytest.approx(7.0)
    assert (pace.selection, pace.ranks) == pytest.approx((0.5, 0.3))
    assert pace.client == pytest.approx((0.2 + 0.4 + 0.1) / 2)
    assert pace.step == pytest.approx(3.2 / 16)
    assert pace.sample == pytest.approx(0.6 / 300)
    assert pace.client_bytes == 150


def test_a_pass_over_the_training_samples_is_part_of_an_evaluation() -> None:
    both = Pace.of(rows(0.3, 0.512), 100.0, SHORT, calibrates=True)
    assert both.sample == pytest.approx(0.001)
    larger = Workload(rounds=5, cohort=2, steps=8, evaluations=4, tested=300, trained=10_512)
    assert both.seconds(larger) - both.seconds(SHORT) == pytest.approx(4 * 10_000 * 0.001)
    assert Pace.of(rows(0.3), 100.0, SHORT, calibrates=False).sample == pytest.approx(0.001)


def test_a_whole_cell_is_the_sum_of_its_parts() -> None:
    pace = Pace(
        start=3.0, selection=0.5, client=0.25, step=0.1, sample=0.01, ranks=2.0, client_bytes=7, calibrates=False
    )
    work = Workload(rounds=3, cohort=2, steps=4, evaluations=2, tested=10, trained=999)
    seconds = 3.0
    for _ in range(3):
        seconds += 0.5
        for _ in range(2):
            seconds += 0.25 + 4 * 0.1
    for _ in range(2):
        seconds += 2.0 + 10 * 0.01
    assert pace.seconds(work) == pytest.approx(seconds)
    assert pace.bytes(work) == 3 * 2 * 7


@given(st.lists(st.floats(0.1, 9.0), max_size=9), st.integers(1, 4))
def test_the_cells_go_to_the_process_that_is_free_first(seconds: list[float], jobs: int) -> None:
    each = [Estimate(cell_of(), True, one, 10.0, "short run") for one in seconds]
    done, unknown = Estimate(cell_of(), False, 50.0, None, "itself"), Estimate(cell_of(), True, None, None, "why")
    found = whole([done, *each, unknown], jobs)
    ends = [0.0] * jobs
    for one in seconds:
        ends[ends.index(min(ends))] += one
    assert found.wall_seconds == pytest.approx(max(ends))
    assert (found.cells, found.unknown, found.bytes) == (len(seconds) + 1, 1, 10.0 * len(seconds))
    assert found.core_seconds == pytest.approx(min(sum(seconds) * max(1, cores() // jobs), cores() * max(ends)))
