"""Compiled loops for the CPU, built on first use where there is a C++ compiler.

They compute what PyTorch's own operations do, only faster: nothing is decided here.

PyTorch runs normalisation, shortcut and ReLU, and the element-wise work of an LSTM's step, one operation after the
other, each a pass over memory; ``torch.compile`` takes half a minute for each shape of sub-model and was no faster. The
library is kept in the cache folder under a name made of source, compiler and processor, so that it is built once a
machine, and of its own bytes, so that a damaged one is built anew. Only what belongs to this user and nobody else can
write to is loaded (:mod:`bench.kernels.trusted`): a cache that others share is passed over for the user's own, and
without that each process builds a library for itself. Where there is no compiler, or ``BENCH_KERNELS=off`` is set,
PyTorch's own operations do the same.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch

from bench.kernels.trusted import load, private_folder, read

FOLDER = Path(__file__).parent
SOURCES, HEADERS = sorted(FOLDER.glob("*.cpp")), sorted(FOLDER.glob("*.h"))
FLAGS = ("-std=c++20", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast",
         "-shared", "-fPIC")  # fmt: skip
HOME = "~/.cache/submodel-bench"
BUILD_SECONDS = 120
SUFFIXES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
"""What the names of the functions for tensors of a type end with; there are none for other types."""


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return the compiled loops, built if need be; None where they cannot be had."""
    compiler = _compiler()
    if compiler is None:
        return None
    try:
        return _kept_or_built(compiler)
    except (OSError, RuntimeError, subprocess.SubprocessError):  # RuntimeError: a user without a home folder
        return None


def to_be_built() -> list[str]:
    """Return a line for a user who has to wait for the compiler; none where the loops are there or cannot be had."""
    compiler = _compiler()
    if compiler is None:
        return []
    try:
        kept = any(_folder().glob(f"kernels-{_fingerprint(compiler)}-*.so"))
    except (OSError, RuntimeError, subprocess.SubprocessError):
        return []
    return [] if kept else ["building the compiled loops for this processor first, once"]


def _compiler() -> str | None:
    if os.environ.get("BENCH_KERNELS") == "off":
        return None
    return next(filter(None, map(shutil.which, (os.environ.get("CXX", ""), "g++", "clang++"))), None)


def described() -> str:
    """Return in words what the CPU's normalisation and recurrence are computed by, for the record of a result."""
    return "PyTorch" if library() is None else f"compiled {_source_hash()}"


def _kept_or_built(compiler: str) -> ctypes.CDLL:
    """Return the library of a folder of this user's, built into it where it is missing or damaged."""
    name = f"kernels-{_fingerprint(compiler)}"
    folder = private_folder(_folder()) or private_folder(Path(HOME).expanduser() / "kernels")
    if folder is not None:
        return _kept(folder, name) or load(_build(compiler, folder, name))
    with tempfile.TemporaryDirectory() as own:  # a loaded library needs its file no longer
        return load(_build(compiler, Path(own), name))


def _kept(folder: Path, name: str) -> ctypes.CDLL | None:
    """Return the library that a folder of this user's holds; None where it is missing, damaged or another's."""
    for path in folder.glob(f"{name}-*.so"):
        content = read(path)
        if content is not None and path.stem == f"{name}-{_hash(content)}":
            return load(path)
    return None


def _folder() -> Path:
    return Path(os.environ.get("BENCH_DATA") or HOME).expanduser() / "kernels"


def _fingerprint(compiler: str) -> str:
    """Return a hash of what the library's code depends on: source, flags, compiler and processor."""
    version = subprocess.run([compiler, "--version"], capture_output=True, timeout=BUILD_SECONDS, check=True).stdout
    about = [_source_hash(), *FLAGS, compiler, version.decode(errors="replace"), platform.machine(), _processor()]
    return _hash("\n".join(about).encode())


def _source_hash() -> str:
    return _hash(b"".join(file.read_bytes() for file in (*HEADERS, *SOURCES)))[:10]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _processor() -> str:
    """Return what tells processors apart for a compiler that builds for this one; the machine's name elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))


def _build(compiler: str, folder: Path, name: str) -> Path:
    """Build the library beside its place and rename it: several processes may do so at once."""
    with tempfile.TemporaryDirectory(dir=folder) as beside:
        fresh = Path(beside) / "kernels.so"
        command = [compiler, *FLAGS, *map(str, SOURCES), "-o", str(fresh)]
        subprocess.run(command, capture_output=True, timeout=BUILD_SECONDS, check=True)
        fresh.chmod(0o700)
        return fresh.replace(folder / f"{name}-{_hash(fresh.read_bytes())}.so")
