"""Checks of how the parts come back."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.api import Selection
from bench.conformance.compare import largest_change, values_of
from bench.conformance.outcome import Declared, Failure, Undefined
from bench.conformance.subject import NOISE, Stage, Subject
from bench.models.base import Model, matrix
from bench.models.factorise import block_index
from bench.spectral.decompose import decompose

TOLERANCE = 1e-4
"""Relative rounding: a layer that is decomposed and multiplied out again is off by some 1e-6."""


DISCARDS = "the server discards on purpose what no client of the round held (discards_unheld is True)"


def nothing_trained_changes_nothing(subject: Subject) -> None:
    """Clients of several keep ratios that send back what they were given leave the server's model as it is.

    Of a method that discards what no client held, that is asked of clients that hold everything.
    """
    discards = subject.stage().method.discards_unheld
    for keeps in ((1.0, 1.0),) if discards else ((0.25, 0.25), (0.25, 0.5, 1.0)):
        stage = subject.stage()
        before = values_of(stage.server.model)
        after = stage.aggregate([stage.update(selection) for selection in stage.select(*keeps)])
        name, change = largest_change(before, after)
        if not change <= TOLERANCE:
            raise Failure(
                f"clients of keep ratios {', '.join(f'{keep:g}' for keep in keeps)} that did not train change the "
                f"server's {name!r} by {change:.1g}",
                f"at most {TOLERANCE:g} of its norm",
                "divide by the weights of the clients that held an entry and keep what nobody held (CoverageMean)",
            )
    if discards:
        raise Declared(f"{DISCARDS}; checked with clients that hold everything")


def order_does_not_matter(subject: Subject) -> None:
    """The same updates in reverse order give the same server model and memory, to rounding."""
    results = []
    for step in (1, -1):
        stage = subject.stage()
        updates = [stage.update(selection, NOISE) for selection in stage.select(0.25, 0.5, 1.0)]
        results.append(stage.aggregate(updates[::step]) | dict(stage.server.memory))
    name, change = largest_change(*results)
    if not change <= TOLERANCE:
        raise Failure(
            f"{name!r} of the server differs by {change:.1g} when the updates arrive in reverse order",
            f"at most {TOLERANCE:g} of its norm",
            "sum over all updates before the server's model is changed",
        )


def unheld_parts_stay(subject: Subject) -> None:
    """What no client held is the same after clients moved what they held.

    Which parts are held is taken from ``coverage``. Of a layer of principal kernels the new weight without the
    kernels nobody held must have no more independent directions than the clients held kernels; of groups of channels
    each entry that no client held must be as it was.
    """
    stage = subject.stage()
    if stage.method.discards_unheld:
        raise Declared(DISCARDS)
    model = stage.server.model
    selections = stage.select(0.25, 0.25)
    held = [_covered(stage, selection) for selection in selections]
    if not any(held):
        raise Undefined("coverage names no units")
    before = values_of(model)
    updates = [stage.update(selection, NOISE) for selection in selections]
    after = stage.aggregate(updates)
    if isinstance(model, Model) and all(units.keys() == model.channels().keys() for units in held):
        _entries_stay(model, held, before, after)
    elif isinstance(model, Model) and all(units.keys() <= set(model.factorable) for units in held):
        for name in dict.fromkeys(name for units in held for name in units):
            _kernels_stay(name, [units[name] for units in held if name in units], before[name], after[name])
    else:
        pieces = ", ".join(dict.fromkeys(name for units in held for name in units))
        raise Undefined(f"the pieces that coverage names ({pieces:.80}) are neither layers nor channel groups")


def _covered(stage: Stage, selection: Selection) -> dict[str, Tensor]:
    return {name: units for name, (units, _) in stage.method.coverage(stage.server, selection).items()}


def _entries_stay(
    model: Model, held: list[dict[str, Tensor]], before: dict[str, Tensor], after: dict[str, Tensor]
) -> None:
    axes, sizes = model.axes(), model.channels()
    for name, value in before.items():
        free = torch.ones_like(value, dtype=torch.bool)
        for units in held:
            free[block_index(axes[name], units, sizes)] = False
        change = (after[name] - value)[free].abs()
        if change.numel() and not float(change.max()) <= TOLERANCE:
            raise _changed(f"entries of {name!r}", float(change.max()))


def _kernels_stay(name: str, held: list[Tensor], before: Tensor, after: Tensor) -> None:
    spectrum = decompose(matrix(before))
    free = torch.ones(spectrum.kernels, dtype=torch.bool)
    free[torch.cat(held)] = False
    kept = (spectrum.u[:, free] * spectrum.s[free]) @ spectrum.v[free]
    left = torch.linalg.svdvals(matrix(after) - kept)
    # Each client moved each of its kernels to one new outer product at most.
    most = sum(len(units) for units in held)
    if most < len(left) and not float(left[most] / spectrum.s[0]) <= TOLERANCE:
        raise _changed(f"principal kernels of {name!r}", float(left[most] / spectrum.s[0]))


def _changed(what: str, change: float) -> Failure:
    return Failure(
        f"{what} that no client held change by {change:.1g}",
        f"at most {TOLERANCE:g}",
        "aggregate starts from the server's values and writes only what some client held; coverage names what that is",
    )
