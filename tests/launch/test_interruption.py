"""The first signal asks, the second ends, and so does patience."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from tiny import read

from bench.launch import inline, interruption, local
from bench.launch.events import Event, Progress, Stopped
from bench.launch.interruption import Interruption
from bench.launch.sweep import Hire, run
from bench.store.cells import Store

SLOW = """
    [[cells]]
    method = ["orthdrop", "fedavg", "prism"]
    keep = 0.5
    [cells.training]
    rounds = 500
    samples_per_client = 8
    standin_test = 20
    evaluate_every = 50
"""


def test_the_first_signal_asks_and_the_second_ends(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interruption() as asked:
        assert not asked.asked
        signal.raise_signal(signal.SIGTERM)
        assert asked.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    said = capfd.readouterr().err
    assert said.count("stopping: ") == 1 and "10 s at most; a second Ctrl-C ends at once" in said


def test_what_is_waited_for_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    with Interruption(), contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    assert "stopping: running cells leave a checkpoint, for" in capfd.readouterr().err
    with Interruption("short runs end"):
        signal.raise_signal(signal.SIGTERM)
    said = capfd.readouterr().err
    assert "stopping: short runs end, for" in said and "checkpoint" not in said


def test_nothing_interrupts_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the second signal neither a third nor the end of patience is heard while the crew is ended."""
    monkeypatch.setattr(interruption, "PATIENCE_SECONDS", 0.1)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    ended = False
    with Interruption():
        signal.raise_signal(signal.SIGINT)
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            time.sleep(0.3)
            ended = True
    assert ended and (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def interrupted(number: signal.Signals) -> None:
    """Be interrupted once and take no notice for ten minutes."""
    with Interruption():
        signal.raise_signal(number)
        for _ in range(6000):
            time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_patience_ends(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "PATIENCE_SECONDS", 0.1)
    with pytest.raises(KeyboardInterrupt):
        interrupted(number)
    with Interruption():
        signal.raise_signal(number)
    time.sleep(0.3)  # nothing comes after the end


def interrupted_in_a_read(reader: int) -> None:
    with Interruption():
        signal.raise_signal(signal.SIGINT)
        os.read(reader, 9)


def test_patience_wakes_a_main_thread_that_waits_for_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that the timer raised in its own thread would be heard only when the wait is over."""
    monkeypatch.setattr(interruption, "PATIENCE_SECONDS", 0.1)
    reader, writer = os.pipe()
    late = threading.Timer(30.0, os.write, (writer, b"late"))
    late.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted_in_a_read(reader)
    finally:
        woken = late.is_alive()
        late.cancel()
    assert woken


def test_an_end_that_was_swallowed_is_said_again() -> None:
    with Interruption() as asked:
        signal.raise_signal(signal.SIGINT)
        assert asked.wanted()
        with contextlib.suppress(BaseException):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            asked.wanted()


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption() as asked:
            os.kill(os.getpid(), signal.SIGINT)
            assert not asked.asked
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("hire", [inline.hire, local.hire])
def test_cells_that_are_asked_to_stop_leave_a_checkpoint_and_no_other_begins(
    tmp_path: Path, hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "cores", lambda: 1)  # no workers for training beside the process of the cell
    store, events = Store(tmp_path / "results"), list[Event]()
    cells = list(read(tmp_path, SLOW).cells)

    def stop() -> bool:
        return any(isinstance(event, Progress) for event in events)

    ended = run(cells, store, plugins=(), device="cpu", jobs=1, on_event=events.append, stop=stop, hire=hire)
    assert not ended and [type(event) for event in events].count(Stopped) == 1
    assert len(list(store.unfinished.rglob("checkpoint.pt"))) == 1 and not list(store.unfinished.rglob("lease.json"))
