"""Small cells give the numbers that are kept in the repository: to the bit on a machine that is known, else nearly."""

from __future__ import annotations

import pytest
from golden import CELLS, apart, kept, machine, numbers_of

NEAR = 2e-2
"""How far two processors' roundings may take a loss or a norm in a few steps, relative to it."""


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_gives_the_numbers_that_are_kept(name: str) -> None:
    numbers, expected = numbers_of(name), kept()[name]
    for measure in ("losses", "norms"):
        assert apart(numbers[measure], expected[measure]) < NEAR
    bits = expected["bits"].get(machine())
    if bits is not None:
        assert numbers["bits"] == bits, "a refactoring moves no number, not by a bit"
