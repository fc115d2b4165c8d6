"""``bench.run`` and ``bench.load``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tiny import CNN, SETTINGS, TRAINING, numbers, plugin, read

import bench
from bench.errors import BenchError
from bench.launch.running import run_cell
from bench.launch.sweep import records, write_tables
from bench.store.cells import Store


def test_run_gives_the_rounds_that_a_sweep_stores(tmp_path: Path) -> None:
    sweep = read(tmp_path, '[[cells]]\nmethod = "orthdrop"\nkeep = 0.5\n')
    store = Store(tmp_path / "results")
    run_cell(sweep.cells[0], store=store)
    write_tables(sweep, store, records(sweep, store))
    tables = bench.load(tmp_path / "results")
    assert set(tables) == {"cells", "rounds", "ranks"}
    generator = torch.get_rng_state()
    rounds = numbers(bench.run(**SETTINGS))
    assert torch.equal(torch.get_rng_state(), generator)
    stored = tables["rounds"][list(rounds)].astype({"status": object, "data_title": object})
    pd.testing.assert_frame_equal(rounds, stored, check_dtype=False, check_exact=True)
    assert rounds["round"].tolist() == [0, 1, 2] and set(rounds["status"]) == {"done"}


@pytest.mark.slow
def test_capacities_drawn_anew_are_others_than_fixed_ones() -> None:
    mixed = {**SETTINGS, "keep": "a-d", "cohort": 4}
    dynamic, fixed = (numbers(bench.run(**mixed, capacity=capacity)) for capacity in ("dynamic", "fixed"))
    pd.testing.assert_frame_equal(numbers(bench.run(**mixed)), fixed)
    # All four clients take part: the same ones are strong in every round, or others are.
    parameters = [rounds.loc[rounds["round"] > 0, "client_parameters"].tolist() for rounds in (fixed, dynamic)]
    assert len(set(parameters[0])) == 1 and parameters[0] != parameters[1]


def test_settings_in_tables_mean_the_same_as_by_name() -> None:
    by_name = bench.run(**{**SETTINGS, "rounds": 1})
    in_table = bench.run(task=CNN, method="orthdrop", keep=0.5, training={**TRAINING, "rounds": 1})
    pd.testing.assert_frame_equal(numbers(by_name), numbers(in_table))


def test_plugin_gives_the_same_numbers_in_worker_processes(tmp_path: Path) -> None:
    """The plugin's classes, sub-models among them, are found in spawned processes."""
    path = plugin(tmp_path, "wraps", extract="return Wrapped(copy_of(server.model))", select="self.seen = True")
    wrapped = """
class Wrapped(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, inputs):
        return self.inner(inputs)
"""
    text = path.read_text().replace("values in update.parameters.items():\n", "values in update.parameters.items():\n"
                                    "                name = name.removeprefix('inner.')\n")  # fmt: skip
    path.write_text(text + wrapped)
    settings = {**SETTINGS, "method": "wraps", "plugin": path, "rounds": 1}
    one, two = (numbers(bench.run(**settings, workers=workers, inline=True)) for workers in (1, 2))
    pd.testing.assert_frame_equal(one, two)


@pytest.mark.slow
def test_clients_of_mixed_keep_ratios_have_the_costs_of_their_own() -> None:
    def costs(keep: float | str) -> list[float]:
        return bench.run(**{**SETTINGS, "keep": keep, "rounds": 4})["client_parameters"].tolist()[1:]

    weak, strong = costs(0.25)[0], costs(0.75)[0]
    # Two clients a round: both weak, one of each kind, or both strong.
    mixed = costs("0.25:0.5,0.75:0.5")
    assert set(mixed) <= {weak, (weak + strong) / 2, strong} and len(set(mixed)) > 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "orthdorp"}, ["bench.run", "'orthdorp'", "did you mean 'orthdrop'"]),
        ({"task": "femnist"}, ["bench.run", "'femnist'", f"did you mean '{CNN}'"]),
        ({"keep": 0}, ["keep = 0 ", "above 0 and up to 1"]),
        ({"keep": "0.2:0.6,0.4:0.3"}, ["bench.run: keep = '0.2:0.6,0.4:0.3'", "add up to 0.9"]),
        ({"diagnostics": "eror"}, ["diagnostics = 'eror'", "did you mean 'errors'"]),
        ({"kep": 1}, ["'kep'", "did you mean 'keep'"]),
        ({"rouds": 1}, ["'rouds'", "did you mean 'rounds'"]),
        ({"rounds": 0}, ["bench.run, training", "rounds = 0 ", "a whole number from 1"]),
        ({"training": 5}, ["bench.run, training", "5 is not a table"]),
        ({"training": [1]}, ["bench.run, training", "[1] is not a table"]),
        ({"parameters": {"tial": "keep"}}, ["parameters of orthdrop", "'tial'", "did you mean 'tail'"]),
        ({"model": {"variant": 3}}, ["model of cnn-femnist", "variant = 3 ", "'paper'"]),
        ({"device": "gpu"}, ["'gpu'", "'cuda'"]),
        ({"plugin": 3}, ["bench.run: plugin = 3 is not possible", "the path of a file, or a list of them"]),
        ({"plugin": ["mine.py", 3]}, ["bench.run: plugin = ['mine.py', 3] is not possible"]),
        ({"plugin": ["nowhere.py"]}, ["plugin nowhere.py", "no such file"]),
        ({"plugin": "nowhere.py"}, ["plugin nowhere.py", "no such file"]),
        ({"partition": "iid", "samples_per_client": 400}, ["samples_per_client=400 need 1600", "has 400"]),
        ({"cohort": 5}, ["cohort = 5 ", "clients = 4"]),
    ],
)
def test_mistakes_are_sentences(change: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(BenchError) as refused:
        bench.run(**{**SETTINGS, **change})
    said = str(refused.value)
    assert [word for word in words if word not in said] == [] and "\n" not in said, said


def test_load_of_a_folder_without_tables(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="there are no tables here"):
        bench.load(tmp_path)
    with pytest.raises(BenchError, match="there are no tables here"):
        bench.load(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("folder", [3, None, ["results"]])
def test_load_of_what_is_no_path(folder: Any) -> None:
    with pytest.raises(BenchError, match=r"bench.load: folder = .* is not possible; allowed: the path of a folder or"):
        bench.load(folder)


def test_load_of_a_damaged_table(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "rounds.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(BenchError, match="tables: a table is damaged"):
        bench.load(tmp_path)
