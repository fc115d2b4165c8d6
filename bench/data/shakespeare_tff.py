"""TensorFlow Federated's Shakespeare: 715 speaking roles, natural users, each with its own training and test snippets.

Source: ``tff.simulation.datasets.shakespeare``, made by the preprocessing of S. Caldas et al., LEAF: A Benchmark for
Federated Settings, arXiv:1812.01097.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.data import characters, tables
from bench.data.dataset import Split
from bench.data.imported import Imported
from bench.data.shards import parquet_splits
from bench.data.tree import Tree
from bench.errors import BenchError

if TYPE_CHECKING:
    import pyarrow

PAGE = "https://www.tensorflow.org/federated/api_docs/python/tff/simulation/datasets/shakespeare"
COLUMNS = ("client", "snippets")
CLIENTS = 715
SNIPPETS = {"train": 16_068, "test": 2_356}
SHA256 = {
    "train": "3fe10809693287b524513cf43cfbac0a12721e83e735f2f697be69611e9ae362",
    "test": "329a9cddfe4a698e8191dc91188ed3299fbe28a02ec3ce79a954a20f210a8667",
}
"""Of the snippets with their clients, ordered by client, see :func:`digest`."""

Rows = list[tuple[str, str]]


def read(path: Path, progress: Callable[[str], None] | None = None, published: bool = True) -> Imported:
    """Cut each snippet into sequences of character ids, see :func:`bench.data.characters.sequences`.

    Users are numbered in the order of their ids, the same in both splits.

    Args:
        path: a folder or archive with ``train-*.parquet`` and ``test-*.parquet``, one snippet a row, columns ``client``
            and ``snippets``, the rows of a client in the publisher's order.
        progress: called with lines for people.
        published: insist on the published numbers of clients and snippets; say whether these are the publisher's.

    Raises:
        BenchError: there are no such files, HDF5 files in their place, or files that are damaged or of other rows.
    """
    report = progress or (lambda line: None)
    tree = Tree(path)
    shards = parquet_splits(tree, report)
    if not (shards["train"] and shards["test"]):
        raise _missing(tree, shards)
    report(f"read from {path}: {tree.few([*shards['train'], *shards['test']])}")
    rows = {split: _rows(tree, names) for split, names in shards.items()}
    if published:
        _check(rows, path, report)
    number_of = {client: number for number, client in enumerate(sorted({client for client, _ in rows["train"]}))}
    if strangers := sorted({client for client, _ in rows["test"]} - set(number_of)):
        raise BenchError(f"{path}: client {strangers[0]!r} has test snippets and no training snippet, both expected")
    train, test = (_split(rows[split], number_of) for split in ("train", "test"))
    report(f"{len(train):,} training and {len(test):,} test sequences of {len(number_of)} roles")
    return Imported(train, test, "Shakespeare (TFF)", characters.VOCABULARY, f"parquet, {path}")


def digest(rows: Rows) -> str:
    """Return the SHA-256 of snippets with their clients, in order."""
    return hashlib.sha256("".join(f"{client}\0{text}\0" for client, text in rows).encode()).hexdigest()


def _missing(tree: Tree, shards: dict[str, list[str]]) -> BenchError:
    if any(name.lower().endswith((".h5", ".hdf5")) for name in tree.sizes):
        return BenchError(
            f"{tree.path}: {tree.few(tree.sizes)}: HDF5 files are not read here; the lines of"
            " docs/tasks-and-data.md, 'TensorFlow Federated's Shakespeare', write them as train and test parquet files"
        )
    here = [name for names in shards.values() for name in names]
    found = f"{tree.few(here)} alone" if here else "no train-*.parquet and test-*.parquet found"
    return BenchError(
        f"{tree.path}: {found}, both splits with the columns {' and '.join(COLUMNS)} expected; {tree.holds()}"
    )


def _rows(tree: Tree, names: list[str]) -> Rows:
    """Return client and snippet of each row, ordered by client and else as they stand in the files."""
    rows: Rows = []
    for place, file in tree.tables(names):
        for _, batch in tables.batches(place, file, COLUMNS):
            for column in COLUMNS:
                _check_texts(batch.column(column), column, place)
            rows += zip(*(batch.column(column).to_pylist() for column in COLUMNS), strict=True)
    if not rows:
        raise BenchError(f"{tree.path}: {tree.few(names)}: no rows, one snippet at least expected")
    return sorted(rows, key=lambda row: row[0])


def _check_texts(cells: pyarrow.Array, column: str, place: str) -> None:
    from pyarrow import types

    if not (types.is_string(cells.type) or types.is_large_string(cells.type)) or cells.null_count:
        kind = f"{cells.type} with {cells.null_count} empty rows" if cells.null_count else cells.type
        raise BenchError(f"{place}: column {column!r} holds {kind}, texts without gaps expected")


def _check(rows: dict[str, Rows], path: Path, report: Callable[[str], None]) -> None:
    for split, expected in SNIPPETS.items():
        clients = len({client for client, _ in rows[split]})
        if (len(rows[split]), clients) != (expected, CLIENTS):
            raise BenchError(
                f"{path}: {len(rows[split]):,} {split} snippets of {clients:,} clients, {expected:,} of {CLIENTS}"
                " expected"
            )
    other = [split for split in SNIPPETS if digest(rows[split]) != SHA256[split]]
    report(
        f"not the published snippets, or not in the published order: {', '.join(other)}"
        if other
        else "all snippets are the published ones"
    )


def _split(rows: Rows, number_of: dict[str, int]) -> Split:
    inputs, labels, counts = characters.sequences(text for _, text in rows)
    users = np.repeat(np.array([number_of[client] for client, _ in rows], dtype=np.int32), counts)
    return Split(inputs, labels, users)
