"""One picture of a user's own as the numbers that it holds, or a sentence: nothing is scaled, cut or dropped."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import BenchError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MOST_PIXELS = 1 << 20
"""Of a picture, 1024 x 1024: what is larger was not meant for networks of this size, and may be a bomb."""
GREY, COLOUR, TRANSPARENT = ("1", "L"), ("RGB", "P"), ("LA", "PA", "RGBA")
_PNG, _PNG_DEPTH = b"\x89PNG\r\n\x1a\n", 24


def pixels_of(content: bytes, place: str) -> np.ndarray:
    """Return one encoded picture as uint8 ``[1, height, width]`` where it is grey, else ``[3, height, width]``.

    Args:
        content: an encoded file as Pillow reads it.
        place: where it lies, for errors.

    Raises:
        BenchError: it cannot be decoded, is too large, has several frames, transparent pixels or more than 8 bits.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as picture:
                _check_header(picture, content, place)
                return _decoded(picture, place)
    except BenchError:
        raise
    except UnidentifiedImageError as error:
        raise no_picture(content, place) from error
    except Exception as error:  # the decoders of damaged files raise almost anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BenchError(f"{place}: the picture cannot be decoded ({reason[:200]})") from error


def no_picture(content: bytes, place: str) -> BenchError:
    """Return what is said of a file that is no picture at all."""
    return BenchError(f"{place}: it is no picture" + ("" if content else ", the file is empty"))


def _check_header(picture: Picture, content: bytes, place: str) -> None:
    """Refuse what the header alone shows, before any room is made."""
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise BenchError(f"{place}: picture of {height} x {width} pixels, allowed: {MOST_PIXELS:,} pixels in all")
    if (frames := getattr(picture, "n_frames", 1)) > 1:
        raise BenchError(f"{place}: picture of {frames} frames, a single one expected")
    # Pillow cuts 16 bits to 8 where a PNG has colours, and says nothing.
    deep = content.startswith(_PNG) and content[_PNG_DEPTH] > 8
    if deep or picture.mode not in (*GREY, *COLOUR, *TRANSPARENT):
        bits = f"{content[_PNG_DEPTH]} bits" if deep else f"the mode {picture.mode}"
        raise BenchError(f"{place}: picture of {bits}, 8-bit grey or RGB expected")


def _decoded(picture: Picture, place: str) -> np.ndarray:
    mode = picture.mode
    if mode in TRANSPARENT or "transparency" in picture.info:
        if np.asarray(picture.convert("RGBA"))[..., 3].min() < 255:
            raise BenchError(f"{place}: the picture has transparent pixels, which have no colour; put it on a ground")
        grey = mode in (*GREY, "LA")
    else:
        grey = mode in GREY
    pixels: np.ndarray = np.asarray(picture.convert("L" if grey else "RGB"))
    return pixels[None] if grey else pixels.transpose(2, 0, 1)
