"""The rooms of the code: the page shows them as they are, nothing lies outside them, and tests mirror them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rooms import GROUND, PAGE, ROOT, inner_rooms, renewed, rooms, words_of

BENCH, TESTS = ROOT / "bench", ROOT / "tests"
ENTRANCES = {"__init__", "__main__"}
ELSEWHERE = {"methods", "support", "__pycache__"}
"""Folders of tests that are no room of ``bench``: the built-in methods, and what tests share."""


def test_the_page_shows_the_rooms_as_they_are() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert renewed(page) == page, "run 'python tests/support/rooms.py'"


def test_nothing_lies_outside_the_rooms() -> None:
    files = {path.stem for path in BENCH.glob("*.py")}
    assert files == {*GROUND, *ENTRANCES, *(name for name in rooms() if (BENCH / f"{name}.py").exists())}
    folders = {path.parent.name for path in BENCH.glob("*/*.py")}
    assert folders == {name for name in rooms() if (BENCH / name).is_dir()}


def test_every_room_says_what_lives_there_and_what_does_not() -> None:
    for name in [*(name for name in rooms() if (BENCH / name).is_dir()), *inner_rooms()]:
        words = words_of(BENCH / name / "__init__.py")
        assert len(words) >= 2 and all(words[:2]), name


def test_tests_lie_in_the_rooms_of_what_they_test() -> None:
    folders = {path.name for path in TESTS.iterdir() if path.is_dir()} - ELSEWHERE
    assert folders <= set(rooms())
    assert not list((TESTS / "support").glob("test_*.py"))


def test_imports_go_down() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([linter, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
