"""The compiled loops' library: built once, kept, mended where it is damaged, done without where it cannot be had."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from patience import PATIENCE_S

from bench import kernels
from bench.models.normalisation import BatchNorm
from bench.store.provenance import CODE, SIMULATION_PATH, environment

ROOT = Path(__file__).resolve().parents[2]
compiled = pytest.mark.skipif(kernels.library() is None, reason="there is no C++ compiler here")
find: Callable[[], ctypes.CDLL | None] = kernels.library.__wrapped__  # without the memory of earlier calls


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a cache folder of its own, and return where libraries are kept."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "cache"))
    monkeypatch.delenv("BENCH_KERNELS", raising=False)
    return tmp_path / "cache" / "kernels"


def compiler(folder: Path, monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    """Put a compiler in the place of the real one: it says its version, and then does something else."""
    path = folder / "compiler"
    path.write_text(f'#!/bin/sh\nif [ "$1" = --version ]; then echo 1; exit; fi\n{does}\n')
    path.chmod(0o755)
    monkeypatch.setenv("CXX", str(path))


def copies(folder: Path, monkeypatch: pytest.MonkeyPatch, seconds: float = 0) -> None:
    """Let the compiler be one that copies the library of this machine: quicker, and it counts its builds."""
    library = kernels.library()
    assert library is not None
    output = 'while [ "$1" != -o ]; do shift; done'
    compiler(
        folder, monkeypatch, f'{output}; echo built >> {folder}/builds; sleep {seconds}; cp "{library._name}" "$2"'
    )


def builds(folder: Path) -> int:
    """Return how often the compiler that copies has been called."""
    return len((folder / "builds").read_text().splitlines())


@compiled
def test_the_library_is_built_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copies(tmp_path, monkeypatch)
    first, second = find(), find()
    assert first is not None and second is not None
    assert first._name == second._name == str(next(cache.iterdir()))
    assert builds(tmp_path) == 1 and len(list(cache.iterdir())) == 1


@compiled
def test_a_build_is_announced_where_it_is_to_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copies(tmp_path, monkeypatch)
    (line,) = kernels.to_be_built()
    assert "building the compiled loops" in line
    find()
    assert kernels.to_be_built() == []
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "another"))
    assert kernels.to_be_built() == [line]
    monkeypatch.setenv("BENCH_KERNELS", "off")
    assert kernels.to_be_built() == []


@compiled
@pytest.mark.parametrize("damage", ["cut", "emptied", "overwritten", "one byte"])
def test_a_damaged_library_is_built_anew(
    damage: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies(tmp_path, monkeypatch)
    assert find() is not None
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    middle = len(whole) // 2
    damaged = {
        "cut": whole[:middle],  # the loader would read behind its end, which kills the process
        "emptied": b"",
        "overwritten": b"\0" * len(whole),
        "one byte": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
    }[damage]
    path.unlink()  # the loaded library stays as it is
    path.write_bytes(damaged)
    assert find() is not None
    assert path.read_bytes() == whole and builds(tmp_path) == 2


@compiled
def test_another_compiler_has_a_library_of_its_own(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        copies(tmp_path / name, monkeypatch)
        assert find() is not None
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize(
    "does",
    ["exit 1", "kill -9 $$", "exit 0", 'while [ "$1" != -o ]; do shift; done; echo nonsense > "$2"', "exec sleep 20"],
    ids=["fails", "is killed", "builds nothing", "builds nonsense", "never ends"],
)
def test_a_broken_compiler_is_done_without(
    does: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "BUILD_SECONDS", 1)
    compiler(tmp_path, monkeypatch, does)
    assert find() is None
    assert all(path.suffix == ".so" for path in cache.iterdir())  # nothing half-built is left


def test_a_compiler_that_does_not_start_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "compiler").write_bytes(b"\x7fELF nonsense")
    (tmp_path / "compiler").chmod(0o755)
    monkeypatch.setenv("CXX", str(tmp_path / "compiler"))
    assert find() is None


@compiled
@pytest.mark.parametrize("words", ["a compiler with options", "no-such-compiler", ""])
def test_the_usual_compilers_stand_in_for_one_that_is_not_there(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", words)
    monkeypatch.setattr(kernels, "_kept_or_built", lambda compiler: compiler)
    assert str(find()) in {shutil.which("g++"), shutil.which("clang++")} - {None}


def test_no_compiler_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert find() is None


def test_they_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_KERNELS", "off")
    assert find() is None


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "file"))
    assert find() is None


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_cache_without_permission_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "closed"))
    assert find() is None


def test_a_user_without_a_home_folder_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    assert find() is None


def test_a_disk_that_is_full_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryDirectory", full)
    assert find() is None


def of_another(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> None:
    """Let files and folders belong to another user, as far as this process sees."""
    real, theirs = os.fstat, {path.stat().st_ino for path in paths}

    def fstat(opened: int) -> os.stat_result:
        status = list(real(opened))
        status[4] += status[1] in theirs
        return os.stat_result(status)

    monkeypatch.setattr(os, "fstat", fstat)


@pytest.fixture
def planted(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a library that leaves a mark where it is loaded in the place of the right one, under a name of its hash."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    copies(tmp_path, monkeypatch)
    assert find() is not None
    (path,) = cache.iterdir()
    source, evil = tmp_path / "evil.c", tmp_path / "evil.so"
    mark = f'fclose(fopen("{tmp_path / "mark"}", "w"))'
    source.write_text(f"#include <stdio.h>\n__attribute__((constructor)) void run(void) {{ {mark}; }}\n")
    subprocess.run([shutil.which("g++") or "clang++", "-x", "c++", "-shared", "-fPIC", source, "-o", evil], check=True)
    content = evil.read_bytes()
    path.unlink()
    theirs = cache / f"kernels-{path.stem.split('-')[1]}-{kernels._hash(content)}.so"
    theirs.write_bytes(content)
    theirs.chmod(0o755)
    return theirs


def ran(planted: Path) -> bool:
    return (planted.parents[2] / "mark").exists()


@compiled
def test_a_planted_library_of_this_user_would_run(planted: Path) -> None:
    """What the tests below plant is what would be loaded if it belonged to this user."""
    find()
    assert ran(planted)


@compiled
@pytest.mark.parametrize("how", ["another's", "written by all", "written by the group", "a link"])
def test_a_library_that_others_may_have_written_is_not_loaded(
    how: str, planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "another's":
        of_another(monkeypatch, planted)
    elif how == "a link":
        planted.symlink_to(planted.rename(tmp_path / "elsewhere.so"))
    else:
        planted.chmod(0o757 if "all" in how else 0o775)
    assert find() is not None and not ran(planted)
    assert builds(tmp_path) == 2 and len(list(planted.parent.iterdir())) == 2


@compiled
@pytest.mark.parametrize("how", ["another's", "a link"])
def test_a_folder_of_others_is_passed_over_for_the_users_own(
    how: str, planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = planted.parent
    if how == "another's":
        of_another(monkeypatch, cache)
    else:
        cache.symlink_to(cache.rename(tmp_path / "elsewhere"))
    library = find()
    assert library is not None and not ran(planted)
    assert Path(library._name).parent == tmp_path / "home" / ".cache" / "submodel-bench" / "kernels"
    assert [path.name for path in cache.iterdir()] == [planted.name]


@compiled
def test_without_a_folder_of_its_own_a_process_builds_for_itself(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "home" / ".cache" / "submodel-bench" / "kernels"
    own.mkdir(parents=True)
    of_another(monkeypatch, planted.parent, own)
    library = find()
    assert library is not None and not ran(planted) and not list(own.iterdir())
    assert hasattr(library, "forward_float32") and not Path(library._name).exists()  # nothing is left


@compiled
def test_a_folder_that_a_umask_left_open_is_closed(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies(tmp_path, monkeypatch)
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    before = os.umask(0)
    try:
        assert find() is not None and find() is not None
    finally:
        os.umask(before)
    assert cache.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in cache.iterdir()] == [0o700] and builds(tmp_path) == 1


@compiled
def test_a_library_is_loaded_where_the_system_does_not_show_what_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.kernels.trusted.OPENED", tmp_path / "none")
    copies(tmp_path, monkeypatch)
    assert hasattr(find(), "forward_float32")


SCRIPT = "from bench import kernels; print(kernels.library()._name if kernels.library() else None, kernels.described())"


@compiled
@pytest.mark.slow
def test_processes_that_build_at_once_share_one_library(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies(tmp_path, monkeypatch, seconds=1)
    started = [
        subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    said = {process.communicate(timeout=PATIENCE_S)[0] for process in started}
    assert [process.returncode for process in started] == [0, 0, 0] and builds(tmp_path) > 1
    (path,) = cache.iterdir()
    assert said == {f"{path} {kernels.described()}\n"}


def test_the_record_of_a_result_says_what_computed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment("cpu")["kernels"] == kernels.described()
    monkeypatch.setattr(kernels, "library", lambda: None)
    assert environment("cpu")["kernels"] == "PyTorch"


def test_the_code_of_a_result_holds_the_loops() -> None:
    """An edit of the C++ source makes results those of another code."""
    assert "kernels" in SIMULATION_PATH
    assert {file.suffix for file in (*kernels.SOURCES, *kernels.HEADERS)} < set(CODE)


@compiled
def test_the_library_exports_what_is_called() -> None:
    library = kernels.library()
    for name in ("forward_float32", "forward_bfloat16", "backward_float32", "backward_bfloat16"):
        assert hasattr(library, name)


@compiled
def test_threads_may_call_the_loops_at_once() -> None:
    layer = BatchNorm(16)
    inputs = [torch.randn(8, 16, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in range(16)]
    alone = [layer(values) for values in inputs]
    with ThreadPoolExecutor(4) as threads:
        assert all(map(torch.equal, threads.map(layer, inputs), alone))
