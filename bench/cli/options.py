"""What the commands have in common: options, exit codes and where they print."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from bench.errors import BenchError, choices, one_line
from bench.files import expanded
from bench.written import IN_WORDS, WHOLE, number_in, whole_in

OK, SOME_FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


PATH: dict[str, Any] = {"parser": expanded, "metavar": "PATH"}
"""How an option is read that is a path: ``~`` is the user's home, also where no shell has seen it."""
PartitionKind = Annotated[
    str | None,
    typer.Option(
        "--partition", help="iid, iid-exact, lda, lda-prior, pachinko (pachinko:2: fine alpha 2), dirichlet or natural."
    ),
]
Tier = Annotated[str, typer.Option(help="Settings to start from: quick, paper or another tier, see 'list tasks'.")]
Plugin = Annotated[
    list[Path] | None,
    typer.Option("--plugin", **PATH, help="A Python file of methods, tasks or figures; may be given repeatedly."),
]
Device = Annotated[str, typer.Option(help="Where models are trained: auto, cpu, cuda or mps.")]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="Repeat to the bit on a GPU, at some cost of time; CPUs do so anyway.")
]
Results = Annotated[Path, typer.Option(**PATH, help="Folder of the results.")]
SweepFile = Annotated[
    Path, typer.Argument(metavar="FILE", parser=expanded, help="A sweep file, for example sweeps/quick.toml.")
]

Log = Annotated[
    list[str] | None,
    typer.Option(help="Send rounds to csv, tensorboard or wandb too, see docs/logs.md; may be given repeatedly."),
]

out = Console()


def whole(option: str, least: int | None = None) -> dict[str, Any]:
    """Return how an option is read that is a whole number; a BenchError where it is none, too small or too large."""
    start = "" if least is None else f" from {least}"

    def read(text: Any) -> int:
        number = text if isinstance(text, int) else whole_in(str(text))
        if number is None or (least is not None and number < least):
            shown, large = one_line(str(text), 60), WHOLE.fullmatch(str(text)) and number is None
            bounds = f"{start} to 2**63 - 1" if large and start else " up to 2**63 - 1" if large else f"{start}, as 12"
            raise BenchError(f"{option} {shown!r}: it is not possible; allowed: a whole number{bounds}")
        return number

    return {"parser": read, "metavar": "INTEGER"}


def number(option: str, least: float = -math.inf) -> dict[str, Any]:
    """Return how an option is read that is a number; a BenchError where it is none, or less than the least."""

    def read(text: Any) -> float:
        found = float(text) if isinstance(text, int | float) else number_in(str(text))
        if found is None or found < least:
            bound = "" if math.isinf(least) else f" from {least:g}"
            raise BenchError(f"{option} {text!r}: it is not possible; allowed: a number{bound}; {IN_WORDS}")
        return found

    return {"parser": read, "metavar": "FLOAT"}


def one_of(option: str, kind: type[StrEnum]) -> dict[str, Any]:
    """Return how an option is read that is one of a few words; a BenchError with the nearest where it is none."""

    def read(text: Any) -> StrEnum:
        if str(text) not in list(kind):
            raise BenchError(f"{option} {text!r}: it is not possible; {choices(text, kind)}")
        return kind(str(text))

    return {"parser": read, "metavar": f"[{'|'.join(kind)}]"}


Jobs = Annotated[
    int | None,
    typer.Option(
        **whole("--jobs", 1), help="Cells run at once; if left out, all cores, or what fits an accelerator's memory."
    ),
]


class Verbs(TyperGroup):
    """Commands of which an unknown one is answered with those that there are."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if name not in self.commands and not name.startswith("-"):
            known = [known for known, command in self.commands.items() if not command.hidden]
            raise BenchError(f"unknown command {name!r}; {choices(name, known)}")
        return super().resolve_command(ctx, args)


def say(*lines: str) -> None:
    """Print lines as they are, since names may hold what looks like markup, all at once."""
    if lines:
        out.out("\n".join(lines), highlight=False)
