"""Every task passes the checks of tasks, and every one of these checks can fail."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broken_tasks import CASES, WHOLE, Case
from tiny import CNN, LSTM, RESNET, CommandLine, check_here, write

from bench.conformance import (
    TASK_CHECKS,
    Report,
    Status,
    Subject,
    TaskReport,
    TaskSubject,
    check_task,
    run_check,
    run_task_check,
)
from bench.data import cache, sources
from bench.numerics.runtime import prepared

SMALL: dict[str, dict[str, Any]] = {CNN: {}, RESNET: {"width": 4}, LSTM: {"hidden": 8, "embedding": 6, "length": 40}}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    check_here(monkeypatch)
    return CommandLine(monkeypatch, capsys)


def results(plugin: Path) -> dict[str, tuple[Status, str]]:
    report = check_task(plugin.stem, [plugin])
    return {result.check: (result.status, result.reason) for result in report.results}


@pytest.mark.parametrize("task", SMALL)
def test_tasks_pass(task: str) -> None:
    report = check_task(task, model=SMALL[task])
    assert report.failures == []
    found = {result.check: result for result in report.results}
    assert list(found) == list(TASK_CHECKS)
    assert {result.status for result in report.results} == {Status.ok}
    assert found["families of methods"].reason.endswith("of the families spectral, width, layer, exits")
    assert found["partition possible"].reason.startswith("tier quick")


def test_a_whole_task_of_own_images_passes(tmp_path: Path) -> None:
    found = results(write(tmp_path / "broken.py", WHOLE))
    assert {status for status, _ in found.values()} == {Status.ok}, found
    assert found["data declared"] == (Status.ok, "stand-in data alone")


@pytest.mark.parametrize("name", CASES)
def test_each_check_finds_a_broken_task(name: str, tmp_path: Path) -> None:
    case: Case = CASES[name]
    plugin = write(tmp_path / "broken.py", case.source)
    with prepared():
        result = run_task_check(case.check, TaskSubject("broken", [plugin]))
    assert result.status is Status.failed, result
    assert case.words in result.reason and "; expected: " in result.reason and "; hint: " in result.reason
    assert "\n" not in result.reason


def test_every_check_has_a_broken_task() -> None:
    assert {case.check for case in CASES.values()} == set(TASK_CHECKS)


@pytest.mark.parametrize("hook", ["prepare", "loss", "correct", "augment", "example", "initialise", "model"])
def test_a_hook_that_raises_is_named_with_its_line(hook: str, tmp_path: Path) -> None:
    source = WHOLE + f"\n    def {hook}(self, *given):\n        raise KeyError('[/] oh')\n"
    plugin = write(tmp_path / "broken.py", source)
    line = source.splitlines().index("        raise KeyError('[/] oh')") + 1
    with prepared():
        result = run_task_check("shapes of a batch", TaskSubject("broken", [plugin]))
    assert result.reason == (
        f"{hook} raised KeyError: '[/] oh' (broken.py, line {line}); expected: no error; hint: bench/tasks/base.py and "
        "bench/models/base.py say what each hook is given and returns"
    )


def test_without_data_one_check_fails_and_nothing_else_is_looked_at(tmp_path: Path) -> None:
    found = results(write(tmp_path / "broken.py", CASES["neither data nor stand-in"].source))
    assert found.pop("data declared")[0] is Status.failed
    assert {status for status, _ in found.values()} == {Status.undefined}
    assert all("'python -m bench data import own PATH --as images'" in reason for _, reason in found.values())


@pytest.fixture
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set "own" of the user in a cache of its own, whose test split has two training samples."""
    monkeypatch.setattr(cache, "root", lambda: tmp_path / "cache")
    pixels = np.random.default_rng(0).integers(0, 256, (150, 8, 8), dtype=np.uint8)
    pixels[100:102] = pixels[:2]
    labels = np.random.default_rng(1).integers(0, 3, 150)
    given = {"x_train": pixels[:100], "y_train": labels[:100], "x_test": pixels[100:], "y_test": labels[100:]}
    np.savez(tmp_path / "own.npz", **given)
    sources.import_own("own", tmp_path / "own.npz", "npz")
    return tmp_path


def test_imported_data_are_looked_at_too(own_data: Path) -> None:
    plugin = write(own_data / "broken.py", WHOLE)
    found = results(plugin)
    assert found["data declared"] == (Status.ok, "stand-in data and the data set")
    status, reason = found["tested on new samples"]
    assert status is Status.failed and "2 of 50 test samples of the real data are training samples too" in reason
    found = results(write(plugin, WHOLE + "    shared_samples = 2\n    stand_in = False\n"))
    assert found["data declared"] == (Status.ok, "real data alone")
    assert found["tested on new samples"] == (
        Status.declared,
        "2 test samples are training samples too (shared_samples)",
    )
    assert {found[check][0] for check in set(found) - {"tested on new samples"}} == {Status.ok}


