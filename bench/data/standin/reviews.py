"""IMDB-like stand-in reviews: English film reviews from patterns, whose sentiment hangs on the order of the words."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from bench.data.dataset import Split
from bench.data.standin.review_words import (
    BAD,
    CLOSINGS,
    CONTRAST,
    DENIED,
    GOOD,
    OPENINGS,
    PLAIN,
    PLOT,
    VERDICT_OPENINGS,
    WORDS,
)
from bench.data.text import encode, vocabulary
from bench.seeding import stream

VOCABULARY = 1000

# How often an opinion is stated plainly, denied, or set against its contrary.
FORMS = (PLAIN, DENIED, CONTRAST)
FORM_SHARES = (0.55, 0.2, 0.25)

# How often an opinion in the middle of a review agrees with the verdict at its end.
AGREEMENT = 0.7

# Share of reviews with the contrary label: no network reaches 100 %, as on real data.
LABEL_NOISE = 0.07


def reviews(train: int, test: int, seed: int, length: int) -> tuple[Split, Split]:
    """Return encoded reviews; inputs are int16 ``[samples, length]`` with ids from 0 (padding) to at most 1000.

    Args:
        train, test: number of reviews of each split.
        seed: the reviews depend on it and on the name of the split alone.
        length: tokens a review; shorter ones are padded on the left. All of the signal fits into 120.
    """
    train_texts, train_labels = texts(train, seed, "train")
    test_texts, test_labels = texts(test, seed, "test")
    known = vocabulary(train_texts, VOCABULARY)
    return (
        Split(encode(train_texts, known, length), train_labels),
        Split(encode(test_texts, known, length), test_labels),
    )


def texts(samples: int, seed: int, part: str) -> tuple[list[str], np.ndarray]:
    """Return readable reviews and their labels, int64 ``[samples]``: 1 = the writer liked the film.

    The verdict at the end decides the label. Opinions on the way agree with it in two cases of three, and
    nearly half of all opinions are denied or set against their contrary, so that counting words does not go far.
    """
    rng = stream(seed, f"stand-in reviews {part}")
    labels = rng.permutation(np.arange(samples) % 2)
    written = [_review(bool(label), rng) for label in labels]
    noisy = rng.random(samples) < LABEL_NOISE
    return written, np.where(noisy, 1 - labels, labels).astype(np.int64)


def _review(liked: bool, rng: np.random.Generator) -> str:
    """Return one review: an opening, the plot with opinions between, the verdict, and sometimes a closing line."""
    middle = [_filled(_one_of(PLOT, rng), liked, rng) for _ in range(rng.integers(4, 14))]
    for _ in range(rng.integers(1, 4)):
        middle.insert(rng.integers(len(middle) + 1), _opinion(liked == (rng.random() < AGREEMENT), rng))
    opening, closing = (_filled(_one_of(patterns, rng), liked, rng) for patterns in (OPENINGS, CLOSINGS))
    verdict = _one_of(VERDICT_OPENINGS, rng) + _opinion(liked, rng)
    return " ".join(sentence for sentence in (opening, *middle, verdict, closing) if sentence)


def _opinion(liked: bool, rng: np.random.Generator) -> str:
    """Return a sentence that expresses an opinion in one of the three forms."""
    form = FORMS[rng.choice(len(FORMS), p=FORM_SHARES)]
    return _filled(_one_of(form, rng), liked, rng)


def _filled(pattern: str, liked: bool, rng: np.random.Generator) -> str:
    """Return the pattern with a random word in each slot, and with "an" where "a" stands before a vowel."""
    same, other = (GOOD, BAD) if liked else (BAD, GOOD)
    words = {**WORDS, "same": same, "other": other}
    sentence = re.sub(r"\{(\w+)\}", lambda slot: _one_of(words[slot[1]], rng), pattern)
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", sentence)


def _one_of(items: Sequence[str], rng: np.random.Generator) -> str:
    return items[int(rng.integers(len(items)))]
