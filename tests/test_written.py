"""What a number is: in texts, in files and as objects of Python; and which numbers are the same."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import CNN, TRAINING, cell_of, write

import bench
from bench.config.cells import Sweep, make_cell, read_sweep
from bench.errors import BenchError
from bench.launch.running import run_cell
from bench.launch.sweep import only, records, write_tables
from bench.store.cells import Store
from bench.toml_files import STUDY, read_toml
from bench.written import number_in, plain, rounded, whole_in

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("text", ["0.25", ".25", "1e-3", "-4", "+4.", "1E5", "inf", "-inf", "007"])
def test_these_texts_are_numbers(text: str) -> None:
    assert number_in(text) == float(text)


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "1\n", "1_0", "٠.٣", "１", "nan", "Infinity", "0x1", "1e", "e5", ".", "1,5", "--1", "²"]
)  # fmt: skip
def test_these_are_none(text: str) -> None:
    assert number_in(text) is None
    assert whole_in(text) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_twelve_digits_of_a_number_count(number: float) -> None:
    kept = rounded(number)
    assert math.isclose(kept, number, rel_tol=5.1e-12, abs_tol=1e-320)
    assert rounded(kept) == kept and math.copysign(1, rounded(-0.0)) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"keep": 0.3}, {"keep": 0.1 + 0.2}),
        ({"keep": "0.3:0.5,1:0.5"}, {"keep": "0.30000000000000004:0.5,1:0.5"}),
        ({"keep": "0.5:0.3,1:0.7"}, {"keep": "0.5:0.30000000000000004,1:0.7"}),
        ({"alpha": 0.3}, {"alpha": 0.1 + 0.2}),
        ({"training": {"lr": 0.3}}, {"training": {"lr": 0.1 + 0.2}}),
        ({"training": {"weight_decay": 0.0}}, {"training": {"weight_decay": -0.0}}),
        ({"parameters": {"kappa": 0.3}}, {"parameters": {"kappa": 0.1 + 0.2}}),
        ({"keep": 0.2}, {"keep": np.float32(0.2)}),
        ({"keep": 0.2, "seed": 3}, {"keep": np.float16(0.2), "seed": np.int64(3)}),
        ({"training": {"rounds": 5}}, {"training": {"rounds": np.uint8(5)}}),
        ({"training": {"drop_last": True}}, {"training": {"drop_last": np.bool_(True)}}),
        ({"alpha": 1.0}, {"alpha": np.array(1)}),
        ({"partition": "iid"}, {"partition": np.str_("iid")}),
    ],
)
def test_numbers_that_are_the_same_are_one_cell(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert cell_of("prism", **one).identity == cell_of("prism", **other).identity


def test_a_default_of_many_digits_is_no_change() -> None:
    """A recipe may hold a third: what counts of it is compared, not all its bits."""
    cell = cell_of("prism", training={"validation": 1 / 3})
    assert cell.training["validation"] == 0.333333333333


def test_only_finds_the_number_however_it_is_written(tmp_path: Path) -> None:
    file = write(tmp_path / "a.toml", f'[[cells]]\ntask = "{CNN}"\nmethod = "prism"\nkeep = [0.3, 0.5]\n')
    assert [cell.keep for cell in only(read_sweep(file), "keep=0.30000000000000004").cells] == [0.3]
    with pytest.raises(BenchError, match="no cell of a has it"):
        only(read_sweep(file), "keep=٠.٣")


NO_NUMBERS: list[Any] = [
    True, np.bool_(True), math.nan, np.float32("nan"), -math.inf, pd.NA, None, "0.2", [0.2], np.array([[1], [2]]), 1j,
    10**400,
]  # fmt: skip


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
@pytest.mark.parametrize("name", ["keep", "seed", "rounds", "lr"])
def test_what_is_no_number_is_refused_in_a_sentence(name: str, value: Any) -> None:
    if value is None and name == "seed":
        pytest.skip("left out")
    table = {"training": {name: value}} if name in ("rounds", "lr") else {name: value}
    with pytest.raises(BenchError) as refused:
        make_cell({"task": CNN, "method": "prism", **table}, "here")
    said = str(refused.value)
    assert said.startswith("here") and "not possible" in said and "\n" not in said


@pytest.mark.parametrize("axis", ["capacity", "partition", "tier", "data", "diagnostics"])
@pytest.mark.parametrize("value", [pd.NA, np.array([1, 2]), 3, ["a"]], ids=repr)
def test_what_is_no_word_is_refused_in_a_sentence(axis: str, value: Any) -> None:
    with pytest.raises(BenchError, match=f"here: {axis} = .* is not possible; allowed: "):
        make_cell({"task": CNN, "method": "prism", axis: value}, "here")


@pytest.mark.parametrize("change", [{"workers": True}, {"workers": 0}, {"workers": "2"}, {"plugin": 3}], ids=repr)
def test_workers_and_plugin_of_the_wrong_type(change: dict[str, Any]) -> None:
    with pytest.raises(BenchError, match=f"bench.run: {next(iter(change))} = .* is not possible; allowed: "):
        bench.run(task=CNN, method="fedavg", **change)


def test_a_row_of_a_table_runs_the_same_cell_again(tmp_path: Path) -> None:
    cell = cell_of("orthdrop", keep=0.2, seed=3, alpha=0.3)
    store = Store(tmp_path / "results")
    run_cell(cell, store=store)
    sweep = Sweep("a", "a", (cell,))
    write_tables(sweep, store, records(sweep, store))
    row = bench.load(tmp_path / "results")["cells"].astype({"keep": np.float32}).iloc[0]
    settings = {name: row[name] for name in ("task", "method", "keep", "partition", "alpha", "seed", "tier")}
    again = bench.run(**settings, workers=np.int64(1), **{name: np.int64(value) for name, value in TRAINING.items()})
    assert again["test_acc"].tail(3).mean() == pytest.approx(row["final_acc"])
    assert make_cell({**settings, "training": TRAINING}, "row").identity == cell.identity


UTF8 = f'title = "é"\n[[cells]]\ntask = "{CNN}"\nmethod = "fedavg"\n'
FILES: dict[str, tuple[bytes, str]] = {
    "utf-16": (UTF8.encode("utf-16"), "the sweep file is in UTF-16; save it in UTF-8"),
    "utf-32": (UTF8.encode("utf-32"), "the sweep file is in UTF-32; save it in UTF-8"),
    "utf-16 without a mark": (UTF8.replace("é", "e").encode("utf-16-le"), "holds null characters, as a file in UTF-16"),
    "latin-1": (UTF8.encode("latin-1"), "most likely Latin-1 or Windows-1252 (byte 0xe9 in line 1); save it in UTF-8"),
    "brackets": (b"a = " + b"[" * 1000 + b"]" * 1000, "nested in it hundreds of times"),
    "tables": (b"a = " + b"{a=" * 1000 + b"1" + b"}" * 1000, "nested in it hundreds of times"),
    "digits": (b"seed = " + b"9" * 5000, "a number in it has thousands of digits; allowed: whole numbers of 64 bits"),
    "hexadecimal": (b"seed = 0x" + b"f" * 5000, "a whole number of 20,000 bits is not possible; allowed: 64 bits"),
    "long list": (b"seed = [1, 0x1" + b"f" * 17 + b"]", "a whole number of 69 bits is not possible"),
    "empty": (b"", "it has no [[cells]] table"),
    "mark alone": (b"\xef\xbb\xbf", "it has no [[cells]] table"),
    "large": (b"#" * 10_000_001, "(it is larger than 10 MB)"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_as_it_should_be_is_one_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(FILES[name][0])
    with pytest.raises(BenchError) as refused:
        read_sweep(path)
    said = str(refused.value)
    assert said.startswith(f"{path}: ") and FILES[name][1] in said and len(said) < 400 and "\n" not in said


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_what_windows_writes_is_read(tmp_path: Path, mark: bytes, ends: bytes) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(mark + UTF8.encode().replace(b"\n", ends))
    assert read_sweep(path).title == "é"


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    loop = tmp_path / "loop.toml"
    loop.symlink_to(loop)
    for path, words in (
        (Path("/dev/zero"), "a device or a pipe"),
        (tmp_path, "it is a folder"),
        (tmp_path / f"{'a' * 300}.toml", "File name too long"),
        (loop, "symbolic links"),
        (tmp_path / "a\0b", "null"),
    ):
        with pytest.raises(BenchError, match=f"the study file cannot be read \\(.*{words}"):
            read_toml(path, STUDY)


def test_numbers_of_few_bits_are_what_they_were_written_as() -> None:
    assert [plain(np.float32(number)) for number in (0.2, 1e-3, 3.5)] == [0.2, 1e-3, 3.5]
    assert plain({"a": [np.int64(1), (np.float64(0.1),)]}) == {"a": [1, (0.1,)]}
    assert type(plain(np.int64(1))) is int and type(plain(np.float64(1))) is float
