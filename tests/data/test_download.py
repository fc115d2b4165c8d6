"""Downloads against a real server on this machine that breaks off, ignores ranges and refuses."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from bench.data.download import download
from bench.errors import BenchError

CONTENT = np.random.default_rng(5).bytes(3_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Behaviour:
    """How the server answers; ``cuts`` holds for each coming answer after how many bytes to break it off."""

    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    refusals: list[int] = field(default_factory=list)
    requested: list[str | None] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server() -> Iterator[Behaviour]:
    behaviour = Behaviour()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            behaviour.requested.append(asked)
            if behaviour.refusals:
                self.send_error(behaviour.refusals.pop(0))
                return
            start = 0
            if asked and behaviour.ranges:
                start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])  # type: ignore[index]
                if start >= len(CONTENT):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            end = start + behaviour.cuts.pop(0) if behaviour.cuts else len(CONTENT)
            self.wfile.write(CONTENT[start:end])

        def log_message(self, *arguments: object) -> None:
            pass

    http_server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    behaviour.url = f"http://127.0.0.1:{http_server.server_port}/archive.tar.gz"
    thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield behaviour
    http_server.shutdown()
    thread.join()
    http_server.server_close()


def test_plain_download(server: Behaviour, tmp_path: Path) -> None:
    lines: list[str] = []
    target = tmp_path / "new folder" / "archive.tar.gz"
    assert download(server.url, target, sha256=SHA256, progress=lines.append) == target
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["archive.tar.gz"]
    assert lines[-1] == "archive.tar.gz: 3 of 3 MB"


def test_a_file_that_is_there_is_not_fetched_again(server: Behaviour, tmp_path: Path) -> None:
    target = tmp_path / "archive.tar.gz"
    target.write_bytes(CONTENT)
    download(server.url, target, md5=MD5)
    assert server.requested == []
    target.write_bytes(b"something else")
    download(server.url, target, md5=MD5)
    assert target.read_bytes() == CONTENT


def test_cut_connections_are_resumed(server: Behaviour, tmp_path: Path) -> None:
    server.cuts = [1_000_000, 500_000]
    target = tmp_path / "archive.tar.gz"
    download(server.url, target, md5=MD5, waits_s=(0.01, 0.01))
    assert target.read_bytes() == CONTENT
    assert server.requested == [None, "bytes=1000000-", "bytes=1500000-"]


def test_a_later_call_goes_on_where_the_first_gave_up(server: Behaviour, tmp_path: Path) -> None:
    server.cuts = [700_000]
    target = tmp_path / "archive.tar.gz"
    with pytest.raises(BenchError, match="the connection was cut after 700000 of 3000000 bytes"):
        download(server.url, target, md5=MD5, waits_s=())
    assert not target.exists()
    download(server.url, target, md5=MD5, waits_s=())
    assert target.read_bytes() == CONTENT
    assert server.requested == [None, "bytes=700000-"]


def test_a_server_without_ranges_means_a_fresh_start(server: Behaviour, tmp_path: Path) -> None:
    server.ranges = False
    server.cuts = [1_000_000]
    target = tmp_path / "archive.tar.gz"
    download(server.url, target, md5=MD5, waits_s=(0.01,))
    assert target.read_bytes() == CONTENT
    assert len(server.requested) == 2


@pytest.mark.parametrize("extra", [0, 1000])
def test_a_whole_or_too_long_part(extra: int, server: Behaviour, tmp_path: Path) -> None:
    target = tmp_path / "archive.tar.gz"
    (tmp_path / "archive.tar.gz.part").write_bytes(CONTENT + b"x" * extra)
    download(server.url, target, md5=MD5)
    assert target.read_bytes() == CONTENT
    asked = f"bytes={len(CONTENT) + extra}-"
    assert server.requested == ([asked] if extra == 0 else [asked, None])


def test_a_wrong_checksum_deletes_the_file_so_that_the_next_try_is_clean(server: Behaviour, tmp_path: Path) -> None:
    target = tmp_path / "archive.tar.gz"
    (tmp_path / "archive.tar.gz.part").write_bytes(b"?" * 1000)
    with pytest.raises(BenchError, match=f"3000000 bytes received do not have the published checksum {MD5}"):
        download(server.url, target, md5=MD5)
    assert list(tmp_path.iterdir()) == []
    download(server.url, target, md5=MD5)
    assert target.read_bytes() == CONTENT


def test_a_missing_file_is_not_asked_for_again(server: Behaviour, tmp_path: Path) -> None:
    server.refusals = [404]
    with pytest.raises(BenchError, match=r"failed \(HTTP 404 Not Found\)") as caught:
        download(server.url, tmp_path / "archive.tar.gz", md5=MD5, waits_s=(0.01, 0.01))
    assert server.url in str(caught.value)
    assert len(server.requested) == 1


def test_a_busy_server_is_asked_again(server: Behaviour, tmp_path: Path) -> None:
    server.refusals = [503, 500]
    lines: list[str] = []
    download(server.url, tmp_path / "archive.tar.gz", md5=MD5, waits_s=(0.01, 0.01), progress=lines.append)
    assert len(server.requested) == 3
    assert "next attempt in 0.01 s" in lines[0]


def test_no_network_gives_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"failed .*Connection refused.*import it") as caught:
        download("http://127.0.0.1:9/archive.tar.gz", tmp_path / "archive.tar.gz", md5=MD5, waits_s=(0.01,))
    assert "\n" not in str(caught.value)


def test_a_target_that_cannot_be_written_gives_one_sentence(server: Behaviour, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(BenchError, match="cannot be stored"):
        download(server.url, tmp_path / "file" / "archive.tar.gz", md5=MD5)
