"""Putting the page together: sections in the order in which a reviewer reads them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.figures.base import FigureSpec
from bench.report.page.compared import facts_of, head_of, settings_grid
from bench.report.page.compute import Numbers
from bench.report.page.frontier import charts, legend
from bench.report.page.leaderboard import leaderboard
from bench.report.page.outcome import cells_by_label, outcome_grid, troubles
from bench.report.page.pairs import pair_grids
from bench.report.page.pictures import pictures_of
from bench.report.page.ranks import chance_grid, diagram, rank_grid, win_grid
from bench.report.page.target import area_grid, cost_grid, profile_chart
from bench.report.page.tuned import tuned_grid
from bench.report.page.verdict import by_setting, first_sentences
from bench.report.source import Source
from bench.store.provenance import version_of

TEMPLATES = Path(__file__).parent / "templates"
LARGEST = 5_000_000
"""Bytes of a page."""


@dataclass(frozen=True)
class Section:
    """A section of the page: its id and title, and what is in it."""

    id: str
    title: str
    html: Markup


def page_of(source: Source, figures: Mapping[str, FigureSpec]) -> str:
    """Return the report of a source as one page of HTML.

    Args:
        source: what it is made of.
        figures: the figures there are by name, which say what the pictures show.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def section(name: str, title: str, **values: Any) -> Section:
        return Section(name, title, Markup(environment.get_template(f"{name}.html").render(**values)))

    numbers = Numbers(source)
    sections = [
        section(
            "compared", "What was compared", notes=source.notes, settings=settings_grid(source), facts=facts_of(source)
        ),
        section("verdict", "Verdict", first=first_sentences(numbers), by_setting=list(by_setting(numbers))),
        section("leaderboard", "Leaderboard", table=leaderboard(numbers)),
        section(
            "ranks",
            "Ranks over settings",
            diagram=diagram(numbers),
            ranks=rank_grid(numbers),
            wins=win_grid(numbers),
            chances=chance_grid(numbers),
        ),
        section("pairs", "Method against method", parts=list(pair_grids(numbers))),
        section("costs", "Accuracy and cost", charts=charts(numbers), legend=legend(numbers)),
        section(
            "targets",
            "Cost to target",
            areas=area_grid(numbers),
            costs=cost_grid(numbers),
            charts=[
                chart
                for cost, words in (("bytes", "bytes until 90 %"), ("macs", "work until 90 %"))
                if (chart := profile_chart(numbers, cost, f"{words}, times the cheapest"))
            ],
        ),
        section("outcomes", "How the runs ended", table=outcome_grid(numbers), troubles=troubles(source)),
        section("cells", "Cells", parts=cells_by_label(source, numbers.index)),
    ]
    tuned = tuned_grid(numbers)
    if tuned:
        sections.insert(2, section("tuned", "Tuned against the papers' values", table=tuned))
    room = LARGEST - sum(len(one.html.encode()) for one in sections) - 100_000
    groups, left_out = pictures_of(source.figures, figures, room)
    pictures = section("pictures", "Figures", groups=groups, left_out=left_out, folder=f"{source.opened}/figures")
    sections.insert(-2, pictures)
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    script = (TEMPLATES / "script.js").read_text(encoding="utf-8")
    seal = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html").render(
        head=head_of(source),
        sections=sections,
        style=Markup(style),
        script=Markup(script),
        script_hash=Markup(f"sha256-{seal}"),
        written_by=f"submodel-bench {version_of('submodel-bench')}",
    )
