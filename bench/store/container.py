"""One file of a few named parts: a ZIP archive whose members are stored as they are, in a fixed order.

Any program that unzips opens it. What is read may be anybody's: it is looked at before anything is taken out of it.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence

_END = struct.Struct("<4s4H2LH")
"""The record at the very end of an archive: how many members it has, and how long the list of them is."""
_LONGEST_LIST = 4096
_DATE = (1980, 1, 1, 0, 0, 0)


def packed(members: Mapping[str, bytes]) -> bytes:
    """Return an archive of these members in this order; the same members give the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, part in members.items():
            about = zipfile.ZipInfo(name, _DATE)
            about.create_system, about.external_attr = 3, 0o644 << 16  # else they tell the system it was written on
            archive.writestr(about, part)
    return content.getvalue()


def members_of(content: bytes, names: Sequence[str]) -> dict[str, bytes]:
    """Return the members of an archive, which must be exactly these, in this order, none of them compressed.

    Raises:
        ValueError: it is torn, or another archive, in words.
    """
    _look_at_end(content, len(names))
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            about = archive.infolist()
            found = [member.filename for member in about]
            if found != list(names):
                strange = next((name for name in found if name not in names), "one twice or in another order")
                raise ValueError(f"its members are not those of a bundle ({strange[:60]!r})")
            for member in about:
                if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
                    raise ValueError(f"its member {member.filename} is compressed, which those of a bundle are not")
            if sum(member.file_size for member in about) > len(content):
                raise ValueError("its members overlap")
            return {member.filename: archive.read(member) for member in about}
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, OverflowError, UnicodeDecodeError, struct.error):
        raise ValueError("it is not whole") from None


def _look_at_end(content: bytes, members: int) -> None:
    """Make sure that the list of members is short before a library reads it."""
    if len(content) < _END.size or content[:2] != b"PK":
        raise ValueError("it is not whole" if content[:2] == b"PK" else "it is no bundle")
    mark, _, _, here, total, size, start, comment = _END.unpack(content[-_END.size :])
    if mark != b"PK\x05\x06" or comment:
        raise ValueError("it is not whole")
    if not here == total == members or size > _LONGEST_LIST or start + size + _END.size != len(content):
        raise ValueError(f"it is no bundle: it holds {total} files where a bundle has {members}")
