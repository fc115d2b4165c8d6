"""A Ray cluster on this machine whose nodes share nothing but the network, and the death of its nodes."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
pytest.importorskip("ray")

from ray.cluster_utils import Cluster

STORE_BYTES = 80_000_000
ROOT = Path(__file__).resolve().parents[2]


class Nodes:
    """A head that runs no cells, and nodes of one core, each with its own data cache and temporary folder."""

    def __init__(self, folder: Path, nodes: int = 2, python_path: str = str(ROOT)) -> None:
        self.folder, self.python_path = folder, python_path
        self.cluster = Cluster()
        self.alive: dict[Any, Path] = {}
        self._started = 0
        self._add("head", cpus=0)
        for _ in range(nodes):
            self.add()

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self) -> Any:
        """Add a node and return it."""
        name = f"node{self._started}"
        self._started += 1
        node = self._add(name, cpus=1)
        self.alive[node] = self.folder / name
        return node

    @property
    def oldest(self) -> Any:
        """The node that has been there longest."""
        return next(iter(self.alive))

    @property
    def place(self) -> Path:
        """The folder of the only node's data cache and temporary files."""
        (place,) = self.alive.values()
        return place

    def _add(self, name: str, cpus: int) -> Any:
        own = self.folder / name
        (own / "tmp").mkdir(parents=True)
        environment = {
            "BENCH_DATA": str(own / "data"),
            "TMPDIR": str(own / "tmp"),
            "PYTHONPATH": self.python_path,
            "OMP_NUM_THREADS": "1",
        }
        return self.cluster.add_node(
            num_cpus=cpus, object_store_memory=STORE_BYTES, include_dashboard=False, env_vars=environment
        )

    def kill(self, node: Any) -> None:
        """End a node as a loss of power would: its raylet and all that this has started."""
        (raylet,) = (info.process.pid for info in node.all_processes["raylet"])
        doomed = [raylet, *descendants(raylet)]
        for process in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        del self.alive[node]

    def end(self) -> None:
        """End the cluster and all that it has started: Ray's agents may stay for a minute."""
        started = [process for process in descendants(os.getpid()) if "ray" in command(process)]
        self.cluster.shutdown()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and any(is_running(process) for process in started):
            time.sleep(0.1)
        for process in started:
            with contextlib.suppress(ProcessLookupError):
                if is_running(process):
                    os.kill(process, signal.SIGKILL)


@contextlib.contextmanager
def cluster(folder: Path, nodes: int = 2, **options: Any) -> Iterator[Nodes]:
    """Have a cluster."""
    running = Nodes(folder, nodes, **options)
    try:
        yield running
    finally:
        running.end()


def descendants(parent: int) -> list[int]:
    """Return the processes that a process has started, directly or not."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, left = [], [parent]
    while left:
        found += children.get(this := left.pop(), [])
        left += children.get(this, [])
    return found


def is_running(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def command(process: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""
