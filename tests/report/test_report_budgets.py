"""Reports of budgets and of capacities that are dealt, and the diagram of ranks with long names."""

from __future__ import annotations

from pathlib import Path

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from reported import page, source_of

from bench.report.page.compute import Numbers
from bench.report.page.ranks import diagram

DEALT = """
    [[cells]]
    method = ["orthdrop", "prism"]
    keep = "0.2:0.5,1:0.5"
    capacity = ["fixed", "dealt"]
    seed = [0, 1, 2]
"""


def test_dealt_capacities_have_a_row_of_their_own(tmp_path: Path) -> None:
    dealt = page(source_of(tmp_path, DEALT, lambda cell: 0.5 + 0.01 * cell.seed * len(cell.method)))
    names = {row[0] for row in dealt.tables["leaderboard-table"][1:]}
    assert names == {"orthdrop", "prism", "orthdrop (dealt)", "prism (dealt)"}


LONG = """
    [[cells]]
    method = ["orthdrop", "prism", "unbiased"]
    keep = [0.2, 0.5]
    seed = [0, 1, 2]
    [cells.parameters.prism]
    sigma = "absorbed"
    multipliers = "wallenius"
    clip_tau = 10
    kappa = 4
    weights = "samples"
"""


def test_names_of_the_diagram_of_ranks_are_never_cut(tmp_path: Path) -> None:
    drawn = diagram(Numbers(source_of(tmp_path, LONG, lambda cell: 0.5 + 0.01 * cell.seed * len(cell.method))))
    assert drawn is not None and any(len(name["text"]) > 60 for name in drawn["names"])
    for name in drawn["names"]:
        width = TextPath((0, 0), name["text"], size=13, prop=FontProperties(family="DejaVu Sans")).get_extents().width
        assert width + 13 <= (drawn["left"] if name["left"] else drawn["width"] - drawn["right"])
