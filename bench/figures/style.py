"""The one style of all figures: type, grid, one colour and marker per method, and the stamp that names the data."""

from __future__ import annotations

import textwrap
import weakref
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import ScaledTranslation

from bench.analysis.profiles import split_label
from bench.analysis.tables import FULL_MODEL
from bench.figures.evidence import counted as counted
from bench.figures.evidence import is_at_chance, said_of
from bench.figures.evidence import provenance as provenance
from bench.figures.looks import METHODS as METHODS
from bench.figures.looks import chosen, front_colour, is_front, looks_of, muted
from bench.figures.looks import method_look as method_look
from bench.figures.looks import row_colour as row_colour
from bench.figures.looks import shaded as shaded

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
FRONT_WIDTH = 2.6  # points, of the lines of series in front,
FRONT_ORDER = 5  # which lie above all others
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
        weight = {"linewidth": FRONT_WIDTH, "zorder": FRONT_ORDER} if self.front else {}
        return weight | {
            "color": self.colour,
            "marker": self.marker,
            "linestyle": self.line,
            "fillstyle": self.fill,
            "markerfacecoloralt": "white",
        }


@contextmanager
def use_style(
    front: Collection[str] = (),
    colours: Mapping[str, str] | None = None,
    cells: pd.DataFrame | None = None,
    at_chance: Collection[tuple[str, str]] = (),
) -> Iterator[None]:
    """Draw and save inside this context; the user's own matplotlib settings come back after it.

    Args:
        front: labels of series that stand first in legends and are drawn with more weight; the others are muted.
        colours: what users have given to methods, by their names.
        cells: the table of cells, for what subtitles say of the scale.
        at_chance: (task, title of the data) of which no run is above chance, which subtitles say.
    """
    with chosen(front, colours or {}), said_of(cells, at_chance), matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)  # type: ignore[arg-type]
        yield


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

    own = looks_of(dict.fromkeys(method for method, _ in sorted(pairs)))
    looks: dict[tuple[str, str, bool], SeriesStyle] = {}
    styles: dict[str, SeriesStyle] = {}
    someone_in_front = any(is_front(label) for _, label in pairs)
    for method, label in sorted(pairs, key=place):
        key = method, names[method, label], is_front(label)
        if key not in looks:
            colour, marker = own[method]
            look = _variant(
                front_colour(method) if is_front(label) else colour,
                marker,
                sum(of_method == method for of_method, *_ in looks),
            )
            behind = someone_in_front and not is_front(label) and method != FULL_MODEL
            looks[key] = replace(look, front=is_front(label), colour=muted(look.colour) if behind else look.colour)
        styles[label] = looks[key]
    return dict(sorted(styles.items(), key=lambda item: not item[1].front))


def _variant(colour: str, marker: Any, variant: int) -> SeriesStyle:
    colour = shaded(colour, SHADES[variant % len(SHADES)])
    return SeriesStyle(colour, marker, LINES[variant % len(LINES)], FILLS[variant % len(FILLS)])


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
    guessed = is_at_chance(tables)
    if stand_in:
        source = f"STAND-IN DATA: {source}"
    if guessed:
        source = f"AT CHANCE, THIS RANKS NOTHING; {source}"
    heading = textwrap.wrap(title, int(characters * 0.75), break_on_hyphens=False)
    source_lines, note_lines = textwrap.wrap(source, characters), textwrap.wrap(note, characters)
    room_above = MARGIN + 1.3 * LINE * len(heading) + LINE * len(source_lines) + (0.08 if source_lines else 0)
    room_below = LINE * len(note_lines) + (1.5 * MARGIN if note_lines else 0)
    reserve(figure, room_above, room_below)

    def write(lines: list[str], inches_down: float, **options: Any) -> None:
        top_left = figure.transFigure + ScaledTranslation(MARGIN, -inches_down, figure.dpi_scale_trans)
        figure.text(0, 1, "\n".join(lines), transform=top_left, va="top", **options)

    write(heading, MARGIN, fontsize=9.5, fontweight="bold")
    boxed = {"boxstyle": "round,pad=0.25", "facecolor": STAND_IN_COLOUR, "edgecolor": "none"}
    down, box = MARGIN + 1.3 * LINE * len(heading) + 0.05, boxed if stand_in or guessed else None
    write(source_lines, down, fontsize=7, color="#333333", bbox=box)
    inches = figure.dpi_scale_trans
    figure.text(MARGIN, MARGIN * 0.6, "\n".join(note_lines), transform=inches, va="bottom", fontsize=7, color="#555555")
