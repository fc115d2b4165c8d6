"""Decompositions against numpy's in double precision, and which of them the Gram matrix is good enough for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hard_spectra import hard_spectra
from hypothesis import given, settings
from torch import Tensor

from bench.spectral import decompose as module
from bench.spectral.decompose import NotFinite, Spectrum, decompose, decompose_all, singular_values

SINGLE, DOUBLE = torch.finfo(torch.float32).eps, torch.finfo(torch.float64).eps
WORST = 2.0**13
"""Largest ratio of singular values that is left to the Gram matrix."""


def with_values(sigma: Tensor, outputs: int, inputs: int) -> Tensor:
    """Return a float64 matrix with the given singular values and random vectors."""
    generator = torch.Generator().manual_seed(0)
    u, v = (
        torch.linalg.qr(torch.randn(size, len(sigma), generator=generator, dtype=torch.float64))[0]
        for size in (outputs, inputs)
    )
    return (u * sigma) @ v.mT


def spread(kernels: int, ratio: float) -> Tensor:
    """Return singular values from 1 down to one over a ratio, evenly spaced in their logarithm."""
    return torch.logspace(0, -np.log10(ratio), kernels, dtype=torch.float64)


def halves(kernels: int, ratio: float) -> Tensor:
    """Return singular values of which each is one of two."""
    sigma = torch.ones(kernels, dtype=torch.float64)
    sigma[kernels // 2 :] = 1 / ratio
    return sigma


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def layer(width: int) -> Tensor:
    return random(width, width, 3, 3).reshape(width, -1)


BY_GRAM: dict[str, Tensor] = {
    "wide": random(40, 300),
    "tall": random(300, 40),
    "square": with_values(spread(30, 50), 30, 30).float(),
    "one row": random(1, 9),
    "one column": random(9, 1),
    "one entry": random(1, 1),
    "layer": layer(64),
    "equal values": with_values(torch.ones(20, dtype=torch.float64), 20, 50).float(),
    "two values": with_values(halves(20, 3), 50, 20).float(),
    "almost the limit": with_values(halves(64, WORST / 1.1), 64, 500).float(),
    "many digits": with_values(spread(128, WORST / 1.1), 128, 200).float(),
    "not contiguous": random(60, 50).mT[:, ::2],
    "huge": random(20, 30) * 1e30,
    "minute": random(20, 30) * 1e-30,
}
BY_SVD: dict[str, Tensor] = {
    "beyond the limit": with_values(spread(30, WORST * 1.1), 30, 60).float(),
    "nearly deficient": with_values(spread(30, 1e6), 30, 60).float(),
    "deficient": with_values(spread(7, 3), 40, 60).float(),
    "deficient and tall": with_values(spread(7, 3), 60, 40).float(),
    "one kernel of many": random(20, 1) @ random(1, 30),
    "zeros": torch.zeros(6, 9),
    "one zero": torch.zeros(1, 1),
    "double": random(12, 20).double(),
    "double and tall": with_values(spread(12, 1e6), 20, 12),
    "double and not contiguous": random(30, 20).double().mT[::2],
}


@pytest.fixture
def taken_by_svd(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Return the matrices that are decomposed by SVD from here on."""
    taken: list[Tensor] = []
    svd: Callable[[Tensor], Spectrum] = module._by_svd

    def noted(matrix: Tensor) -> Spectrum:
        taken.append(matrix)
        return svd(matrix)

    monkeypatch.setattr(module, "_by_svd", noted)
    return taken


def assert_decomposition(matrix: Tensor, spectrum: Spectrum, rounding: float) -> None:
    """Compare with numpy; ``rounding`` is relative to one for vectors and to the largest singular value for others."""
    u, s, v = (part.double() for part in (spectrum.u, spectrum.s, spectrum.v))
    outputs, inputs = matrix.shape
    kernels = min(outputs, inputs)
    assert (u.shape, s.shape, v.shape) == ((outputs, kernels), (kernels,), (kernels, inputs))
    assert spectrum.u.dtype == spectrum.s.dtype == spectrum.v.dtype == matrix.dtype
    assert spectrum.u.mT.is_contiguous() and spectrum.v.is_contiguous()
    identity = torch.eye(kernels, dtype=torch.float64)
    torch.testing.assert_close(u.mT @ u, identity, rtol=0, atol=rounding)
    torch.testing.assert_close(v @ v.mT, identity, rtol=0, atol=rounding)
    expected = np.linalg.svd(matrix.double().numpy(), compute_uv=False)
    np.testing.assert_allclose(s, expected, rtol=0, atol=rounding * expected[0])
    assert (s.diff() <= 0).all() and (s >= 0).all()
    torch.testing.assert_close((u * s) @ v, matrix.double(), rtol=0, atol=rounding * float(expected[0]))


