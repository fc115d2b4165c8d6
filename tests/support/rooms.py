"""The tree of the code, made of what each folder and ground file says of itself; run as a script it renews the page.

>>> # python tests/support/rooms.py
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms: made by tests/support/rooms.py -->\n", "<!-- end of rooms -->\n"
GROUND = (
    "errors",
    "written",
    "seeding",
    "files",
    "parameters",
    "cell",
    "revisions",
    "toml_files",
    "figure_spec",
    "colours",
    "agg",
)
"""Files that stand on the ground, outside all rooms."""


def rooms() -> list[str]:
    """Return the rooms from the ground up, as the contract on imports in ``pyproject.toml`` has them."""
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    names = [name.strip().removeprefix("bench.") for layer in reversed(layers) for name in layer.split("|")]
    return [name for name in names if name != "__main__"]


def words_of(path: Path) -> list[str]:
    """Return the paragraphs of a file's own words, each on one line."""
    words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return [" ".join(paragraph.split()) for paragraph in words.split("\n\n")]


def line_of(name: str) -> str:
    """Return a row of the table: a file has one sentence, a folder a second one on what may not be there."""
    folder = ROOT / "bench" / name
    if folder.is_dir():
        lives, not_here = words_of(folder / "__init__.py")[:2]
        return f"| [`{name}/`](../bench/{name}) | {lives} *{not_here}* |\n"
    return f"| [`{name}.py`](../bench/{name}.py) | {words_of(folder.with_suffix('.py'))[0]} |\n"


def tree() -> str:
    """Return the table of all rooms from the ground up."""
    return "".join(
        ["| room | what lives there, *and what does not* |\n|---|---|\n", *map(line_of, [*GROUND, *rooms()])]
    )


def inner_rooms() -> Iterator[str]:
    """Yield the folders within rooms, by their path from ``bench``."""
    for path in sorted((ROOT / "bench").glob("*/*/__init__.py")):
        yield path.parent.relative_to(ROOT / "bench").as_posix()


def renewed(page: str) -> str:
    """Return the page with its table as the code has it now."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}{tree()}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
