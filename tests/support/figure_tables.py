"""Made-up tables of the shape that sweeps leave behind, and what the figures drawn from them show."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from bench.figures import FIGURES, Options
from bench.figures.points import TICK
from bench.figures.style import use_style
from bench.seeding import stream

TASKS = {"resnet18-cifar10": "CIFAR-10", "cnn-femnist": "FEMNIST", "lstm-imdb": "IMDB"}
CLASSES = {"resnet18-cifar10": 10, "cnn-femnist": 62, "lstm-imdb": 2}
FULL_MACS = {"resnet18-cifar10": 5.6e8, "cnn-femnist": 1.1e7, "lstm-imdb": 4.0e7}
FULL_PARAMETERS = {"resnet18-cifar10": 11_173_962, "cnn-femnist": 1_690_046, "lstm-imdb": 2_100_000}
METHOD_LABELS = [("fedavg", "fedavg"), ("prism", "prism"), ("orthdrop", "orthdrop"), ("origdrop", "origdrop")]
LOSS = {"fedavg": 0.0, "prism": 0.03, "orthdrop": 0.12, "origdrop": 0.22}
RESNET_LAYERS = [
    (f"stage{stage}.{block}.conv{conv}", 32 * 2**stage) for stage in (1, 2, 3, 4) for block in (0, 1) for conv in (1, 2)
]
LAYERS = {"resnet18-cifar10": RESNET_LAYERS, "cnn-femnist": [("conv2", 64)], "lstm-imdb": [("lstm.weight_ih_l0", 256)]}


def make_rounds(
    tasks: tuple[str, ...] = tuple(TASKS),
    labels: list[tuple[str, str]] = METHOD_LABELS,
    keeps: tuple[float, ...] = (0.2, 0.4, 0.8),
    partitions: tuple[tuple[str, float], ...] = (("iid", math.inf), ("lda", 0.1)),
    seeds: tuple[int, ...] = (0, 1),
    rounds: int = 20,
    stand_in: bool = False,
) -> pd.DataFrame:
    """Return a table of rounds: saturating curves, worse for small keep ratios and skewed partitions."""
    parts = [
        make_cell(task, method, label, keep, partition, alpha, seed, rounds, stand_in)
        for task in tasks
        for method, label in labels
        for keep in ((1.0,) if method == "fedavg" else keeps)
        for partition, alpha in partitions
        for seed in seeds
    ]
    table = pd.concat(parts, ignore_index=True)
    return table.astype(dict.fromkeys(["task", "method", "label", "partition", "data_title", "status"], "category"))


def strength(label: str) -> float:
    """Return a number from 0 to 1 in which labels differ."""
    return float(stream(0, "strength of " + label).uniform())


def make_cell(
    task: str,
    method: str,
    label: str,
    keep: float,
    partition: str,
    alpha: float,
    seed: int,
    rounds: int,
    stand_in: bool,
) -> pd.DataFrame:
    cell = f"{task}-{label}-{keep:g}-{partition}-{alpha:g}-{seed}"
    rng = stream(seed, "figures " + cell)
    number = np.arange(rounds + 1)
    best = 0.92 - LOSS.get(method, 0.08) * (1.2 - keep) - (0.15 if partition == "lda" else 0.0)
    best += 0.01 * (len(label) - len(method)) / 12
    acc = 0.1 + (best - 0.1) * (1 - np.exp(-number / (rounds / 5))) + rng.normal(0, 0.006, rounds + 1)
    cost = pd.Series(np.where(number == 0, np.nan, 1.0))
    pace = 0.0 if method == "orthdrop" else 0.4 + strength(label)
    exploration = 0.97 * (1 - (1 - keep) * (1 - keep * pace) ** (number - 1)) * cost
    evaluate = np.full(rounds + 1, 0.7)
    diagnose = np.where(method == "fedavg", 0.1, 4.0) + 0 * number
    cosine = 0.3 + 0.4 * keep + 0.3 * strength(label) - 0.2 * number / rounds + rng.normal(0, 0.05, rounds + 1)
    return pd.DataFrame(
        {
            "cell": cell,
            "task": task,
            "method": method,
            "label": label,
            "keep": keep,
            "capacities": "",
            "partition": partition,
            "alpha": alpha,
            "seed": seed,
            "data_title": TASKS[task] + ("-like stand-in data" if stand_in else ""),
            "stand_in": stand_in,
            "classes": CLASSES[task],
            "status": "done",
            "round": number,
            "test_acc": acc,
            "test_loss": 2.3 - 2 * acc,
            "train_loss": (2.3 - 2 * acc) * cost,
            "lr": 0.1 * cost,
            "coverage": exploration * np.exp(rng.normal(0, 0.01)) if method != "fedavg" else math.nan,
            "coverage_expected": exploration if method != "fedavg" else math.nan,
            "personal_acc": (acc + 0.1 * (1 - acc)) * cost if method == "pfedpara" else math.nan,
            "personal_base_acc": acc if method == "pfedpara" else math.nan,
            "cosine_fedavg": math.nan if method == "fedavg" else cosine * cost,
            "down_bytes": 20 * 4 * FULL_PARAMETERS[task] * keep * cost,
            "up_bytes": 20 * 4 * FULL_PARAMETERS[task] * keep * cost,
            "client_parameters": FULL_PARAMETERS[task] * keep,
            "client_macs": FULL_MACS[task] * keep,
            "forward_macs": 20 * 960 * FULL_MACS[task] * keep * cost,
            "evaluate_s": evaluate,
            "diagnose_s": diagnose,
            "round_s": np.where(number == 0, 0.0, 3.0 * (0.5 + keep) + evaluate + diagnose),
        }
    )


def make_mixed(
    profiles: tuple[tuple[str, float], ...], labels: list[tuple[str, str]] = METHOD_LABELS, **choices: object
) -> pd.DataFrame:
    """Return a table of rounds with cells of these (profile, mean keep ratio), the full model once."""
    full = [pair for pair in labels if pair[0] == "fedavg"]
    parts = [make_rounds(labels=full, **choices)] if full else []  # type: ignore[arg-type]
    for profile, keep in profiles:
        of_profile = [(method, f"{label}, keep {profile}") for method, label in labels if method != "fedavg"]
        rounds = make_rounds(labels=of_profile, keeps=(keep,), **choices)  # type: ignore[arg-type]
        parts.append(rounds.assign(capacities=profile))
    words = ["task", "method", "label", "partition", "data_title", "status"]
    return pd.concat([part.astype(dict.fromkeys(words, str)) for part in parts], ignore_index=True)


def at_budgets(
    rounds: pd.DataFrame, budgets: tuple[str, ...] = ("memory=0.2", "memory=0.4", "bytes=2MB")
) -> pd.DataFrame:
    """Return a table of rounds with the sub-models of ``rounds``, of one keep ratio, at each of these budgets."""
    words = ["cell", "method", "label", "capacities"]
    rounds = rounds.astype(dict.fromkeys(words, str))
    full = rounds["method"] == "fedavg"
    parts = [rounds[full]]
    for budget in budgets:
        own = rounds[~full]
        own = own.assign(cell=own["cell"] + budget, label=own["label"] + f", budget {budget}", capacities=budget)
        parts.append(own)
    return pd.concat(parts, ignore_index=True)


def make_fits(labels: list[tuple[str, str]], budgets: tuple[str, ...], task: str) -> pd.DataFrame:
    """Return a table of fits in which every third label fits nothing."""
    rows = []
    for number, (method, label) in enumerate(labels):
        for budget in budgets:
            fits = bool(number % 3)
            about = {"task": task, "method": method, "label": label, "budget": budget, "level": 0, "share": 1.0}
            found = {"keep": 0.123, "taken": 1.9} if fits else {"keep": np.nan, "taken": np.nan}
            rows.append(about | found | {"quantity": "memory", "fits": fits, "allowed": 2.0, "full": 4.0, "least": 3.9})
    return pd.DataFrame(rows)


def make_levels(rounds: pd.DataFrame) -> pd.DataFrame:
    """Return a table of levels: those of the profile in the label, or the keep ratio; small ones are worse."""
    about = [*rounds.loc[:, "cell":"round"].columns]
    rows = rounds[rounds["method"].astype(str) != "fedavg"]
    parts = []
    for (label, keep), of_label in rows.astype({"label": str}).groupby(["label", "keep"]):
        profile = label.partition(", keep ")[2].removesuffix(" dynamic")
        for level in [float(part.split(":")[0]) for part in profile.split(",")] if profile else [keep]:
            acc = of_label["test_acc"] - 0.25 * (1 - level) ** 2 * (1 - 0.5 * strength(label))
            costs = {"parameters": int(1e6 * level), "macs": int(1e7 * level)}
            parts.append(
                of_label[about].assign(level=level, level_acc=acc, level_loss=2 - acc, validates=False, **costs)
            )
    return pd.concat(parts, ignore_index=True)


def make_ranks(rounds: pd.DataFrame) -> pd.DataFrame:
    """Return a table of ranks: a nearly full rank at the start that falls to a share that depends on the layer.

    What depends on a cohort is missing for round 0 and for the full model.
    """
    parts = []
    columns = list(rounds.loc[:, "cell":"round"].columns)
    for task, rows in rounds[columns].groupby("task", observed=True):
        strengths = rows["label"].astype(str).map(strength)
        drawn = np.where((rows["round"] > 0) & (rows["method"] != "fedavg"), 1.0, np.nan)
        time = rows["round"] / rounds["round"].max()
        noise = np.exp(stream(0, f"ranks of {task}").normal(0, 0.05, len(rows)))
        for position, (layer, kernels) in enumerate(LAYERS[str(task)]):
            floor = 0.35 + 0.3 * math.sin(position) ** 2 + 0.15 * strengths
            share = floor + (0.93 - floor) * np.exp(-time / 0.3)
            error = (1 - rows["keep"]) * (0.3 + strengths) * (1 - 0.4 * time)
            norm = (3 + position) * kernels
            measures = {
                "required_kernels": kernels * share,
                "required_kernels_renyi": kernels * share**0.5,
                "anme": drawn * (0.5 + 0.4 * strengths - 0.3 * time * rows["keep"]) * noise**0.3,
                "weight_norm2": norm * drawn,
                "submodel_error": norm * error * noise * drawn,
                "submodel_error_expected": norm * error * drawn,
                "cohort_error": norm * error / 6 * noise * drawn,
                "cohort_error_expected": norm * error / 6 * drawn,
                "aggregation_error": norm * 0.01 * (0.1 + strengths) ** 2 * noise * drawn,
                "update_norm2": norm * 0.2 * drawn,
            }
            parts.append(rows.assign(layer=layer, kernels=kernels, coverage=drawn, **measures))
    return pd.concat(parts, ignore_index=True)


def make_footprint(rounds: pd.DataFrame) -> pd.DataFrame:
    """Return a footprint: factors cost r (9 M + N) of 9 M N, so their share is keep * 10 / 9 where M = N."""
    rows = rounds.drop_duplicates(["task", "label", "keep"])[["task", "method", "label", "keep"]].astype(
        {"task": str, "method": str}
    )
    full, macs = rows["task"].map(FULL_PARAMETERS), rows["task"].map(FULL_MACS)
    factor = np.where(rows["method"] == "fedavg", 1.0, np.where(rows["method"] == "origdrop", rows["keep"], 10 / 9))
    factored = np.where(rows["task"] == "lstm-imdb", 0.0, 0.98 * full * rows["keep"] * factor)
    return rows.assign(
        parameters=0.02 * full + 0.98 * full * rows["keep"] * factor,
        factored_parameters=factored,
        macs=macs * (0.05 + 0.95 * rows["keep"] * factor),
        down_bytes=4 * full * rows["keep"],
        full_parameters=full,
        full_macs=macs,
    )


def make_tables(**choices: object) -> dict[str, pd.DataFrame]:
    rounds = make_rounds(**choices)  # type: ignore[arg-type]
    return {
        "rounds": rounds,
        "ranks": make_ranks(rounds),
        "levels": make_levels(rounds),
        "footprint": make_footprint(rounds),
    }


def figures_of(name: str, tables: dict[str, pd.DataFrame], options: Options | None = None) -> dict[str, Figure]:
    options = options or Options()
    with use_style(options.front, options.colours, tables.get("cells"), options.at_chance):
        return dict(FIGURES[name].draw(tables, options))


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def shown_words(figure: Figure) -> list[Text]:
    """Return the texts that a reader sees: tick labels beyond the axis limits exist but are not drawn."""
    unseen: set[Text] = set()
    for panel in figure.axes:
        for axis, (low, high) in ((panel.xaxis, panel.get_xlim()), (panel.yaxis, panel.get_ylim())):
            unseen |= {tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}
    return [text for text in figure.findobj(Text) if text.get_text() and text.get_visible() and text not in unseen]


def check_words(figure: Figure) -> None:
    """Assert that the words of a figure lie on it, and neither on one another nor, those of a legend, on a panel."""
    with use_style():
        figure.draw_without_rendering()
        boxes = [(text.get_text(), text.get_window_extent()) for text in shown_words(figure)]
    assert len(boxes) > 10
    for position, (word, box) in enumerate(boxes):
        assert box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1, word
        assert box.y0 >= -1 and box.y1 <= figure.bbox.y1 + 1, word
        for other, other_box in boxes[position + 1 :]:
            apart = box.x1 <= other_box.x0 + 1 or other_box.x1 <= box.x0 + 1
            assert apart or box.y1 <= other_box.y0 + 1 or other_box.y1 <= box.y0 + 1, (word, other)
    for legend in figure.legends:
        assert legend.get_window_extent().y1 <= min(panel.get_window_extent().y0 for panel in figure.axes)


def panels(figure: Figure) -> dict[str, Axes]:
    return {panel.get_title(): panel for panel in figure.axes}


def lines(panel: Axes) -> list[tuple[str, list[float], list[float]]]:
    """Return (colour, x, y) of each line of a panel, but for the ticks of seeds."""
    return [_read(line) for line in panel.get_lines() if line.get_label() != TICK["label"]]


def ticks(panel: Axes) -> list[tuple[str, list[float], list[float]]]:
    """Return (colour, x, y) of each group of seeds that are drawn as ticks on a panel."""
    return [_read(line) for line in panel.get_lines() if line.get_label() == TICK["label"]]


def _read(line: Line2D) -> tuple[str, list[float], list[float]]:
    return str(line.get_color()), list(line.get_xdata()), list(line.get_ydata())


def diverge(rounds: pd.DataFrame, cells: list[str], last_round: int) -> pd.DataFrame:
    hit = rounds["cell"].isin(cells)
    status = rounds["status"].astype(str).mask(hit, "diverged")
    return rounds.assign(status=status)[~(hit & (rounds["round"] > last_round))]