@pytest.mark.parametrize("name", BY_GRAM)
def test_the_gram_matrix_gives_vectors_as_good_as_single_precision_holds(name: str, taken_by_svd: list[Tensor]) -> None:
    matrix = BY_GRAM[name]
    spectrum = decompose(matrix)
    assert not taken_by_svd
    assert_decomposition(matrix, spectrum, 1.5 * SINGLE)
    expected = np.linalg.svd(matrix.double().numpy(), compute_uv=False)
    np.testing.assert_allclose(spectrum.s.double(), expected, rtol=1.5 * SINGLE)


@pytest.mark.parametrize("name", BY_SVD)
def test_what_a_gram_matrix_does_not_tell_is_decomposed_as_a_whole(name: str, taken_by_svd: list[Tensor]) -> None:
    matrix = BY_SVD[name]
    spectrum = decompose(matrix)
    assert [taken is matrix for taken in taken_by_svd] == [True]
    assert_decomposition(matrix, spectrum, 30 * (DOUBLE if matrix.dtype == torch.float64 else SINGLE))


def test_the_limit_is_where_vectors_lose_what_single_precision_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Just beyond ten times the limit the Gram matrix alone would be several roundings off."""
    assert 1 / WORST**2 == module.LEAST_SQUARE
    matrix = with_values(halves(64, 10 * WORST), 64, 500).float()
    monkeypatch.setattr(module, "LEAST_SQUARE", 0.0)
    v = decompose(matrix).v.double()
    assert 10 * SINGLE < float((v @ v.mT - torch.eye(64)).abs().max()) < 1000 * SINGLE


def test_a_decomposition_does_not_depend_on_what_else_is_decomposed() -> None:
    together = {"a": layer(16), "b": layer(16) * 2 - 1, "c": random(16, 30), "d": random(30, 16), "e": layer(8)}
    together |= {"f": torch.zeros(16, 20), "g": random(16, 30).double()}
    spectra = decompose_all(together)
    assert list(spectra) == list(together)
    for name, matrix in together.items():
        alone = decompose(matrix.clone())
        for part in ("u", "s", "v"):
            assert torch.equal(getattr(spectra[name], part), getattr(alone, part)), (name, part)


def test_no_matrix_is_changed_and_none_is_shared() -> None:
    for matrix in (random(4, 6), random(6, 4), random(1, 3), torch.zeros(3, 5), random(4, 6).double()):
        before = matrix.clone()
        spectrum = decompose(matrix)
        for part in (spectrum.u, spectrum.s, spectrum.v):
            part.fill_(7.0)
        assert torch.equal(matrix, before)


def test_some_kernels_are_a_copy_of_those() -> None:
    spectrum = decompose(random(6, 9))
    kept = torch.tensor([0, 2, 5])
    some = spectrum.take(kept)
    assert torch.equal(some.u, spectrum.u[:, kept]) and torch.equal(some.v, spectrum.v[kept])
    assert torch.equal(some.s, spectrum.s[kept])
    whole = spectrum.take(torch.arange(6))
    for part in ("u", "s", "v"):
        assert getattr(whole, part).data_ptr() != getattr(spectrum, part).data_ptr()


def test_singular_values_alone_are_those_of_numpy() -> None:
    matrices = {**BY_GRAM, **BY_SVD}
    found = singular_values(matrices)
    assert list(found) == list(matrices)
    for name, matrix in matrices.items():
        expected = np.linalg.svd(matrix.double().numpy(), compute_uv=False)
        assert found[name].dtype == torch.float64
        worst = 100 * DOUBLE if matrix.dtype == torch.float64 else SINGLE / 2
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=worst * expected[0], err_msg=name)


@settings(max_examples=40)
@given(sigma=hard_spectra(most=16))
def test_hard_spectra_are_decomposed(sigma: np.ndarray) -> None:
    for outputs, inputs in ((len(sigma), 20), (20, len(sigma)), (len(sigma), len(sigma))):
        matrix = with_values(torch.from_numpy(sigma.copy()), outputs, inputs).float()
        spectrum = decompose(matrix)
        assert_decomposition(matrix, spectrum, 30 * SINGLE)
        largest = float(sigma[0])
        np.testing.assert_allclose(spectrum.s.double(), sigma, rtol=0, atol=30 * SINGLE * largest)
        np.testing.assert_allclose(singular_values({"": matrix})[""], sigma, rtol=0, atol=SINGLE * largest)


@pytest.mark.parametrize("name", ["wide", "tall", "square", "one row", "one column", "one entry", "layer"])
def test_the_fallback_is_the_main_path_to_rounding(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernel by kernel and vector by vector, so that left and right are told apart where a matrix is square."""
    main = decompose(BY_GRAM[name])
    monkeypatch.setattr(module, "LEAST_SQUARE", np.inf)
    fallback = decompose(BY_GRAM[name])
    sign = (main.u * fallback.u).sum(0).sign()
    assert fallback.u.mT.is_contiguous() and fallback.v.is_contiguous()
    torch.testing.assert_close(fallback.s, main.s, rtol=1e-5, atol=0)
    # Vectors turn by rounding over the distance to the next singular value.
    closest = min([float(main.s[0]), *(-main.s.diff()).tolist()])
    turned = 20 * SINGLE * float(main.s[0]) / closest
    torch.testing.assert_close(fallback.u * sign, main.u, rtol=0, atol=turned)
    torch.testing.assert_close(fallback.v * sign[:, None], main.v, rtol=0, atol=turned)
    kernels = [part.u.mT[:, :, None] * (part.s[:, None] * part.v)[:, None] for part in (main, fallback)]
    torch.testing.assert_close(kernels[1], kernels[0], rtol=0, atol=2 * turned * float(main.s[0]))


