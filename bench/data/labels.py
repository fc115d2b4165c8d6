"""The classes of a data set by name: a label is what its own file says it is, never the place of a name in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.errors import BenchError, choices


@dataclass(frozen=True)
class ClassNames:
    """The names of the classes in the order of their numbers.

    Attributes:
        names: the published names; class ``k`` is ``names[k]``.
        others: further names in use, with the class number.
        exact: True where capital and small letters are different classes.
    """

    names: tuple[str, ...]
    others: Mapping[str, int] = field(default_factory=dict)
    exact: bool = False

    def number(self, name: str) -> int:
        """Return the class called ``name``: a published name, another one in use, or the number itself in digits.

        Raises:
            BenchError: no class is called so.
        """
        numbers = self._numbers()
        key = name.strip() if self.exact else name.strip().casefold()
        if key not in numbers:
            raise BenchError(f"class {name!r} is unknown, {choices(name, self.names)}")
        return numbers[key]

    def knows(self, name: str) -> bool:
        """Tell whether :meth:`number` has an answer."""
        return (name.strip() if self.exact else name.strip().casefold()) in self._numbers()

    def renumbering(self, own_names: Sequence[str]) -> np.ndarray:
        """Return the class number, int64, for each number of a file with its own list of names.

        Raises:
            BenchError: a name is unknown, or two numbers mean one class.
        """
        numbers = [self.number(name) for name in own_names]
        if len(set(numbers)) < len(numbers):
            raise BenchError(f"its list of names {list(own_names)} has a class twice")
        return np.array(numbers, dtype=np.int64)

    def _numbers(self) -> dict[str, int]:
        numbers = {str(number): number for number in range(len(self.names))}
        named = {name: number for number, name in enumerate(self.names)} | dict(self.others)
        return numbers | (named if self.exact else {name.casefold(): number for name, number in named.items()})
