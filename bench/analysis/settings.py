"""Settings: what two methods share where their accuracies may be compared, in a word."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd

from bench.analysis.budgets import heading, nominal_keeps, order_of
from bench.analysis.profiles import PLACE, split_rows
from bench.analysis.series import distinct_cells

DEALT = " dealt"
"""Behind the profile of capacities that are shuffled among a round's clients."""
WORDS = ["task", "label", "method", "partition", "data_title", "status"]
_AT = ["keep", "profile"]
PLACED = ("setting", "place", "at", "whole", "profile", "control")
"""The columns that :func:`with_settings` adds."""
_ORDER = ["task", "data_title", "stand_in", "partition", "alpha", "order", "label", "seed"]


def with_settings(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the cells with the setting of each, those of full models beside every keep ratio of their place.

    A method that trains the full model whatever the keep ratio has one cell for each seed in a place, and is a rival at
    each of the place's keep ratios: its rows are repeated there. A method is taken for one where all its cells of the
    table have keep ratio 1 and no profile, unless the column ``whole`` says it (one truth value a cell). In the same
    way ``control`` says which cells deal out capacities that stay with their clients in another cell.

    A table that has been through it comes back as it is: who asks several statistics of the same cells can have this
    done once.

    Args:
        cells: the columns of a cell (:data:`bench.analysis.series.CELL`), one row per cell, or several that belong to
            one cell: rounds, or shares of a target.

    Returns:
        The rows in the order of the settings (task, data, partition, alpha, keep ratio), labels and seeds. ``label`` is
        without its profile, and there are six more columns: ``setting`` (a readable word for all below), ``place``
        (task, partition, alpha, and the data where the table has several for the task), ``at`` (the keep ratio, "0.2",
        or the profile, empty where a place has full models only), ``whole``, ``profile`` and ``control`` (of the cell
        itself). Dealt capacities that stand beside the same fixed ones have their profile, and "dealt" in their label.

    Raises:
        BenchError: two cells share the series and the seed.
    """
    if set(PLACED) <= set(cells):
        return cells
    distinct_cells(cells)
    several_rows = {"round", "share"} & set(cells)
    if not several_rows:  # tables that were put together may have a cell twice: it is one run all the same
        cells = cells.drop_duplicates("cell")
    cells = cells.reset_index(drop=True).astype(dict.fromkeys(WORDS, str))
    split = split_rows(cells)
    control = cells["control"].astype(bool) if "control" in cells else _are_controls(cells, split)
    split = _with_controls(split, control)
    keeps = nominal_keeps(cells, split["profile"])
    cells = cells.assign(label=split["base"], profile=split["profile"], keep=keeps, control=control)
    whole = cells["whole"].astype(bool) if "whole" in cells else _are_whole(cells)
    cells = cells.assign(whole=whole, place=_places(cells), line=range(len(cells)))
    levels = _levels(cells)
    own = cells[~whole].merge(levels, on=["place", *_AT])
    full = cells[whole].merge(levels.drop(columns=_AT), on="place", how="left")
    rows = pd.concat([own, full.assign(at=full["at"].fillna(""), order=full["order"].fillna(0))])
    rows["setting"] = [
        f"{place}, {heading(at)}" if at else place for place, at in zip(rows["place"], rows["at"], strict=True)
    ]
    rows = rows.sort_values([*_ORDER, "line"], kind="stable")
    return rows.drop(columns=["order", "line"]).reset_index(drop=True)


def _are_controls(cells: pd.DataFrame, split: pd.DataFrame) -> pd.Series[bool]:
    """Return which cells deal out capacities that stay with their clients in another cell of the same place."""
    keys = [cells[name].astype(str) for name in PLACE]
    fixed = set(zip(*keys, split["base"], split["profile"], strict=True))
    dealt = [
        profile.endswith(DEALT) and (*place, profile.removesuffix(DEALT)) in fixed
        for *place, profile in zip(*keys, split["base"], split["profile"], strict=True)
    ]
    return pd.Series(dealt, split.index, dtype=bool)


def _with_controls(split: pd.DataFrame, control: pd.Series[bool]) -> pd.DataFrame:
    """Return labels and profiles with the control of a mixture as a rival in the setting that it is a control of.

    Capacities that are dealt anew in each round are the same in number as those that stay with their clients: where a
    place has both, the dealt ones are another label ("heterofl (dealt)") at the same profile.
    """
    labels = split["base"].where(~control, split["base"].map(_dealt_label))
    profiles = split["profile"].where(~control, split["profile"].str.removesuffix(DEALT))
    return split.assign(base=labels, profile=profiles)


def _dealt_label(label: str) -> str:
    """Return the label of a control.

    >>> _dealt_label("heterofl"), _dealt_label("prism (kappa=3)")
    ('heterofl (dealt)', 'prism (kappa=3, dealt)')
    """
    return f"{label[:-1]},{DEALT})" if label.endswith(")") else f"{label} ({DEALT.strip()})"


def _are_whole(cells: pd.DataFrame) -> pd.Series[bool]:
    plain = (cells["keep"] == 1) & (cells["profile"] == "")
    return plain.groupby(cells["label"]).transform("all").astype(bool)


def _levels(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the keep ratios, profiles and budgets of each place: how they are written, and their order.

    Small means come first; budgets stand behind keep ratios, those of a quantity together.
    """
    levels = cells.loc[~cells["whole"], ["place", *_AT]].drop_duplicates()
    levels["limits"] = levels["profile"].map(order_of)
    levels = levels.sort_values(["place", "limits", *_AT]).drop(columns="limits")
    written = [profile or f"{keep:.12g}" for keep, profile in zip(levels["keep"], levels["profile"], strict=True)]
    return levels.assign(at=pd.Series(written, levels.index, dtype=object), order=range(len(levels)))


def _places(cells: pd.DataFrame) -> list[str]:
    """Return the word for the place of each row."""
    keys = list(cells[PLACE].itertuples(index=False, name=None))
    known: dict[str, set[tuple[str, bool]]] = {}
    for task, _, _, title, stand_in in keys:
        known.setdefault(task, set()).add((title, bool(stand_in)))
    return [_place(key, known[key[0]]) for key in keys]


def _place(key: tuple[str, str, float, str, bool], known: Iterable[tuple[str, bool]]) -> str:
    task, partition, alpha, title, stand_in = key
    alike = [other for other, _ in known]
    data = f"{title} (stand-in)" if alike.count(title) > 1 and stand_in else title
    words = [task, *([data] if len(alike) > 1 else []), partition]
    return ", ".join([*words, *([f"alpha {alpha:g}"] if math.isfinite(alpha) else [])])


def in_words(value: object) -> str:
    """Return a value of a column as conditions write it: a number in plain digits, a text as it is.

    >>> in_words(0.20), in_words("0.20"), in_words("memory=0.2")
    ('0.2', '0.2', 'memory=0.2')
    """
    try:
        return f"{float(str(value)):.12g}"
    except ValueError:
        return str(value)
