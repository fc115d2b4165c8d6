"""From review texts to token ids, as the PriSM paper's IMDB task prepares them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

_REMOVED = re.compile(r"[^\w\s]+|\d+")

# They are frequent in every review and say nothing of its sentiment. Contractions ("dont", "isnt") are not among
# them: the usual lists hold these with their apostrophe, which the token rule has removed by then.
_FUNCTION_WORDS = """
    a an the this that these those
    i me my mine myself we us our ours ourselves you your yours yourself yourselves
    he him his himself she her hers herself it its itself they them their theirs themselves
    who whom whose which what
    am is are was were be been being have has had having do does did doing
    can could shall should will would
    and but or nor if because as until while although though than so
    of at by for with about against between into through during before after above below
    to from up down in out on off over under
    again further then once here there when where why how
    all any both each few more most other some such no not only own same too very just also now
"""
STOP_WORDS = frozenset(_FUNCTION_WORDS.split())


def tokens(text: str) -> list[str]:
    """Return the words of ``text``: lower case, split on white space, without punctuation and digits.

    >>> tokens("It's a 10/10<br />film!")
    ['its', 'a', 'br', 'film']
    """
    # No white space is removed, so cleaning the whole text first gives the same words as cleaning each word.
    return _REMOVED.sub("", text.lower()).split()


def vocabulary(texts: Iterable[str], size: int = 1000) -> dict[str, int]:
    """Return the ids 1..``size`` of the most frequent tokens; id 0 is left for the padding.

    Args:
        texts: the training texts (never the test texts).
        size: how many tokens get an id; fewer get one where the texts hold fewer distinct tokens.

    Returns:
        token to id, in falling order of frequency and alphabetically among equals; stop words have no id.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(tokens(text))
    for word in STOP_WORDS:
        counts.pop(word, None)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {token: rank for rank, (token, _) in enumerate(ranked[:size], start=1)}


def encode(texts: Sequence[str], vocabulary: dict[str, int], length: int = 500) -> np.ndarray:
    """Return the token ids of ``texts`` as int16 ``[texts, length]``.

    Tokens outside the vocabulary are dropped. A text with more than ``length`` kept tokens loses the later ones; a
    shorter one is padded with zeros on the left, so that a recurrent network ends on the text's last word.
    """
    ids = np.zeros((len(texts), length), dtype=np.int16)
    for row, text in enumerate(texts):
        kept = [vocabulary[token] for token in tokens(text) if token in vocabulary][:length]
        if kept:
            ids[row, -len(kept) :] = kept
    return ids
