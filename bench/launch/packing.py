"""Packs cells onto accelerators by the memory that cells of their kind were measured to need.

A kind is a cell but for its seed, partition and alpha, which change no shape. A kind that was never measured, and a
cell that ran out of memory beside others, has a device to itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.cell import Cell
from bench.store import Store

MARGIN = 1.3
"""What is set aside for a cell is its measured peak times this: an allocator keeps more than is in use at once."""
CONTEXT_BYTES = 768 << 20
"""What a process holds of an accelerator beside its tensors: its context and loaded kernels, 0.3 to 0.6 GiB."""


@dataclass(frozen=True)
class Share:
    """A cell's part of one device.

    Attributes:
        device: number of the device.
        fraction: the part of the device's memory that the cell's tensors may take.
        crowded: whether other cells may share the device.
    """

    device: int
    fraction: float
    crowded: bool

    def claim(self, kind: str) -> None:
        """Have this process use this device alone, and no more than its part of it."""
        if kind != "cuda":
            return
        import torch

        torch.cuda.set_device(self.device)
        torch.cuda.set_per_process_memory_fraction(self.fraction)


def kind_of(cell: Cell) -> str:
    """Return what cells that need the same memory have in common."""
    return replace(cell, seed=0, partition="iid", alpha=None).identity


def peak_of(folder: Path) -> int:
    """Return the peak memory of a finished cell in bytes, 0 if it was not measured."""
    peaks = pq.read_table(folder / "rounds.parquet", columns=["peak_memory_bytes"]).column(0)
    return int(pc.max(peaks).as_py() or 0)


class Packing:
    """Which cells are on which device.

    Args:
        devices: bytes of each device that may be used, by its number.
        measured: peak bytes of finished cells by kind; the larger of two counts.
    """

    def __init__(self, devices: Mapping[int, int], measured: Iterable[tuple[str, int]] = ()) -> None:
        self.devices = dict(devices)
        self.peaks: dict[str, int] = {}
        self.on: dict[int, dict[str, int]] = {number: {} for number in devices}
        self._alone: set[str] = set()
        for kind, peak in measured:
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
        """Return the device, the emptiest, on which a cell can begin now; None if it has to wait."""
        number = max(self.devices, key=self.free)
        need = self.need(cell)
        if not self.on[number]:
            return number  # alone even a cell that needs more than the device has is worth a try
        return number if need is not None and need <= self.free(number) else None

    def begin(self, cell: Cell) -> Share:
        """Set memory aside for a cell that has a place."""
        number = self.place(cell)
        assert number is not None
        total, need = self.devices[number], self.need(cell)
        alone = need is None or need > total
        taken = total if need is None else min(need, total)
        self.on[number][cell.identity] = taken
        return Share(number, max(taken - CONTEXT_BYTES, 0) / total if not alone else 1.0, crowded=not alone)

    def end(self, cell: Cell, crowded_out: bool = False) -> None:
        """Give back what was set aside for a cell; one that ran out of memory beside others is alone from now on."""
        for cells in self.on.values():
            cells.pop(cell.identity, None)
        if crowded_out:
            self._alone.add(cell.identity)
