"""The diversity of a round's draws and the errors to be expected from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from bench.api import Method, Selection, Server, Update
from bench.families.spectral import Spectral, SpectralServer
from bench.spectral.designs import Design
from bench.spectral.diversity import anme
from bench.spectral.error import expected_error, expected_mean_error

Measures = dict[str, dict[str, float]]
"""Measures by name for each piece of the model."""


def layer_measures(
    method: Method, server: Server, selections: Sequence[Selection], updates: Sequence[Update] | None
) -> Measures:
    """Return what is known of each layer of one round.

    Args:
        method: of any family; approximation errors are known for spectral ones alone.
        server: before the round.
        selections: the parts the clients got.
        updates: what they sent back; None where errors are not to be measured.
    """
    sigma: dict[str, np.ndarray] = {}
    if isinstance(method, Spectral) and isinstance(server, SpectralServer) and method.fixed_multipliers:
        sigma = {name: spectrum.s.double().cpu().numpy() for name, spectrum in server.spectra.items()}
    measures = draw_measures(method.designs(server, selections), sigma)
    if updates is not None and isinstance(method, Spectral):
        for name, errors in method.errors(server, selections, updates).items():
            measures.setdefault(name, {}).update(asdict(errors))
    return measures


def draw_measures(designs: Mapping[str, Sequence[Design]], sigma: Mapping[str, np.ndarray]) -> Measures:
    """Return ``anme``, ``submodel_error_expected`` and ``cohort_error_expected`` of each piece.

    Args:
        designs: how each client drew, by piece.
        sigma: the singular values of the pieces that are layers of principal kernels; errors are known for these.
    """
    measures: Measures = {}
    for piece, of_clients in designs.items():
        laws = [(design.inclusion, design.multipliers) for design in of_clients if design.inclusion is not None]
        if not laws or len(laws) < len(of_clients):
            continue
        entropies = [anme(inclusion, design.size) for (inclusion, _), design in zip(laws, of_clients, strict=True)]
        measures[piece] = {"anme": float(np.mean(entropies))}
        if piece in sigma:
            values = sigma[piece]
            measures[piece]["submodel_error_expected"] = float(np.mean([expected_error(values, *law) for law in laws]))
            measures[piece]["cohort_error_expected"] = float(expected_mean_error(values, laws))
    return measures
