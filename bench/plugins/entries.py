"""What was found: methods, tasks, figures, and files that nothing can be read from."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from bench.api import Method
from bench.cell import Cell
from bench.figure_spec import FigureSpec
from bench.tasks.base import Task

HARNESS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class MethodEntry:
    """A method that was found, or a file that should have held one.

    Attributes:
        name: what users type.
        source: the file it comes from.
        kind: the class, None if the file is broken.
        reason: why the file is broken, one line; empty if it is not.
        helpers: the user's files that it imports: from beside it, or of the package that it lies in.
        imports: the names of all modules that it and its helpers may import.
    """

    name: str
    source: Path
    kind: type[Method] | None
    reason: str = ""
    helpers: tuple[Path, ...] = ()
    imports: tuple[str, ...] = ()

    def files(self) -> list[Path]:
        """Return the files that a method depends on, the harness's own bases left out.

        They are its own, those of the methods it inherits from, and those of its user's that it imports.
        """
        assert self.kind is not None
        return _files(self.source, self.kind, Method, self.helpers)

    def build(self, cell: Cell) -> Method:
        """Return an instance with the cell's parameters, which are expected to be checked."""
        assert self.kind is not None
        method = self.kind(self.kind.Params(**cell.parameters))
        method.levels, method.seed = cell.levels, cell.seed
        return method


@dataclass(frozen=True)
class TaskEntry:
    """A task that was found.

    Attributes:
        name: what users type.
        source: the file it comes from.
        kind: the class.
        helpers: the user's files that it imports: from beside it, or of the package that it lies in.
        imports: the names of all modules that it and its helpers may import.
    """

    name: str
    source: Path
    kind: type[Task]
    helpers: tuple[Path, ...] = ()
    imports: tuple[str, ...] = ()

    def files(self) -> list[Path]:
        """Return the files that a task depends on beside the harness's own: none for a task in its folder."""
        return _files(self.source, self.kind, Task, self.helpers)

    def build(self, cell: Cell) -> Task:
        """Return an instance with the cell's tier and changes, which are expected to be checked."""
        recipe = replace(self.kind.tiers[cell.tier], **cell.training)
        return self.kind(recipe, self.kind.Params(**{**self.kind.tier_params.get(cell.tier, {}), **cell.model}))


@dataclass(frozen=True)
class FigureEntry:
    """A figure that was found in a file of the user or in an installed package.

    Attributes:
        spec: the figure.
        source: the file it comes from.
    """

    spec: FigureSpec
    source: Path


@dataclass(frozen=True)
class Broken:
    """A file that nothing can be read from.

    Attributes:
        name: of the file, without its ending.
        source: the file.
        reason: why, one line.
    """

    name: str
    source: Path
    reason: str


def _files(source: Path, kind: type, base: type, helpers: Iterable[Path]) -> list[Path]:
    """Return the files of a class, of those between it and its base, and its helpers; none of the harness's own."""
    bases = [above for above in kind.__mro__[1:] if issubclass(above, base)]
    found = [source, *(Path(str(inspect.getsourcefile(above))) for above in bases), *helpers]
    return list(dict.fromkeys(file for file in found if HARNESS not in file.resolve().parents))
