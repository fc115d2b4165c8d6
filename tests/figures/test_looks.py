"""Looks of methods: never alike, chosen by users, and one's own before the others."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from figure_tables import METHOD_LABELS, figures_of, make_tables
from matplotlib.colors import same_color, to_rgb
from test_style import SEEN_BY, cielab
from tiny import plugin, read, sweep_of, write

from bench.colours import contrast_to_white, distance, fault
from bench.config.cells import read_sweep
from bench.errors import BenchError
from bench.figures import Options
from bench.figures.looks import FRONT_COLOUR, METHODS, OTHER_COLOURS, alike, looks_of, shape
from bench.figures.style import SeriesStyle, series_styles, use_style
from bench.plugins import registry

OWN = [f"own{number}" for number in range(6)]


def coloured(folder: Path, name: str, colour: str) -> Path:
    """Write a plugin that names its colour."""
    path = plugin(folder, name)
    head, line, body = path.read_text().partition("(Method):\n")
    return write(path, f'{head}{line}    colour = "{colour}"\n{body}')


def styles_of(*methods: str, front: tuple[str, ...] = (), **colours: str) -> dict[str, SeriesStyle]:
    with use_style(front, colours):
        return series_styles(pd.DataFrame({"method": methods, "label": methods}))


@pytest.mark.parametrize("one", [*OTHER_COLOURS[:2], "#0072b2", "#ffffff", "#1a2b3c"])
def test_distances_and_contrasts_are_those_of_the_literature(one: str) -> None:
    """Against the matrices of the other test file, and WCAG's own definition on matplotlib's reading of the colour."""
    for other in ("#d55e00", "#808080"):
        by_hand = min(np.linalg.norm(cielab(one, seen) - cielab(other, seen)) for seen in SEEN_BY.values())
        assert distance(one, other) == pytest.approx(by_hand, abs=1e-6)
    rgb = np.array(to_rgb(one))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    assert contrast_to_white(one) == pytest.approx(1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05))


def test_no_two_methods_look_alike_and_every_colour_is_seen_on_white() -> None:
    looks = looks_of([*METHODS, *OWN])
    for one, other in itertools.combinations(sorted(set(looks) - {"fedavg"}), 2):
        assert not alike(looks[one], looks[other]), (one, other)
    styles = styles_of(*METHODS, *OWN)
    assert len({(style.colour, style.marker, str(style.line)) for style in styles.values()}) == len(METHODS) + len(OWN)
    assert [name for name, (colour, _) in looks.items() if fault(colour) and name != "fedavg"] == []


def test_a_given_colour_is_taken_and_still_none_look_alike() -> None:
    """prism gets the colour of pfedpara, whose marker is as round as prism's own."""
    colours = {"prism": METHODS["pfedpara"][0], OWN[0]: METHODS["fedpara"][0], OWN[1]: METHODS["fedpara"][0]}
    with use_style((), colours):
        looks = looks_of([*METHODS, *OWN])
    assert {name: looks[name][0] for name in colours} == colours
    assert shape(looks["prism"][1]) != shape(METHODS["prism"][1])
    for one, other in itertools.combinations(sorted(set(looks) - {"fedavg"}), 2):
        assert not alike(looks[one], looks[other]), (one, other)
    assert looks["orthdrop"] == METHODS["orthdrop"]


def test_ones_own_method_stands_first_in_its_colour_and_the_others_are_muted() -> None:
    plain, styles = styles_of("fedavg", "prism", "mine"), styles_of("fedavg", "prism", "mine", front=("mine",))
    assert list(styles) == ["mine", "fedavg", "prism"]
    mine, prism = styles["mine"], styles["prism"]
    assert mine.colour == FRONT_COLOUR and mine.front and mine.marker == plain["mine"].marker
    assert mine.plot_options()["linewidth"] > 2 and "linewidth" not in prism.plot_options()
    assert contrast_to_white(prism.colour) < contrast_to_white(plain["prism"].colour) < contrast_to_white("#000000")
    assert prism.marker == plain["prism"].marker and styles["fedavg"] == plain["fedavg"]
    assert styles_of("fedavg", "mine", front=("mine",), mine="#0000ff")["mine"].colour == "#0000ff"


@pytest.mark.parametrize("name", ["training-curves", "accuracy-cost", "gap", "rank-methods", "exploration"])
def test_figures_put_it_in_front(name: str) -> None:
    labels = [*METHOD_LABELS, ("mine", "mine")]
    tables = make_tables(tasks=("cnn-femnist",), labels=labels, keeps=(0.2,), rounds=5)
    figures = figures_of(name, tables, Options(front=("mine",), colours={"mine": "#0000ff"}))
    for figure in figures.values():
        colours = [line.get_color() for panel in figure.axes for line in panel.get_lines()]
        assert any(same_color(colour, "#0000ff") for colour in colours)
        assert not any(same_color(colour, METHODS["prism"][0]) for colour in colours)


def test_a_sweep_file_gives_colours(tmp_path: Path) -> None:
    grid = '[[cells]]\nmethod = ["prism", "fedavg"]\nkeep = 0.5\n\n[colours]\nprism = "#663300"\n'
    assert read(tmp_path, grid).colours == {"prism": "#663300"}
    for given, said in (
        ('prims = "#663300"', "unknown method 'prims'; allowed: "),
        ('prism = "red"', "colours: prism = 'red' is not possible; allowed: a colour as '#0072b2'"),
        ('prism = "#ffff00"', "prism = '#ffff00' is not possible; its contrast to white is 1.07; allowed: 2 or more"),
        ('prism = "#000001"', "it cannot be told from black, which is the full model's"),
        ('fedavg = "#663300"', "'fedavg' is the full model, which is black in all figures; leave it out"),
        ("prism = 3", "prism = 3 is not possible; allowed: a colour"),
    ):
        file = sweep_of(tmp_path, grid.replace('prism = "#663300"', given))
        with pytest.raises(BenchError, match="colours") as error:
            read_sweep(file)
        assert said in str(error.value)


def test_a_plugin_names_its_colour_and_the_sweep_file_has_the_last_word(tmp_path: Path) -> None:
    path = coloured(tmp_path, "mine", "#663300")
    assert registry.colours([path]) == {"mine": "#663300"}
    grid = '[[cells]]\nmethod = "mine"\nkeep = 0.5\n'
    assert read_sweep(sweep_of(tmp_path, grid), [path]).colours == {"mine": "#663300"}
    file = sweep_of(tmp_path, f'{grid}\n[colours]\nmine = "#0000ff"\n')
    assert read_sweep(file, [path]).colours == {"mine": "#0000ff"}
    wrong = coloured(tmp_path, "other", "#eeeeee")
    with pytest.raises(BenchError, match=r"colour = '#eeeeee' of .* is not possible; its contrast to white is 1.16"):
        registry.check([wrong])
