"""What the commands have in common: options, exit codes and where they print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

OK, SOME_FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

Plugin = Annotated[
    list[Path] | None, typer.Option("--plugin", help="A Python file that defines a method; may be given repeatedly.")
]
Device = Annotated[str, typer.Option(help="Where models are trained: auto, cpu, cuda or mps.")]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="Repeat to the bit on a GPU, at some cost of time; CPUs do so anyway.")
]
Results = Annotated[Path, typer.Option(help="Folder of the results.")]
SweepFile = Annotated[Path, typer.Argument(metavar="FILE", help="A sweep file, for example sweeps/quick.toml.")]

out = Console()


def say(*lines: str) -> None:
    """Print lines as they are, since names may hold what looks like markup, all at once."""
    if lines:
        out.out("\n".join(lines), highlight=False)
