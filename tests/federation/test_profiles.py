"""Names of capacities: what they stand for, and that a name and its expansion are the same cell."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
from tiny import CommandLine, cell_of

from bench.errors import BenchError
from bench.federation.capacity import capacities_of, counts_of, mean_keep
from bench.federation.profiles import CLIENTS, PROFILES, in_numbers, listed, read_profile, text_of

CLIENTS_128: dict[str, Any] = {"clients": 128}
# Table 9 of the slides as it is printed: strong, moderate, weak clients, average capacity.
TABLE_9 = [
    (128, 0, 0, 1.00), (64, 64, 0, 0.71), (32, 96, 0, 0.57), (16, 112, 0, 0.49), (64, 0, 64, 0.58),
    (32, 0, 96, 0.37), (16, 0, 112, 0.27), (32, 32, 64, 0.44), (16, 32, 80, 0.33), (16, 16, 96, 0.30),
]  # fmt: skip


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


@pytest.mark.parametrize(("case", "row"), list(enumerate(TABLE_9, 1)))
def test_cases_of_the_slides_have_the_counts_and_the_average_capacity_of_their_table(
    case: int, row: tuple[int, int, int, float]
) -> None:
    *counts, average = row
    for method in ("prism", "origdrop"):
        cell = cell_of(method, keep=f"slides-{case}", training=CLIENTS_128)
        found = Counter(capacities_of(cell, 128).tolist())
        assert [found[keep] for keep in (1.0, 0.42, 0.16)] == counts
        # The table has two decimals, of halves rounded up and down.
        assert cell.keep == pytest.approx(average, abs=0.00501)


def test_types_of_clients_are_those_of_table_1() -> None:
    """Parameters and activations of the layers that each type trains, relative to the strong clients' (slides)."""
    sizes = {"strong": 272_762 + 6_947_136, "moderate": 257_994 + 2_752_832, "weak": 206_346 + 917_824}
    assert {name: round(size / sizes["strong"], 2) for name, size in sizes.items()} == CLIENTS


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_letters_are_equal_shares_of_halved_widths(size: int) -> None:
    for letters in itertools.combinations("abcde", size):
        capacities = read_profile("-".join(letters), 100)
        assert [keep for keep, _ in capacities] == sorted(2.0 ** -"abcde".index(letter) for letter in letters)
        assert [share for _, share in capacities] == pytest.approx([1 / size] * size, abs=1e-12)
        assert read_profile("-".join(reversed(letters)), 100) == capacities
        counts = counts_of(capacities, 100)
        assert counts.sum() == 100 and max(counts) - min(counts) <= (100 % size > 0)


SAME = [
    ("weak", 0.16),
    ("c", 0.25),
    ("a", 1.0),
    ("slides-1", 1.0),
    ("strong:0.25,weak:0.75", "0.16:0.75,1:0.25"),
    ("a:0.5,e:0.5", "0.0625:0.5,1:0.5"),
    ("weak:0.5, 0.3:0.25 ,b:0.25", "0.16:0.5,0.3:0.25,0.5:0.25"),
    ("a-e", "0.0625:0.5,1:0.5"),
    ("a-b-c-d-e", "1:0.2,0.5:0.2,0.25:0.2,0.125:0.2,0.0625:0.2"),
    ("b-c-d-e", "0.5:0.25,0.25:0.25,0.125:0.25,0.0625:0.25"),
    ("prism-readme", "0.2:0.5,0.4:0.3,0.6:0.2"),
    ("prism-code", "0.2:0.6,0.4:0.4"),
    ("slides-10", "strong:0.125,moderate:0.125,weak:0.75"),
]


@pytest.mark.parametrize(("name", "meaning"), SAME)
def test_a_name_and_its_expansion_are_the_same_cell(name: str, meaning: float | str) -> None:
    named, written = (cell_of("prism", keep=keep, training=CLIENTS_128) for keep in (name, meaning))
    assert named == written and named.identity == written.identity and named.folder == written.folder


def test_what_a_listed_name_stands_for_reads_back_as_the_same_cell() -> None:
    assert {"a", "e", "strong", "weak", "a-e", "c-d-e", "prism-code", "slides-10"} < {each.name for each in listed()}
    for profile in listed():
        named = cell_of("prism", keep=profile.name, training=CLIENTS_128)
        text = text_of(profile.capacities)
        written = cell_of("prism", keep=text if ":" in text else float(text), training=CLIENTS_128)
        assert named.identity == written.identity and named.keep == mean_keep(profile.capacities)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modrate", ["a name of 'bench list profiles'", "did you mean 'moderate'?"]),
        ("prism-raedme", ["'bench list profiles'", "did you mean 'prism-readme'?"]),
        ("slides-11", ["did you mean 'slides-1'?"]),
        ("strong:0.5,modrate:0.5", ["unknown level 'modrate'", "a keep ratio, or", "did you mean 'moderate'?"]),
        ("strong:0.5,prism-code:0.5", ["unknown level 'prism-code'", "'weak'"]),
        ("strong:0.5,weak:0.6", ["the shares add up to 1.1"]),
        ("a:0.5,strong:0.5", ["the keep ratio 1 stands there twice"]),
        ("a:0.5,1:0.5", ["the keep ratio 1 stands there twice"]),
        ("a-f", ["unknown level 'f'", "'a', 'b', 'c', 'd', 'e'"]),
        ("a-a", ["the level 'a' stands there twice"]),
        ("A-E", ["unknown level 'A'"]),
        ("a-", ["a name of 'bench list profiles'"]),
        ("-a", ["a keep ratio above 0 and up to 1"]),
        ("", ["a keep ratio above 0 and up to 1", "'bench list profiles'"]),
        (" ", ["a keep ratio above 0 and up to 1"]),
        ("strong:", ["a keep ratio above 0 and up to 1"]),
        ("strong:half,weak:half", ["a keep ratio above 0 and up to 1"]),
        (":1", ["a keep ratio above 0 and up to 1"]),
        ("slides-4", ["none of 4 clients would have the keep ratio 1 by its share 0.125"]),
    ],
)
def test_mistakes_are_sentences(text: str, words: list[str]) -> None:
    with pytest.raises(BenchError) as refused:
        cell_of("prism", keep=text)
    said = str(refused.value)
    assert said.startswith(f"test: keep = {text!r} is not possible") and "\n" not in said
    assert [word for word in words if word not in said] == [], said


def test_in_numbers() -> None:
    assert in_numbers("a-e") == "0.0625:0.5,1:0.5" and in_numbers("weak") == "0.16"
    assert in_numbers("a-e dynamic") == "0.0625:0.5,1:0.5 dynamic"
    assert [in_numbers(text) for text in ("0.2", "nonsense", "x dynamic", "")] == ["0.2", "nonsense", "x dynamic", ""]


def test_the_listing_names_each_profile_with_its_mean_and_source(
    bench: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = bench("list", "profiles")
    assert shown.code == 0
    rows = {
        cells[1].strip(): shown_row for shown_row in shown.out.splitlines() if len(cells := shown_row.split("│")) > 2
    }
    assert set(PROFILES) <= set(rows)
    assert "0.2:0.5,0.4:0.3,0.6:0.2" in rows["prism-readme"] and " 0.34 " in rows["prism-readme"]
    assert "README" in rows["prism-readme"] and "Table 9, case 7" in rows["slides-7"]
