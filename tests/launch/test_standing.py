"""What the estimate of the time left is taken from."""

from __future__ import annotations

import shutil
from pathlib import Path

from tiny import cell_of, sweep_of

from bench.config.cells import read_sweep
from bench.launch.running import run_cell
from bench.launch.standing import standing
from bench.store.cells import Store
from bench.store.made import made
from bench.store.wholeness import sealed, whole


def test_the_time_left_comes_from_the_cells_most_alike(tmp_path: Path) -> None:
    """Cells to do, and what the time of their two rounds is taken from as ever more of the others are done."""
    grid = """[[cells]]
        method = ["orthdrop", "prism", "fedavg"]
        keep = [0.2, 0.5]
        [cells.training]
        local_epochs = [3, 4]
        lr = [0.11, 0.22]
        """
    file = sweep_of(tmp_path, grid)
    store, model = Store(tmp_path / "results"), Store(tmp_path).path(cell_of())
    run_cell(cell_of(), store=Store(tmp_path))
    chosen = {
        (cell.method, cell.keep, cell.training["local_epochs"], cell.training["lr"]): cell
        for cell in read_sweep(file).cells
    }
    wanted = chosen["prism", 0.2, 4, 0.22]
    for alike, minutes in (
        (("orthdrop", 0.5, 3, 0.11), 40),
        (("orthdrop", 0.5, 4, 0.11), 30),  # of the same epochs
        (("orthdrop", 0.2, 4, 0.11), 20),  # and of the same keep ratio
        (("prism", 0.2, 4, 0.11), 10),  # and of the same method
    ):
        cell = chosen[alike]
        shutil.copytree(model, store.path(cell))
        own = {"cell": cell.canonical(), "identity": cell.identity, **made(cell).facts()}
        facts = whole(model) | own | {"seconds": 2 * 60.0 * minutes}
        (store.path(cell) / "cell.json").write_bytes(sealed(facts))
        known = [store.record(cell, made(cell), None) for cell in chosen.values()]
        left = [record for record in known if record.state == "done" or record.cell == wanted]
        now = standing(left, store, ())
        assert (now.seconds, now.unknown) == (2 * 60.0 * minutes, 0), alike
    # A method of another family has nothing to compare with.
    assert standing([*left, *(record for record in known if record.cell.method == "fedavg")], store, ()).unknown == 4
