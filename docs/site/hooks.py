"""What the site has beside the pages in docs/: the README as its first page, the reference, and pictures of results.

The pages are written for readers of the repository, so they link to its files. Of those the site has pictures and
pages; a link to any other file becomes the words that it stood on.
"""

from __future__ import annotations

import os
import pkgutil
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
SHIPPED = {".png", ".svg", ".md", ".csv", ".ipynb"}
REFERENCE = {
    "bench": (
        "bench",
        "What a script or a notebook uses.",
        ["bench.run", "bench.load", "bench.compare", "bench.errors.BenchError"],
    ),
    "api": ("bench.api", "What the author of a method uses.", []),
    "families": ("bench.families", "What methods of one kind share.", []),
    "analysis": ("bench.analysis", "Tables and statistics: pure functions from DataFrame to DataFrame.", []),
    "listeners": ("bench.listeners", "Rounds passed on to other tools.", []),
}
"""Page of the reference: its title, its first sentence, and its members; without any, all modules of the package."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and pictures that do not lie in docs/."""
    files.append(File.generated(config, "index.md", content=_moved((ROOT / "README.md").read_text("utf-8"), ROOT)))
    for name, (title, first, members) in REFERENCE.items():
        listed = members or _modules(title)
        text = f"# {title}\n\n{first}\n\n" + "".join(f"::: {member}\n\n" for member in listed)
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    for path in sorted(_linked(files)):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at where the site has what they name."""
    source = page.file.abs_src_path
    if not source or page.file.src_uri in ("index.md",) or page.file.src_uri.startswith("reference/"):
        return markdown
    return _moved(markdown, Path(source).parent, page.file.src_uri)


def _modules(package: str) -> list[str]:
    """Return the modules of a package that have something public to show, the package's own page not among them."""
    folder = ROOT.joinpath(*package.split("."))
    return [f"{package}.{module.name}" for module in pkgutil.iter_modules([str(folder)]) if module.name[0] != "_"]


def _linked(files: Files) -> set[Path]:
    """Return what pages link to that lies elsewhere in the repository and is shipped with the site."""
    sources = [Path(file.abs_src_path) for file in files.documentation_pages() if file.abs_src_path]
    pages = [(path.read_text("utf-8"), path.parent) for path in sources]
    pages.append(((ROOT / "README.md").read_text("utf-8"), ROOT))
    found: set[Path] = set()
    while pages:
        text, folder = pages.pop()
        for _, _, target in LINK.findall(text):
            path = _file(target, folder)
            if path is not None and _is_shipped(path) and path not in found and not path.is_relative_to(ROOT / "docs"):
                found.add(path)
                if path.suffix == ".md":
                    pages.append((path.read_text("utf-8"), path.parent))
    return found


def _file(target: str, folder: Path) -> Path | None:
    """Return the file or folder of the repository that a link names; None where it is an address or in the page."""
    if "://" in target or target.startswith(("#", "mailto:")):
        return None
    return Path(os.path.normpath(folder / target.partition("#")[0]))


def _is_shipped(path: Path) -> bool:
    return path.suffix in SHIPPED and path.is_file() and path != ROOT / "README.md"


def _moved(text: str, folder: Path, page: str = "index.md") -> str:
    """Return a page with its links as the site has them.

    Raises:
        FileNotFoundError: a link names what the repository does not have.
    """

    def moved(link: re.Match[str]) -> str:
        picture, words, target = link.groups()
        path = _file(target, folder)
        if path is None:
            return link[0]
        if not path.exists():
            raise FileNotFoundError(f"{folder}: the link to {target} leads nowhere")
        place = path.relative_to(ROOT)
        anchor = "#" + target.partition("#")[2] if "#" in target else ""
        if path == ROOT / "README.md":
            where = "index.md"
        elif place.parts[:1] == ("docs",) and path.is_file():
            where = place.relative_to("docs").as_posix()
        elif _is_shipped(path):
            where = place.as_posix()
        else:
            return words
        return f"{picture}[{words}]({os.path.relpath(where, Path(page).parent)}{anchor})"

    fences = re.split(r"(^```.*?^```)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else LINK.sub(moved, part) for part in fences)


def on_config(config: MkDocsConfig, **_: Any) -> MkDocsConfig:
    """Let the pages be built from any folder."""
    os.chdir(ROOT)
    return config
