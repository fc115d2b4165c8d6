"""Leases: one owner at a time, whoever dies, sleeps or comes back."""

from __future__ import annotations

import errno
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from patience import wait_until
from tiny import cell_of

from bench.errors import StorageError
from bench.launch.running import Hooks, run_cell
from bench.store import checkpoint, leases
from bench.store.cells import Store
from bench.store.leases import LOOKS, NAME, STALE_SECONDS, Lease, LeaseLost, Leases
from bench.store.owner import Owner

ME = os.getpid()
CELL = "a-cell"


def written_by(folder: Path, owner: Owner, token: str = "theirs") -> Path:
    """Put the lease of another process in place."""
    path = folder / CELL / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**asdict(owner), "token": token}))
    return path


def test_a_cell_has_one_owner_and_a_lease_given_back_leaves_nothing(tmp_path: Path) -> None:
    first, second = Leases(tmp_path), Leases(tmp_path)
    lease = first.take(CELL, ME)
    assert lease is not None and second.holder(CELL) == f"process {ME}"
    assert second.take(CELL, ME) is None and first.take(CELL, ME) is None
    lease.check()
    lease.release()
    assert second.holder(CELL) is None and not (tmp_path / CELL).exists()
    assert second.take(CELL, ME) is not None
    with pytest.raises(LeaseLost):
        lease.check()
    lease.release()  # no longer its own: nothing happens
    assert first.holder(CELL) is not None


def test_a_checkpoint_stays_where_a_lease_was(tmp_path: Path) -> None:
    lease = Leases(tmp_path).take(CELL, ME)
    assert lease is not None
    (tmp_path / CELL / "checkpoint.pt").touch()
    lease.release()
    assert [path.name for path in (tmp_path / CELL).iterdir()] == ["checkpoint.pt"]


def test_the_cell_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    mine = Leases(tmp_path)
    assert mine.take(CELL, process.pid) is not None and mine.take(CELL, ME) is None
    process.kill()
    wait_until(lambda: mine.holder(CELL) is None)
    # Its parent has not asked for it: to kill -0 it is still there.
    os.kill(process.pid, 0)
    assert mine.take(CELL, ME) is not None
    process.wait()


def test_another_process_of_the_same_number_is_another_owner(tmp_path: Path) -> None:
    owner = Owner.of(ME)
    assert owner.host == platform.node() and not owner.is_gone()
    written_by(tmp_path, replace(owner, started="at another time"))
    assert Leases(tmp_path).take(CELL, ME) is not None


def test_an_owner_that_is_not_heard_of_for_a_minute_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(leases.time, "monotonic", lambda: clock[0])
    for owner, words in (
        (Owner("elsewhere", 7, "then", ""), "process 7 on elsewhere"),
        # Another machine or container of the same name: its processes are not to be looked for here.
        (Owner(platform.node(), 7, "then", "another container"), f"process 7 on {platform.node()}"),
        (Owner.of(ME), f"process {ME}"),  # alive, but suspended
    ):
        path = written_by(tmp_path, owner)
        os.utime(path, (1, 1))  # clocks differ: only changes count
        mine = Leases(tmp_path)
        assert mine.holder(CELL) == words
        clock[0] += STALE_SECONDS - 1
        assert mine.take(CELL, ME) is None
        os.utime(path)
        clock[0] += 2
        assert mine.holder(CELL) == words
        clock[0] += STALE_SECONDS - 1
        assert mine.take(CELL, ME) is None
        clock[0] += 2
        assert mine.take(CELL, ME) is not None


