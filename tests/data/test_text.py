"""The text pipeline against a hand-made example and against a word-by-word rewriting of its rules."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.text import STOP_WORDS, encode, tokens, vocabulary


def tokens_word_by_word(text: str) -> list[str]:
    words = []
    for raw in text.lower().split():
        word = "".join(c for c in raw if (c.isalnum() or c == "_") and not c.isdecimal())
        if word:
            words.append(word)
    return words


def test_tokens_of_a_review() -> None:
    text = "I don't think it's 100% GOOD,<br /><br />but well-made... 3D & naïve_style 10/10"
    # "GOOD,<br" has no white space within, so it is one word, as are "/><br" and "/>but".
    expected = ["i", "dont", "think", "its", "goodbr", "br", "but", "wellmade", "d", "naïve_style"]
    assert tokens(text) == expected
    assert tokens(" 12 \t --- \n") == []


@settings(max_examples=150)
@given(st.text(alphabet=st.characters(codec="utf-8", max_codepoint=0x2FF), max_size=80))
def test_cleaning_the_whole_text_equals_cleaning_each_word(text: str) -> None:
    assert tokens(text) == tokens_word_by_word(text)


def test_vocabulary_is_ordered_by_frequency_then_alphabet_and_skips_stop_words() -> None:
    texts = ["the film the film good", "bad film, the cast", "good zoo apple"]
    # film 3, good 2, then apple, bad, cast, zoo with 1 each; "the" is a stop word.
    assert vocabulary(texts) == {"film": 1, "good": 2, "apple": 3, "bad": 4, "cast": 5, "zoo": 6}
    assert vocabulary(texts, size=3) == {"film": 1, "good": 2, "apple": 3}
    assert vocabulary([]) == {}


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.sampled_from(["the", "film", "plot", "ape", "zoo", "10"])).map(" ".join)), st.integers(0, 4)
)
def test_vocabulary_against_counting_by_hand(texts: list[str], size: int) -> None:
    words = [word for text in texts for word in text.split() if word not in ("the", "10")]
    ids = vocabulary(texts, size)
    assert len(ids) == min(size, len(set(words)))
    assert sorted(ids.values()) == list(range(1, len(ids) + 1))
    counts = Counter(words)
    ranked = sorted(ids, key=ids.__getitem__)
    assert ranked == sorted(ranked, key=lambda word: (-counts[word], word))
    assert all(counts[kept] >= counts[left] for kept in ids for left in set(words) - set(ids))


def test_encode_drops_unknown_words_pads_left_and_keeps_the_first() -> None:
    ids = encode(["film good xyz film", "", "good good film good good film"], {"film": 1, "good": 2}, length=5)
    assert ids.dtype == np.int16
    assert ids.tolist() == [[0, 0, 1, 2, 1], [0, 0, 0, 0, 0], [2, 2, 1, 2, 2]]


def test_encode_counts_the_length_in_kept_words() -> None:
    assert encode(["xyz xyz film xyz good"], {"film": 1, "good": 2}, length=2).tolist() == [[1, 2]]


def test_stop_words_are_words_that_the_token_rule_can_yield() -> None:
    assert all(tokens(word) == [word] for word in STOP_WORDS)
    assert 120 <= len(STOP_WORDS) <= 180
    assert {"the", "and", "is", "of"} <= STOP_WORDS
    assert not {"film", "good", "bad", "movie"} & STOP_WORDS
