"""The documentation builds as a site without a warning, and all its links lead somewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[1]


class Links(HTMLParser):
    """What a page links to, and what in it can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.targets.append(value)
            elif name == "id" and value:
                self.anchors.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")
    return folder


def test_all_links_lead_somewhere_and_no_picture_comes_from_elsewhere(site: Path) -> None:
    pages = {path: Links(path.read_text("utf-8")) for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(pages) > 25
    broken = []
    for path, page in pages.items():
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme in ("http", "https", "mailto", "data"):
                continue
            named = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not named.exists() or (parts.fragment and named in pages and parts.fragment not in pages[named].anchors):
                broken.append(f"{path.relative_to(site)}: {target}")
    assert broken == []


def test_pages_of_the_repository_and_the_reference_are_there(site: Path) -> None:
    reference = (site / "reference" / "bench.html").read_text("utf-8")
    for words in ("Run one cell and return its rounds", "One row for each other series that the method meets"):
        assert words in reference
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / f"{page.stem}.html").is_file(), f"{page.name} is not on the site"
    assert "A benchmark of <strong>sub-model federated learning</strong>" in (site / "index.html").read_text("utf-8")
