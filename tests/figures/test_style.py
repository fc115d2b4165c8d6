"""The look of the figures: styles, stamps, units and the order of panels."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import same_color, to_rgb
from matplotlib.figure import Figure

from bench.figures.base import partition_title, partitions_of, spread
from bench.figures.looks import METHODS, OTHER_COLOURS, OTHER_MARKERS
from bench.figures.points import draw_points
from bench.figures.style import (
    RC,
    method_look,
    provenance,
    series_styles,
    shaded,
    stamp,
    use_style,
)
from bench.figures.units import duration, prefixed


def test_styles_are_fixed_stable_and_distinct() -> None:
    assert len(set(METHODS.values())) == len(METHODS)
    assert not {method_look(name) for name in ("mine", "yours", "theirs")} & set(METHODS.values())
    labels = [("prism", "prism (kappa=4)"), ("mine", "mine"), ("fedavg", "fedavg"), ("prism", "prism")]
    styles = series_styles(pd.DataFrame(labels, columns=["method", "label"]))
    assert list(styles) == ["fedavg", "prism", "prism (kappa=4)", "mine"]
    plain, variant = styles["prism"], styles["prism (kappa=4)"]
    assert (plain.colour, plain.marker) == METHODS["prism"]
    assert plain.marker == variant.marker
    assert variant.colour not in {colour for colour, _ in METHODS.values()}
    assert plain.line != variant.line
    assert plain.fill == "full" != variant.fill
    alone = series_styles(pd.DataFrame([("mine", "mine")], columns=["method", "label"]))
    assert alone["mine"] == styles["mine"]


SEEN_BY = {
    "all": np.eye(3),
    "protanopes": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopes": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopes": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
"""On linear RGB, from Machado, Oliveira and Fernandes (2009), severity 1."""
LIKE_SHAPES: tuple[tuple[object, ...], ...] = (
    tuple("o8"),
    (*"sDd", (4, 0, 22)),
    (*"^v<>", (3, 0, 30)),
    (*"hp", (7, 0, 0)),
    (*"PX", (4, 1, 45)),
    ("*", (5, 1, 180), *((points, 1, 0) for points in (7, 8, 9, 10, 12, 14))),
)


def cielab(colour: str, seen: np.ndarray) -> np.ndarray:
    """Return the L*a*b* of a colour as somebody sees it, white point D65."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = to_xyz @ np.clip(seen @ linear, 0, 1) / np.array([0.95047, 1, 1.08883])
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("seen_by", list(SEEN_BY))
def test_methods_are_told_apart_by_marker_or_by_colour(seen_by: str) -> None:
    """No two share a marker; where the shapes are alike (one is the other turned), the colours differ clearly."""
    sub_models = {name: look for name, look in METHODS.items() if name != "fedavg"}
    assert len(METHODS) >= 15
    assert len({marker for _, marker in sub_models.values()}) == len(sub_models)
    seen = {name: cielab(colour, SEEN_BY[seen_by]) for name, (colour, _) in sub_models.items()}
    shape = {name: next(like for like in LIKE_SHAPES if marker in like) for name, (_, marker) in sub_models.items()}
    for one, other in itertools.combinations(sub_models, 2):
        if shape[one] == shape[other]:
            assert np.linalg.norm(seen[one] - seen[other]) > 12, (one, other)


@pytest.mark.parametrize("seen_by", list(SEEN_BY))
def test_a_users_own_methods_look_like_no_built_in_one(seen_by: str) -> None:
    built_in = [cielab(colour, SEEN_BY[seen_by]) for colour, _ in METHODS.values()]
    own = [cielab(colour, SEEN_BY[seen_by]) for colour in OTHER_COLOURS]
    for one, other in [*itertools.product(own, built_in), *itertools.combinations(own, 2)]:
        assert np.linalg.norm(one - other) > 14
    assert not set(OTHER_MARKERS) & {marker for _, marker in METHODS.values()}


def test_a_users_own_methods_look_different_in_one_figure() -> None:
    names = [f"mine{number}" for number in range(20)]
    styles = series_styles(pd.DataFrame({"method": names, "label": names}))
    assert len({(style.colour, style.marker) for style in styles.values()}) == 20
    assert len({method_look(name) for name in names}) < 20  # by their hashes alone some would share theirs


def test_labels_look_the_same_in_several_profiles_and_only_then() -> None:
    labels = ["prism", "prism, keep 0.2:0.5,1:0.5", "prism (kappa=4), keep 0.2:0.5,1:0.5"]
    one = series_styles(pd.DataFrame({"method": "prism", "label": labels}))
    assert len(set(one.values())) == 3
    labels += ["prism, keep 0.2:0.1,1:0.9", "prism, keep 0.2:0.1,1:0.9 dynamic"]
    several = series_styles(pd.DataFrame({"method": "prism", "label": labels}))
    plain, setting = one["prism"], several["prism (kappa=4), keep 0.2:0.5,1:0.5"]
    assert [several[label] for label in labels] == [plain, plain, setting, plain, plain]
    assert setting != plain


