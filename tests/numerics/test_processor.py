"""What a processor can do in bfloat16: said before anything starts, and got round where oneDNN has nothing for it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import CNN, LSTM, federation, run
from recurrences import arguments, layer, results
from studies import COMMON as COMMON_OF_STUDIES
from studies import study_file
from tiny import CommandLine, sweep_of
from torch import nn
from torch.nn import functional

import bench as api
from bench import kernels
from bench.errors import BenchError
from bench.models import compiled_recurrence
from bench.models.hadamard import HadamardLSTM, names_of
from bench.numerics import processor
from bench.numerics.precision import emulation, outputs_of

PLAIN = {"cpu_name": "AMD EPYC", "avx2": True, "avx512_bf16": False, "amx_bf16": False, "architecture": "x86_64"}
BF16 = {"precision": "bf16"}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this be a processor without units for bfloat16."""
    can(monkeypatch)


def can(monkeypatch: pytest.MonkeyPatch, **known: Any) -> None:
    monkeypatch.setattr(processor, "capabilities", lambda: {**PLAIN, **known})
    for limit in processor.LIMITS:
        monkeypatch.delenv(limit, raising=False)


@pytest.mark.parametrize(
    ("known", "limit", "native"),
    [
        ({}, "", False),
        ({"avx512_f": True}, "", False),
        ({"avx512_bf16": True}, "", True),
        ({"amx_bf16": True}, "ALL", True),
        ({"amx_bf16": True}, "AVX512_CORE_BF16", True),
        ({"amx_bf16": True}, "avx2", False),
        ({"avx512_bf16": True, "amx_bf16": True}, "AVX512_CORE", False),
        ({"architecture": "aarch64", "bf16": True}, "", True),
    ],
)
def test_units_of_the_processor_and_limits_of_the_environment(
    known: dict[str, Any], limit: str, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    can(monkeypatch, **known)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert processor.has_bf16() is native
    assert bool(emulation("bf16", "cpu")) is not native
    assert not any(emulation(name, device) for name in ("fp32", "bf16") for device in ("cuda", "mps"))
    assert not emulation("fp32", "cpu")


def test_nothing_is_said_where_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "capabilities", dict)
    assert not emulation("bf16", "cpu")


LINE = "precision = 'bf16' is emulated on this processor (AMD EPYC, "


