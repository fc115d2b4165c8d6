"""The factored LSTM's recurrence, compiled and in PyTorch, against float64 autograd of a cell as its formula has it."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterator

import pytest
import torch
from recurrences import arguments, layer, results
from thinned import every, thinned
from torch import Tensor
from torch.autograd import grad

from bench import kernels
from bench.models import compiled_recurrence, recurrence

PRECISIONS = {"fp32": 1e-5, "bf16": 1.5e-2}
"""The relative error, in the norm of a tensor, that is let pass."""

FEW = 5
"""How many times that where units or samples are so few that a gradient is a sum of which little is left."""

NAMES = ("sequence", "input U", "input V", "recurrent U", "recurrent V", "bias")


@pytest.fixture(autouse=True)
def flushed() -> Iterator[None]:
    """Numbers below 1e-38 count as zero, as in every process that trains."""
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(params=["compiled", "PyTorch"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to compute the layer, one after the other."""
    if request.param == "PyTorch":
        monkeypatch.setattr(kernels, "library", lambda: None)
    elif kernels.library() is None:
        pytest.skip("there are no compiled loops here")
    return str(request.param)


def plain(sequence: Tensor, a: Tensor, b: Tensor, u: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Return the hidden states by the formula of the cell, one step after the other."""
    states, hidden = [], torch.zeros(sequence.shape[1], v.shape[1], dtype=sequence.dtype)
    cell = hidden
    for inputs in sequence:
        enter, forget, value, leave = (inputs @ (a @ b).T + hidden @ (u @ v).T + bias).chunk(4, 1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * value.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        states.append(hidden)
    return torch.stack(states)


def error(actual: Tensor, expected: Tensor) -> float:
    return float((actual.double() - expected).norm() / expected.norm().clamp(min=1e-30))


def assert_near(actual: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    names = ("states", *NAMES)
    errors = {name: error(a, b) for name, a, b in zip(names, actual, expected, strict=True) if b.abs().max() > 0}
    assert errors and max(errors.values()) < tolerance, errors
    silent = [a for a, b in zip(actual, expected, strict=True) if b.abs().max() == 0]
    assert not any(tensor.any() for tensor in silent)


SIZES = [(length, batch, hidden) for length in (1, 30) for batch in (1, 5) for hidden in (1, 7, 16, 64, 256)]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("last", [False, True], ids=["all steps", "last step"])
@pytest.mark.parametrize(("length", "batch", "hidden"), thinned(SIZES, every(3)))
def test_states_and_gradients_are_those_of_the_formula(
    path: str, precision: str, last: bool, length: int, batch: int, hidden: int
) -> None:
    tensors = arguments(length, batch, hidden)
    expected = results(plain, tensors, torch.float64, "fp32", last)
    actual = results(layer, tensors, torch.float32, precision, last)
    narrow = precision == "bf16" and path == "compiled"
    assert actual[0].dtype == (torch.bfloat16 if narrow else torch.float32)
    assert {tensor.dtype for tensor in actual[1:]} == {torch.float32}
    few = hidden < 16 or length * batch == 1
    assert_near(actual, expected, PRECISIONS[precision if narrow else "fp32"] * (FEW if few else 1))


def test_what_is_counted_step_by_step_is_what_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "library", lambda: None)
    tensors = [tensor.double().requires_grad_() for tensor in arguments(length=5, batch=3, hidden=6)]
    used = layer(*tensors)
    monkeypatch.setattr(recurrence._Recurrence, "apply", recurrence.step_by_step)
    counted = layer(*tensors)
    torch.testing.assert_close(used, counted)
    weights = torch.linspace(-1, 1, used.numel(), dtype=torch.float64).view_as(used)
    gradients = [grad((states * weights).sum(), tensors) for states in (used, counted)]
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second)


@pytest.mark.parametrize("length", [15, 16, 17, 32, 33])
def test_any_length_is_summed_in_whole_chunks(path: str, length: int) -> None:
    tensors = arguments(length, 3, 8)
    assert_near(results(layer, tensors, torch.float32, "fp32"), results(plain, tensors, torch.float64, "fp32"), 1e-5)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_gradients_may_arrive_in_any_layout(path: str, precision: str) -> None:
    """The model takes the last step of a batch-first view; a sum sends a gradient without strides."""
    inputs = [tensor.requires_grad_() for tensor in arguments(6, 3, 8)]
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        states = layer(*inputs)
    flat = torch.ones(states.shape, dtype=states.dtype)
    expected = grad(states, inputs, flat, retain_graph=True)
    layouts = [
        torch.ones((), dtype=states.dtype).expand(states.shape),
        flat.transpose(0, 1).contiguous().transpose(0, 1),
        flat.transpose(1, 2).contiguous().transpose(1, 2),
    ]
    for arriving in layouts:
        assert all(map(torch.equal, grad(states, inputs, arriving, retain_graph=True), expected))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_repetition_gives_the_same_bits(path: str, precision: str) -> None:
    tensors = arguments(30, 5, 64)
    first, second = (results(layer, tensors, torch.float32, precision, last=True) for _ in range(2))
    assert all(map(torch.equal, first, second))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_nan_passes_through_and_stays_with_its_sample(path: str, precision: str) -> None:
    tensors = arguments(4, 3, 16)
    tensors[0][1, 1, 0] = torch.nan
    states, d_sequence, *gradients = results(layer, tensors, torch.float32, precision)
    assert states[1:, 1].isnan().all() and not states[0].isnan().any()
    assert not states[:, [0, 2]].isnan().any() and not d_sequence[:, [0, 2]].isnan().any()
    assert all(gradient.isnan().any() for gradient in gradients)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_gates_far_from_zero_saturate_without_overflow(path: str, precision: str) -> None:
    tensors = arguments(3, 2, 8)
    for scale in (1e3, 1e30):
        far = [*tensors[:5], tensors[5].sign() * scale]
        assert all(tensor.isfinite().all() for tensor in results(layer, far, torch.float32, precision))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_backward_may_run_under_autocast(path: str, precision: str) -> None:
    inputs = [tensor.requires_grad_() for tensor in arguments(5, 3, 8)]
    expected = results(plain, arguments(5, 3, 8), torch.float64, "fp32")
    weights = torch.randn(5, 3, 8, generator=torch.Generator().manual_seed(9))
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        states = layer(*inputs)
        gradients = grad((states * weights).sum(), inputs)
    assert_near([states.detach(), *gradients], expected, PRECISIONS[precision] * FEW)


def test_types_without_loops_stay_as_they_are(path: str) -> None:
    tensors = arguments(5, 3, 8)
    expected = results(plain, tensors, torch.float64, "fp32")
    for precision in PRECISIONS:
        actual = results(layer, tensors, torch.float64, precision)
        assert actual[0].dtype == torch.float64
        assert_near(actual, expected, 1e-12)
    with torch.autocast("cpu", torch.float16):
        states = layer(*tensors)
    assert states.dtype == torch.float32 and error(states, expected[0]) < 1e-5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_cuda_computes_in_single_precision_under_autocast(precision: str) -> None:
    tensors = arguments(5, 3, 16)
    expected = results(plain, tensors, torch.float64, "fp32")
    inputs = [tensor.cuda().requires_grad_() for tensor in tensors]
    with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
        states = layer(*inputs)
    weights = torch.randn(states.shape, generator=torch.Generator().manual_seed(9)).cuda()
    gradients = grad((states * weights).sum(), inputs)
    assert_near([tensor.detach().cpu() for tensor in (states, *gradients)], expected, 1e-4)


def test_the_compiled_loops_are_used_where_they_should_be(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def noted(*given: object) -> Tensor:
        asked.append(given[-1])
        return compiled_recurrence.compiled_layer(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(recurrence, "compiled_layer", noted)
    tensors = arguments(2, 2, 4)
    for precision, dtype in itertools.product(PRECISIONS, (torch.float32, torch.float64)):
        results(layer, tensors, dtype, precision)
    assert asked == ([torch.float32, torch.bfloat16] if path == "compiled" else [])


def activations(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sigmoid and tanh of the compiled loops."""
    library = kernels.library()
    if library is None:
        pytest.skip("there are no compiled loops here")
    sigmoids, tanhs = torch.empty_like(x), torch.empty_like(x)
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (x, sigmoids, tanhs)]
    library.activations(pointers[0], ctypes.c_int64(len(x)), *pointers[1:])
    return sigmoids, tanhs