def test_stand_ins_of_another_form_than_the_real_data_are_found(own_data: Path) -> None:
    other = """
    def data(self, source):
        whole = super().data(source)
        train, test = (replace(split, inputs=split.inputs[..., :6]) for split in (whole.train, whole.test))
        return replace(whole, train=train, test=test) if source == "stand-in" else whole
"""
    status, reason = results(write(own_data / "broken.py", WHOLE + other))["data declared"]
    assert status is Status.failed and reason.startswith(
        "stand-in samples are uint8 [1, 8, 6] of 3 classes, real ones uint8 [1, 8, 8] of 3 classes; expected: the same"
    )


def test_methods_are_checked_on_a_task_of_the_user_without_a_quick_tier(tmp_path: Path) -> None:
    plugin = write(tmp_path / "broken.py", WHOLE.replace('"quick": QUICK', '"mine": QUICK'))
    with prepared():
        result = run_check("keep 1 is the full model", Subject("orthdrop", "broken", [plugin]))
    assert result.status is Status.ok, result


def test_check_shows_a_task_of_a_file(bench: CommandLine) -> None:
    write(Path("mine.py"), WHOLE)
    shown = bench("check", "--task", "mine", "--plugin", "mine.py")
    assert shown.code == 0, shown
    rows = [check for check in TASK_CHECKS if re.search(rf"│ {check} +│ ok +│", shown.out)]
    assert rows == list(TASK_CHECKS)
    assert "families of methods: works with methods of the full model and of the families" in shown.out


METHOD = """

from bench.families.spectral import Spectral


class First(Spectral):
    name = "first"

    def choose(self, sigma, rank, rng):
        return np.arange(rank)
"""


@pytest.mark.parametrize(
    ("words", "checked"),
    [
        (("--plugin", "mine.py"), ["mine"]),
        (("mine", CNN, "prism", "mine", "--plugin", "mine.py"), ["mine", CNN, "prism"]),
        (("--plugin", "both.py"), ["both", "first"]),
        (("--plugin", "both.py", "--task", CNN), ["first"]),
        (("first", "--plugin", "both.py"), ["first"]),
    ],
)
def test_what_is_named_or_in_the_file_is_checked(
    words: tuple[str, ...], checked: list[str], bench: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(Path("mine.py"), WHOLE)
    write(Path("both.py"), WHOLE + METHOD)
    seen: list[str] = []

    class Listed:
        def __init__(self, plugins: object, tasks: tuple[str, ...]) -> None:
            self.tasks = tasks

        def check(self, method: str, parameters: object) -> Report:
            seen.append(method)
            return Report(method, (), ())

        def check_task(self, task: str, model: object) -> TaskReport:
            seen.append(task)
            return TaskReport(task, ())

        def close(self) -> None:
            pass

    monkeypatch.setattr("bench.conformance.apart.Checker", Listed)
    assert bench("check", *words).code == 0
    assert seen == checked


def test_check_says_each_mistake_of_a_task_once(bench: CommandLine) -> None:
    write(Path("mine.py"), WHOLE + "\n    def prepare(self, inputs):\n        return 1 / 0\n")
    shown = bench("check", "--plugin", "mine.py")
    assert shown.code == 1 and "Traceback" not in shown.out + shown.err
    (sentence,) = [line for line in shown.out.splitlines() if "ZeroDivisionError" in line]
    assert sentence.startswith("mine, 'shapes of a batch', 'loss at initialisation', ")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["mien", "--plugin", "mine.py"], ["unknown method 'mien', and no task", "did you mean 'mine'"]),
        (["--task", "mien", "--plugin", "mine.py"], ["unknown task 'mien'", "did you mean 'mine'"]),
        (["--task", CNN, "--plugin", "mine.py"], ["its tasks are 'mine', so that there is nothing to check"]),
        (["mine", "--plugin", "mine.py", "--set", "lr=1"], ["'check' takes parameters of the task 'mine' alone"]),
        (["mine", "--plugin", "mine.py", "--set", "width=4"], ["unknown name 'width'"]),
        ([RESNET, "--set", "width=0"], ["width = 0 is not possible"]),
    ],
)
def test_wrong_usage_is_one_sentence(bench: CommandLine, given: list[str], words: list[str]) -> None:
    write(Path("mine.py"), WHOLE)
    sentence = bench.refused("check", *given)
    assert [word for word in words if word not in sentence] == []


def test_a_task_that_does_not_say_its_images_is_told_how(tmp_path: Path) -> None:
    plugin = write(tmp_path / "broken.py", WHOLE.replace("    images = Images(3, 1, 8, 8)\n", ""))
    assert (
        "the task 'broken' does not say which images it reads; expected: what the import"
        in results(plugin)["data declared"][1]
    )


@pytest.mark.slow
def test_a_task_that_ends_its_process_has_failed(tmp_path: Path) -> None:
    from bench.conformance.apart import Checker

    plugin = write(tmp_path / "broken.py", WHOLE + "\n    def correct(self, *given):\n        import os; os._exit(3)\n")
    checker = Checker((plugin,), ())
    report = checker.check_task("broken")
    checker.close()
    statuses = [result.status for result in report.results]
    assert statuses[:2] == [Status.ok, Status.failed] and set(statuses[2:]) == {Status.undefined}
    assert "the process ended with exit code 3" in report.failures[0]
