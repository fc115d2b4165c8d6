"""The commands that write down what came of a sweep for others: ``report``, ``table`` and ``statements``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import PATH, Plugin, Results, say
from bench.files import expanded

if TYPE_CHECKING:
    from bench.report.source import Source

Given = Annotated[
    Path,
    typer.Argument(
        metavar="FILE|FOLDER|BUNDLE",
        parser=expanded,
        help="A sweep file (sweeps/quick.toml), a folder of results (results/quick) or a bundle (quick.bench).",
    ),
]

Only = Annotated[
    list[str] | None,
    typer.Option(
        help="name=value: settings and methods that have it; name!=value: all others; several of a name: any of them."
    ),
]


def report(
    given: Given,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", **PATH, help="The page; left out: report.html with the results."),
    ] = None,
    plugin: Plugin = None,
    results: Results = Path("results"),
) -> None:
    """Write what came of a sweep as one page of HTML: verdict, leaderboard, figures, and the cells behind it all."""
    from bench.report.written import write_report

    source, plugins = opened(given, plugin or [], results)
    place = output or _beside(given, source)
    size = write_report(source, place, plugins)
    say(*(f"note: {note}" for note in source.notes))
    say(f"report: {place} ({size / 1e6:.2f} MB)")


def table(
    given: Given,
    format_: Annotated[str, typer.Option("--format", help="markdown, or latex with booktabs.")] = "markdown",
    value: Annotated[
        str, typer.Option(help="accuracy, gap (to the full model, or --against), rank, bytes, macs or seconds.")
    ] = "accuracy",
    against: Annotated[
        str | None, typer.Option(help="The label or method that gaps are to; the full model if left out.")
    ] = None,
    only: Only = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", **PATH, help="A file; left out: it is printed.")
    ] = None,
    plugin: Plugin = None,
    results: Results = Path("results"),
) -> None:
    """Write a table for a paper: methods by settings, the best in bold, those not told apart from it marked."""
    from bench.errors import BenchError, StorageError, choices
    from bench.files import write_whole
    from bench.report.chosen import chosen
    from bench.report.table import FORMATS, WRITERS, table_of

    if format_ not in FORMATS:
        raise BenchError(f"--format {format_!r}: it is not possible; {choices(format_, FORMATS)}")
    source, _ = opened(given, plugin or [], results)
    text = WRITERS[format_](table_of(chosen(source, only or []), value, against))
    for note in source.notes:  # not among the lines of a table that a shell sends to a file
        typer.echo(f"note: {note}", err=True)
    if output is None:
        say(text.rstrip("\n"))
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_whole(output, text.encode())
    except OSError as error:
        raise StorageError(f"{output}: the table cannot be written: {error.strerror or error}") from None
    say(f"table: {output}")


def statements(
    given: Given,
    file: Annotated[
        Path | None,
        typer.Option("--file", **PATH, help="A file of statements; left out: those of the built-in methods' papers."),
    ] = None,
    only: Only = None,
    plugin: Plugin = None,
    results: Results = Path("results"),
) -> None:
    """Hold what papers say against results: which statement holds, which does not, and what the seeds cannot say."""
    from bench.report.chosen import chosen
    from bench.report.statements import PUBLISHED, read_statements, statements_table

    said = read_statements(file or PUBLISHED)
    source, _ = opened(given, plugin or [], results)
    text = statements_table(chosen(source, only or []), said)
    for note in source.notes:
        typer.echo(f"note: {note}", err=True)
    say(text.rstrip("\n"))


def opened(given: Path, plugins: list[Path], results: Path) -> tuple[Source, tuple[Path, ...]]:
    """Return the results that a sweep file, a folder or a bundle names, and the plugins that belong to them."""
    from bench.report import source
    from bench.store.bundle import SUFFIX

    if given.is_dir():
        return source.of_folder(given), tuple(plugins)
    if given.suffix == SUFFIX:
        return source.of_bundle(given), tuple(plugins)
    from bench.config.cells import read_sweep
    from bench.store.cells import Store
    from bench.toml_files import is_study

    if is_study(given):
        return source.of_folder(results / given.stem), tuple(plugins)
    sweep = read_sweep(given, plugins)
    return source.of_sweep(sweep, Store(results / sweep.name)), sweep.plugins


def _beside(given: Path, source: Source) -> Path:
    """Return where a report goes: with the results; that of a bundle beside it, with its name."""
    return (
        given.with_name(f"{given.stem}-report.html")
        if given.is_file() and given.name == source.opened
        else source.folder / "report.html"
    )
