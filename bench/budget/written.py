"""How budgets are written: limits of what a client takes, as shares of the full model's cost or with a unit.

Standard library alone, since a cell's words are made of it.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import BenchError, choices
from bench.federation.capacity import Capacities, counts_of
from bench.written import IN_WORDS, LEAST_KEEP, number_in, rounded

COUNTS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
BYTES = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
UNITS: dict[str, dict[str, float]] = {"memory": BYTES, "parameters": COUNTS, "bytes": BYTES, "macs": COUNTS}
"""What can be limited, in the order in which limits are written, and the units of each where it is no share."""
ALL = 1 + 1e-5
"""Of what is allowed: a few bytes of a client's own knowledge beside megabytes are no reason for a smaller model."""
EXAMPLE = "memory=0.2"
MOST_SHARE = 100.0
_WITH_UNIT = re.compile(r"([0-9.eE+-]+?) ?([a-zA-Z]+)")


@dataclass(frozen=True)
class Limit:
    """The most that a client's sub-model may take of one quantity.

    Attributes:
        quantity: one of :data:`UNITS`.
        levels: (amount, share of the clients), ascending; one pair where all clients are alike.
        unit: of the amounts; empty where they are shares of what the full model takes.
    """

    quantity: str
    levels: Capacities
    unit: str = ""

    @property
    def words(self) -> str:
        """The limit as it is written: "memory=0.2", "bytes=1.5MB", "memory=0.1:0.5,0.4:0.5"."""
        amounts = [f"{amount:.12g}{self.unit}" for amount, _ in self.levels]
        if len(amounts) == 1:
            return f"{self.quantity}={amounts[0]}"
        pairs = zip(amounts, self.levels, strict=True)
        return f"{self.quantity}=" + ",".join(f"{amount}:{share:.12g}" for amount, (_, share) in pairs)

    @property
    def mean(self) -> float:
        """The clients' mean amount, in the limit's unit."""
        return round(math.fsum(amount * share for amount, share in self.levels), 12)

    def allowed(self, level: int, full: float) -> float:
        """Return the amount of a level in the quantity's own unit, given what the full model takes."""
        amount = self.levels[level][0]
        return amount * (UNITS[self.quantity][self.unit] if self.unit else full)


