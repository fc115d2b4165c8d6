"""Bundles that somebody has edited with care: every checksum is right."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.files import checksum
from bench.store.bundle import CELLS, MANIFEST, MEMBERS
from bench.store.container import members_of, packed
from bench.store.wholeness import sealed

Members = dict[str, bytes]


def reseal(path: Path, change: Callable[[Members], object], manifest: Callable[[dict[str, Any]], object] = id) -> None:
    """Change the members of a bundle, or what its manifest says, and make all checksums right again."""
    members = members_of(path.read_bytes(), MEMBERS)
    about = json.loads(members.pop(MANIFEST))
    del about["checksum"]
    change(members)
    for name, content in members.items():
        if name in about["members"]:
            about["members"][name] |= {"size": len(content), "checksum": checksum(content)}
    manifest(about)
    path.write_bytes(packed({MANIFEST: sealed(about), **members}))


def of_cells(change: Callable[[dict[str, Any]], object]) -> Callable[[Members], None]:
    """Return a change of members that changes the content of ``cells.json``."""

    def apply(members: Members) -> None:
        content = json.loads(members[CELLS])
        change(content)
        members[CELLS] = json.dumps(content).encode()

    return apply


def of_facts(**changes: Any) -> Callable[[Members], None]:
    """Return a change of members that changes facts of the first cell; None deletes one."""

    def apply(content: dict[str, Any]) -> None:
        for name, value in changes.items():
            if value is None:
                del content["cells"][0]["facts"][name]
            else:
                content["cells"][0]["facts"][name] = value

    return of_cells(apply)


def of_table(change: Callable[[pa.Table], pa.Table], name: str = "ranks", **how: Any) -> Callable[[Members], None]:
    """Return a change of members that writes a table anew, in whichever way parquet can be written."""

    def apply(members: Members) -> None:
        file, content = f"{name}.parquet", io.BytesIO()
        table = change(pq.read_table(pa.BufferReader(members[file])))
        pq.write_table(table, content, **{"compression": "zstd", "store_schema": False, **how})
        members[file] = content.getvalue()

    return apply
