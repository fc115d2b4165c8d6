"""What a terminal shows while cells run: estimate, bar and count from the first round on, however narrow it is."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from bench.launch.apart import Seen
from bench.launch.events import Ended, Progress, Started
from bench.terminal.display import RunDisplay, SweepDisplay
from bench.terminal.one_liners import OneLiners, shortened
from bench.tuning.display import TuneDisplay
from bench.tuning.events import Begun, Reached

CELL = "resnet18-cifar10-federated_dropout-keep0.2x0.5+0.4x0.25+0.8x0.25-lda0.1-seed0-0123456789"
LINE = "round 1/40, acc 12.34 %, test loss 2.3456, training loss 2.4567, 12.3 s"


class Clock:
    """A terminal whose time a test sets."""

    def __init__(self, width: int) -> None:
        self.now = 0.0
        self.console = Console(
            file=io.StringIO(),
            force_terminal=True,
            width=width,
            height=40,
            color_system=None,
            get_time=lambda: self.now,
        )

    def shown(self, renderable: Any) -> list[str]:
        """Return the lines that are on the screen."""
        with self.console.capture() as captured:
            self.console.print(renderable)
        return captured.get().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_bar_count_and_estimate_are_there_from_the_first_round_on(width: int) -> None:
    clock = Clock(width)
    display = SweepDisplay(clock.console, 4)
    display.show(Started(CELL))
    assert not any("left" in line or "-:--" in line for line in clock.shown(display.bars.get_renderable()))
    display.show(Progress(CELL, 0, 40, LINE))
    clock.now = 60.0
    display.show(Progress(CELL, 1, 40, LINE))
    whole, cell = clock.shown(display.bars.get_renderable())
    assert "0/4" in whole and "2 h 39 min left" in whole  # 1/40 of 4 cells took a minute
    assert "1/40" in cell and "39 min left" in cell
    assert cell.startswith("  resnet18-cifar10") and ("acc" in cell) == (width == 120)
    clock.now = 120.0  # a round that takes longer than those before it
    assert "38 min left" in clock.shown(display.bars.get_renderable())[1]
    display.show(Progress(CELL, 20, 40, LINE))
    bar = clock.shown(display.bars.get_renderable())[1]
    assert bar.count("━") == (5 if width == 80 else 12) and "20/40" in bar  # half of it, on a terminal without colours
    display.show(Ended(CELL, "done", "", 120.0, ""))
    (whole,) = [line for line in clock.shown(display.bars.get_renderable()) if line.startswith("cells")]
    assert "1/4" in whole and "6 min left" in whole


def test_what_was_done_before_is_not_counted_as_quick() -> None:
    clock = Clock(80)
    display = SweepDisplay(clock.console, 1)
    display.show(Started(CELL))
    clock.now = 60.0
    display.show(Progress(CELL, 31, 40, LINE))  # it went on from a checkpoint after round 30
    assert "9 min left" in clock.shown(display.bars.get_renderable())[1]
    tune = TuneDisplay(clock.console, 10, 5)
    tune.show(Begun("prism on cnn-femnist", 5, "kappa=3"))
    clock.now = 120.0
    tune.show(Reached("prism on cnn-femnist", 5, 5, 10, "acc 1 %"))
    lines = clock.shown(tune.bars.get_renderable())
    assert "5/10" in lines[0] and "9 min left" in lines[0] and "5/10" in lines[1]


def test_a_run_has_its_bar_below_its_table() -> None:
    clock = Clock(80)
    about: dict[str, Any] = {"title": "data", "evaluated_on": "the whole test set", "evaluated": 9, "validates": False}
    with RunDisplay(clock.console, "a run") as display:
        for number in (0, 5):
            display.show(Seen(number, 25, 0.5, 1.0, 1.0, 10**6, 1.0, **about))
        assert display.live is not None
        *_, line = clock.shown(display.live.renderable)
    assert "━" in line and "5/25 rounds" in line and "about 20 s left" in line


def test_names_are_cut_at_a_word_and_only_where_there_is_no_room() -> None:
    assert shortened("one two three", 13) == "one two three"
    assert shortened("one two three", 12) == "one two…" and shortened("unbroken", 4) == "unb…"
    table = OneLiners("things")
    table.add_row("a", "kind", "what it does, in words")
    assert Clock(80).shown(table)[1].split() == ["a", "kind", "what", "it", "does,", "in", "words"]
    assert Clock(18).shown(table)[1].split() == ["a", "what", "it", "does…"]
