"""Ctrl-C and SIGTERM while cells run: the first asks them to leave a checkpoint, the second ends them at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any, Self

PATIENCE_SECONDS = 10.0
"""How long a first Ctrl-C waits for the rounds that are under way."""
LEAVING = "running cells leave a checkpoint"
WORDS = f"\nstopping: {{}}, for {PATIENCE_SECONDS:g} s at most; a second Ctrl-C ends at once\n"


class Interruption:
    """Whether the user has asked to stop; a context in which signals are heard so.

    Signals that the process was started to ignore, as in the background of a shell, stay ignored.

    Args:
        doing: what is waited for, in words.
    """

    def __init__(self, doing: str = LEAVING) -> None:
        self.asked = False
        self._words = WORDS.format(doing).encode()
        self._over = False
        self._before: dict[signal.Signals, Any] = {}
        self._patience: threading.Timer | None = None

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *error: object) -> None:
        if self._patience is not None:
            self._patience.cancel()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            self._end_at_once()
        self.asked = True
        # Sent to the main thread: raised in the timer's own, a signal would not wake the main one from a system call.
        main = threading.main_thread().ident or 0
        self._patience = threading.Timer(PATIENCE_SECONDS, _send, (main, number))
        self._patience.daemon = True
        self._patience.start()
        # Written past all buffers and locks: what the signal interrupts may hold them.
        os.write(2, self._words)

    def wanted(self) -> bool:
        """Return whether to stop.

        Raises:
            KeyboardInterrupt: it is to end at once, which code that swallows all exceptions may have kept from ending.
        """
        if self._over:
            raise KeyboardInterrupt
        return self.asked

    def _end_at_once(self) -> None:
        """Interrupt the sweep; nothing may interrupt it again while it ends its processes and gives its leases back."""
        if self._patience is not None:
            self._patience.cancel()
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)
        self._over = True
        raise KeyboardInterrupt


def _send(thread: int, number: int) -> None:
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(thread, number)
    else:  # Windows
        signal.raise_signal(number)
