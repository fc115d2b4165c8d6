"""Rounds of a study's trials passed on to listeners, as ``--log`` asks."""

from __future__ import annotations

from collections.abc import Callable

from bench.listeners.hearing import Hearing
from bench.tuning.events import Closed, Completed, Event


def logged(show: Callable[[Event], None], hearing: Hearing) -> Callable[[Event], None]:
    """Return what shows an event, and passes on what it says of a round or of a cell's end."""

    def both(event: Event) -> None:
        show(event)
        if isinstance(event, Completed | Closed):
            hearing.meet(event.cell)
        if isinstance(event, Completed):
            hearing.round(event.cell.folder, event.row)
        elif isinstance(event, Closed):
            hearing.ended(event.cell.folder, event.status, event.reason)

    return both
