"""Singular value decomposition of layers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

LinAlgError: type[Exception] = torch.linalg.LinAlgError  # type: ignore[attr-defined]  # public, but not exported
SINGLE, DOUBLE = torch.finfo(torch.float32).eps, torch.finfo(torch.float64).eps
LEAST_SQUARE = 8 * DOUBLE / SINGLE
"""Smallest square of a singular value, as a share of the largest one's, that a Gram matrix tells well enough: 2^-26.

A Gram matrix in double precision tells the squares up to some ``DOUBLE * s_1^2``, and so two kernels found from it are
orthogonal up to ``DOUBLE * s_1^2 / (s_i s_j)``: within the rounding of single precision for singular values above this
share. The factor 8 is what the sums of a decomposition add; up to 5 was seen with 512 kernels.
"""


class NotFinite(ValueError):
    """A matrix has entries, or singular values, that are not finite."""


@dataclass(frozen=True)
class Spectrum:
    """A thin singular value decomposition ``W = U diag(s) V`` with ``R = min(outputs, inputs)`` terms.

    Both factors lie in memory kernel by kernel, so that some kernels are taken from long runs of numbers: ``u`` is a
    transposed view.

    Attributes:
        u: ``[outputs, R]``, orthonormal columns.
        s: ``[R]``, singular values, descending.
        v: ``[R, inputs]``, orthonormal rows.
    """

    u: Tensor
    s: Tensor
    v: Tensor

    @property
    def kernels(self) -> int:
        """The number R of principal kernels."""
        return len(self.s)

    def take(self, kept: Tensor) -> Spectrum:
        """Return a copy of some kernels, int64 ``[rank]``."""
        return Spectrum(self.u.mT.index_select(0, kept).mT, self.s.index_select(0, kept), self.v.index_select(0, kept))


def decompose(matrix: Tensor) -> Spectrum:
    """Return the thin singular value decomposition of a matrix ``[outputs, inputs]``."""
    return decompose_all({"": matrix})[""]


@torch.no_grad()
def decompose_all(matrices: Mapping[str, Tensor]) -> dict[str, Spectrum]:
    """Return the thin singular value decompositions of named matrices ``[outputs, inputs]``.

    The vectors of the smaller side are the eigenvectors of its Gram matrix, and the others are the matrix projected on
    them. In double precision that takes a sixth of the time of a singular value decomposition in single precision and
    is more accurate for most matrices; the others (:data:`LEAST_SQUARE`: rank-deficient ones, and those in double
    precision, and those whose eigenvalues are not found) go through the latter.

    Raises:
        NotFinite: a matrix has entries that are not finite, or singular values beyond its precision's numbers.
    """
    _check_finite(matrices)
    spectra = {}
    for names in _alike(matrices):
        try:
            squares, vectors = torch.linalg.eigh(_grams([matrices[name] for name in names]))
        except LinAlgError:
            continue
        for name, values, columns in zip(names, squares.flip(-1), vectors.flip(-1).mT.contiguous(), strict=True):
            if values[-1] > LEAST_SQUARE * values[0]:
                spectra[name] = _projected(matrices[name], values.sqrt(), columns)
    spectra = {name: spectra[name] if name in spectra else _by_svd(matrix) for name, matrix in matrices.items()}
    for name, spectrum in spectra.items():
        if not spectrum.s[0].isfinite():
            raise NotFinite(f"the singular values of {name!r} are beyond the largest {spectrum.s.dtype} number")
    return spectra


@torch.no_grad()
def singular_values(matrices: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the singular values of named matrices, float64 ``[R]`` on the CPU, descending.

    From the Gram matrix they are off by some 1e-8 of the largest one at worst, where single precision's own
    decomposition is off by 1e-7.

    Raises:
        NotFinite: a matrix has entries that are not finite.
    """
    _check_finite(matrices)
    found: dict[str, Tensor] = {}
    for names in _alike(matrices):
        try:
            squares = torch.linalg.eigvalsh(_grams([matrices[name] for name in names]))
        except LinAlgError:
            continue
        found |= dict(zip(names, squares.flip(-1).clamp(min=0).sqrt(), strict=True))
    return {
        name: (found[name] if name in found else torch.linalg.svdvals(matrix)).cpu().double()
        for name, matrix in matrices.items()
    }


def _check_finite(matrices: Mapping[str, Tensor]) -> None:
    """Refuse entries that are not finite: their extremes tell, a nan being both."""
    extremes = {name: torch.stack(torch.aminmax(matrix)) for name, matrix in matrices.items()}
    for name, extreme in extremes.items():
        if not extreme.isfinite().all():
            raise NotFinite(f"{name!r} has entries that are not finite, and so no singular values")


def _alike(matrices: Mapping[str, Tensor]) -> Iterator[list[str]]:
    """Yield the names of the matrices whose Gram matrices tell enough, in groups of as many kernels."""
    groups = defaultdict(list)
    for name, matrix in matrices.items():
        if matrix.dtype == torch.float32 and matrix.device.type != "mps":  # Apple's has no double precision
            groups[min(matrix.shape)].append(name)
    yield from groups.values()


def _grams(matrices: list[Tensor]) -> Tensor:
    """Return the Gram matrices of the smaller sides, float64 ``[matrices, R, R]``: one call decomposes them all."""
    doubles = (_wide(matrix).double() for matrix in matrices)
    return torch.stack([double @ double.mT for double in doubles])


def _projected(matrix: Tensor, sigma: Tensor, own: Tensor) -> Spectrum:
    """Return the decomposition that follows from that of the smaller side.

    Args:
        matrix: float32 ``[outputs, inputs]``.
        sigma: its singular values, float64 ``[R]``, descending.
        own: the vectors of its smaller side, float64 ``[R, R]``, one in each row.
    """
    other = (own @ _wide(matrix).double()).div_(sigma[:, None])
    own, other = own.to(matrix), other.to(matrix)
    u, v = (own, other) if _is_wide(matrix) else (other, own)
    return Spectrum(u.mT, sigma.to(matrix), v)


def _by_svd(matrix: Tensor) -> Spectrum:
    """Return the decomposition as LAPACK finds it: in double precision where its single precision gives up."""
    try:
        u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    except LinAlgError:
        u, s, v = (part.to(matrix) for part in torch.linalg.svd(matrix.cpu().double(), full_matrices=False))
    return Spectrum(u.mT.contiguous().mT, s, v.contiguous())


def _wide(matrix: Tensor) -> Tensor:
    return matrix if _is_wide(matrix) else matrix.mT


def _is_wide(matrix: Tensor) -> bool:
    return matrix.shape[0] <= matrix.shape[1]


def rank_of(keep: float, kernels: int) -> int:
    """Return the number of kernels a keep ratio leaves: ``ceil(keep * kernels)`` (PriSM's code, ``math.ceil``).

    The product is rounded to nine decimals first, so that 0.7 of 10 kernels is 7 and not, by the binary rounding of
    0.7 * 10 = 7.000000000000001, 8.
    """
    return max(1, math.ceil(round(keep * kernels, 9)))


def split_rank(keep: float, outputs: int) -> int:
    """Return ``max(round(keep * outputs), 1)``, half to even as Python (and FedHM's and FedLMT's code) rounds."""
    return max(round(round(keep * outputs, 9)), 1)
