"""Methods on tasks beyond one of each kind: labels that are sequences, and classes that are many."""

from __future__ import annotations

from typing import Any

import pytest

from bench.conformance import CHECKS, Status, Subject, check_task, run_check
from bench.numerics.runtime import prepared
from bench.plugins import registry

CHARACTERS, HUNDRED = "lstm-shakespeare", "resnet18-cifar100"
FEW = ("keep 1 is the full model", "no global randomness")
"""What is checked without the slow tests, of methods whose losses or heads read the outputs of each place."""


@pytest.mark.slow
@pytest.mark.parametrize("task", [CHARACTERS, HUNDRED])
@pytest.mark.parametrize("method", sorted(registry.methods()))
def test_methods_conform_on_further_tasks(method: str, task: str) -> None:
    found = checked(method, task, CHECKS)
    assert {check: reason for check, (status, reason) in found.items() if status is Status.failed} == {}


@pytest.mark.parametrize(
    ("method", "parameters"),
    [("prism", {}), ("fjord", {"distillation": True, "distillation_weight": 0.5}), ("depthfl", {})],
)
def test_a_method_of_each_kind_reads_sequences(method: str, parameters: dict[str, Any]) -> None:
    found = checked(method, CHARACTERS, FEW, **parameters)
    assert {check: reason for check, (status, reason) in found.items() if status is Status.failed} == {}
    assert Status.ok in {status for status, _ in found.values()}


def checked(method: str, task: str, checks: Any, **parameters: Any) -> dict[str, tuple[Status, str]]:
    subject = Subject(method, task, (), parameters, spawns=False)
    with prepared():
        return {result.check: (result.status, result.reason) for result in (run_check(c, subject) for c in checks)}


def test_the_task_of_next_characters_passes_its_own_checks() -> None:
    report = check_task(CHARACTERS, model={"hidden": 8, "embedding": 4})
    assert report.failures == []
    assert {result.status for result in report.results} <= {Status.ok, Status.declared}
