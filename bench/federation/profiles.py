"""How capacities are written: names of levels and of profiles, and what they stand for.

A cell holds what a name stands for, never the name, so that a name and its expansion are the same cell.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

from bench.errors import BenchError, choices, nearest
from bench.federation.capacity import Capacities, counts_of
from bench.written import IN_WORDS, LEAST_KEEP, number_in, rounded

EXAMPLE = "0.2:0.6,0.4:0.4"
KEEP_RATIO = f"a keep ratio above 0 and up to 1 (at least {LEAST_KEEP:.6f})"
LETTERS = {"a": 1.0, "b": 1 / 2, "c": 1 / 4, "d": 1 / 8, "e": 1 / 16}
"""HeteroFL's levels of complexity as keep ratios."""
CLIENTS = {"strong": 1.0, "moderate": 0.42, "weak": 0.16}
"""The three types of clients of EmbracingFL (seminar slides, Table 1): the parameters and activations of what each
trains, relative to the full ResNet-20."""
LEVELS = {**LETTERS, **CLIENTS}
MOVING = {
    " dynamic": "that keep ratios are drawn anew each round is said by capacity = 'dynamic'",
    " dealt": "that keep ratios are dealt anew each round is said by capacity = 'dealt'",
}
"""What the text of a profile ends with where clients do not keep their keep ratio, and how that is said."""


@dataclass(frozen=True)
class Profile:
    """A profile of capacities with a name.

    Attributes:
        name: what users type.
        capacities: (keep ratio, share of the clients), ascending.
        meaning: one line.
        source: where it comes from.
    """

    name: str
    capacities: Capacities
    meaning: str
    source: str


def read_profile(text: str, clients: int | None) -> Capacities:
    """Return the (keep ratio, share of the clients) pairs of a profile as it is written or named, ascending.

    Args:
        text: "level:share" with commas between, where a level is a keep ratio or one of :data:`LEVELS`, for example
            "0.2:0.6,0.4:0.4" or "strong:0.25,weak:0.75"; a level alone; two or more different letters of HeteroFL's for
            equal shares, for example "a-e"; or a name of :data:`PROFILES`.
        clients: clients of the federation, each share of which has to be at least one; None where shares are
            probabilities.

    Raises:
        BenchError: it is not written so, a keep ratio or share is not possible or stands there twice, the shares do
            not add up to 1, or a share is too small for a single client.
    """
    refusal = f"keep = {text!r} is not possible"
    capacities = _named(text.strip(), refusal) or _written(text, refusal)
    if clients is not None:
        for (keep, share), count in zip(capacities, counts_of(capacities, clients), strict=True):
            if count == 0:
                raise BenchError(
                    f"{refusal}: none of {clients} clients would have the keep ratio {keep:g} by its share {share:g}; "
                    "allowed: shares of at least one client"
                )
    return capacities


def text_of(capacities: Capacities) -> str:
    """Return a profile as it is written in numbers, "0.2:0.6,0.4:0.4"; a keep ratio alone where it is all clients'."""
    if len(capacities) == 1:
        return f"{capacities[0][0]:.12g}"
    return ",".join(f"{keep:.12g}:{share:.12g}" for keep, share in capacities)


def in_numbers(text: str) -> str:
    """Return the text of a profile with names replaced by what they stand for; what is no profile as it is."""
    moving = moving_of(text)
    with contextlib.suppress(BenchError):
        return text_of(read_profile(text.removesuffix(moving), None)) + moving
    return text


def moving_of(text: str) -> str:
    """Return what a profile ends with where clients do not keep their keep ratio, " dynamic" or " dealt", else ""."""
    return next((end for end in MOVING if text.endswith(end)), "")


def _named(text: str, refusal: str) -> Capacities | None:
    """Return the capacities of a name; None where the text is written out."""
    if text in LEVELS:
        return ((LEVELS[text], 1.0),)
    if text in PROFILES:
        return PROFILES[text].capacities
    if moving := moving_of(text):
        raise BenchError(f"{refusal}: {MOVING[moving]}")
    letters = text.split("-")
    if len(letters) > 1 and all(len(letter) == 1 and letter.isalpha() for letter in letters):
        for letter in letters:
            if letter not in LETTERS:
                raise BenchError(f"{refusal}: unknown level {letter!r}; {choices(letter, LETTERS)}")
            if letters.count(letter) > 1:
                raise BenchError(f"{refusal}: the level {letter!r} stands there twice; allowed: each once")
        return _equal_shares(letters)
    return None


