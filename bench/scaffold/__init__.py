"""Writing the files of a new method, task or figure: a plugin that runs as it stands, and its test.

The templates are real code, checked like all other.

The templates are the other files of this package, in which what is new is called "sketch".
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from pathlib import Path

from bench.errors import BenchError
from bench.plugins import registry

FOLDERS = {"method": "methods", "task": "tasks", "figure": "figures"}
"""What can be written, and the folder that it goes to."""


def create(kind: str, name: str, folder: Path, family: str = "spectral") -> tuple[Path, Path]:
    """Write ``methods/NAME.py`` and ``tests/test_NAME.py``, or those of a task or figure, and return their paths.

    Args:
        kind: "method", "task" or "figure".
        name: what it is called.
        folder: where ``methods``, ``tasks`` or ``figures``, and ``tests`` are; they are made where they are missing.
        family: of a method: "spectral", "width", or "plain" for one without a family.

    Raises:
        BenchError: the name is taken or is none that Python can import, a file exists already or cannot be written;
            nothing is written then.
    """
    _check_name(kind, name)
    template = family if kind == "method" else kind
    source, test = folder / FOLDERS[kind] / f"{name}.py", folder / "tests" / f"test_{name}.py"
    _write_all({source: _filled(f"{template}.py", name), test: _filled(f"{template}_tests.py", name)})
    return source, test


def _filled(template: str, name: str) -> str:
    """Return a template's text with the new name in place of its own, in both spellings."""
    text = Path(__file__).with_name(template).read_text(encoding="utf-8")
    spellings = {"sketch": name, "Sketch": _class_name(name)}
    return re.sub("|".join(spellings), lambda match: spellings[match[0]], text)


def _write_all(texts: Mapping[Path, str]) -> None:
    """Write new files, or none of them."""
    written: list[Path] = []
    try:
        for path in texts:
            if path.exists():
                raise BenchError(f"new: {path} exists already and is left as it is; take another name, or delete it")
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            written.append(path)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        for file in written:
            file.unlink(missing_ok=True)
        raise BenchError(f"new: {path} cannot be written ({error.strerror})") from None


def _check_name(kind: str, name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        near = re.sub(r"\W+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)).strip("_").lower()
        proposal = f"; try {near!r}" if re.fullmatch(r"[a-z][a-z0-9_]*", near) and not keyword.iskeyword(near) else ""
        raise BenchError(
            f"new: {name!r} cannot be the name of a {kind}'s file; allowed: small letters, digits and _, a letter "
            f"first, and none of Python's own words{proposal}"
        )
    known = _known(kind)
    if name in known:
        raise BenchError(f"new: the {kind} {name!r} exists already, {known[name]}; take another name")


def _known(kind: str) -> dict[str, str]:
    """Return the names that are taken, each with where it is."""
    if kind == "method":
        return {name: f"in {entry.source}" for name, entry in registry.methods().items()}
    if kind == "task":
        return {name: f"in {entry.source}" for name, entry in registry.tasks().items()}
    return dict.fromkeys(registry.figure_names(), "see 'python -m bench list figures'")


def _class_name(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))
