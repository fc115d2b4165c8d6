"""Archives: honest ones are read, hostile and damaged ones give one sentence."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from bench.data import archives
from bench.data.archives import is_archive, list_members, read_members
from bench.errors import BenchError

FILES = {"set/a.txt": b"first", "set/deep/b.bin": np.random.default_rng(1).bytes(400_000), "set/c.txt": b""}
TARS: dict[str, Literal["w:gz", "w:xz"]] = {
    "x.tar.gz": "w:gz",
    "x.tgz": "w:gz",
    "y.tgz": "w:gz",
    "x.tar.xz": "w:xz",
}


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


@pytest.fixture(params=["x.tar.gz", "x.tgz", "x.tar.xz", "x.zip"])
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


def test_unknown_kinds_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "x.rar").write_bytes(b"Rar!")
    with pytest.raises(BenchError, match=r"unknown kind of file, allowed: '.tar', '.tar.gz'"):
        list(read_members(tmp_path / "x.rar", everything))
    with pytest.raises(BenchError, match=r"cannot be read \(No such file or directory\)"):
        list(read_members(tmp_path / "x.zip", everything))
    assert not is_archive(tmp_path / "x.rar")
    assert not is_archive(tmp_path / "x.zip")
    (tmp_path / "d.zip").mkdir()
    assert not is_archive(tmp_path / "d.zip")


@pytest.mark.parametrize("name", ["plain.tar", "x.tar.bz2", "named (1).tar.gz", "no-ending"])
def test_the_kind_is_that_of_the_bytes(name: str, tmp_path: Path) -> None:
    packed = make(tmp_path / "x.tgz", FILES).read_bytes()
    plain = gzip.decompress(packed)
    contents = {"plain.tar": plain, "x.tar.bz2": bz2.compress(plain), "named (1).tar.gz": plain, "no-ending": packed}
    path = tmp_path / name
    path.write_bytes(contents[name])
    assert is_archive(path)
    assert list(read_members(path, everything)) == list(FILES.items())
    assert list_members(path) == {name: len(content) for name, content in FILES.items()}


def tar_with(path: Path, change: Callable[[tarfile.TarInfo], None]) -> Path:
    """Write a plain tar of two files whose second header is changed."""
    first, second = tarfile.TarInfo("a.txt"), tarfile.TarInfo("b.txt")
    first.size = second.size = 5
    change(second)
    content = b"".join(header.tobuf(tarfile.GNU_FORMAT) + b"hello".ljust(512, b"\0") for header in (first, second))
    path.write_bytes(content + bytes(1024))
    return path


@pytest.mark.parametrize("size", [2000, 10**6, 10**12, 2**62, 2**70, -(2**20)])
@pytest.mark.parametrize("wanted", [True, False])
def test_a_header_that_claims_more_than_there_is(size: int, wanted: bool, tmp_path: Path) -> None:
    path = tar_with(tmp_path / "x.tar", lambda header: setattr(header, "size", size))
    with pytest.raises(
        BenchError, match=r"archive .*x.tar(: the header of member 'b.txt' claims| is cut off)"
    ) as caught:
        list(read_members(path, lambda name: wanted))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", [slice(100, 108), slice(124, 136), slice(136, 148), slice(148, 156)])
@pytest.mark.parametrize("number", [b"no digit", b"\xff" * 8])
def test_a_header_without_its_numbers(field: slice, number: bytes, tmp_path: Path) -> None:
    path = tar_with(tmp_path / "x.tar", lambda header: None)
    content = bytearray(path.read_bytes())
    header = content[1024:1536]
    header[field] = number.ljust(field.stop - field.start, number[-1:])
    if field.start != 148:  # all but the checksum itself
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
    content[1024:1536] = header
    path.write_bytes(content)
    # Only a size or a checksum says where what is read lies: mode and time of -1 do no harm.
    harmless = field.start in (100, 136) and number[0] == 0xFF
    with contextlib.nullcontext() if harmless else pytest.raises(BenchError, match=r"cut off or damaged|claims"):
        assert len(list(read_members(path, everything))) == 2


@pytest.mark.parametrize("kept", [1024, 1536, 1600, 2048])
def test_a_plain_tar_that_ends_early(kept: int, tmp_path: Path) -> None:
    path = tar_with(tmp_path / "x.tar", lambda header: None)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(BenchError, match=r"x\.tar is cut off or damaged"):
        list(read_members(path, everything))


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tar.xz", "x.tar.bz2", "x.zip"])
def test_bombs_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 1 << 20)
    path = tmp_path / name
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("a.txt", bytes(8 << 20))
    else:
        mode: Any = f"w:{name.rsplit('.', 1)[-1]}"
        with tarfile.open(path, mode) as tar:
            member = tarfile.TarInfo("a.txt")
            member.size = 8 << 20
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    for wanted in (True, False):
        with pytest.raises(BenchError, match=r"(unpacks to more than|claims) [\d,]+ bytes"):
            list(read_members(path, lambda name, wanted=wanted: wanted))  # type: ignore[misc]


def test_members_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        packed.writestr("a.txt", b"1")
        packed.writestr("a.txt", b"2")
    with pytest.raises(BenchError, match=r"two members are called 'a.txt'"):
        list_members(tmp_path / "x.zip")


@pytest.mark.parametrize("name", ["x.tar.gz", "x.zip", "x.tar"])
def test_a_member_whose_pages_are_damaged(name: str, tmp_path: Path) -> None:
    """Bytes all over a small archive are changed in turn: it is read, or there is a sentence."""
    path = tmp_path / name
    files = {"set/a.txt": b"first", "set/b.txt": b"second"}
    if name == "x.tar":
        path.write_bytes(gzip.decompress(make(tmp_path / "y.tgz", files).read_bytes()))
    else:
        make(path, files)
    whole = path.read_bytes()
    for place in range(0, len(whole), max(5, len(whole) // 100)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        with contextlib.suppress(BenchError):
            list(read_members(path, everything))
