"""How a method looks in every figure: its colour and its marker, built in, given by a user, or found by its name."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from matplotlib.colors import to_hex, to_rgb

from bench.colours import TOLD_APART, distance

Look = tuple[str, Any]
"""A colour and a marker, as matplotlib has them."""

# Okabe and Ito's colour-blind safe palette first, then colours of Paul Tol's "muted" scheme, then those farthest from
# all of them for every kind of colour vision. No two methods share a marker: it tells apart what colours may not.
METHODS: dict[str, tuple[str, Any]] = {
    "fedavg": ("#000000", "o"),
    "prism": ("#0072b2", "o"),
    "orthdrop": ("#d55e00", "^"),
    "origdrop": ("#009e73", "s"),
    "unbiased": ("#cc79a7", "D"),
    "collective": ("#e69f00", "v"),
    "heterofl": ("#56b4e9", "P"),
    "fjord": ("#882255", "X"),
    "fedrolex": ("#999933", "<"),
    "fedhm": ("#332288", ">"),
    "fedpara": ("#aa4499", "p"),
    "fedlama": ("#44aa99", "h"),
    "inclusivefl": ("#8c510a", "*"),
    "depthfl": ("#88b8d0", (7, 1, 0)),
    "scalefl": ("#2850a8", (9, 1, 0)),
    "inclusive_kdd": ("#18d028", (10, 1, 0)),
    "nefl": ("#288030", (12, 1, 0)),
    "splitmix": ("#a86078", (14, 1, 0)),
    "federated_dropout": ("#f0005a", "d"),
    "pfedpara": ("#963cff", "8"),
    "fiarse": ("#7008c0", (8, 1, 0)),
    "fiarse_channels": ("#d808c8", (4, 0, 22)),
    "small_model": ("#183030", (5, 1, 180)),
    "fedlmt": ("#f870d0", (3, 0, 30)),
    "pfedlmt": ("#906080", (7, 0, 0)),
    "flanc": ("#300030", (4, 1, 45)),
}
# Of a user's own methods: far from all above, and from one another, for every kind of colour vision; and markers that
# no built-in method has (a hexagon, stars of four, six and three points, a pentagon that stands on its point).
OTHER_COLOURS = ("#443311", "#9988ff", "#0000ff", "#661166", "#556644", "#99bb66")
OTHER_MARKERS: tuple[Any, ...] = ("H", (4, 1, 0), (6, 1, 0), (3, 1, 0), (5, 0, 180))


LIKE_SHAPES: tuple[tuple[Any, ...], ...] = (
    ("o", "8"),
    ("h", "H", "p", (5, 0, 180), (7, 0, 0)),
    ("s", "D", "d", (4, 0, 22)),
    ("^", "v", "<", ">", (3, 1, 0), (3, 0, 30)),
    ("P", "X", (4, 1, 0), (4, 1, 45)),
    ("*", (6, 1, 0), (5, 1, 180), (7, 1, 0), (8, 1, 0), (9, 1, 0), (10, 1, 0), (12, 1, 0), (14, 1, 0)),
)
"""Markers that are alike when they are small, or when one is turned."""
FRONT_COLOUR = "#e4002b"
"""Of a user's method that stands in front and has been given no colour."""
MUTED = 0.35
"""How far colours of others are mixed with white where a method stands in front."""
_front: ContextVar[frozenset[str]] = ContextVar("front", default=frozenset())
_colours: ContextVar[Mapping[str, str] | None] = ContextVar("colours", default=None)


@contextmanager
def chosen(front: Collection[str], colours: Mapping[str, str]) -> Iterator[None]:
    """Let these labels stand in front, and these methods have these colours, within the context.

    Labels stand in front without the profile of their clients too, as figures name them.
    """
    before, colours_before = (
        _front.set(frozenset(front) | {label.partition(", keep ")[0] for label in front}),
        _colours.set(dict(colours)),
    )
    try:
        yield
    finally:
        _front.reset(before)
        _colours.reset(colours_before)


def is_front(label: str) -> bool:
    """Return whether a label stands in front."""
    return label in _front.get()


def any_front() -> bool:
    """Return whether any label stands in front: a user's own method, say."""
    return bool(_front.get())


def given_colours() -> Mapping[str, str]:
    """Return the colours that users have given to methods, by their names."""
    return _colours.get() or {}


def method_look(method: str, taken: Collection[Look] = ()) -> Look:
    """Return (colour, marker) of a method, as matplotlib has them.

    A method that is not built in gets a look that no built-in method has, by a hash of its name, so that it looks the
    same in every figure of every sweep. Where that, or its colour, is among ``taken``, it gets the next look of another
    colour, or else the next one that is free. A colour that a user has given it takes the place of its own.
    """
    colour, marker = METHODS.get(method) or _by_name(method, taken)
    return given_colours().get(method, colour), marker


def _by_name(method: str, taken: Collection[Look]) -> Look:
    looks = list(itertools.product(OTHER_MARKERS, OTHER_COLOURS))
    number = int.from_bytes(hashlib.blake2b(method.encode(), digest_size=8).digest(), "little") % len(looks)
    ordered = [(colour, marker) for marker, colour in looks[number:] + looks[:number]]
    colours = {colour for colour, _ in taken}
    free = [look for look in ordered if look not in taken]
    return next((look for look in free if look[0] not in colours), (free or ordered)[0])


def looks_of(methods: Iterable[str]) -> dict[str, Look]:
    """Return the looks of methods that meet in a figure, no two of which are alike.

    One whose given colour cannot be told from that of another with a like marker gets another marker.
    """
    methods = list(methods)
    looks: dict[str, Look] = {method: method_look(method) for method in methods if method in METHODS}
    for method in sorted(set(methods) - METHODS.keys()):
        looks[method] = method_look(method, looks.values())
    for method in sorted(given_colours().keys() & looks.keys()):
        others = [look for name, look in looks.items() if name != method]
        colour, marker = looks[method]
        markers = [marker, *(of for _, of in METHODS.values()), *OTHER_MARKERS]
        fitting = (of for of in markers if not any(alike((colour, of), other) for other in others))
        looks[method] = colour, next(fitting, marker)
    return {method: looks[method] for method in methods}


def alike(one: Look, other: Look) -> bool:
    """Return whether two looks cannot be told apart: neither their shapes, nor by some reader their colours."""
    return shape(one[1]) == shape(other[1]) and distance(one[0], other[0]) < TOLD_APART


def shape(marker: Any) -> int:
    """Return the number of the group of :data:`LIKE_SHAPES` that a marker is of."""
    return next(number for number, group in enumerate(LIKE_SHAPES) if marker in group)


def front_colour(method: str) -> str:
    """Return the colour of a method that stands in front: what it has been given, or else :data:`FRONT_COLOUR`."""
    return given_colours().get(method, FRONT_COLOUR)


def row_colour(method: str, label: str, whole: str) -> str:
    """Return the colour of a row that is named: its method's, in front its own, and muted behind one in front.

    Args:
        method, label: of the row.
        whole: the method that trains the full model, which is never muted.
    """
    if is_front(label):
        return front_colour(method)
    colour = str(method_look(method)[0])
    return muted(colour) if any_front() and method != whole else colour


def muted(colour: str) -> str:
    """Return a colour as it is behind a method in front."""
    return shaded(colour, MUTED)


def shaded(colour: str, shade: float) -> str:
    """Return ``colour`` mixed with black for a ``shade`` below 0, with white above, by that share."""
    target = 0.0 if shade < 0 else 1.0
    red, green, blue = (part + abs(shade) * (target - part) for part in to_rgb(colour))
    return to_hex((red, green, blue))