def refuse(*arguments: Any, **named: Any) -> None:
    raise BenchError("it would start now")


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("command", ["run", "sweep", "tune", "perf"])
def test_commands_say_so_before_they_start(
    command: str, bench: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = {
        "run": "bench.launch.apart.run_apart",
        "sweep": "bench.launch.sweep.run",
        "tune": "bench.tuning.crew.run_searches",
        "perf": "bench.perf.command.measure",
    }
    monkeypatch.setattr(starts[command], refuse)
    narrow = 'precision = "bf16"\n'
    words = {
        "run": ("--task", CNN, "--method", "fedavg", "--set", "precision=bf16"),
        "sweep": (sweep_of(tmp_path, f'{narrow}[[cells]]\nmethod = ["fedavg", "prism"]\nkeep = 0.5\n'),),
        "tune": (study_file(tmp_path, common=COMMON_OF_STUDIES + narrow),),
        "perf": (),
    }
    device = () if command == "perf" else ("--device", "cpu")
    said = bench(command, *words[command], *device)
    assert said.code == 2 and "it would start now" in said.err
    (line,) = [line for line in said.out.splitlines() if "bf16" in line]
    assert line.startswith(LINE) and line.endswith("it takes several times as long as fp32")


@pytest.mark.usefixtures("plain")
def test_nothing_is_said_of_single_precision(
    bench: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.launch.sweep.run", refuse)
    assert "emulated" not in bench("sweep", sweep_of(tmp_path, '[[cells]]\nmethod = "fedavg"\n'), "--device", "cpu").out


@pytest.mark.usefixtures("plain")
def test_the_python_api_warns_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.launch.apart.run_apart", refuse)
    with pytest.warns(UserWarning, match=r"'bf16' is emulated on this processor") as said, pytest.raises(BenchError):
        api.run(task=CNN, method="fedavg", precision="bf16")
    assert len(said) == 1 and said[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BenchError, match="it would start"):
            api.run(task=CNN, method="fedavg")


@pytest.fixture(params=["as here", "not trained by oneDNN"])
def without_lstm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Let oneDNN have no LSTM in bfloat16 on the second round; yield whether it has one."""
    if request.param != "as here":
        monkeypatch.setattr(processor, "onednn_trains_bf16_lstm", lambda: False)
    yield processor.onednn_trains_bf16_lstm()
    assert torch.backends.mkldnn.enabled


def dense_lstms() -> dict[str, nn.Module]:
    rng = torch.Generator().manual_seed(0)
    dense = nn.LSTM(5, 6, 2, batch_first=True)
    for tensor in dense.parameters():
        tensor.data = torch.randn(tensor.shape, generator=rng) / 3
    names = names_of("weight_hh_l0", "1", 2) | {f"{k}2": v for k, v in names_of("weight_hh_l0", "2", 2).items()}
    shapes = {name: (3, 24 if name.endswith(("o1", "o2")) else 6) for name in names.values()}
    factors = {name: torch.randn(shape, generator=rng) / 2 for name, shape in shapes.items()}
    return {"dense": dense, "composed": HadamardLSTM(dense, factors, 0.0, False)}


class States(nn.Module):
    """The hidden states of a recurrent layer, and whether oneDNN was on meanwhile."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.with_onednn = torch.backends.mkldnn.enabled
        return self.inner(inputs)[0]


@pytest.mark.parametrize("kind", ["dense", "composed"])
def test_a_dense_lstm_is_trained_in_bfloat16_on_every_processor(kind: str, without_lstm: bool) -> None:
    model = States(dense_lstms()[kind])
    inputs = torch.randn(4, 7, 5, generator=torch.Generator().manual_seed(1))
    weights = torch.randn(4, 7, 6, generator=torch.Generator().manual_seed(2))
    found = {}
    for precision in ("fp32", "bf16"):
        states = outputs_of(model, inputs, precision)  # type: ignore[arg-type]
        found[precision] = [states, *torch.autograd.grad((states * weights).sum(), list(model.parameters()))]
        assert model.with_onednn == (precision == "fp32" or without_lstm)
    assert not torch.equal(found["fp32"][0], found["bf16"][0])
    for narrow, single in zip(found["bf16"], found["fp32"], strict=True):
        assert narrow.dtype == torch.float32
        assert (narrow - single).norm() < 0.02 * single.norm()
    with torch.no_grad():
        torch.testing.assert_close(outputs_of(model, inputs, "bf16"), found["bf16"][0], rtol=0.02, atol=0.02)


def test_other_models_keep_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "onednn_trains_bf16_lstm", lambda: False)
    model = States(nn.Identity())
    outputs_of(model, torch.ones(1, 2), "bf16")
    assert model.with_onednn


def test_a_failing_model_leaves_onednn_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "onednn_trains_bf16_lstm", lambda: False)
    model = nn.Sequential(nn.LSTM(3, 2), nn.Linear(3, 2))
    with pytest.raises(TypeError):
        outputs_of(model, torch.ones(1, 1, 3), "bf16")
    assert torch.backends.mkldnn.enabled


@pytest.mark.parametrize("method", ["fedavg", "origdrop"])
def test_cells_with_a_dense_lstm_run_in_bfloat16(method: str) -> None:
    rounds, _ = run(federation(method, LSTM, keep=0.5, training={**BF16, "rounds": 1}))
    assert rounds[-1].train_loss is not None


@pytest.mark.skipif(kernels.library() is None, reason="there is no C++ compiler here")
@pytest.mark.parametrize(("length", "batch", "hidden"), [(1, 1, 1), (17, 3, 8), (33, 5, 64)])
def test_products_by_way_of_single_precision_are_those_of_bfloat16(
    length: int, batch: int, hidden: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The factored LSTM's numbers do not tell whether oneDNN multiplied them or they were rounded after all."""
    tensors, both = arguments(length, batch, hidden), []
    for own in (True, False):
        monkeypatch.setattr(compiled_recurrence, "onednn_multiplies_bf16", lambda own=own: own)
        both.append(results(layer, tensors, torch.float32, "bf16"))
    assert both[0][0].dtype == both[1][0].dtype == torch.bfloat16
    for own, emulated in zip(*both, strict=True):
        assert functional.mse_loss(own.double(), emulated.double()).sqrt() <= 4e-3 * own.double().pow(2).mean().sqrt()