def _written(text: str, refusal: str) -> Capacities:
    """Return the capacities of a profile that is written out, checked."""
    try:
        pairs = [(keep.strip(), share.strip()) for keep, share in (part.split(":") for part in text.split(","))]
        shares_of = [(_level(keep, refusal), _number(share)) for keep, share in pairs]
    except ValueError:
        raise BenchError(
            f"{refusal}; allowed: a keep ratio above 0 and up to 1, or keep ratios with their shares of the clients, "
            f"for example {EXAMPLE!r}, or a name of 'bench list profiles'{_near(text)}"
        ) from None
    capacities = tuple(sorted(shares_of))
    keeps, shares = [keep for keep, _ in capacities], [share for _, share in capacities]
    for name, values in (("keep ratio", keeps), ("share", shares)):
        for value in values:
            if not LEAST_KEEP <= value <= 1:
                raise BenchError(
                    f"{refusal}: the {name} {value:g} is outside of what is allowed: above 0 and up to 1 "
                    f"(at least {LEAST_KEEP:.6f})"
                )
    for keep in keeps:
        if keeps.count(keep) > 1:
            raise BenchError(f"{refusal}: the keep ratio {keep:g} stands there twice; allowed: each once")
    if not math.isclose(math.fsum(shares), 1, abs_tol=1e-9):
        raise BenchError(f"{refusal}: the shares add up to {math.fsum(shares):.6g}; allowed: shares that add up to 1")
    return capacities


def _near(text: str) -> str:
    """Return the end of the sentence on a text that is no profile: the nearest name, or what a number is."""
    near = nearest(text, [*LEVELS, *PROFILES])
    return near or (f"; {IN_WORDS}" if any(letter.isdigit() for letter in text) else "")


def _level(word: str, refusal: str) -> float:
    """Return the keep ratio of a level; a ValueError where there is no word."""
    if word in LEVELS:
        return LEVELS[word]
    try:
        return _number(word)
    except ValueError:
        if not word:
            raise
        raise BenchError(f"{refusal}: unknown level {word!r}; a keep ratio, or {choices(word, LEVELS)}") from None


def _number(word: str) -> float:
    """Return the number that a word is, to the digits that count; a ValueError where it is none."""
    number = number_in(word)
    if number is None:
        raise ValueError(word)
    return rounded(number)


def _equal_shares(letters: Iterable[str]) -> Capacities:
    """Return HeteroFL's mixture of some of its levels: the same share of the clients for each."""
    keeps = sorted(LETTERS[letter] for letter in letters)
    # To as many digits as the text of a profile has, so that the text reads back as the same cell.
    return tuple((keep, round(1 / len(keeps), 12)) for keep in keeps)


def _of_slides(case: int, counts: tuple[int, int, int]) -> Profile:
    """Return a case of the slides' Table 9 by its numbers of strong, moderate and weak clients, 128 together."""
    pairs = [(keep, count / 128) for keep, count in zip(CLIENTS.values(), counts, strict=True) if count]
    words = ", ".join(f"{count} {name}" for name, count in zip(CLIENTS, counts, strict=True) if count)
    source = f"seminar slides, Table 9, case {case} (EmbracingFL)"
    return Profile(f"slides-{case}", tuple(sorted(pairs)), f"of 128 clients: {words}", source)


SLIDES = (
    (128, 0, 0),
    (64, 64, 0),
    (32, 96, 0),
    (16, 112, 0),
    (64, 0, 64),
    (32, 0, 96),
    (16, 0, 112),
    (32, 32, 64),
    (16, 32, 80),
    (16, 16, 96),
)
"""Numbers of strong, moderate and weak clients of the ten cases of the slides' Table 9."""
PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "prism-readme",
            ((0.2, 0.5), (0.4, 0.3), (0.6, 0.2)),
            "three keep ratios, most clients at the smallest",
            "PriSM, README of the released code, heterogeneous clients",
        ),
        Profile(
            "prism-code",
            ((0.2, 0.6), (0.4, 0.4)),
            "two keep ratios",
            "PriSM, default of the released code; spectral sharding, mixed setting",
        ),
        *(_of_slides(case, counts) for case, counts in enumerate(SLIDES, 1)),
    )
}
HETEROFL = ("a-e", "a-b-c-d-e", "b-e", "b-c-d-e", "c-e", "c-d-e", "d-e")
"""Mixtures of HeteroFL's tables, as Flower's reproduction has them; any others of two or more letters are read too."""


def listed() -> list[Profile]:
    """Return all that has a name: the levels, each for all clients alike, HeteroFL's usual mixtures, the profiles."""
    heterofl = "HeteroFL, levels of model complexity"
    embracing = "seminar slides, Table 1 (EmbracingFL)"
    return [
        *(
            Profile(name, ((keep, 1.0),), "all clients, or a level in a profile", heterofl)
            for name, keep in LETTERS.items()
        ),
        *(
            Profile(name, ((keep, 1.0),), "all clients, or a level in a profile", embracing)
            for name, keep in CLIENTS.items()
        ),
        *(
            Profile(name, _equal_shares(name.split("-")), "equal shares, as any two or more letters", heterofl)
            for name in HETEROFL
        ),
        *PROFILES.values(),
    ]
