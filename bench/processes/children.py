"""Processes of the harness: each has a line to its parent, and how it ended is known.

They do not import the script of the user who began them, so that it needs no main guard, and may be typed into standard
input or a notebook. What they write to standard error goes on to the parent's; its last line is kept, as it often says
what a compiled library died of.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import Any, TypeVar

from bench.processes.failure import ended_with, kills_for_memory

TRACKER = "ignore:resource_tracker"
"""The tracker of Python's processes deletes the semaphores of those that are ended at once, and shall not say so."""

END_SECONDS = 5.0
"""What a process that was asked to end, or has closed its line, has for it."""
KEPT_BYTES = 4096
LISTEN_SECONDS = 1.0
"""How long the last words of a dead process are waited for: others may hold its standard error open."""

HUGE_PAGES = "glibc.malloc.hugetlb"

_starting = threading.Lock()
_own = False


class Child:
    """A process that does ``target(line, *arguments)``, ``line`` being its end of the line to this process.

    It takes no notice of Ctrl-C, which reaches the whole group of processes: the parent decides what ends.

    Args:
        target: a function of a module; it and its arguments are pickled.
    """

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        if TRACKER not in sys.warnoptions:
            sys.warnoptions.append(TRACKER)
        context = multiprocessing.get_context("spawn")
        self.line, theirs = context.Pipe()
        heard, said = context.Pipe(duplex=False)
        self.process = context.Process(target=_begin, args=(theirs, said, target, arguments), daemon=False)
        ask_for_huge_pages()
        with interrupts_held(), _unaware_of_main():
            self.process.start()
        theirs.close()
        said.close()
        self.pid = self.process.pid or 0
        self._last_words = _LastWords(heard)
        self._hung_up = False
        self.begin_work()

    def begin_work(self) -> None:
        """Have what the process says and dies of count for what it is given from here on."""
        self._kills_before = kills_for_memory()
        self._last_words.forget()

    def send(self, message: Any) -> None:
        """Send something; that the process is dead is noticed when its answer is read."""
        with contextlib.suppress(OSError):
            self.line.send(message)

    @property
    def has_ended(self) -> bool:
        """Whether the process is dead, even where others hold its end of the line open."""
        return self.process.exitcode is not None

    def receive(self) -> Any:
        """Return what the process says next; None where it has died, or closed its line and was ended for that."""
        try:
            if self.line.poll() or not self.has_ended or self.line.poll():
                return self.line.recv()
        except (EOFError, OSError):
            self.process.join(END_SECONDS)
            if not self.has_ended:
                self._hung_up = True
                self.process.kill()
        self.process.join()
        return None

    @property
    def ending(self) -> str:
        """How the process ended, after "ended with"."""
        if self._hung_up:
            return "its connection to the harness closed; allowed: to close what one has opened"
        return ended_with(self.process.exitcode, self._last_words.line(), self._killed_for_memory())

    def _killed_for_memory(self) -> bool | None:
        now = kills_for_memory()
        return None if now is None or self._kills_before is None else now > self._kills_before

    def ask_to_end(self, at_once: bool = False) -> None:
        """Have the process end, without waiting for it; where it is at work, at once."""
        self.line.close()
        if at_once:
            self.process.terminate()

    def end(self, seconds: float = END_SECONDS, at_once: bool = False) -> None:
        """End the process, by force if it takes longer than this."""
        self.ask_to_end(at_once)
        self.process.join(timeout=seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


One = TypeVar("One", bound=Child)


def heard(children: Iterable[One], seconds: float) -> list[One]:
    """Wait until a process says something or ends, no longer than so many seconds, and return those that have."""
    children = list(children)
    ready = wait([child.line for child in children], seconds)
    return [child for child in children if child.line in ready or child.has_ended]


def is_own() -> bool:
    """Return whether this process belongs to the harness: what runs here beside it, a plugin has started."""
    return _own


def _begin(line: Connection, said: Connection, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    global _own
    _own = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.name == "posix":
        os.dup2(said.fileno(), 2)
    said.close()
    target(line, *arguments)
    others = (thread for thread in threading.enumerate() if thread is not threading.main_thread())
    if any(not thread.daemon for thread in others):  # a method's, which may never end
        sys.stdout.flush()
        os._exit(0)


class _LastWords:
    """Hands on what a process writes to standard error, and keeps the end of it."""

    def __init__(self, source: Connection) -> None:
        self._source, self._kept = source, b""
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with contextlib.closing(self._source), contextlib.suppress(OSError):
            while said := os.read(self._source.fileno(), 1 << 16) if os.name == "posix" else b"":
                self._kept = (self._kept + said)[-KEPT_BYTES:]
                while said:
                    said = said[os.write(2, said) :]

    def forget(self) -> None:
        self._kept = b""

    def line(self) -> str:
        """Return the last line that says anything."""
        self._thread.join(LISTEN_SECONDS)
        lines = (line.strip() for line in self._kept.decode(errors="replace").splitlines())
        return next((line for line in reversed(list(lines)) if line), "")


@contextlib.contextmanager
def _unaware_of_main() -> Iterator[None]:
    """Have a process that starts meanwhile leave the user's script alone, which Python has it import otherwise.

    A process of a user's own pool may start one too: such processes may have no children by Python's rule, since they
    would outlive them; the harness's end with their parent.
    """
    config = vars(multiprocessing.current_process()).get("_config", {})
    with _starting:
        main, daemon = sys.modules["__main__"], config.pop("daemon", None)
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main
            if daemon is not None:
                config["daemon"] = daemon


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while a process starts: it inherits that, and the parent alone decides what ends."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ask_for_huge_pages() -> None:
    """Have the processes that are started from here on keep their memory in huge pages, where the system offers them.

    Looking up the addresses of a model's tensors page by page took 4 to 8 % of the training time. glibc reads the
    setting at a process's start (from its version 2.35; others ignore it).
    """
    tunables = [setting for setting in os.environ.get("GLIBC_TUNABLES", "").split(":") if setting]
    if not any(setting.startswith(HUGE_PAGES) for setting in tunables):
        os.environ["GLIBC_TUNABLES"] = ":".join([*tunables, f"{HUGE_PAGES}=1"])
