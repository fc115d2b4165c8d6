"""Optuna's own plots of a study, in the house's type and with the stamp that names the data."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState, create_trial
from optuna.visualization import matplotlib as optuna_plots

from bench.analysis.series import SERIES
from bench.errors import several
from bench.figures.chance import draw_chance
from bench.figures.curve_panels import joined
from bench.figures.files import save_figure
from bench.figures.style import RC, stamp, use_style
from bench.tuning.held_out import in_words
from bench.tuning.space import Search

TARGET = "validation accuracy (%)"
SIZE = (3.8, 2.8)  # inches, of a plot with one panel
PANEL = 2.1  # inches, the width of each of several panels
CONTOUR = ("kappa", "lambda")
"""The two parameters of the contour where both are searched; else the first two."""
OF_ACCURACY = ("history", "slice")
"""Plots whose vertical axis is the accuracy on held-out samples."""
DECADES = 30
"""Ratio of a logarithmic axis's ends above which only powers of ten are labelled."""
SEVERAL = 3
"""Complete trials that a plot of two parameters needs."""
ENOUGH = 20
"""Complete trials from which on a surface between them means something: below, the trials themselves are shown."""
IMPORTANCES = "Importance: PED-ANOVA, how far the values of good trials are from those of all trials."


class NotDrawn(Exception):
    """Why a plot is left out, in words."""


def draw_plots(
    study: optuna.Study,
    search: Search,
    rows: pd.DataFrame,
    folder: Path,
    on_skip: Callable[[str, str], None],
) -> list[Path]:
    """Draw the plots of one search and return the files.

    Args:
        study: the Optuna study.
        search: what it searches.
        rows: its rows of the table of trials.
        folder: where the figures go.
        on_skip: is told the name of a plot that cannot be drawn, and why.
    """
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    trials = study.get_trials(deepcopy=False)[: len(rows)]
    files: list[Path] = []
    for name, draw in PLOTS.items():
        title = search.name
        with use_style(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna calls its plots experimental
            try:
                figure, note = draw(readable(study, trials, search), search)
            except NotDrawn as reason:
                on_skip(f"{name} of {title}", str(reason))
                continue
            figure.suptitle("")
            for axes in figure.axes:
                _restyle(axes)
                legend = axes.get_legend()
                if legend is not None:  # the note says it
                    legend.remove()
            note = joined(note, *_chance_and_few(name, figure, rows))
            figure.set_size_inches(max(SIZE[0], PANEL * sum(1 for axes in figure.axes if axes.get_xlabel())), SIZE[1])
            stamp(figure, {"trials": evidence(rows)}, f"{name.capitalize()}: {title}", note)
            files += save_figure(figure, folder, f"tune-{name}-{search.slug}")
            pyplot.close(figure)
    return files


def _chance_and_few(name: str, figure: Figure, rows: pd.DataFrame) -> tuple[str, str]:
    """Draw the chance level where an axis is the accuracy, and return the words for it and for few held-out samples."""
    panels = [axes for axes in figure.axes if axes.get_xlabel()] if name in OF_ACCURACY else []
    chance = draw_chance(panels, rows)
    level = "".join(f"Grey line: {entry.get_label()}." for entry in chance.entries) or chance.note
    samples = rows["held_out"].dropna() if "held_out" in rows else rows["trial"].iloc[:0]
    few = in_words(int(samples.min())) if len(samples) else ""
    return level, few and f"{few[0].upper()}{few[1:]}."


def readable(study: optuna.Study, trials: list[FrozenTrial], search: Search) -> optuna.Study:
    """Return a copy of a study for people: trials that count and have ended, the papers' names, percent."""
    copied = optuna.create_study(study_name=study.study_name, direction="maximize")
    symbols = {dimension.name: dimension.symbol for dimension in search.space}
    for trial in (trial for trial in trials if trial.state.is_finished()):
        copied.add_trial(
            create_trial(
                state=trial.state,
                value=None if trial.value is None else 100 * trial.value,
                params={symbols[name]: value for name, value in trial.params.items()},
                distributions={symbols[name]: values for name, values in trial.distributions.items()},
                intermediate_values={step: 100 * value for step, value in trial.intermediate_values.items()},
            )
        )
    return copied


def evidence(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what a stamp reads of trials: one row a cell."""
    cells = rows.explode("cells").dropna(subset=["cells"])
    return cells.assign(
        cell=cells["cells"],
        seed=cells["cells"].str.extract(r"-seed(\d+)-[0-9a-f]{10}$")[0].astype(int),
        round=cells["rounds"] // cells.groupby(["label", "trial"], observed=True)["cells"].transform("count"),
        data_title="held-out samples of " + cells["data_title"].astype(str),
        status="done",
    )[["cell", *SERIES, "seed", "status", "round"]]


def _complete(study: optuna.Study, least: int, search: Search) -> None:
    """Refuse a study of too few complete trials, or one of whose trials nothing can be learnt."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < least:
        raise NotDrawn(f"it needs {several(least, 'complete trial')}, and there {_are(len(complete))}")
    if least > 1 and len(search.space) < 2:
        raise NotDrawn("one parameter alone is searched")
    if least > 1 and len({trial.value for trial in complete}) < 2:
        raise NotDrawn("all complete trials have the same accuracy")


def _are(number: int) -> str:
    return {0: "is none", 1: "is one"}.get(number, f"are {number}")


def _history(study: optuna.Study, search: Search) -> tuple[Figure, str]:
    _complete(study, 1, search)
    axes = optuna_plots.plot_optimization_history(study, target_name=TARGET)
    for line in axes.get_lines():  # the best so far changes at a trial, not between two
        line.set_drawstyle("steps-post")
    return _figure(axes), "Dots: complete trials; trial 0 has the papers' values. Line: the best so far."


def _importances(study: optuna.Study, search: Search) -> tuple[Figure, str]:
    _complete(study, SEVERAL, search)
    axes = optuna_plots.plot_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), target_name=TARGET)
    return _figure(axes), IMPORTANCES


