"""Reports of cells that nobody trained, and what stands on their pages, for the tests of reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from compared import Acc, finish, sweep_in

from bench.cell import Cell
from bench.config.cells import Sweep
from bench.report.page.build import page_of
from bench.report.page.compute import without_collection
from bench.report.source import Source, of_sweep
from bench.store.cells import Store

GRID = """
    [[cells]]
    task = ["cnn-femnist", "resnet18-cifar10"]
    method = ["fedavg", "orthdrop", "prism"]
    keep = [0.2, 0.5]
    seed = [0, 1, 2]
"""


def acc_of(cell: Cell) -> float:
    """Return accuracies in which "prism" is ahead of all, by ten points and a little noise of its own."""
    noise = (7 * cell.seed + 3 * len(cell.method) + (cell.seed + 1) * round(10 * cell.keep)) % 5 / 60
    return {"prism": 0.5, "fedavg": 0.4, "orthdrop": 0.3}[cell.method] + noise + 0.1 * (cell.task == "cnn-femnist")


def store_of(folder: Path, grid: str = GRID, acc: Acc = acc_of, **facts: Any) -> tuple[Sweep, Store]:
    """Return a sweep in a folder, and the store where all of its cells are finished."""
    sweep, store = sweep_in(folder, grid), Store(folder / "results" / "tiny")
    finish(sweep.cells, store, acc, **facts)
    return sweep, store


def source_of(folder: Path, grid: str = GRID, acc: Acc = acc_of, **facts: Any) -> Source:
    """Return the source of a report on finished cells."""
    return of_sweep(*store_of(folder, grid, acc, **facts))


class Page(HTMLParser):
    """A page of HTML: its tables by id, its ids and links, and all its words.

    Attributes:
        tables: by id the rows, each a list of the words of its entries; the first are the heads.
        words: all that is read, with single spaces.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tables: dict[str, list[list[str]]] = {}
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self._open: list[list[str]] | None = None
        self._parts: list[str] = []
        self._skip = False
        self.feed(html)
        self.words = " ".join(" ".join(self._parts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of: Mapping[str, str | None] = dict(attrs)
        self.ids += [of["id"]] if of.get("id") else []
        self.links += [of["href"]] if of.get("href") else []
        self.sources += [of["src"]] if of.get("src") else []
        self._skip = tag in ("script", "style")
        if tag == "table":
            self._open = self.tables[str(of["id"])] = []
        elif tag == "tr" and self._open is not None:
            self._open.append([])
        elif tag in ("td", "th") and self._open is not None:
            self._open[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._skip = False
        if tag == "table":
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._skip:
            return
        self._parts.append(data)
        if self._open and self._open[-1]:
            self._open[-1][-1] = " ".join(f"{self._open[-1][-1]} {data}".split())

    def rows(self, table: str) -> list[dict[str, str]]:
        """Return the rows of a table by the words of its heads."""
        head, *rows = self.tables[table]
        return [dict(zip(head, row, strict=True)) for row in rows]


def page(source: Source) -> Page:
    """Return the report of a source."""
    from bench.figures import FIGURES

    with without_collection():
        return Page(page_of(source, FIGURES))


_shared: list[tuple[Source, Page]] = []


def shared(folder: Callable[[str], Path]) -> tuple[Source, Page]:
    """Return the source of :data:`GRID` and its page, made once a session: nobody changes them.

    Args:
        folder: makes one, as ``tmp_path_factory.mktemp`` does.
    """
    if not _shared:
        source = source_of(folder("reported"))
        _shared.append((source, page(source)))
    return _shared[0]
