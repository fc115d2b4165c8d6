"""What processes do that end in the middle of their work; little is imported, so that they start at once."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import signal
import stat
import sys
import threading
import time
from multiprocessing.connection import Connection

from bench.errors import BenchError
from bench.processes.tidiness import is_spent, tidy


def dies(line: Connection, how: str) -> None:
    line.send("begun")
    if how == "abort":
        os.write(2, b"some warning\nfree(): invalid pointer\n\n")
        os.abort()
    elif how == "segfault":
        ctypes.string_at(0)
    elif how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "killed with a child":  # which keeps its end of the line open
        if os.fork() == 0:
            time.sleep(30)
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "hung up":
        os.close(line.fileno())
        time.sleep(60)
    os._exit(5)


def half_a_result() -> None:
    """Die in the middle of writing a result, as a process does that the kernel ends while it writes a large one."""
    for fd in range(3, 64):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.write(fd, b"\0\x10\0\0and no more")
    os.kill(os.getpid(), signal.SIGKILL)


def mislays(line: Connection, what: str) -> None:
    """Leave something behind as a method may, and say what is said of it, and whether all works again."""
    said = ""
    try:
        with tidy("mine"):
            if what == "thread":
                threading.Thread(target=time.sleep, args=(600,), name="ticker").start()
            elif what == "short thread":
                threading.Thread(target=time.sleep, args=(0.05,)).start()
            elif what == "daemon":
                threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
            elif what == "closed":
                sys.stdout.close()
            elif what == "closed below":
                os.close(1)
            elif what == "replaced":
                sys.stderr = io.StringIO()
            elif what == "redirected":
                with contextlib.redirect_stdout(io.StringIO()):
                    print("unheard")
    except BenchError as error:
        said = str(error)
    print("heard", file=sys.stdout, flush=True)
    os.fstat(1)
    line.send((said, is_spent()))


class Needy(Exception):
    """An error that cannot be made from its message alone."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def raises(how: str) -> None:
    if how == "needy":
        raise Needy("one", "two")
    if how == "exit":
        raise SystemExit(3)
    raise ValueError("here\nand there")


def nothing(*arguments: object) -> None:
    pass


def unprepared() -> None:
    raise MemoryError("no room for the data")