def test_shades_lie_between_the_colour_and_black_or_white() -> None:
    assert shaded("#0080ff", 0.0) == "#0080ff"
    assert shaded("#0080ff", -0.5) == "#004080"
    assert shaded("#0080ff", 0.5) == "#80c0ff"
    labels = [f"prism (kappa={kappa})" for kappa in range(1, 5)]
    styles = series_styles(pd.DataFrame({"method": "prism", "label": ["prism", *labels]}))
    assert len({style.colour for style in styles.values()}) == 5


def test_stamp_counts_rounds_and_seeds_and_grows_the_figure() -> None:
    rounds = pd.DataFrame(
        {
            "cell": ["a", "a", "b", "c"],
            "task": "cnn-femnist",
            "method": ["fedavg", "fedavg", "prism", "prism"],
            "label": pd.Categorical(["fedavg", "fedavg", "prism", "prism"]),
            "keep": [1.0, 1.0, 0.2, 0.2],
            "partition": "natural",
            "alpha": math.nan,
            "data_title": "FEMNIST",
            "stand_in": False,
            "seed": [0, 0, 0, 1],
            "status": "done",
            "round": [0, 2, 2, 2],
        }
    )
    assert provenance({"rounds": rounds}) == ("FEMNIST; 2 rounds; 1 to 2 seeds", False)
    assert provenance({"footprint": pd.DataFrame({"task": ["a"]})}) == ("", False)
    words, stand_in = provenance({"rounds": rounds.assign(stand_in=[True, True, False, False])})
    assert stand_in and words.startswith("FEMNIST")
    figure = Figure(figsize=(4, 3), layout="constrained")
    stamp(figure, {"rounds": rounds}, "A heading", "A note")
    assert figure.get_size_inches()[1] > 3
    assert {"A heading", "A note", "FEMNIST; 2 rounds; 1 to 2 seeds"} <= {text.get_text() for text in figure.texts}


def test_partitions_and_panels_in_order() -> None:
    pairs = [("natural", math.nan), ("lda", 0.1), ("iid", math.inf), ("lda", 1.0), ("dirichlet", 0.5)]
    pairs += [("iid-exact", math.nan)]
    ordered = partitions_of(pd.DataFrame(pairs, columns=["partition", "alpha"]))
    assert [partition_title(*pair) for pair in ordered] == [
        "iid, classes equal",
        "iid",
        r"Dirichlet, $\alpha$ = 0.5",
        r"LDA, $\alpha$ = 1",
        r"LDA, $\alpha$ = 0.1",
        "natural",
    ]
    assert spread([1, 2, 3, 4, 5, 6, 7], 4) == [1, 3, 5, 7]
    assert spread([1, 2], 4) == [1, 2]


def test_units() -> None:
    assert prefixed(2.5e9, "B") == (1e9, "GB")
    assert prefixed(12.0, "B") == (1.0, "B")
    assert duration(7200.0) == (3600.0, "h")
    assert duration(7199.0) == (60.0, "min")
    assert duration(90.0) == (1.0, "s")


def test_points_have_their_intervals() -> None:
    """Each as a vertical line from the lower to the upper end, in the colour of its series."""
    figure = Figure()
    panel = figure.subplots()
    style = series_styles(pd.DataFrame({"method": ["prism"], "label": ["prism"]}))["prism"]
    series = pd.DataFrame({"mean": [20.0, 40.0], "low": [18.0, 33.0], "high": [22.0, 47.0], "by_seed": [(), ()]})
    draw_points(panel, pd.Series([0.2, 0.8]), series, style)
    (bars,) = panel.collections
    assert isinstance(bars, LineCollection)
    assert [segment.tolist() for segment in bars.get_segments()] == [
        [[0.2, 18.0], [0.2, 22.0]],
        [[0.8, 33.0], [0.8, 47.0]],
    ]
    assert same_color(tuple(bars.get_color()[0][:3]), style.colour)


def test_series_in_front_stand_first_with_more_weight_and_only_within_the_context() -> None:
    table = pd.DataFrame({"method": ["fedavg", "prism", "mine"], "label": ["fedavg", "prism", "mine (a=1)"]})
    with use_style(["mine (a=1)"]):
        styles = series_styles(table)
    assert list(styles) == ["mine (a=1)", "fedavg", "prism"]
    assert styles["mine (a=1)"].plot_options()["linewidth"] > 1.5 * RC["lines.linewidth"]
    assert "linewidth" not in styles["prism"].plot_options()
    plain = series_styles(table)
    assert list(plain) == ["fedavg", "prism", "mine (a=1)"]
    own = replace(styles["mine (a=1)"], front=False, colour=plain["mine (a=1)"].colour)
    assert own == plain["mine (a=1)"]
