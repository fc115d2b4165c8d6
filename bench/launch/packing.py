"""Packs cells onto accelerators by the memory that cells of their kind were measured to need.

A kind is a cell but for its seed, partition and alpha, which change no shape. A kind that was never measured, and a
cell that ran out of memory beside others, has a device to itself. What is measured is what the allocator took at its
peak; that differs from run to run, and a process has its context: hence a margin, and a limit for each process.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.cell import Cell, from_canonical
from bench.store.cells import Store

MARGIN = 1.5
"""What is set aside for a cell's tensors is their measured peak times this."""
CONTEXT_BYTES = 768 << 20
"""What a process holds of an accelerator beside its tensors: its context and loaded kernels, 0.3 to 0.6 GiB."""


@dataclass(frozen=True)
class Share:
    """A cell's part of one device.

    Attributes:
        device: number of the device.
        tensor_bytes: what the cell's tensors may take; None for all that there is.
        crowded: whether other cells may share the device.
    """

    device: int
    tensor_bytes: int | None
    crowded: bool

    def claim(self, kind: str) -> None:
        """Have this process use this device alone, and no more than its part of it."""
        if kind != "cuda":
            return
        import torch

        torch.cuda.set_device(self.device)
        if self.tensor_bytes is not None:
            total = torch.cuda.get_device_properties(self.device).total_memory
            torch.cuda.set_per_process_memory_fraction(min(self.tensor_bytes / total, 1.0))


def kind_of(cell: Cell) -> str:
    """Return what cells that need the same memory have in common."""
    return replace(cell, seed=0, partition="iid", alpha=None).identity


def measured(store: Store, kinds: Collection[str]) -> Iterator[tuple[str, int]]:
    """Yield kind and peak bytes of each finished cell of these kinds that was run on a CUDA device."""
    for path in sorted(store.cells.glob("[!.]*")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, pa.ArrowException):  # damaged: not used
            kind = kind_of(from_canonical(json.loads((path / "cell.json").read_bytes())["cell"]))
            device = json.loads((path / "environment.json").read_bytes())["device"]
            if kind in kinds and device.startswith("cuda"):
                yield kind, peak_of(path)


def peak_of(folder: Path) -> int:
    """Return the peak memory of a finished cell in bytes, 0 if it was not measured."""
    peaks = pq.read_table(folder / "rounds.parquet", columns=["peak_memory_bytes"]).column(0)
    return int(pc.max(peaks).as_py() or 0)


class Packing:
    """Which cells are on which device.

    Args:
        devices: bytes of each device that may be used, by its number.
        known: peak bytes of finished cells by kind; the largest counts.
        each: number of cells for each device, whatever they need; None to go by memory.
    """

    def __init__(
        self, devices: Mapping[int, int], known: Iterable[tuple[str, int]] = (), each: int | None = None
    ) -> None:
        self.devices, self.each = dict(devices), each
        self.peaks: dict[str, int] = {}
        self.on: dict[int, dict[str, int]] = {number: {} for number in devices}
        self._alone: set[str] = set()
        for kind, peak in known:
            self.learn(kind, peak)

    def learn(self, kind: str, peak_bytes: int) -> None:
        """Take the measured peak of a finished cell into account."""
        self.peaks[kind] = max(peak_bytes, self.peaks.get(kind, 0))

    def learn_from(self, store: Store, cell: Cell) -> None:
        """Take into account what a finished cell says it needed."""
        self.learn(kind_of(cell), peak_of(store.path(cell)))

    def need(self, cell: Cell) -> int | None:
        """Return the bytes to set aside for a cell; None where it shall have a device to itself."""
        peak = self.peaks.get(kind_of(cell))
        if peak is None or cell.identity in self._alone:
            return None
        return int(peak * MARGIN) + CONTEXT_BYTES

    def free(self, device: int) -> int:
        """Return the bytes of a device that are not set aside."""
        return self.devices[device] - sum(self.on[device].values())

    def place(self, cell: Cell) -> int | None:
        """Return the device, the one with most room, on which a cell can begin now; None if it has to wait."""
        empty = [number for number in self.devices if not self.on[number]]
        need = self.need(cell)
        if self.each is not None and cell.identity not in self._alone:
            room = [number for number in self.devices if len(self.on[number]) < self.each and self.free(number) > 0]
            return min(room, key=lambda number: len(self.on[number]), default=None)
        if need is None or need > max(self.devices.values()):  # alone, even what no device should hold is worth a try
            return max(empty, key=lambda number: self.devices[number], default=None)
        return max((number for number in self.devices if need <= self.free(number)), key=self.free, default=None)

    def begin(self, cell: Cell) -> Share:
        """Set memory aside for a cell that has a place."""
        number = self.place(cell)
        assert number is not None
        total, need = self.devices[number], self.need(cell)
        if self.each is not None and cell.identity not in self._alone:
            self.on[number][cell.identity] = total // self.each
            return Share(number, None, crowded=self.each > 1)
        if need is None or need > total:
            self.on[number][cell.identity] = total
            return Share(number, None, crowded=False)
        self.on[number][cell.identity] = need
        return Share(number, need - CONTEXT_BYTES, crowded=True)

    def end(self, cell: Cell, crowded_out: bool = False) -> None:
        """Give back what was set aside for a cell; one that ran out of memory beside others is alone from now on."""
        for cells in self.on.values():
            cells.pop(cell.identity, None)
        if crowded_out:
            self._alone.add(cell.identity)
