"""The look of the figures: styles, stamps, units and the order of panels."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure

from bench.figures.base import partition_title, partitions_of, spread
from bench.figures.style import METHODS, method_look, provenance, series_styles, shaded, stamp
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
