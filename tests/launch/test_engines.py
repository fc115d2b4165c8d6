"""The engines of a sweep: whoever runs the cells, the tables are the same, and one death takes one cell."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import torch
from patience import PATIENCE_S
from swept import CELLS, Swept
from tiny import cell_of, plugin

from bench.launch import inline, local
from bench.launch.events import Ended, Event, Progress, Started, Stopped
from bench.processes.failure import reason_of
from bench.store.cells import Store


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """The sweep in this very process."""
    return Swept(tmp_path_factory.mktemp("inline"), inline.hire)


def test_inline_tells_of_everything_in_order_and_leaves_nothing(reference: Swept) -> None:
    assert reference.ended == {"done": 4} and reference.left() == []
    told = [(type(event), event.cell) for event in reference.events if isinstance(event, Started | Progress | Ended)]
    expected = [
        (kind, cell.folder) for cell in reference.sweep.cells for kind in (Started, Progress, Progress, Progress, Ended)
    ]
    assert told == expected


def test_local_gives_the_tables_of_inline(reference: Swept, tmp_path: Path) -> None:
    swept = Swept(tmp_path, local.hire, jobs=2)
    assert swept.ended == {"done": 4} and swept.left() == []
    assert swept.tables == reference.tables


@pytest.mark.slow
def test_one_cell_at_a_time_trains_its_clients_in_several_workers(
    reference: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One cell is enough: each has workers of its own, which take seconds to start."""
    monkeypatch.setattr(local, "cores", lambda: 2)
    swept = Swept(tmp_path, local.hire, CELLS.replace('["orthdrop", "fedavg"]', '"orthdrop"').replace("[0, 1]", "0"))
    (cell,) = swept.sweep.cells
    assert swept.ended == {"done": 1} and swept.left() == []
    expected = {name: [row for row in rows if row["cell"] == cell.folder] for name, rows in reference.tables.items()}
    assert expected["rounds"] and swept.tables == expected


def test_cores_are_shared_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "cores", lambda: 7)
    cells = [cell_of(seed=seed) for seed in range(3)]
    crews = [local.hire(Store(tmp_path), (), "cpu", jobs, cells) for jobs in (None, 1, 2, 3, 9)]
    assert [(crew.jobs, crew.training_workers) for crew in crews] == [(3, 2), (1, 7), (2, 3), (3, 2), (3, 2)]


def test_inline_stops_with_a_checkpoint_and_goes_on(reference: Swept, tmp_path: Path) -> None:
    stopped = Swept(tmp_path, inline.hire, stop_after=0.0)
    assert stopped.ended == {} and stopped.events == []  # no time for even one

    def linger(event: Event) -> None:
        time.sleep(0.6 if isinstance(event, Progress) else 0.0)

    stopped = Swept(tmp_path, inline.hire, stop_after=0.5, hear=linger)
    assert stopped.ended == {} and [type(event) for event in stopped.events][-1] is Stopped
    assert len(stopped.left()) == 1
    finished = Swept(tmp_path, inline.hire)
    assert finished.ended == {"done": 4} and finished.tables == reference.tables and finished.left() == []


def test_an_interruption_of_inline_gives_the_lease_back(reference: Swept, tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, Progress):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Swept(tmp_path, inline.hire, hear=interrupt)
    assert list((tmp_path / "results" / "unfinished").glob("*/lease.json")) == []
    assert Swept(tmp_path, inline.hire).tables == reference.tables


@pytest.mark.slow
def test_engines_share_a_folder(reference: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sweeps at once, in two threads: each cell is run once."""
    monkeypatch.setattr(local, "cores", lambda: 1)  # no workers for training beside the process of the cells
    swept: list[Swept] = []
    others = threading.Thread(target=lambda: swept.append(Swept(tmp_path, local.hire, jobs=1)))
    others.start()
    time.sleep(0.2)
    swept.append(Swept(tmp_path, inline.hire))
    others.join(timeout=PATIENCE_S)
    assert not others.is_alive()
    begun = [event.cell for one in swept for event in one.events if isinstance(event, Started)]
    assert sorted(begun) == sorted(cell.folder for cell in reference.sweep.cells)
    assert [one.ended for one in swept] == [{"done": 4}] * 2 and swept[0].tables == reference.tables


DYING = "__import__('os').kill(__import__('os').getpid(), 9)"
STARVED = "__import__('numpy').ones(10**15)"
LIMITED = "__import__('resource').setrlimit(__import__('resource').RLIMIT_AS, (8 << 30,) * 2); torch.ones(4 << 30)"


def test_a_death_takes_one_cell(tmp_path: Path) -> None:
    """One kills its process, one asks numpy and one torch for more memory than there is; the last runs after them."""
    plugins = (
        plugin(tmp_path, "dying", select=DYING),
        plugin(tmp_path, "starved", extract=STARVED),
        plugin(tmp_path, "limited", select=LIMITED),
        plugin(tmp_path, "sound"),
    )
    methods = '[[cells]]\nmethod = ["dying", "starved", "limited", "sound"]\n'
    swept = Swept(tmp_path, local.hire, methods, plugins, jobs=2)
    assert swept.ended == {"failed": 3, "done": 1}
    assert "ended with signal SIGKILL: it was ended from outside" in swept.reason("dying")
    for method in ("starved", "limited"):
        assert swept.reason(method).startswith("round 1: out of memory; fewer cells at once (--jobs)")
    assert all("\n" not in swept.reason(method) for method in ("dying", "starved", "limited"))


@pytest.mark.slow
def test_a_killed_training_worker_takes_its_cell(tmp_path: Path) -> None:
    """The process that trains a client is ended from outside, as the kernel does when memory is short."""
    if local.cores() < 2:
        pytest.skip("one core: there are no training workers")
    killer = plugin(
        tmp_path,
        "killer",
        select="import os\n"
        "        children = open(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read().split()\n"
        "        [os.kill(int(child), 9) for child in children]",
    )
    swept = Swept(tmp_path, local.hire, '[[cells]]\nmethod = "killer"\n', (killer,), jobs=1)
    assert swept.ended == {"failed": 1}
    assert "one of the processes that train its clients ended with signal SIGKILL" in swept.reason("killer")


def test_all_processes_are_asked_to_end_before_any_is_waited_for(tmp_path: Path) -> None:
    crew, done = local.LocalCrew(Store(tmp_path), (), "cpu", jobs=2), list[str]()

    class Slow:
        def __init__(self, cell: str | None) -> None:
            self.cell = cell

        def ask_to_end(self, at_once: bool) -> None:
            assert at_once == (self.cell is not None)  # who runs nothing ends by itself
            done.append("asked")

        def end(self, seconds: float) -> None:
            assert 0.0 <= seconds <= local.END_SECONDS
            done.append("waited for")

    crew.processes += [Slow(None), Slow("a cell")]  # type: ignore[list-item]
    crew.end()
    assert done == ["asked"] * 2 + ["waited for"] * 2


def test_reasons_are_sentences() -> None:
    for error in (
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried"),
        RuntimeError("DefaultCPUAllocator"),
    ):
        assert reason_of(error).startswith("out of memory; fewer cells")
