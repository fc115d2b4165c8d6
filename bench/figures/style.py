"""The one style of all figures: type, grid, one colour and marker per method, and the stamp that names the data."""

from __future__ import annotations

import hashlib
import itertools
import textwrap
import weakref
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import ScaledTranslation

from bench.analysis.profiles import split_label
from bench.analysis.series import SERIES

RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that every machine sets the same type
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.edgecolor": "#777777",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelcolor": "#222222",
    "ytick.labelcolor": "#222222",
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    "lines.markeredgewidth": 1.0,
    "figure.constrained_layout.use": True,
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "pdf.fonttype": 42,
}

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
    "federated_dropout": ("#f0005a", "d"),
    "pfedpara": ("#963cff", "8"),
}
# Of a user's own methods: far from all above, and from one another, for every kind of colour vision; and markers that
# no built-in method has (a hexagon, stars of four, six and three points, a pentagon that stands on its point).
OTHER_COLOURS = ("#443311", "#9988ff", "#0000ff", "#661166", "#556644", "#99bb66")
OTHER_MARKERS: tuple[Any, ...] = ("H", (4, 1, 0), (6, 1, 0), (3, 1, 0), (5, 0, 180))
LINES: tuple[Any, ...] = ("-", (0, (4, 1.2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
FILLS = ("full", "none", "left", "top", "right", "bottom")
SHADES = (
    0.0,
    -0.55,
    0.5,
    -0.28,
    0.28,
)  # of a method's colour for its variants: towards black below 0, towards white above
DASHED = (0, (5, 2))
STAND_IN_COLOUR = "#ffd9a8"
MARGIN = 0.1  # inches between the words of a stamp and the edge of the figure
FRONT_WIDTH = 2.6  # points, of the lines of series in front
_front: ContextVar[frozenset[str]] = ContextVar("front", default=frozenset())
LINE = 0.14  # inches, one line of small print
CHARACTER = 0.062  # inches, the width of a character of small print


@dataclass(frozen=True)
class SeriesStyle:
    """How a series looks.

    Attributes:
        colour, marker: of its method.
        line: a matplotlib line style.
        fill: how its marker is filled.
        front: whether it is drawn with more weight than the others.
    """

    colour: str
    marker: Any
    line: Any
    fill: Any
    front: bool = False

    def plot_options(self) -> dict[str, Any]:
        """Return the keyword arguments of ``Axes.plot`` and ``Line2D``."""
        weight = {"linewidth": FRONT_WIDTH} if self.front else {}
        return weight | {
            "color": self.colour,
            "marker": self.marker,
            "linestyle": self.line,
            "fillstyle": self.fill,
            "markerfacecoloralt": "white",
        }


@contextmanager
def use_style(front: Collection[str] = ()) -> Iterator[None]:
    """Draw and save inside this context; the user's own matplotlib settings come back after it.

    Args:
        front: labels of series that stand first in legends and are drawn with more weight.
    """
    before = _front.set(frozenset(front))
    try:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(RC)  # type: ignore[arg-type]
            yield
    finally:
        _front.reset(before)


def method_look(method: str, taken: Collection[tuple[str, Any]] = ()) -> tuple[str, Any]:
    """Return (colour, marker) of a method, as matplotlib has them.

    A method that is not built in gets a look that no built-in method has, by a hash of its name, so that it looks the
    same in every figure of every sweep; the next one that is free where that is among ``taken``.
    """
    if method in METHODS:
        return METHODS[method]
    looks = list(itertools.product(OTHER_MARKERS, OTHER_COLOURS))
    number = int.from_bytes(hashlib.blake2b(method.encode(), digest_size=8).digest(), "little") % len(looks)
    ordered = [(colour, marker) for marker, colour in looks[number:] + looks[:number]]
    return next((look for look in ordered if look not in taken), ordered[0])


def series_styles(table: pd.DataFrame) -> dict[str, SeriesStyle]:
    """Return the style of each label of ``table``, in legend order: built-in methods, then others by name.

    Labels that :func:`use_style` has put in front stand before them, with more weight.

    Labels of one method share the hue of its colour and its marker; the plain one (the method's name) has the colour
    itself, a solid line and full markers, its variants differ in shade, line and fill. Where ``table`` has several
    profiles of keep ratios, labels that differ in their profile only look the same: they never meet on a panel.
    """
    pairs = {(str(method), str(label)) for method, label in zip(table["method"], table["label"], strict=True)}
    several = len({split_label(label, method)[1] for method, label in pairs} - {""}) > 1
    names = {(method, label): split_label(label, method)[0] if several else label for method, label in pairs}
    rank = {method: position for position, method in enumerate(METHODS)}

    def place(pair: tuple[str, str]) -> tuple[int, str, bool, str, str]:
        method, label = pair
        return rank.get(method, len(rank)), method, names[pair] != method, names[pair], label

    own: dict[str, tuple[str, Any]] = {}
    for method in sorted({method for method, _ in pairs} - METHODS.keys()):
        own[method] = method_look(method, own.values())
    looks: dict[tuple[str, str], SeriesStyle] = {}
    styles: dict[str, SeriesStyle] = {}
    for method, label in sorted(pairs, key=place):
        key = method, names[method, label]
        if key not in looks:
            look = own.get(method) or METHODS[method]
            looks[key] = _variant(*look, sum(of_method == method for of_method, _ in looks))
        styles[label] = looks[key]
    front = {label: replace(styles[label], front=True) for label in styles if label in _front.get()}
    return front | {label: style for label, style in styles.items() if label not in front}


def _variant(colour: str, marker: Any, variant: int) -> SeriesStyle:
    colour = shaded(colour, SHADES[variant % len(SHADES)])
    return SeriesStyle(colour, marker, LINES[variant % len(LINES)], FILLS[variant % len(FILLS)])


def shaded(colour: str, shade: float) -> str:
    """Return ``colour`` mixed with black for a ``shade`` below 0, with white above, by that share."""
    target = 0.0 if shade < 0 else 1.0
    red, green, blue = (part + abs(shade) * (target - part) for part in to_rgb(colour))
    return to_hex((red, green, blue))


def reserve(figure: Figure, top: float = 0.0, bottom: float = 0.0) -> tuple[float, float]:
    """Make ``figure`` taller by ``top`` and ``bottom`` inches that its panels leave free.

    Returns:
        The room reserved so far above and below the panels, in inches.
    """
    engine = figure.get_layout_engine()
    if not isinstance(engine, ConstrainedLayoutEngine):
        engine = ConstrainedLayoutEngine()
        figure.set_layout_engine(engine)
    width, height = figure.get_size_inches()
    _, low, _, share = engine.get()["rect"]
    below, above = low * height + bottom, (1 - low - share) * height + top
    height += top + bottom
    figure.set_size_inches(width, height)
    engine.set(rect=(0, below / height, 1, 1 - (below + above) / height))
    return above, below


def provenance(tables: Mapping[str, pd.DataFrame]) -> tuple[str, bool]:
    """Return what the figures of ``tables`` rest on (data, rounds, seeds, diverged runs), and if any is stand-in.

    Tables without data (the footprint) add nothing.
    """
    parts = [table for table in tables.values() if "data_title" in table.columns and len(table)]
    if not parts:
        return "", False
    cells = pd.concat([table[["cell", *SERIES, "seed", "status", "round"]].astype({"label": str}) for table in parts])
    diverged = cells["status"] == "diverged"
    rounds = cells[diverged == diverged.all()].groupby("cell", observed=True)["round"].max()
    seeds = cells.groupby(SERIES, dropna=False, observed=True)["seed"].nunique()
    words = [
        ", ".join(sorted(set(cells["data_title"].astype(str)))),
        counted(rounds.min(), rounds.max(), "round"),
        counted(seeds.min(), seeds.max(), "seed"),
    ]
    if diverged.any():
        words.append(f"{cells.loc[diverged, 'cell'].nunique()} of {cells['cell'].nunique()} runs diverged")
    return "; ".join(words), bool(cells["stand_in"].any())


def counted(low: int, high: int, noun: str) -> str:
    """Return a number of things in words.

    >>> counted(1, 3, "seed"), counted(1, 1, "seed")
    ('1 to 3 seeds', '1 seed')
    """
    number = f"{low}" if low == high else f"{low} to {high}"
    return f"{number} {noun}" + ("" if high == 1 else "s")


_STAMPED: weakref.WeakSet[Figure] = weakref.WeakSet()


def is_stamped(figure: Figure) -> bool:
    """Return whether :func:`stamp` has been applied to a figure."""
    return figure in _STAMPED


def stamp(figure: Figure, tables: Mapping[str, pd.DataFrame], title: str = "", note: str = "") -> None:
    """Write what ``figure`` shows and what it rests on: a heading with the data, rounds and seeds, and a footnote.

    Stand-in data is named in a coloured box, so that nobody takes the figure for a result on the real data.

    Args:
        figure: a figure with a constrained layout; it grows by the room that the words need.
        tables: the rows that the figure shows.
        title: the heading.
        note: how to read the figure, below the panels.
    """
    _STAMPED.add(figure)
    characters = int((figure.get_size_inches()[0] - 2 * MARGIN) / CHARACTER)
    source, stand_in = provenance(tables)
    if stand_in:
        source = f"STAND-IN DATA: {source}"
    heading = textwrap.wrap(title, int(characters * 0.75), break_on_hyphens=False)
    source_lines, note_lines = textwrap.wrap(source, characters), textwrap.wrap(note, characters)
    room_above = MARGIN + 1.3 * LINE * len(heading) + LINE * len(source_lines) + (0.08 if source_lines else 0)
    room_below = LINE * len(note_lines) + (1.5 * MARGIN if note_lines else 0)
    reserve(figure, room_above, room_below)

    def write(lines: list[str], inches_down: float, **options: Any) -> None:
        top_left = figure.transFigure + ScaledTranslation(MARGIN, -inches_down, figure.dpi_scale_trans)
        figure.text(0, 1, "\n".join(lines), transform=top_left, va="top", **options)

    write(heading, MARGIN, fontsize=9.5, fontweight="bold")
    box = {"boxstyle": "round,pad=0.25", "facecolor": STAND_IN_COLOUR, "edgecolor": "none"} if stand_in else None
    write(source_lines, MARGIN + 1.3 * LINE * len(heading) + 0.05, fontsize=7, color="#333333", bbox=box)
    inches = figure.dpi_scale_trans
    figure.text(MARGIN, MARGIN * 0.6, "\n".join(note_lines), transform=inches, va="bottom", fontsize=7, color="#555555")
