"""Which parquet files are which split: the promise of ``-of-N`` is kept, and no sample is read twice.

Three ways of naming are known: ``train-00000-of-00002.parquet`` (Hugging Face's shards, with or without a hash behind),
``train/0000.parquet`` (its conversions, ``partial-train`` where it stopped early), and ``train.parquet`` or
``train-0.parquet`` (everybody else's).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from bench.data.tree import Tree
from bench.errors import BenchError

SPLITS = ("train", "test")
_SPLIT = "(?P<split>train|test)"
_SHARD = re.compile(rf"(?:.*[_-])?{_SPLIT}-(?P<index>[0-9]{{1,6}})-of-(?P<count>[0-9]{{1,6}})(?:-[0-9a-f]{{8,64}})?")
_NUMBERED = re.compile(r"(?P<index>[0-9]{1,6})")
_FOLDER = re.compile(rf"(?P<partial>partial-)?{_SPLIT}")
_PLAIN = re.compile(rf"(?:.*[_-])?{_SPLIT}(?:[_-](?P<index>[0-9]{{1,6}}))?")
_COPY = re.compile(r"( ?\([0-9]{1,3}\)| - Copy| copy)$")  # what browsers and file managers put behind a second one


@dataclass(frozen=True)
class Shard:
    """One parquet file of a split.

    Attributes:
        name: its name in the tree.
        split: "train" or "test".
        folder: the folder of the split's files.
        index, count: its number and how many there are; None where the name does not say.
        partial: True where Hugging Face says that it converted a part of the split only.
        copied: True where the name is that of a second download.
    """

    name: str
    split: str
    folder: str
    index: int | None
    count: int | None
    partial: bool
    copied: bool


def parquet_splits(tree: Tree, report: Callable[[str], None]) -> dict[str, list[str]]:
    """Return the names of the parquet files of the splits "train" and "test", in the order of their numbers.

    A split without a file is an empty list; a single file that the user named is "train" whatever its name. Second
    copies with the very bytes of the first are left out, and ``report`` says so.

    Raises:
        BenchError: a shard that the names promise is missing, doubled or of another set, or several sets are there.
    """
    shards = [shard for name in tree.sizes if (shard := _shard(name)) is not None]
    if tree.one_file:
        return _one_file(tree, shards)
    known = {shard.name for shard in shards}
    if shards and (others := [name for name in tree.sizes if name.lower().endswith(".parquet") and name not in known]):
        report(f"not of the splits train and test by their names, not read: {tree.few(others)}")
    chosen: dict[str, list[str]] = {}
    for split in SPLITS:
        sets = _sets(tree, [shard for shard in shards if shard.split == split], report)
        chosen[split] = [shard.name for shard in _only(tree, sets, split, report)]
        if any(shard.partial for shard in shards if shard.name in chosen[split]):
            report(f"{split}: the folder's name says that this is a part of the split only")
    return chosen


def _shard(name: str) -> Shard | None:
    path = PurePosixPath(name)
    if path.suffix.lower() != ".parquet":
        return None
    stem = _COPY.sub("", path.stem)
    copied = stem != path.stem
    if match := _SHARD.fullmatch(stem):
        index, count = int(match["index"]), int(match["count"])
        return Shard(name, match["split"], str(path.parent), index, count, False, copied)
    if (number := _NUMBERED.fullmatch(stem)) and (match := _FOLDER.fullmatch(path.parent.name)):
        partial = match["partial"] is not None
        return Shard(name, match["split"], str(path.parent), int(number["index"]), None, partial, copied)
    if match := _PLAIN.fullmatch(stem):
        plain = None if match["index"] is None else int(match["index"])
        return Shard(name, match["split"], str(path.parent), plain, None, False, copied)
    return None


def _one_file(tree: Tree, shards: Sequence[Shard]) -> dict[str, list[str]]:
    for shard in shards:
        if shard.count is not None and (shard.index, shard.count) != (0, 1):
            raise BenchError(f"{tree.path} is one of {shard.count} shards, name the folder that holds all of them")
    names = [name for name in tree.sizes if name.lower().endswith(".parquet") or _is_parquet(tree, name)]
    return {"train": names, "test": []}


def _is_parquet(tree: Tree, name: str) -> bool:
    try:
        with tree.path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError as error:
        raise BenchError(f"{tree.place(name)} cannot be read ({error.strerror or error})") from error


def _sets(tree: Tree, shards: Sequence[Shard], report: Callable[[str], None]) -> list[list[Shard]]:
    """Return the whole sets of a split, one for each folder."""
    by_folder: dict[tuple[str, bool, int | None], list[Shard]] = defaultdict(list)
    for shard in shards:
        # A file without any number is a set of its own.
        by_folder[shard.folder, shard.count is None, -1 if shard.index is None else None].append(shard)
    return [_whole(tree, list(_without_copies(tree, group, report))) for group in by_folder.values()]


def _without_copies(tree: Tree, group: Sequence[Shard], report: Callable[[str], None]) -> Iterator[Shard]:
    by_number: dict[tuple[int | None, int | None], list[Shard]] = defaultdict(list)
    for shard in sorted(group, key=lambda shard: (shard.copied, shard.name)):
        by_number[shard.index, shard.count].append(shard)
    for first, *others in by_number.values():
        for other in others:
            if not tree.same([first.name], [other.name]):
                raise BenchError(
                    f"{tree.path}: {first.name!r} and {other.name!r} are different files for one part of the data,"
                    " keep the right one"
                )
            report(f"{other.name!r}: the same bytes as {first.name!r}, not read")
        yield first


def _whole(tree: Tree, group: list[Shard]) -> list[Shard]:
    """Return the shards of one folder in the order of their numbers, if these are whole and of one set."""
    group.sort(key=lambda shard: (shard.index or 0, shard.name))
    first = group[0]
    for shard in group:
        if shard.count != first.count:
            raise BenchError(
                f"{tree.path}: {first.name!r} and {shard.name!r} are shards of two different sets"
                f" ({first.count} and {shard.count} files), keep those of one"
            )
        if shard.count is not None and shard.index is not None and shard.index >= shard.count:
            raise BenchError(f"{tree.path}: {shard.name!r} cannot be, {shard.count} shards have numbers from 0 on")
    here = {shard.index for shard in group}
    start = 0 if first.count is not None or not first.index else min(first.index, 1)
    end = max(shard.index or 0 for shard in group) + 1 if first.count is None else first.count
    if first.index is not None and (missing := [number for number in range(start, end) if number not in here]):
        names = [_with_number(first, number) for number in missing]
        raise BenchError(
            f"{tree.path}: {tree.few(names)} {'is' if len(names) == 1 else 'are'} missing beside {first.name!r}"
        )
    _refuse_renamed(tree, group)
    return group


def _with_number(shard: Shard, number: int) -> str:
    """Return the name that the shard with another number has: the last run of digits before "-of-" or the ending."""

    def renumber(match: re.Match[str]) -> str:
        return f"{number:0{len(match[1])}d}{match[2]}"

    path = PurePosixPath(shard.name)
    pattern = r"([0-9]+)(-of-[0-9]+).*" if shard.count is not None else r"([0-9]+)()"
    return str(path.with_name(re.sub(pattern + "$", renumber, _COPY.sub("", path.stem)) + path.suffix))


def _refuse_renamed(tree: Tree, group: Sequence[Shard]) -> None:
    by_size: dict[int, list[str]] = defaultdict(list)
    for shard in group:
        by_size[tree.sizes[shard.name]].append(shard.name)
    for names in by_size.values():
        first_of: dict[str, str] = {}
        for name, digest in tree.digests(names).items() if len(names) > 1 else ():
            if (first := first_of.setdefault(digest, name)) != name:
                raise BenchError(f"{tree.path}: {first!r} and {name!r} hold the same bytes, one of them is not itself")


def _only(tree: Tree, sets: Sequence[list[Shard]], split: str, report: Callable[[str], None]) -> list[Shard]:
    """Return the one set of a split; others with the same bytes (two snapshots of a hub cache) are left out."""
    if not sets:
        return []
    first, *others = sorted(sets, key=lambda group: group[0].name)
    for other in others:
        names, theirs = [[shard.name for shard in group] for group in (first, other)]
        if len(names) != len(theirs) or not tree.same(names, theirs):
            raise BenchError(
                f"{tree.path}: two different sets of {split} files, {tree.few(names)} and {tree.few(theirs)};"
                " name the folder of one of them"
            )
        report(f"{tree.few(theirs)}: the same bytes as {tree.few(names)}, not read")
    return first
