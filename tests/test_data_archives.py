"""Archives: honest ones are read, hostile and damaged ones give one sentence."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from bench.data.archives import is_archive, read_members
from bench.errors import BenchError

FILES = {"set/a.txt": b"first", "set/deep/b.bin": np.random.default_rng(1).bytes(400_000), "set/c.txt": b""}
TARS: dict[str, Literal["w:gz", "w:xz"]] = {"x.tar.gz": "w:gz", "x.tgz": "w:gz", "x.tar.xz": "w:xz"}


def everything(name: str) -> bool:
    return True


def make(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, TARS[path.name]) as tar:
        folder = tarfile.TarInfo("set")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture(params=[*TARS, "x.zip"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path: Path = tmp_path / request.param
    return path


def test_members_come_in_their_order(place: Path) -> None:
    assert list(read_members(make(place, FILES), everything)) == list(FILES.items())


def test_only_wanted_members_come(place: Path) -> None:
    wanted = dict(read_members(make(place, FILES), lambda name: name.endswith(".txt")))
    assert wanted == {"set/a.txt": b"first", "set/c.txt": b""}


@pytest.mark.parametrize("name", ["/etc/passwd", "../up.txt", "set/../../up.txt", "C:/x.txt", "set\\..\\..\\x.txt"])
def test_members_that_would_escape_are_refused(name: str, place: Path) -> None:
    make(place, {name: b"x"})
    with pytest.raises(BenchError, match=r"would leave the archive's folder"):
        list(read_members(place, lambda member: False))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_tars_are_refused(kind: bytes, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("set/link.txt")
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(BenchError, match=r"'set/link.txt' is a link or a device"):
        list(read_members(tmp_path / "x.tar.gz", everything))


def test_links_in_zips_are_refused(tmp_path: Path) -> None:
    member = zipfile.ZipInfo("set/link.txt")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(BenchError, match=r"'set/link.txt' is a link or a device"):
        list(read_members(tmp_path / "x.zip", everything))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.95, 0.9999])
def test_a_cut_off_archive_never_passes_for_a_whole_one(share: float, place: Path) -> None:
    content = make(place, FILES).read_bytes()
    place.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BenchError, match=f"archive .*{place.name}.*(cut off or damaged)") as caught:
        list(read_members(place, everything))
    assert "\n" not in str(caught.value)


def test_damaged_content_is_found(place: Path) -> None:
    content = bytearray(make(place, FILES).read_bytes())
    content[len(content) // 2] ^= 0xFF
    content[len(content) // 2 + 1000] ^= 0xFF
    place.write_bytes(content)
    with pytest.raises(BenchError, match="cut off or damaged"):
        list(read_members(place, everything))


def test_something_else_under_the_name_of_an_archive(place: Path) -> None:
    place.write_bytes(b"<html>404 not found</html>" * 100)
    with pytest.raises(BenchError, match="cut off or damaged"):
        list(read_members(place, everything))


def test_unknown_endings_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"unknown kind of file, allowed: '.tar.gz'"):
        list(read_members(tmp_path / "x.rar", everything))
    with pytest.raises(BenchError, match=r"cannot be read \(No such file or directory\)"):
        list(read_members(tmp_path / "x.zip", everything))
    assert not is_archive(tmp_path / "x.rar")
    assert is_archive(tmp_path / "x.tar.xz")
