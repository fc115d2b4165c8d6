"""Checkpoints: an interrupted cell goes on where it was, and a file that cannot be trusted is set aside."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import cell_of, plugin, timeless

from bench.errors import StorageError
from bench.files import checksum
from bench.launch.running import Hooks, run_cell
from bench.store import checkpoint, provenance
from bench.store.cells import Store
from bench.store.checkpoint import Checkpoint, Journal, Stopped, reached
from bench.store.made import made

CELL = cell_of("prism", keep=0.5, training={"rounds": 3}, parameters={"client_momentum": "carry"}, diagnostics="all")
STATE = {"round": 7, "model": {"w": torch.arange(6.0)}, "memory": {}, "seen": {}, "missed": {}}
MADE_BY = {"cell": "c", "code": "k", "data": "d", "device": "cpu"}


@pytest.fixture(autouse=True)
def _after_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "EVERY_ROUNDS", 1)
    monkeypatch.setattr(checkpoint, "LARGEST_SHARE", math.inf)


@pytest.fixture(scope="module")
def whole() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rounds and ranks of an uninterrupted run."""
    return timeless_tables(CELL, None)


def timeless_tables(cell: Any, store: Store | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return rounds and ranks without time and memory; without a store they come from a run of their own."""
    if store is not None:
        return timeless(store.read(cell, "rounds")), timeless(store.read(cell, "ranks"))
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        fresh = Store(Path(folder))
        assert run_cell(cell, store=fresh).status == "done"
        return timeless_tables(cell, fresh)


def interrupt(store: Store, after: int) -> None:
    """Run the cell and interrupt it as soon as a round is complete; the last checkpoint is of the round before."""

    def on_round(_: object, this: Any, row: object) -> None:
        if this.number == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cell(CELL, store=store, hooks=Hooks(on_round=on_round))


def stop(store: Store, after: int) -> None:
    """Let the cell stop after a round, with a checkpoint of that round."""
    asked = iter(range(after + 1))
    with pytest.raises(Stopped, match=f"after round {after}"):
        run_cell(CELL, store=store, hooks=Hooks(stop=lambda: next(asked) == after))


def resume(store: Store) -> list[str]:
    """Finish the cell and return the notes."""
    notes: list[str] = []
    assert run_cell(CELL, store=store, hooks=Hooks(on_note=notes.append)).status == "done"
    return notes


@pytest.mark.parametrize(("interruption", "after", "reached_round"), [
    (interrupt, 2, 1), (interrupt, 3, 2), (stop, 0, 0), (stop, 1, 1), (stop, 2, 2),
])  # fmt: skip
def test_a_resumed_cell_is_the_whole_cell_to_the_bit(
    interruption: Callable[[Store, int], None], after: int, reached_round: int, whole: object, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    interruption(store, after)
    assert store.record(CELL, made(CELL), None).state == "to do"
    assert reached(store.checkpoint(CELL))["round"] == reached_round
    assert resume(store) == [f"goes on after round {reached_round}"]
    assert timeless_tables(CELL, store) == whole
    log = (store.path(CELL) / "log.txt").read_text()
    assert [log.count(f"round {number}/3,") for number in range(4)] == [1, 1, 1, 1]
    assert log.count("goes on after round") == 1
    assert not store.checkpoint(CELL).exists()


def test_interrupted_again_and_again(whole: object, tmp_path: Path) -> None:
    store = Store(tmp_path)
    for after in (1, 2, 3):
        interrupt(store, after)
    assert resume(store) == ["goes on after round 2"]
    assert timeless_tables(CELL, store) == whole


def test_there_is_none_before_round_0_or_without_a_store(tmp_path: Path) -> None:
    interrupt(Store(tmp_path), 0)
    assert not list(tmp_path.rglob("checkpoint*"))
    run_cell(CELL)


def flip(content: bytes) -> list[bytes]:
    places = range(0, len(content), max(len(content) // 25, 1))
    return [content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :] for place in places]


DAMAGES: dict[str, Callable[[bytes], list[bytes]]] = {
    "flipped": flip,
    "cut": lambda content: [content[:keep] for keep in (1, 64, 65, 100, len(content) // 2, len(content) - 1)],
    "empty": lambda content: [b""],
    "longer": lambda content: [content + b"\n"],
    "other": lambda content: [b"\n\n", b"no checkpoint", b"\n".join([b"a"] * 9)],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_any_damage_is_noticed(damage: str, tmp_path: Path) -> None:
    file = Checkpoint(tmp_path / "checkpoint.pt", MADE_BY)
    file.save(STATE, Journal(), 9)
    content = file.path.read_bytes()
    for spoiled in DAMAGES[damage](content):
        file.path.write_bytes(spoiled)
        with pytest.raises(ValueError, match="it is not"):
            file.load()


@dataclass
class Malicious:
    """Makes a file when it is unpickled."""

    path: str

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def write(path: Path, content: Any) -> None:
    """Write a file whose checksum is right."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    head = json.dumps({"version": checkpoint.VERSION, **MADE_BY, "round": 1, "rounds": 2, "seconds": 0}).encode()
    path.write_bytes(b"\n".join([checksum(head, b"\n", buffer.getvalue()).encode(), head, buffer.getvalue()]))


def test_no_code_is_run_when_a_checkpoint_is_read(tmp_path: Path) -> None:
    file = Checkpoint(tmp_path / "checkpoint.pt", MADE_BY)
    journal = json.dumps({"rounds": []})
    write(file.path, {"state": STATE, "journal": journal})
    assert file.load() is not None
    for content in (
        {"state": Malicious(str(tmp_path / "made")), "journal": journal},
        {"state": STATE},
        {"state": STATE, "journal": "[1]"},
        {"state": STATE, "journal": '{"other": 1}'},
        [1],
    ):
        write(file.path, content)
        with pytest.raises(ValueError, match="something else than a state"):
            file.load()
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", [*MADE_BY, "version"])
def test_one_of_something_else_is_refused(name: str, tmp_path: Path) -> None:
    Checkpoint(tmp_path / "checkpoint.pt", {**MADE_BY, name: "other"}).save(STATE, Journal(), 9)
    file = Checkpoint(tmp_path / "checkpoint.pt", MADE_BY)
    file.made_by["version"] = checkpoint.VERSION
    with pytest.raises(ValueError, match=f"another {name}"):
        file.load()


def spoil_bytes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store.checkpoint(CELL)
    path.write_bytes(path.read_bytes()[:-1])


def spoil_folder(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.checkpoint(CELL).unlink()
    store.checkpoint(CELL).mkdir()


def change_code(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "simulation_code", lambda: "changed")


@pytest.mark.parametrize("spoil", [spoil_bytes, spoil_folder, change_code])
def test_an_unusable_one_is_set_aside_and_the_cell_starts_anew(
    spoil: Callable[[Store, pytest.MonkeyPatch], None], whole: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    stop(store, 1)
    spoil(store, monkeypatch)
    (note,) = resume(store)
    assert note.startswith("starts anew: the checkpoint cannot be used, it ") and "\n" not in note
    assert timeless_tables(CELL, store) == whole
    assert [path.name for path in store.checkpoint(CELL).parent.iterdir()] == ["checkpoint.pt.set-aside"]


def test_a_failed_cell_goes_on_once_its_cause_is_gone(tmp_path: Path) -> None:
    """The data of round 3 is missing once: the two rounds before are not run again."""
    path = plugin(tmp_path, "shaky", aggregate=f"if streams.round_number == 3: open({str(tmp_path / 'there')!r})")
    cell, store = cell_of("shaky", (path,), training={"rounds": 4}), Store(tmp_path / "results")
    assert run_cell(cell, store=store, plugins=[path]).status == "failed"
    (tmp_path / "there").touch()
    notes: list[str] = []
    outcome = run_cell(cell, store=store, plugins=[path], hooks=Hooks(on_note=notes.append))
    assert (outcome.status, notes) == ("done", ["goes on after round 2"]) and len(outcome.rounds) == 5
    assert not list(tmp_path.rglob("checkpoint*"))


def test_full_disk_ends_the_command_and_keeps_the_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    stop(store, 0)
    before = store.checkpoint(CELL).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="the checkpoint cannot be written: No space left"):
            run_cell(CELL, store=store)
    assert store.checkpoint(CELL).read_bytes() == before and len(list(store.checkpoint(CELL).parent.iterdir())) == 1
    assert resume(store) == ["goes on after round 0"]


def test_a_journal_comes_back_as_it_was(tmp_path: Path) -> None:
    numbers = [0.1, 1 / 3, math.inf, 5e-324, None, 2**60, np.float64(0.7), np.float32(0.7), np.int64(3), "words"]
    file = Checkpoint(tmp_path / "checkpoint.pt", MADE_BY)
    journal = Journal([{"a": value} for value in numbers], [{"nan": math.nan}], ["line"], "last", 1.5)
    file.save(STATE, journal, 9)
    loaded = file.load()
    assert loaded is not None
    state, read = loaded
    assert [row["a"] for row in read.rounds] == numbers and math.isnan(read.ranks[0]["nan"])
    assert (read.log, read.last_line, read.seconds) == (["line"], "last", 1.5)
    assert state["round"] == 7 and torch.equal(state["model"]["w"], torch.arange(6.0))
    assert reached(file.path) == {"round": 7, "rounds": 9, "seconds": 1.5} and reached(tmp_path / "none") == {}


def test_when_one_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "EVERY_ROUNDS", 5)
    monkeypatch.setattr(checkpoint, "LARGEST_SHARE", 0.02)
    clock = [100.0]
    monkeypatch.setattr(checkpoint.time, "perf_counter", lambda: clock[0])
    file = Checkpoint(tmp_path / "checkpoint.pt", MADE_BY)
    clock[0] += 30
    assert [file.due(number) for number in (1, 4, 5, 6)] == [False, False, True, True]
    clock[0] += 30
    assert file.due(1)  # a minute has passed
    file.save(STATE, Journal(), 9)
    assert not file.due(11) and file.due(12)  # its round is 7
    file.cost = 2.0
    assert not file.due(12)  # two seconds each would be too much
    clock[0] += 100
    assert file.due(12)
