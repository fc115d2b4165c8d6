"""Every method passes the conformance kit, and every check of the kit can fail."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from broken_bases import FULL, HEAD, Case
from broken_methods import CASES
from thinned import every, thinned
from tiny import CNN, LSTM, RESNET, CommandLine, check_here, write

from bench.conformance import CHECKS, TASKS, Result, Status, Subject, check_method, run_check
from bench.numerics.runtime import prepared
from bench.plugins import registry

WORKERS = "two workers agree"
NAMES = sorted(registry.methods())
VARIANTS: list[tuple[str, str, dict[str, Any]]] = [
    ("prism", LSTM, {"sigma": "absorbed", "client_momentum": "carry"}),
    ("prism", LSTM, {"multipliers": "wallenius"}),
    ("prism", LSTM, {"multipliers": "wallenius", "clip_tau": 10.0}),
    ("prism", LSTM, {"first_epoch_lr": "stale"}),
    ("collective", LSTM, {"aggregate": "product"}),
    ("orthdrop", LSTM, {"aggregate": "product", "weights": "samples"}),
    ("fedavg", LSTM, {"weights": "uniform"}),
    ("fedlama", LSTM, {"base_interval": 2, "layers": "kernels", "weights": "samples"}),
    ("fedlama", LSTM, {"phi": 1}),
    ("inclusivefl", LSTM, {"weights": "samples", "capacity_batch": 1}),
    ("depthfl", LSTM, {"feddyn": 0.1, "ramp_rounds": 0}),
    ("scalefl", CNN, {"distillation_weight": 0.1, "heads": "linear", "teacher": "trained", "scaler": False}),
    ("splitmix", LSTM, {"rescale": False, "base_width": 0.2}),
    ("fjord", LSTM, {"distillation": True, "distillation_weight": 0.5, "temperature": 2.0}),
    ("fjord", RESNET, {"distillation": True, "statistics": "batch"}),
    ("federated_dropout", LSTM, {"draws": "round", "weights": "samples"}),
    ("heterofl", CNN, {"scaler": False, "masked_loss": False, "label_rows": False, "gradient_clip": 1.0}),
    ("heterofl", RESNET, {"statistics": "batch", "weights": "samples"}),
    ("fedrolex", CNN, {"masked_loss": False, "label_rows": False}),
    ("fedhm", CNN, {"masked_loss": True, "label_rows": "sum", "factor_decay": True}),
    ("fedpara", CNN, {"rank_rule": "share", "tanh": True}),
    ("pfedpara", CNN, {"rank_rule": "share", "weights": "uniform"}),
    ("fiarse", LSTM, {"thresholds": "layer", "gradient": "plain", "mean": "held", "tail": "keep"}),
    ("small_model", LSTM, {"shape": "shallow", "weights": "uniform"}),
    ("federated_dropout", LSTM, {"draws": "cyclic"}),
    ("prism", LSTM, {"train": "alternate", "client_momentum": "carry"}),
    ("fedhm", CNN, {"bands": "holders", "train": "u"}),
    ("fedlmt", CNN, {"init": "kaiming", "frobenius_decay": 1e-3}),
]


@pytest.fixture
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check and train in this process where the kit would start others, which takes seconds."""
    check_here(monkeypatch)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return CommandLine(monkeypatch, capsys)


def results(method: str, task: str, plugins: tuple[Path, ...] = (), **parameters: Any) -> list[Result]:
    """Return the results of all checks that need no worker processes."""
    subject = Subject(method, task, plugins, parameters, spawns=False)
    with prepared():
        return [run_check(check, subject) for check in CHECKS]


def failed(found: list[Result]) -> dict[str, str]:
    return {result.check: result.reason for result in found if result.status is Status.failed}


ON_LSTM = {"prism", "origdrop", "inclusivefl", "fedpara", "fiarse", "depthfl", "fedlmt"}
ALWAYS = {
    RESNET: {"prism", "heterofl", "nefl"},
    LSTM: ON_LSTM,
    CNN: set(NAMES) - ON_LSTM - {"orthdrop", "unbiased", "federated_dropout", "pfedpara", "nefl", "splitmix"},
}
"""What is checked without the slow tests: the cheapest task of each method, but for near kin of others."""


@pytest.mark.parametrize(
    ("method", "task"),
    [
        pytest.param(
            method,
            task,
            marks=[pytest.mark.slow] * (method not in ALWAYS[task]),
        )
        for method in NAMES
        for task in TASKS
    ],
)
def test_methods_conform(method: str, task: str) -> None:
    assert failed(results(method, task)) == {}


