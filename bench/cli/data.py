"""The verbs of ``python -m bench data``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from bench.cli.options import Verbs, number
from bench.files import expanded

if TYPE_CHECKING:
    from bench.data.dataset import Dataset

data_app = typer.Typer(cls=Verbs, help="Data sets: list, download, import from a path, verify.", no_args_is_help=True)
out = Console()


@data_app.command("list")
def data_list() -> None:
    """Show the data sets, which are here and where they come from."""
    from bench.cli import listing

    out.print(listing.data())


@data_app.command("fetch")
def data_fetch(name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the data set.")]) -> None:
    """Download a data set from its publisher, verify and decode it."""
    from bench.data import fetch

    _say_dataset(fetch(name, _say))


@data_app.command("import")
def data_import(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the data set.")],
    path: Annotated[
        Path, typer.Argument(metavar="PATH", parser=expanded, help="File, folder or archive with the data.")
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="images|npz",
            help="Images of your own, by class (train/CLASS/*.png and test/CLASS/*.png, or CLASS/*.png) or as a NumPy "
            "archive (x_train, y_train, x_test, y_test; users, users_test), under any NAME.",
        ),
    ] = None,
    test_share: Annotated[
        float | None,
        typer.Option(
            **number("--test-share"), help="Of images that are not split: the share of each class to test on, 0.1."
        ),
    ] = None,
) -> None:
    """Decode a data set from files you have: a published one, or your own."""
    from bench.data import import_own, import_path
    from bench.errors import BenchError

    if kind is not None:
        _say_dataset(import_own(name, path, kind, _say, test_share))
        return
    if test_share is not None:
        raise BenchError(f"--test-share {test_share:g} has no meaning without --as images")
    _say_dataset(import_path(name, path, _say))


@data_app.command("verify")
def data_verify(name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the data set.")]) -> None:
    """Compare a decoded data set with the hashes in its manifest."""
    from bench.data import verify

    _say_dataset(verify(name))


def _say(line: str) -> None:
    # Names of files may hold what the console would take for its own marks.
    out.print(line, markup=False, highlight=False, soft_wrap=True)


def _say_dataset(dataset: Dataset) -> None:
    out.print(
        f"{dataset.title}: {len(dataset.train):,} training and {len(dataset.test):,} test samples are ready "
        f"(fingerprint {dataset.fingerprint[:12]})",
        highlight=False,
        soft_wrap=True,
    )
