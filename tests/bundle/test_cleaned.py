"""What a bundle leaves out of texts and environments: places, users and logins, however they are written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.bundle.cleaned import public, without_places


@pytest.mark.parametrize(("text", "expected"), [
    ("FileNotFoundError: /home/anna/x.py:3", "FileNotFoundError: x.py:3"),
    ("in '/data/a b/c.npz' and \"/d/e\"", "in 'c.npz' and \"e\""),
    (r"C:\Users\anna\x.py, line 3", "x.py, line 3"),
    (r"'C:\\Users\\anna smith\\x.py'", "'x.py'"),
    (r"\\server\share\x.py", "x.py"),
    ("at ~/work/x.py and ~anna/y.py", "at x.py and y.py"),
    ("file:///home/anna/x.py", "x.py"),
    ("/home/anna: no, /Users/anna/: no", "~: no, ~: no"),
    ("round 1/3, 5 / 7, test/acc, a/b.py, https://example.org/a/b", "round 1/3, 5 / 7, test/acc, a/b.py, https://example.org/a/b"),
    ("error:/home/anna/x.py", "error:x.py"),
    ("cc -I/home/anna/include -L/opt/anna/lib --out=/home/anna/o", "cc -Iinclude -Llib --out=o"),
    ("../../home/anna/x.npz, work/home/anna smith/y", "x.npz, y"),
    ("no such: /home/anna smith/data set/a.npz", "no such: a.npz"),
    ("/home/anna/a.npz and methods/prism.py", "a.npz and methods/prism.py"),
    (r"C:\Users\Anna Smith: denied", "~: denied"),
    (r"open C:\Users\Anna Smith\data (old)\x.npz failed", "open x.npz failed"),
    ("https://anna:pw@example.org/a/b?token=3", "https://example.org/a/b"),
    ("sftp://box/home/anna/x", "sftp://box/x"),
    ("anna@box:/home/anna/x, anna:pw@box", "x, box"),
    ("PATH=/home/anna/bin:/usr/bin; cd ~anna", "PATH=bin:bin; cd ~"),
    ("'../../home/anna/x y.npz'", "'x y.npz'"),
    ("one\x1b[31mtwo\nthree", "one [31mtwo three"),
])  # fmt: skip
def test_texts_keep_the_names_of_files_alone(text: str, expected: str) -> None:
    assert without_places(text) == expected


def test_environments_lose_what_is_private() -> None:
    assert public(
        {
            "Hostname": "a",
            "user": "b",
            "cwd": "c",
            "device": "cpu",
            "more": {"library": ["/opt/x/y.so"], "git_user": "d", "all": [{"Node": "e", "user-name": "f", "cores": 2}]},
        }
    ) == {
        "device": "cpu",
        "more": {"library": ["y.so"], "all": [{"cores": 2}]},
    }


NAME = st.text("xyzXYZ019_", min_size=1, max_size=8).map("anna".__add__)
SPACED = st.lists(NAME, min_size=1, max_size=3).map(" ".join)
ROOTS = (
    "/home/",
    "/Users/",
    "/opt/data/",
    "C:\\Users\\",
    "D:/data/",
    "\\\\box\\",
    "~/",
    "../../",
    "../home/",
    "file:///home/",
)
BEFORE = ("", "error:", "cc -I", "x=", "(", "in ", "[", "a, ", "File ", "no:", "anna@box:", "{'a': ")


@given(
    before=st.sampled_from(BEFORE),
    root=st.sampled_from(ROOTS),
    parts=st.lists(SPACED, min_size=1, max_size=4),
    file=st.sampled_from(("x.npz", "my_method.py", "data")),
    after=st.sampled_from(("", ":3", " (line 3)", ", not found", "'", "\n")),
    quote=st.sampled_from(("", "'", '"')),
)
def test_no_part_of_a_path_but_its_file_stays(
    before: str, root: str, parts: list[str], file: str, after: str, quote: str
) -> None:
    separator = "\\" if "\\" in root else "/"
    text = without_places(f"{before}{quote}{root}{separator.join([*parts, file])}{quote}{after}")
    assert "anna" not in text and file in text and "home" not in text
    assert without_places(text) == text


@given(st.sampled_from(("https", "ssh", "postgres+x")), NAME, st.text("ab:%@!$&1", max_size=6), st.booleans())
def test_no_login_stays_in_an_address(scheme: str, user: str, password: str, home: bool) -> None:
    path = f"home/{user}/x" if home else "x"
    address = f"{scheme}://{user}:{password}@example.org:80/{path}?key={user}#{user}"
    assert without_places(f"at {address} no") == f"at {scheme}://example.org:80/x no"


@given(st.text(st.characters(exclude_characters="/\\@~", exclude_categories=("C", "Z")) | st.just(" "), max_size=60))
def test_texts_without_places_stay(text: str) -> None:
    assert without_places(text) == text


@given(
    st.lists(
        st.text("abcxyz09_.", min_size=1, max_size=6).filter(lambda part: ".." not in part), min_size=2, max_size=4
    )
)
def test_paths_from_the_folder_of_the_command_stay(parts: list[str]) -> None:
    text = f"in {'/'.join(parts)}: no"
    assert without_places(text) == text


@given(
    st.recursive(
        st.dictionaries(st.sampled_from(("user", "Host", "cwd", "git_user", "node name", "cores")), st.just("anna")),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(("a", "path", "b")), inner),
        max_leaves=6,
    )
)
def test_what_is_private_is_left_out_at_any_depth(value: Any) -> None:
    def names(of: Any) -> set[str]:
        parts = of.values() if isinstance(of, dict) else of if isinstance(of, list) else ()
        return {*(of if isinstance(of, dict) else ()), *(name for part in parts for name in names(part))}

    assert names(public({"top": value})) <= {"top", "a", "b", "cores"}
