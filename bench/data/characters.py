"""Texts as sequences of character ids and the ids that follow, as TensorFlow Federated cuts its Shakespeare.

Source: the preprocessing of TensorFlow Federated's text tutorial and baselines, which S. Reddi et al., Adaptive
Federated Optimization (ICLR 2021), use too.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

LENGTH = 80
"""Characters of a sequence."""
CHARACTERS = "dhlptx@DHLPTX $(,048cgkoswCGKOSW[_#'/37;?bfjnrvzBFJNRVZ\"&*.26:\naeimquyAEIMQUY]!%)-159\r"
"""TensorFlow Federated's, in its order: the id of a character is its place here, from 1 on."""
PADDING = 0
UNKNOWN, BEGIN, END = (len(CHARACTERS) + number for number in (1, 2, 3))
"""Ids of any other character, and of the beginning and the end of a text."""
VOCABULARY = END + 1
"""Number of ids."""

_ID_OF_BYTE = np.full(256, UNKNOWN, dtype=np.int16)
_ID_OF_BYTE[np.frombuffer(CHARACTERS.encode("ascii"), dtype=np.uint8)] = np.arange(1, len(CHARACTERS) + 1)


def encode(text: str) -> np.ndarray:
    """Return the ids of a text's characters, int16 ``[bytes]``: one for each byte of UTF-8, unknown beyond ASCII.

    >>> encode("dh}").tolist()
    [1, 2, 87]
    """
    ids: np.ndarray = _ID_OF_BYTE[np.frombuffer(text.encode("utf-8"), dtype=np.uint8)]
    return ids


def sequences(texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut texts into sequences and what follows each of their characters.

    A text gets its beginning and end, is padded on the right to a multiple of 81 ids, and is cut into pieces of 81; a
    piece's first 80 are the inputs, and its last 80 the labels. So the first id of a piece is never to be told, and a
    piece of one id has nothing but padding to tell.

    Returns:
        inputs as int16 ``[n, 80]``, labels as int64 ``[n, 80]``, and the number of sequences of each text, int64.
    """
    pieces, counts = [], []
    for text in texts:
        ids = encode(text)
        count = -(-(len(ids) + 2) // (LENGTH + 1))
        piece = np.full(count * (LENGTH + 1), PADDING, dtype=np.int16)
        piece[0], piece[1 : len(ids) + 1], piece[len(ids) + 1] = BEGIN, ids, END
        pieces.append(piece)
        counts.append(count)
    table = np.concatenate(pieces).reshape(-1, LENGTH + 1)
    return table[:, :-1].copy(), table[:, 1:].astype(np.int64), np.array(counts, dtype=np.int64)
