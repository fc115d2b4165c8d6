"""Putting a folder in the place of another, so that whatever ends the process one of the two is whole and found again.

A cell is put together in a hidden folder beside its place, ``.<name>.<machine>.<process>``. Folders do not replace each
other, so an older one steps aside first, as ``.<name>.old.<machine>.<process>``.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from bench.files import sync
from bench.store.owner import is_alive
from bench.store.wholeness import OtherVersion, whole

if TYPE_CHECKING:  # leases need more than training does
    from bench.store.leases import Leases

_HOST = platform.node()[:40]
_OLD = ".old"


def scratch(place: Path) -> Path:
    """Return where this process may put a folder together; swept up if the process dies meanwhile."""
    return place.with_name(f".{place.name}.{_HOST}.{os.getpid()}")


def replace_folder(fresh: Path, place: Path) -> None:
    """Rename a folder into place.

    A process that dies between the two renames leaves both folders beside the place: see :func:`interrupted`.

    Raises:
        OSError: it cannot be; of the number ``ENOTEMPTY`` where another process was quicker to put one in place.
    """
    old = scratch(place.with_name(place.name + _OLD))
    # An earlier process of this number, as in a container that is started again, may have left one and nothing else.
    if place.exists():
        shutil.rmtree(old, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        place.rename(old)
    try:
        fresh.rename(place)
    except OSError:
        with contextlib.suppress(OSError):
            old.rename(place)
        if place.exists():
            shutil.rmtree(old, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
    sync(place.parent)


def sweep_up(cells: Path, leases: Leases) -> None:
    """Put whole cells in place that a process died over, and delete what else dead processes left.

    Raises:
        StorageError: the leases cannot be written.
    """
    for name, folder in interrupted(cells).items():
        lease = leases.take(name, os.getpid())
        if lease is not None:
            with contextlib.suppress(OSError):
                folder.rename(cells / name)
            lease.release()
    for path in leftovers(cells):
        shutil.rmtree(path, ignore_errors=True)


def interrupted(cells: Path) -> dict[str, Path]:
    """Return whole cells whose process died while it put one in the place of another, by their folders' names.

    Of the new and the old one, if both are whole, the new one.
    """
    found: dict[str, Path] = {}
    for path in sorted(_abandoned(cells), key=_is_old):
        name = _name_of(path)
        if name not in found and not (cells / name).exists() and _is_whole(path):
            found[name] = path
    return found


def leftovers(cells: Path) -> list[Path]:
    """Return the hidden folders of dead processes of this machine, except those of interrupted cells."""
    kept = interrupted(cells)
    return [path for path in _abandoned(cells) if _name_of(path) not in kept]


def _abandoned(cells: Path) -> list[Path]:
    mine = [(path, path.suffix[1:]) for path in cells.glob(f".*.{_HOST}.*") if path.is_dir()]
    return [path for path, process in mine if process.isdigit() and not is_alive(int(process))]


def _name_of(path: Path) -> str:
    return _without_owner(path).removesuffix(_OLD)


def _is_old(path: Path) -> bool:
    return _without_owner(path).endswith(_OLD)


def _without_owner(path: Path) -> str:
    return path.name.removeprefix(".").removesuffix(f".{_HOST}{path.suffix}")


def _is_whole(folder: Path) -> bool:
    try:
        whole(folder)
    except OtherVersion:
        return True
    except ValueError:
        return False
    return True