def test_of_many_takers_one_wins(tmp_path: Path) -> None:
    everyone = [Leases(tmp_path) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for turn in range(20):
            written_by(tmp_path, replace(Owner.of(ME), started="before"), str(turn))
            taken = [lease for lease in pool.map(lambda one: one.take(CELL, ME), everyone) if lease]
            assert len(taken) == 1
            taken[0].check()


def test_a_damaged_lease_is_nobodys_after_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(leases.time, "monotonic", lambda: clock[0])
    lease = Leases(tmp_path).take(CELL, ME)
    assert lease is not None
    path = tmp_path / CELL / NAME
    text = path.read_bytes()
    flipped = [text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :] for place in range(0, len(text), 7)]
    for spoiled in [b"", text[:-1], b"[]", b"null", b"\xff", *flipped]:
        path.write_bytes(spoiled)
        mine = Leases(tmp_path)
        held = mine.holder(CELL)
        clock[0] += STALE_SECONDS + 1
        assert mine.holder(CELL) is None and (held is None or "process" in held)
    with pytest.raises(LeaseLost):
        lease.check()


def test_the_heart_beats_until_the_lease_is_given_back_or_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.02)
    mine = Leases(tmp_path)
    lease = mine.take(CELL, ME)
    assert lease is not None
    path = tmp_path / CELL / NAME
    with lease.held():
        for _ in range(2):
            os.utime(path, (1, 1))
            wait_until(lambda: path.stat().st_mtime > 1)
        written_by(tmp_path, Owner("elsewhere", 7, "then", ""))
        time.sleep(0.1)
        os.utime(path, (1, 1))
        time.sleep(0.1)
        assert path.stat().st_mtime == 1
    assert path.exists()


def unreadable(times: int) -> Callable[[Leases, str], str | None]:
    """Return a reading of tokens that fails so many times, as a network's disk may."""
    token, left = Leases.token, iter(range(times))

    def read(mine: Leases, name: str) -> str | None:
        if next(left, None) is not None:
            raise OSError(errno.ESTALE, "Stale file handle")
        return token(mine, name)

    return read


def test_a_disk_that_does_not_answer_for_a_moment_loses_no_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases.time, "sleep", lambda seconds: None)
    lease = Leases(tmp_path).take(CELL, ME)
    assert lease is not None
    monkeypatch.setattr(Leases, "token", unreadable(LOOKS - 1))
    lease.check()
    monkeypatch.undo()
    monkeypatch.setattr(leases.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(Leases, "token", unreadable(LOOKS))
    with pytest.raises(StorageError, match=r"lease\.json: the lease cannot be read: Stale file handle"):
        lease.check()
    lease.check()


def test_the_heart_beats_on_after_a_disk_did_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.02)
    lease = Leases(tmp_path).take(CELL, ME)
    assert lease is not None
    path = tmp_path / CELL / NAME
    os.utime(path, (1, 1))
    monkeypatch.setattr(Leases, "token", unreadable(3))
    with lease.held():
        wait_until(lambda: path.stat().st_mtime > 1)
    assert not path.exists()


@pytest.mark.parametrize("when", [1, 2])
def test_who_lost_a_cell_writes_nothing_more(when: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Round 1 is followed by a checkpoint, round 2, the last, by the result."""
    monkeypatch.setattr(checkpoint, "EVERY_ROUNDS", 1)
    monkeypatch.setattr(checkpoint, "LARGEST_SHARE", 1e9)
    store, cell = Store(tmp_path), cell_of("orthdrop", keep=0.5)
    mine = Leases(store.unfinished)
    lease = mine.take(cell.folder, ME)
    assert isinstance(lease, Lease)

    def lose(_: object, this: object, row: object) -> None:
        if this.number == when:  # type: ignore[attr-defined]
            path = store.unfinished / cell.folder / NAME
            path.write_text(path.read_text().replace(lease.token, "theirs"))

    with pytest.raises(LeaseLost), lease.held():
        run_cell(cell, store=store, hooks=Hooks(on_round=lose, guard=lease.check))
    assert checkpoint.reached(store.checkpoint(cell)).get("round", 0) == when - 1
    assert not store.path(cell).exists() and mine.token(cell.folder) == "theirs"


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"a-cell: the cell cannot be leased: (Not a directory|File exists)"):
        Leases(tmp_path / "file").take(CELL, ME)
    assert Leases(tmp_path / "file").holder(CELL) is None
