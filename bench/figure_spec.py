"""What a figure is: a function of the tables that has a name.

Nothing that draws is imported here, so that the names of figures can be checked without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Skip(Exception):
    """Why a figure cannot be drawn from these tables, in words for the reader of a report."""


@dataclass(frozen=True)
class Options:
    """What a reader may choose about the figures.

    Attributes:
        x: the horizontal axis of the training curves: "round", "bytes", "macs" or "seconds".
        last: how many evaluations the final accuracy averages.
        rank_method: whose cells the required kernels are drawn for.
        named: whether the reader asked for figures by name, and not for all that are worth drawing.
        front: labels of series that stand first in legends, in a colour of their own and with more weight; others are
            muted.
        colours: of methods by name, as '#0072b2', where users have given some.
        reference: what ``gap`` subtracts: a method, or one label.
        at_chance: (task, title of the data) of which no run is above chance, see :mod:`bench.analysis.chance`.
        bands: whether training curves have intervals where they are many; few have them anyway.
    """

    x: str = "round"
    last: int = 3
    rank_method: str = "fedavg"
    named: bool = False
    front: tuple[str, ...] = ()
    colours: Mapping[str, str] = field(default_factory=dict)
    reference: str = "fedavg"
    bands: bool = False
    at_chance: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class FigureSpec:
    """A figure: a function of the tables.

    Attributes:
        name: the first part of its file names, and what users type.
        description: one line.
        needs: the names of the tables it reads.
        draw: returns (suffix of the file name, figure) for each file; raises :class:`Skip`.
        numbers: returns (suffix of the file name, table) for the tables to lay beside the figure.
    """

    name: str
    description: str
    needs: tuple[str, ...]
    draw: Callable[[dict[str, pd.DataFrame], Options], list[tuple[str, Figure]]]
    numbers: Callable[[dict[str, pd.DataFrame], Options], list[tuple[str, pd.DataFrame]]] | None = None
