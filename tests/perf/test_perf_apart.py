"""Processes that are timed: they answer, and end with the one that started them."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from patience import PATIENCE_S, wait_until
from tiny import start

from bench.errors import BenchError
from bench.perf.apart import Apart


class Toy:
    """At work in a process of its own."""

    def __init__(self, word: str, mark: Path | None = None) -> None:
        if word == "wrong":
            raise BenchError("it cannot be made")
        self.word, self.mark = word, mark

    def say(self, number: int) -> tuple[str, int]:
        return self.word * number, os.getpid()

    def fail(self) -> None:
        raise BenchError(f"no {self.word}")

    def die(self) -> None:
        os._exit(3)

    def sleep(self) -> None:
        assert self.mark is not None
        self.mark.write_text("asleep")
        time.sleep(PATIENCE_S)

    def close(self) -> None:
        if self.mark is not None:
            self.mark.write_text("closed")


@pytest.mark.slow
def test_an_object_works_in_another_process(tmp_path: Path) -> None:
    toy = Apart(Toy, "ab", tmp_path / "mark")
    said, process = toy.call("say", 2)
    assert said == "abab" and process != os.getpid()
    with pytest.raises(BenchError, match="no ab"):
        toy.call("fail")
    assert toy.call("say", 1) == ("ab", process)
    toy.close()
    assert (tmp_path / "mark").read_text() == "closed" and not alive(process)
    with pytest.raises(BenchError, match="it cannot be made"):
        Apart(Toy, "wrong")


def test_a_process_that_dies_is_one_sentence() -> None:
    toy = Apart(Toy, "ab")
    with pytest.raises(BenchError, match="ended with exit code 3"):
        toy.call("die")
    toy.close()


def test_an_interruption_from_the_keyboard_leaves_nothing_running(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    toy = Apart(Toy, "ab", mark)
    process = toy.call("say", 1)[1]
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        wait_until(mark.exists)
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        toy.call("sleep")
    assert alive(process)  # it does not hear the keyboard itself
    toy.close()
    assert not alive(process) and time.monotonic() - start < PATIENCE_S / 2


def alive(process: int) -> bool:
    """Return whether a process, which is not our zombie, is there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_ctrl_c_ends_the_command_and_all_it_started(tmp_path: Path) -> None:
    """As from a keyboard, which all processes of the group hear."""
    words = ("--part", "training", "--task", "cnn-femnist", "--precision", "fp32")
    process = start(tmp_path, "perf", *words, "--results", tmp_path / "results")
    assert process.stdout is not None
    while "harness 2 x 1" not in (line := process.stdout.readline()) and "repetition" not in line:
        assert line, "it ended"
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130 and "Traceback" not in err and "interrupted" in err
    assert not list((tmp_path / "results" / "perf").iterdir())
    wait_until(lambda: not of_group(process.pid))  # a worker looks once a second whether its parent is there


def of_group(group: int) -> list[int]:
    """Return the living processes of a process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, own, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(own) == group and state != "Z":
            found.append(int(path.parent.name))
    return found