@dataclass(frozen=True)
class Budget:
    """Limits that hold together.

    Attributes:
        limits: each of another quantity, in the order of :data:`UNITS`; several only where all clients are alike.
    """

    limits: tuple[Limit, ...]

    @property
    def words(self) -> str:
        """The budget as a cell has it: its limits with a space between."""
        return " ".join(limit.words for limit in self.limits)

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of the clients that each level has, ascending in what the level allows."""
        return tuple(share for _, share in self.limits[0].levels)


def read_budget(text: str, clients: int | None = None) -> Budget:
    """Return a budget as it is written: "memory=0.2", "bytes=1.5MB memory=0.4", "memory=0.1:0.5,0.4:0.5".

    Args:
        text: limits with spaces between; each is quantity=amount, or quantity=amount:share,amount:share for clients
            that differ.
        clients: clients of the federation, each share of which has to be at least one; None if that is not known.

    Raises:
        BenchError: a quantity is unknown or stands there twice, an amount, unit or share is not possible, or clients
            differ in several quantities.
    """
    limits: dict[str, Limit] = {}
    for word in text.split():
        quantity, equals, amount = word.partition("=")
        if not equals:
            raise BenchError(
                f"budget {text!r}: {word!r} is no limit; it reads quantity=amount, for example {EXAMPLE!r}"
            )
        if quantity in limits:
            raise BenchError(f"budget {text!r}: {quantity!r} is limited twice; allowed: one limit for each quantity")
        limits[quantity] = limit_of(quantity, amount, clients)
    if not limits:
        raise BenchError(f"budget {text!r} is empty; it reads quantity=amount, for example {EXAMPLE!r}")
    return _together(limits)


def budgets_in(value: Any, clients: int | None = None) -> list[str]:
    """Return the budgets of an axis of a sweep file, in words: of a text, a table of quantities, or a list of those.

    A quantity of a table may have a list of amounts: each is a budget, with each of the other quantities' amounts.

    Raises:
        BenchError: it is none of these, or as :func:`read_budget` says.
    """
    if isinstance(value, list):
        return [words for item in value for words in budgets_in(item, clients)]
    if isinstance(value, str):
        return [read_budget(value, clients).words]
    if not isinstance(value, Mapping) or not value:
        raise BenchError(
            f"budget = {value!r} is not possible; allowed: a table of quantities and amounts as {{ memory = 0.2 }}, "
            f"or words as {EXAMPLE!r}"
        )
    return [_together(dict(limits)).words for limits in _products(value, clients)]


def _products(table: Mapping[str, Any], clients: int | None) -> Iterator[Iterable[tuple[str, Limit]]]:
    axes = []
    for quantity, amounts in table.items():
        some = amounts if isinstance(amounts, list) else [amounts]
        if not some:
            raise BenchError(f"budget: {quantity} is an empty list; at least one amount is needed")
        axes.append([(quantity, limit_of(quantity, amount, clients)) for amount in some])
    return itertools.product(*axes)


def limit_of(quantity: str, amount: Any, clients: int | None = None) -> Limit:
    """Return one limit; a BenchError where there is no such quantity, or the amount is not possible."""
    if quantity not in UNITS:
        raise BenchError(f"budget: unknown quantity {quantity!r}; {choices(quantity, UNITS)}")
    refusal = f"budget: {quantity} = {amount!r} is not possible"
    if isinstance(amount, str) and ":" in amount:
        return _mixed(quantity, amount, refusal, clients)
    if isinstance(amount, bool) or not isinstance(amount, int | float | str):
        raise BenchError(f"{refusal}; allowed: {_allowed(quantity)}")
    value, unit = _amount(quantity, str(amount), refusal)
    return Limit(quantity, ((value, 1.0),), unit)


def _mixed(quantity: str, text: str, refusal: str, clients: int | None) -> Limit:
    """Return the limit of clients that differ, which are shares of the full model's cost or have one unit."""
    pairs = [part.strip().split(":") for part in text.split(",")]
    if any(len(pair) != 2 for pair in pairs):
        raise BenchError(f"{refusal}; allowed: amounts with their shares of the clients, for example '0.1:0.5,0.4:0.5'")
    amounts = [_amount(quantity, amount, refusal) for amount, _ in pairs]
    units = {unit for _, unit in amounts}
    if len(units) > 1:
        raise BenchError(f"{refusal}: its amounts have different units; allowed: one unit, or none for shares")
    values = [value for value, _ in amounts]
    if len(set(values)) < len(values):
        raise BenchError(f"{refusal}: an amount stands there twice; allowed: each once")
    levels = sorted(zip(values, (_share(share, refusal) for _, share in pairs), strict=True))
    if not math.isclose(math.fsum(share for _, share in levels), 1, abs_tol=1e-9):
        total = math.fsum(share for _, share in levels)
        raise BenchError(f"{refusal}: the shares add up to {total:.6g}; allowed: shares that add up to 1")
    counts = [1] * len(levels) if clients is None else counts_of(tuple(levels), clients)
    for (amount, share), count in zip(levels, counts, strict=True):
        if count == 0:
            raise BenchError(
                f"{refusal}: none of {clients} clients would have {amount:.12g}{amounts[0][1]} by its share {share:g}; "
                "allowed: shares of at least one client"
            )
    return Limit(quantity, tuple(levels), units.pop())


def _share(text: str, refusal: str) -> float:
    share = number_in(text.strip())
    if share is None or not LEAST_KEEP <= share <= 1:
        raise BenchError(f"{refusal}: the share {text.strip()!r} is not possible; allowed: above 0 and up to 1")
    return rounded(share)


def _amount(quantity: str, text: str, refusal: str) -> tuple[float, str]:
    """Return an amount and its unit, which is empty for a share of the full model's cost."""
    text = text.strip()
    share = number_in(text)
    if share is not None:
        if not LEAST_KEEP <= share <= MOST_SHARE:
            raise BenchError(f"{refusal}; allowed: {_allowed(quantity)}")
        return rounded(share), ""
    parts = _WITH_UNIT.fullmatch(text)
    number = number_in(parts[1]) if parts else None
    if parts is None or number is None or not 0 < number < math.inf:
        raise BenchError(f"{refusal}; allowed: {_allowed(quantity)}; {IN_WORDS}")
    units = [unit for unit in UNITS[quantity] if unit]
    if parts[2] not in units:
        raise BenchError(f"{refusal}: unknown unit {parts[2]!r}; {choices(parts[2], units)}")
    return rounded(number), parts[2]


def _allowed(quantity: str) -> str:
    units = ", ".join(unit for unit in UNITS[quantity] if unit)
    example = "1.5MB" if UNITS[quantity] is BYTES else "1.5M"
    return f"a share of the full model's above 0, as 0.2, or a number with one of the units {units}, as {example!r}"


def _together(limits: Mapping[str, Limit]) -> Budget:
    ordered = tuple(limits[quantity] for quantity in UNITS if quantity in limits)
    mixed = [limit.words for limit in ordered if len(limit.levels) > 1]
    if mixed and len(ordered) > 1:
        raise BenchError(
            f"budget {' '.join(limit.words for limit in ordered)!r}: clients differ in {mixed[0]!r}, and another "
            "quantity is limited too; allowed: one quantity where clients differ"
        )
    return Budget(ordered)
