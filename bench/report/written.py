"""Writing a report: the page of a source into its file, at the end of a command or by itself."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from bench.errors import BenchError, StorageError, words_of
from bench.files import write_whole
from bench.report.manifest import include
from bench.report.source import Source

NAME = "report.html"
OF_A_BUNDLE = ("gap", "training-curves")
"""Figures that are drawn of results that have none: the others take longer than a report may."""


def write_report(source: Source, place: Path, plugins: Iterable[Path] = (), draw: bool = True) -> int:
    """Write the report of a source as one page of HTML, and return its size in bytes.

    A report that lies with its results is listed in their manifest, where there is one.

    Args:
        source: what it is made of.
        place: the file; a file of this name is replaced.
        plugins: files of figures that the user named.
        draw: whether figures are drawn where the source has none.

    Raises:
        BenchError: two cells differ in nothing that a table shows, or the file cannot be written.
    """
    from bench.figures.looks import chosen
    from bench.report.figures import figures_with
    from bench.report.page.build import page_of
    from bench.report.page.compute import without_collection

    figures = figures_with(plugins)
    with tempfile.TemporaryDirectory() as scratch:
        if draw and not source.figures:
            source = replace(source, figures=tuple(_drawn(source, Path(scratch))))
        with without_collection(), chosen(source.front, source.colours):
            page = page_of(source, figures).encode()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, page)
    except OSError as error:
        raise StorageError(f"{place}: the report cannot be written: {error.strerror or error}") from None
    if place.resolve().parent == source.folder.resolve() and (source.folder / "manifest.json").is_file():
        include(source.folder, [source.folder / place.name])
    return len(page)


def end_with_report(source: Callable[[], Source], say: Callable[[str], None], plugins: Iterable[Path] = ()) -> None:
    """Write the report of finished results beside them and say its address; if it cannot be made, say why.

    Nothing that is wrong with a report makes a finished sweep fail: its cells, tables and figures are there.

    Args:
        source: returns what it is made of; not asked for if it cannot be.
        say: prints a line.
        plugins: files of figures that the user named.
    """
    try:
        of_results = source()
        place = of_results.folder / NAME
        write_report(of_results, place, plugins, draw=False)
    except Exception as error:
        say(f"no report was written: {str(error) if isinstance(error, BenchError) else words_of(error)}")
    else:
        say(f"report: {place}")


def _drawn(source: Source, folder: Path) -> list[Path]:
    """Draw the decisive figures of a source that has none, and return their files."""
    from bench.analysis.chance import places_at_chance
    from bench.figures import FIGURES, Options
    from bench.figures.base import Skip
    from bench.figures.style import use_style
    from bench.report.page.limits import finals_of

    files = []
    places = places_at_chance(finals_of(source))
    options = Options(last=source.last, front=source.front, colours=source.colours, at_chance=places)
    with use_style(source.front, source.colours, source.tables["cells"], places):
        for name in OF_A_BUNDLE:
            try:
                drawn = FIGURES[name].draw(dict(source.tables), options)
            except (Skip, KeyError, BenchError):
                continue
            for suffix, figure in drawn:
                files.append(folder / f"{name}-{suffix}.png")
                figure.savefig(files[-1], format="png", metadata={"Software": None})
    return files
