"""Which sweep files have written to a folder of results: two files of one name in two folders share it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from bench.errors import StorageError
from bench.files import write_whole

NAME = "sweep.json"


def remember(folder: Path, file: Path) -> None:
    """Write down that a sweep file uses a folder of results.

    Raises:
        StorageError: the folder cannot be written.
    """
    known, path = _known(folder), os.path.relpath(file.resolve(), folder.resolve())
    if path in known:
        return
    try:
        write_whole(folder / NAME, (json.dumps({"files": [*known, path]}, indent=2) + "\n").encode())
    except OSError as error:
        words = error.strerror or error
        raise StorageError(f"{folder / NAME}: the sweep file cannot be noted: {words}") from None


def shared_by(*folders: Path, file: Path | None = None) -> list[str]:
    """Return a line that names the sweep files that share folders; none where it is one file, or the others are gone.

    Args:
        folders: folders of results.
        file: the sweep file that uses them now.
    """
    found = [] if file is None else [file.resolve()]
    found += [(folder / path).resolve() for folder in folders for path in _known(folder)]
    files = [str(path) for path in dict.fromkeys(found) if path.is_file()]
    if len(files) < 2:
        return []
    return [f"note: {len(files)} sweep files share {' and '.join(map(str, folders))}: {', '.join(files)}"]


def _known(folder: Path) -> list[str]:
    try:
        files = json.loads((folder / NAME).read_text(encoding="utf-8"))["files"]
        return [str(path) for path in files]
    except (OSError, ValueError, KeyError, TypeError):
        return []
