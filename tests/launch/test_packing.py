"""Packing by measured memory: never more than a device has, nobody left out, and as many at once as fit."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from swept import CELLS, Swept
from tiny import cell_of, plugin

from bench.cell import Cell
from bench.errors import BenchError
from bench.launch import devices, inline, local, packing
from bench.launch.events import Again, Ended, Started, Stopped
from bench.launch.local import LocalCrew
from bench.launch.packing import CONTEXT_BYTES, MARGIN, Packing, kind_of, measured
from bench.store.cells import Store

GB = 10**9
METHODS = ("fedavg", "prism", "orthdrop")


def need_of(peak: int) -> int:
    return int(peak * MARGIN) + CONTEXT_BYTES


def test_a_kind_is_all_but_seed_and_partition() -> None:
    cell = cell_of("prism", keep=0.5)
    assert kind_of(cell) == kind_of(replace(cell, seed=3, partition="lda", alpha=0.1))
    others = [cell_of("prism", keep=0.4), cell_of("orthdrop", keep=0.5), replace(cell, diagnostics="all")]
    assert len({kind_of(other) for other in [cell, *others]}) == 4


@settings(max_examples=50)
@given(
    sizes=st.lists(st.integers(2, 80), min_size=1, max_size=3),
    peaks=st.dictionaries(st.sampled_from(METHODS), st.integers(0, 40)),
    order=st.lists(st.tuples(st.sampled_from(METHODS), st.booleans()), min_size=1, max_size=25),
    rng=st.randoms(use_true_random=False),
)
def test_a_device_never_holds_more_than_it_has_and_all_cells_get_on(
    sizes: list[int], peaks: dict[str, int], order: list[tuple[str, bool]], rng: Any
) -> None:
    cells = [cell_of_method(method, seed) for seed, (method, _) in enumerate(order)]
    crowded_out = {cell.identity for cell, (_, fails) in zip(cells, order, strict=True) if fails}
    total = {number: size * GB for number, size in enumerate(sizes)}
    known = {kind_of(cell_of_method(method, 0)): peak * GB for method, peak in peaks.items()}
    placing = Packing(total, known.items())
    waiting, running, done = list(cells), list[tuple[Cell, bool]](), 0
    while waiting or running:
        for cell in list(waiting):
            if placing.place(cell) is not None:
                share = placing.begin(cell)
                waiting.remove(cell)
                running.append((cell, share.crowded))
                alone = [name for names in placing.on.values() if cell.identity in names for name in names]
                assert share.crowded or alone == [cell.identity]
                assert (share.tensor_bytes is None) == (not share.crowded)
        for number, holds in placing.on.items():
            assert sum(holds.values()) <= total[number]
            assert (
                sum(need_of(known[kind]) for kind in kinds_on(holds, cells, known)) <= total[number] or len(holds) == 1
            )
        # Nobody waits who would fit: each waiting cell is too large for what is free, or needs an empty device.
        for cell in waiting:
            need = placing.need(cell)
            if need is None or need > max(total.values()):
                assert all(placing.on.values())
            else:
                assert all(need > placing.free(number) for number in total)
        cell, crowded = running.pop(rng.randrange(len(running)))
        again = crowded and cell.identity in crowded_out
        placing.end(cell, crowded_out=again)
        crowded_out.discard(cell.identity)
        if again:
            waiting.append(cell)
        else:
            done += 1
    assert done == len(cells)


def kinds_on(holds: dict[str, int], cells: list[Cell], known: dict[str, int]) -> list[str]:
    return [kind_of(cell) for cell in cells if cell.identity in holds and kind_of(cell) in known]


def cell_of_method(method: str, seed: int) -> Cell:
    return Cell("cnn-femnist", method, seed=seed)


def test_measured_kinds_are_packed_and_unknown_ones_are_alone() -> None:
    cells = [cell_of_method("prism", seed) for seed in range(9)]
    peak = 10 * GB
    placing = Packing({0: 4 * need_of(peak), 1: 2 * need_of(peak)}, [(kind_of(cells[0]), peak)])
    placed = []
    for cell in cells:
        if placing.place(cell) is not None:
            placed.append(placing.begin(cell).device)
    assert Counter(placed) == {0: 4, 1: 2}
    assert placing.place(cell_of_method("fedavg", 0)) is None
    for cell in cells:
        placing.end(cell)
    share = placing.begin(cell_of_method("fedavg", 0))
    assert (share.crowded, share.tensor_bytes) == (False, None)


def test_a_number_of_jobs_is_spread_over_the_devices() -> None:
    placing = Packing({0: 8 * GB, 1: 8 * GB}, each=2)
    shares = [placing.begin(cell_of_method("prism", seed)) for seed in range(4)]
    assert [share.device for share in shares] == [0, 1, 0, 1]
    assert placing.place(cell_of_method("prism", 4)) is None


def on_fake_devices(placing: Packing) -> Any:
    """Return what hires processes for two devices that are the CPU."""
    return lambda store, plugins, device, jobs, cells: LocalCrew(store, plugins, device, 4, placing)


@pytest.mark.slow
def test_a_sweep_learns_what_a_kind_needs_and_packs_the_rest(tmp_path: Path) -> None:
    """One device: the first cell of each kind runs alone, and then all that are left run at once."""
    placing = Packing({0: 100 * GB})
    cells = CELLS.replace('["orthdrop", "fedavg"]', '"orthdrop"').replace("[0, 1]", "[0, 1, 2]")
    swept = Swept(tmp_path, on_fake_devices(placing), cells)
    assert swept.ended == {"done": 3}
    told = [type(event) for event in swept.events if isinstance(event, Started | Ended)]
    assert told == [Started, Ended, Started, Started, Ended, Ended]
    assert placing.on == {0: {}} and next(iter(placing.peaks.values())) > 10**8
    assert list(measured(swept.store, set(placing.peaks))) == []  # measured, but not on CUDA


HUNGRY = "0 if __import__('os').path.exists({0!r}) else (open({0!r}, 'w'), torch.ones(2**50))"


@pytest.mark.slow
def test_out_of_memory_beside_others_is_tried_again_alone(tmp_path: Path) -> None:
    hungry = plugin(tmp_path, "hungry", extract=HUNGRY.format(str(tmp_path / "was-here")))
    cell = '[[cells]]\nmethod = "hungry"\n'
    kind = kind_of(Swept.cells_of(tmp_path, cell, (hungry,))[0])
    swept = Swept(tmp_path, on_fake_devices(Packing({0: 100 * GB}, [(kind, 10**6)])), cell, (hungry,))
    assert swept.ended == {"done": 1}
    (again,) = (event for event in swept.events if isinstance(event, Again))
    assert "tried again alone" in again.line and not any(isinstance(event, Stopped) for event in swept.events)


def test_finished_cells_on_cuda_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    swept = Swept(tmp_path, inline.hire)
    kinds = {kind_of(cell) for cell in swept.sweep.cells}
    for path in swept.store.cells.glob("*/environment.json"):
        path.write_text(path.read_text().replace('"device": "cpu"', '"device": "cuda"'))
    known = list(measured(swept.store, kinds))
    assert {kind for kind, _ in known} == kinds and len(known) == 4 and min(peak for _, peak in known) > 10**8
    next(swept.store.cells.glob("*/rounds.parquet")).write_bytes(b"damaged")
    assert len(list(measured(swept.store, kinds))) == 3
    monkeypatch.setattr(local, "free_bytes", lambda device: {0: 80 * GB, 1: 80 * GB})
    crew = local.hire(swept.store, (), "cuda", None, swept.sweep.cells)
    assert isinstance(crew.packing, Packing) and set(crew.packing.peaks) == kinds and crew.device == "cuda"
    assert local.hire(Store(tmp_path), (), "cuda:1", 3, swept.sweep.cells).packing.each == 2  # type: ignore[union-attr]


def test_devices_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (number * GB, 9 * GB))
    assert devices.sweep_device("cuda:1") == "cuda:1" and devices.sweep_device("cpu") == "cpu"
    assert devices.free_bytes("cuda") == {0: 0, 1: GB} and devices.free_bytes("cuda:1") == {1: GB}
    for wrong in ("cuda:2", "cuda:", "cuda:x"):
        with pytest.raises(BenchError, match="'cuda:0' to 'cuda:1'"):
            devices.sweep_device(wrong)
    assert packing.MARGIN >= 1
