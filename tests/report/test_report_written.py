"""Reports at the end of commands: their address, their place in the manifest, and nothing that fails for them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from compared import no_footprint
from reported import store_of
from rich.console import Console
from tiny import CommandLine

from bench.errors import BenchError
from bench.figure_spec import Options
from bench.figures import FIGURES
from bench.report import plotting, written
from bench.report.manifest import differences
from bench.report.source import Source, of_bundle, of_sweep
from bench.report.written import end_with_report, write_report

GRID = """
    [[cells]]
    method = ["orthdrop", "prism"]
    keep = 0.5
    seed = [0, 1]
"""


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return of_sweep(*store_of(tmp_path, GRID))


def test_a_sweep_ends_with_the_address_of_its_report_which_its_manifest_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plotting, "write_footprint", no_footprint)
    sweep, store = store_of(tmp_path, GRID)
    console = Console(record=True, width=300, file=(tmp_path / "out").open("w"))
    plotting.write_results(replace(sweep, figures=()), store, Options(), console)
    assert console.export_text().splitlines()[-1] == f"report: {store.folder}/report.html"
    assert "report.html" in json.loads((store.folder / "manifest.json").read_text())["files"]
    assert differences(store.folder) == []
    (store.folder / "report.html").write_text("other")
    assert differences(store.folder) == ["report.html: it was changed since it was written"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BenchError("two cells are one"), "no report was written: two cells are one"),
        (ZeroDivisionError("division by zero"), "no report was written: ZeroDivisionError: division by zero"),
        (MemoryError(), "no report was written: MemoryError: no message"),
    ],
)
def test_a_report_that_cannot_be_made_is_one_line(error: Exception, words: str, source: Source) -> None:
    def broken() -> Source:
        raise error

    said: list[str] = []
    end_with_report(broken, said.append)
    assert said == [words]


def test_a_folder_that_cannot_be_written_is_one_sentence(source: Source) -> None:
    place = source.folder / "cells" / next((source.folder / "cells").iterdir()).name / "cell.json" / "report.html"
    with pytest.raises(BenchError, match="the report cannot be written: "):
        write_report(source, place, draw=False)


def test_a_bundle_has_its_decisive_figures_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.bundle.pack import pack

    drawn: list[str] = []
    for name in written.OF_A_BUNDLE:
        spec = FIGURES[name]
        monkeypatch.setitem(
            FIGURES, name, replace(spec, draw=lambda tables, options, name=name: drawn.append(name) or [])
        )
    _, store = store_of(tmp_path, GRID)
    pack(store, tmp_path / "tiny.bench")
    write_report(of_bundle(tmp_path / "tiny.bench"), tmp_path / "report.html")
    assert drawn == ["gap", "training-curves"] and (tmp_path / "report.html").stat().st_size > 20_000


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    bench = CommandLine(monkeypatch, capsys)
    store_of(Path(), GRID)
    monkeypatch.setattr(written, "OF_A_BUNDLE", ())
    done = bench("report", "tiny.toml")
    assert done.code == 0 and done.out.startswith("report: results/tiny/report.html (0.")
    assert "<!doctype html>" in Path("results/tiny/report.html").read_text()[:20]
    table = bench("table", "tiny.toml", "--format", "latex", "-o", "paper/tiny.tex")
    assert table.code == 0 and table.out == "table: paper/tiny.tex\n"
    assert Path("paper/tiny.tex").read_text().startswith("% needs")
    assert "--format 'latx': it is not possible; allowed: 'markdown', 'latex'; did you mean 'latex'?" in bench.refused(
        "table", "tiny.toml", "--format", "latx"
    )
    assert "there are no tables here" in bench.refused("report", "results/tiny")
    assert "the sweep file cannot be read" in bench.refused("report", "nothing.toml")
    Path("torn.bench").write_bytes(b"torn")
    assert "torn.bench: it is no bundle" in bench.refused("table", "torn.bench")
