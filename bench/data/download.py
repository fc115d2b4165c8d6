"""Downloads that go on where they broke off, and that count only when their checksum is right."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from bench.errors import BenchError

_CHUNK = 1 << 20
_TIMEOUT_S = 30
_NETWORK_ERRORS = (urllib.error.URLError, ConnectionError, TimeoutError, http.client.HTTPException)


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    progress: Callable[[str], None] | None = None,
    waits_s: Sequence[float] = (1, 4, 15),
) -> Path:
    """Fetch ``url`` into ``target`` and return ``target``; a file that is there with the right checksum is kept.

    The bytes go into ``target.part``, which a later call continues, and which becomes ``target`` by one rename.

    Args:
        url: an http or https address.
        target: the file to make; its folder is made too.
        sha256, md5: the published checksum, hexadecimal; exactly one of them.
        progress: called now and then with a line for people.
        waits_s: seconds to wait before each further attempt when the connection fails.

    Raises:
        BenchError: no connection, an answer such as 404, a wrong checksum (the bad file is deleted), or no room.
    """
    try:
        if target.exists() and _checksum_is_right(target, sha256, md5):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        _fetch_with_retries(url, part, progress or (lambda line: None), waits_s)
        if not _checksum_is_right(part, sha256, md5):
            size = part.stat().st_size
            part.unlink()
            raise BenchError(
                f"download of {url}: the {size} bytes received do not have the published checksum {sha256 or md5};"
                " they were deleted, so try again or import a copy from elsewhere"
            )
        part.replace(target)
    except OSError as error:
        raise BenchError(f"download of {url} to {target}: cannot be stored ({error.strerror or error})") from error
    return target


def _checksum_is_right(path: Path, sha256: str | None, md5: str | None) -> bool:
    algorithm, expected = ("sha256", sha256) if sha256 else ("md5", md5)
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest() == expected


def _fetch_with_retries(url: str, part: Path, progress: Callable[[str], None], waits_s: Sequence[float]) -> None:
    for wait_s in (*waits_s, None):
        try:
            _fetch(url, part, progress)
            return
        except _NETWORK_ERRORS as error:
            refused = isinstance(error, urllib.error.HTTPError) and 400 <= error.code < 500
            if refused or wait_s is None:
                reason = getattr(error, "reason", None) or error
                code = f"HTTP {error.code} " if isinstance(error, urllib.error.HTTPError) else ""
                raise BenchError(
                    f"download of {url} failed ({code}{reason}); try again later (it goes on where it stopped)"
                    " or fetch the file elsewhere and import it"
                ) from error
            progress(f"{part.stem}: {error}, next attempt in {wait_s:g} s")
            time.sleep(wait_s)


def _fetch(url: str, part: Path, progress: Callable[[str], None]) -> None:
    """Bring ``part`` to its full length by one request."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not have:
            raise
        # The part is as long as the file or longer. Only the first is worth keeping.
        if error.headers.get("Content-Range") != f"bytes */{have}":
            part.unlink()
            _fetch(url, part, progress)
        return
    with response:
        continues = response.status == http.HTTPStatus.PARTIAL_CONTENT
        start = have if continues else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        with part.open("ab" if continues else "wb") as file:
            _copy(response, file, start, total, lambda line: progress(f"{part.stem}: {line}"))
    if total is not None and part.stat().st_size < total:
        raise ConnectionError(f"the connection was cut after {part.stat().st_size} of {total} bytes")


def _copy(response: BinaryIO, file: BinaryIO, start: int, total: int | None, progress: Callable[[str], None]) -> None:
    done, told = start, -1
    while chunk := response.read(_CHUNK):
        file.write(chunk)
        done += len(chunk)
        tenth = 10 * done // total if total else done // (10 * _CHUNK)
        if tenth > told:
            told = tenth
            progress(f"{done / 1e6:.0f} of {total / 1e6:.0f} MB" if total else f"{done / 1e6:.0f} MB")