@pytest.mark.parametrize(
    ("method", "task", "parameters"),
    thinned(VARIANTS, every(4)),
)
def test_variants_conform(method: str, task: str, parameters: dict[str, Any]) -> None:
    assert failed(results(method, task, **parameters)) == {}


def test_a_setup_that_asks_nothing_of_its_base_conforms(tmp_path: Path) -> None:
    fault = "    def setup(self, model, task):\n        return Server(model)\n"
    plugin = write(tmp_path / "broken.py", HEAD.replace("copy_of", "Server, copy_of") + FULL + fault)
    assert failed(results("broken", LSTM, (plugin,))) == {}


@pytest.mark.slow
@pytest.mark.parametrize("method", NAMES)
def test_methods_conform_in_worker_processes(method: str) -> None:
    tasks = (RESNET,) if method == "nefl" else (LSTM, CNN)
    results = [run_check(WORKERS, Subject(method, task)) for task in tasks]
    assert {result.status for result in results} <= {Status.ok, Status.undefined}
    assert any(result.status is Status.ok for result in results), "it is defined for one of the tasks"


def test_what_a_method_says_of_itself_is_shown() -> None:
    fedavg = {result.check: result for result in results("fedavg", LSTM)}
    assert fedavg["keep 1 equals FedAvg"].status is Status.ok
    assert fedavg["unheld parts stay"].status is Status.undefined
    assert "uses_keep is False" in fedavg["costs grow with keep"].reason
    assert "worker processes take long" in fedavg[WORKERS].reason
    prism = {result.check: result.status for result in results("prism", LSTM)}
    assert prism["keep 1 equals FedAvg"] is Status.declared
    assert prism["unbiased"] is Status.undefined
    assert prism["unheld parts stay"] is prism["two runs agree"] is Status.ok
    assert {result.check: result.status for result in results("unbiased", LSTM)}["unbiased"] is Status.ok


@pytest.mark.parametrize("name", CASES)
def test_each_check_finds_a_broken_method(name: str, tmp_path: Path) -> None:
    case: Case = CASES[name]
    plugin = write(tmp_path / "broken.py", case.source)
    result = run_check(case.check, Subject("broken", CNN if case.check == "costs as counted" else LSTM, (plugin,)))
    assert result.status is Status.failed
    assert case.words in result.reason and "; expected: " in result.reason and "; hint: " in result.reason
    assert "\n" not in result.reason


def test_a_change_in_place_is_named_with_its_line(tmp_path: Path) -> None:
    source = CASES["singular values changed in place"].source
    plugin = write(tmp_path / "broken.py", source)
    line = source.splitlines().index("        sigma /= sigma.sum()") + 1
    assert set(failed(results("broken", LSTM, (plugin,))).values()) == {
        f"choose raised ValueError: output array is read-only (broken.py, line {line}); expected: no error; hint: what "
        "a hook is given belongs to the server and cannot be changed in place: copy it first"
    }


def test_every_check_has_a_broken_method() -> None:
    assert {case.check for case in CASES.values()} == set(CHECKS)


@pytest.mark.parametrize("hook", ["setup", "select", "extract", "aggregate", "penalty", "upload", "coverage"])
def test_a_hook_that_raises_is_named_with_its_line(hook: str, tmp_path: Path) -> None:
    source = HEAD + FULL + f"    def {hook}(self, *given):\n        raise KeyError('[/] oh')\n"
    plugin = write(tmp_path / "broken.py", source)
    line = source.splitlines().index("        raise KeyError('[/] oh')") + 1
    reasons = failed(results("broken", LSTM, (plugin,)))
    assert set(reasons.values()) == {
        f"{hook} raised KeyError: '[/] oh' (broken.py, line {line}); expected: no error; hint: bench/api says what "
        "each hook is given and returns"
    }
    assert "two runs agree" in reasons


def test_a_hook_that_returns_nothing_is_said(tmp_path: Path) -> None:
    plugin = write(
        tmp_path / "broken.py", HEAD + FULL + "    def select(self, server, cohort, streams):\n        pass\n"
    )
    reason = run_check("order does not matter", Subject("broken", LSTM, (plugin,))).reason
    assert reason.startswith("what the method returned cannot be used: select raised TypeError: 'NoneType'")


@pytest.mark.slow
def test_an_error_in_a_worker_process_is_said_to_be_there(tmp_path: Path) -> None:
    fault = """
    def extract(self, server, selection):
        self.seen = 1.0
        return super().extract(server, selection)

    def penalty(self, submodel):
        return self.seen * next(submodel.parameters()).sum()
"""
    plugin = write(tmp_path / "broken.py", HEAD + FULL + fault)
    reason = run_check(WORKERS, Subject("broken", LSTM, (plugin,))).reason
    assert reason.startswith(
        "a hook in a worker process raised AttributeError: 'Broken' object has no attribute 'seen'"
    )