def units_off(actual: Tensor, exact: Tensor) -> float:
    """Return the greatest error in units in the last place of the exact value."""
    rounded = exact.float()
    unit = torch.nextafter(rounded.abs(), torch.tensor(torch.inf)).double() - rounded.abs().double()
    return float(((actual.double() - exact).abs() / unit).max())


def test_activations_are_as_precise_as_documented() -> None:
    """Three units in the last place, over all of the range in which the result is a normal number."""
    magnitudes = torch.cat([torch.logspace(-37, 2, 400_001), torch.linspace(0, 20, 400_001)[1:]])
    x = torch.cat([-magnitudes, magnitudes])
    x = x[x > -86.5]
    sigmoids, tanhs = activations(x)
    assert units_off(sigmoids, x.double().sigmoid()) < 3
    assert units_off(tanhs, x.double().tanh()) < 3


def test_activations_at_the_ends() -> None:
    x = torch.tensor([100.0, -100.0, torch.inf, -torch.inf, 0.0, -0.0, 3e38, -3e38])
    sigmoids, tanhs = activations(x)
    assert torch.equal(tanhs, torch.tensor([1.0, -1, 1, -1, 0, -0.0, 1, -1])) and bool(tanhs[5].signbit())
    torch.testing.assert_close(sigmoids, torch.tensor([1.0, 0, 1, 0, 0.5, 0.5, 1, 0]), rtol=0, atol=2e-38)
    assert all(bool(result.isnan().all()) for result in activations(torch.full((17,), torch.nan)))
