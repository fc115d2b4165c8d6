"""How busy the machine is with other things: a timing on a busy machine says little."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.perf.instructions import instructions
from bench.store.provenance import environment

PROC = Path("/proc")
QUIET_LOAD_PER_CORE = 0.25
QUIET_OTHERS_SHARE = 0.05


@dataclass(frozen=True)
class Load:
    """How busy the machine was; None where the system does not tell.

    Attributes:
        before: 1-minute load average before the command did anything.
        during: 1-minute load average at the end, our own processes included.
        others_share: CPU time of other processes and of other virtual machines, as a share of all cores' time.
    """

    before: float | None
    during: float | None
    others_share: float | None

    def warning(self, cores: int) -> str:
        """Return why the timings are doubtful; empty where the machine was quiet."""
        reasons = []
        if self.before is not None and self.before > QUIET_LOAD_PER_CORE * cores:
            reasons.append(f"the load average was {self.before:.2f} before the start")
        if self.others_share is not None and self.others_share > QUIET_OTHERS_SHARE:
            reasons.append(f"others took {self.others_share:.0%} of the CPU time")
        if self.others_share is None:
            reasons.append("this system does not tell what others took")
        return f"the machine was not quiet as far as is known: {' and '.join(reasons)}" if reasons else ""


class LoadMeter:
    """Reads the load when made and again at the end.

    Processes that this one starts must still run, or have been waited for, when the meter is read: their time is
    taken off.

    Args:
        cores: of this machine that may be used.
        before: 1-minute load average before this command did anything; later ones would count its own work.
    """

    def __init__(self, cores: int, before: float | None) -> None:
        self._cores, self._before = cores, before
        self._start, self._busy = time.perf_counter(), foreign_seconds()

    def read(self) -> Load:
        """Return the load since the meter was made."""
        busy, elapsed = foreign_seconds(), time.perf_counter() - self._start
        share = None
        if busy is not None and self._busy is not None:
            share = max(busy - self._busy, 0.0) / (elapsed * self._cores)
        return Load(self._before, load_average(), share)


def facts_of(load: Load, device: str, cores: int) -> dict[str, Any]:
    """Return the columns that all rows of a part share: how busy the machine was and what it is."""
    here = environment(device)
    return {
        "load_before": load.before,
        "load_during": load.during,
        "others_cpu_share": load.others_share,
        "quiet": not load.warning(cores),
        "device": device,
        "cores": cores,
        "processor": here["processor"],
        "accelerator": here["accelerator"],
        "torch": here["packages"]["torch"],
        **instructions(),
    }


def foreign_seconds(proc: Path = PROC) -> float | None:
    """Return the CPU seconds used since the machine's start by all but this process and its descendants.

    None where there is no ``/proc``. Time stolen by other virtual machines counts as used.
    """
    try:
        fields = (proc / "stat").read_text().splitlines()[0].split()[1:]
        user, nice, system, _idle, _wait, interrupts, soft_interrupts, stolen = map(int, fields[:8])
        all_ticks = user + nice + system + interrupts + soft_interrupts + stolen
        own_ticks = _ticks_of_family(os.getpid(), proc)
        return (all_ticks - own_ticks) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def _ticks_of_family(process: int, proc: Path) -> int:
    """Return the CPU ticks of a process and its living descendants, with those of the dead they waited for."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for path in proc.glob("[0-9]*/stat"):
        try:
            # The name in brackets may hold spaces: what follows it begins with the state and the parent.
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        number = int(path.parent.name)
        parents[number] = int(fields[1])
        ticks[number] = sum(map(int, fields[11:15]))
    return sum(used for number, used in ticks.items() if _descends(number, process, parents))


def _descends(number: int, ancestor: int, parents: Mapping[int, int]) -> bool:
    while number in parents and number != ancestor:
        number = parents[number]
    return number == ancestor


def load_average() -> float | None:
    """Return the 1-minute load average; None where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None