def _contour(study: optuna.Study, search: Search) -> tuple[Figure, str]:
    _complete(study, SEVERAL, search)
    names = [dimension.symbol for dimension in search.space]
    pair = list(CONTOUR) if set(CONTOUR) <= set(names) else names[:2]
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < ENOUGH:
        return _scatter(complete, pair, search)
    axes = optuna_plots.plot_contour(study, params=pair, target_name=TARGET)
    return _figure(axes), "Dots: complete trials. Between them it is interpolated."


def _scatter(trials: list[FrozenTrial], pair: list[str], search: Search) -> tuple[Figure, str]:
    """Return the trials where they are, coloured by their accuracy: too few for a surface between them."""
    trials = [trial for trial in trials if all(name in trial.params for name in pair)]
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    x, y = ([trial.params[name] for trial in trials] for name in pair)
    values = [trial.value for trial in trials]
    dots = axes.scatter(x, y, c=values, cmap="viridis", s=45, edgecolor="#444444", linewidth=0.6, zorder=3)  # type: ignore[arg-type]
    figure.colorbar(dots, ax=axes, label=TARGET)
    axes.set(xlabel=pair[0], ylabel=pair[1])
    for dimension in search.space:
        if dimension.log and dimension.symbol in pair:
            (axes.set_xscale if dimension.symbol == pair[0] else axes.set_yscale)("log")
    axes.margins(0.1)
    return figure, f"The complete trials; a surface between them would need {ENOUGH}."


def _slice(study: optuna.Study, search: Search) -> tuple[Figure, str]:
    _complete(study, 1, search)
    axes = optuna_plots.plot_slice(study, target_name=TARGET)
    return _figure(axes), "Dots: complete trials, the darker the later."


PLOTS: dict[str, Callable[[optuna.Study, Search], tuple[Figure, str]]] = {
    "history": _history,
    "importances": _importances,
    "contour": _contour,
    "slice": _slice,
}


def _figure(drawn: object) -> Figure:
    """Return the figure of what Optuna draws: axes, or an array of them."""
    axes = drawn if isinstance(drawn, Axes) else next(iter(_flat(drawn)))
    figure = axes.figure
    assert isinstance(figure, Figure)
    return figure


def _flat(drawn: object) -> Iterator[Axes]:
    import numpy as np

    yield from np.asarray(drawn).ravel()


def _restyle(axes: Axes) -> None:
    """Give Optuna's axes, which are in another style, the house's look."""
    axes.set_title("")
    axes.set_title("", loc="left")
    axes.set_facecolor("white")
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(color="black", size=RC["axes.labelsize"])
        if axis.get_scale() == "log":
            low, high = axis.get_view_interval()
            axis.set_major_locator(LogLocator(subs=(1,) if high > DECADES * low else (1, 2, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
    axes.tick_params(labelsize=RC["xtick.labelsize"], color=RC["xtick.color"], labelcolor=RC["xtick.labelcolor"])
    axes.grid(True, color=RC["grid.color"], linewidth=RC["grid.linewidth"])
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(RC["axes.edgecolor"])