def test_an_error_within_training_is_the_sub_models(tmp_path: Path) -> None:
    fault = """
    def extract(self, server, selection):
        return Wrapped(super().extract(server, selection))


class Wrapped(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, inputs):
        raise ValueError("wrong shape")
"""
    plugin = write(tmp_path / "broken.py", HEAD + FULL + fault)
    reasons = failed(results("broken", LSTM, (plugin,)))
    assert "the sub-model's forward raised ValueError: wrong shape" in reasons["two runs agree"]


@pytest.mark.usefixtures("no_workers")
def test_a_skip_leaves_nothing_to_check_on_its_task(bench: CommandLine) -> None:
    fault = """
    def setup(self, model, task):
        if task.reads_steps:
            raise Skip('only [/] images')
        return super().setup(model, task)
"""
    write(Path("shy.py"), HEAD + FULL.replace("Broken", "Shy") + fault)
    shown = bench("check", "--plugin", "shy.py", "--task", LSTM, "--task", CNN)
    assert shown.code == 0 and f"not defined: all checks on {LSTM}: only [/] images" in shown.out
    # Worker processes are looked at on the first task on which there is something to look at.
    assert re.search(rf"│ {WORKERS} +│ not defined +│ ok +│", shown.out)


def test_released_origdrop_zeroes_what_nobody_holds() -> None:
    reasons = failed(results("origdrop", RESNET, variant="released"))
    assert "'untrained changes nothing'" not in reasons and "untrained changes nothing" in reasons
    assert "'stages." in reasons["untrained changes nothing"]


@pytest.mark.usefixtures("no_workers")
def test_check_shows_a_table_and_one_sentence_for_each_mistake(bench: CommandLine) -> None:
    write(Path("broken.py"), CASES["a device by name"].source)
    shown = bench("check", "--plugin", "broken.py", "--task", LSTM, "--task", LSTM)
    assert shown.code == 1 and "Traceback" not in shown.out + shown.err
    rows = [check for check in CHECKS if re.search(rf"│ {check} +│ (ok|FAILED|declared|not defined) +│", shown.out)]
    assert rows == list(CHECKS)
    (sentence,) = [line for line in shown.out.splitlines() if line.startswith(f"broken on {LSTM}")]
    assert sentence.startswith(f"broken on {LSTM}, 'any device': broken.py names a device, line ")


def test_a_mistake_that_fails_many_checks_is_said_once(tmp_path: Path) -> None:
    plugin = write(tmp_path / "broken.py", HEAD + FULL + "    def upload(self, submodel):\n        return 1 / 0\n")
    report = check_method("broken", [plugin], [LSTM, CNN])
    assert len(report.failures) == 1
    assert report.failures[0].startswith(f"broken on {LSTM}, {CNN}, 'keep 1 is the full model', ")
    assert "ZeroDivisionError" in report.failures[0]


@pytest.mark.usefixtures("no_workers")
def test_check_runs_on_named_methods_with_parameters(bench: CommandLine) -> None:
    shown = bench("check", "prism", "fedavg", "--task", LSTM, "--set", "weights=uniform")
    assert shown.code == 0 and "prism: checks on" in shown.out and "fedavg: checks on" in shown.out
    # Off a terminal a line says what begins.
    assert shown.out.startswith(f"checking prism on {LSTM}\n") and f"\nchecking fedavg on {LSTM}\n" in shown.out


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["prsim"], ["unknown method 'prsim'", "did you mean 'prism'"]),
        (["prism", "--task", "lstm-imbd"], ["unknown task 'lstm-imbd'", "did you mean 'lstm-imdb'"]),
        (["--plugin", "nowhere.py"], ["plugin nowhere.py", "no such file"]),
        (["--plugin", "wrong.py"], ["plugin wrong.py", "SyntaxError"]),
        (["prism", "--set", "kapa=2"], ["'kapa'", "did you mean 'kappa'"]),
        (["prism", "--set", "kappa=-2"], ["kappa = -2", "from 0"]),
        (["prism", "--set", "rounds=2"], ["rounds=2", "parameters of the method 'prism' alone"]),
    ],
)
def test_wrong_usage_is_one_sentence(bench: CommandLine, given: list[str], words: list[str]) -> None:
    write(Path("wrong.py"), "def f(:\n")
    sentence = bench.refused("check", *given)
    assert [word for word in words if word not in sentence] == []