def gives_up(dtype: torch.dtype, function: Callable[..., object]) -> Callable[..., object]:
    """Return a function of LAPACK that does not converge for matrices of one precision."""

    def called(matrix: Tensor, **options: object) -> object:
        if matrix.dtype == dtype:
            raise torch.linalg.LinAlgError("the algorithm failed to converge")
        return function(matrix, **options)

    return called


def test_what_an_algorithm_gives_up_on_is_decomposed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    matrices = {name: BY_GRAM[name] for name in ("wide", "tall", "square")} | {"deficient": BY_SVD["deficient"]}
    values = singular_values(matrices)
    for name, dtype in (("eigh", torch.float64), ("eigvalsh", torch.float64), ("svd", torch.float32)):
        monkeypatch.setattr(torch.linalg, name, gives_up(dtype, getattr(torch.linalg, name)))
        for matrix, spectrum in zip(matrices.values(), decompose_all(matrices).values(), strict=True):
            assert_decomposition(matrix, spectrum, 30 * SINGLE)
        for key, found in singular_values(matrices).items():
            np.testing.assert_allclose(found, values[key], rtol=0, atol=10 * SINGLE * float(values[key][0]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matrices_that_are_not_finite_are_refused_by_name(bad: float, dtype: torch.dtype) -> None:
    matrices = {"good": random(3, 4).to(dtype), "conv1.weight": random(3, 4).to(dtype)}
    matrices["conv1.weight"][1, 2] = bad
    for function in (decompose_all, singular_values):
        with pytest.raises(NotFinite, match=r"^'conv1.weight' has entries that are not finite"):
            function(matrices)


def test_singular_values_beyond_single_precision_are_refused_by_name() -> None:
    with pytest.raises(NotFinite, match=r"'a' are beyond the largest torch.float32 number"):
        decompose_all({"a": torch.full((20, 20), 1e38)})
    assert float(singular_values({"a": torch.full((20, 20), 1e38)})["a"][0]) == pytest.approx(2e39)
