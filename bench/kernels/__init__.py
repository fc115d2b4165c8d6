"""Compiled loops for the CPU, built on first use where there is a C++ compiler.

PyTorch runs normalisation, shortcut and ReLU one after the other, each a pass over memory; ``torch.compile`` takes half
a minute for each shape of sub-model and was no faster here. The library is kept in the cache folder under a name made
of source, compiler and processor, so that it is built once a machine; where there is no compiler, or
``BENCH_KERNELS=off`` is set, PyTorch's own operations do the same.
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

SOURCES = tuple(Path(__file__).with_name(name) for name in ("normalisation.cpp", "recurrence.cpp"))
FLAGS = ("-std=c++20", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast",
         "-shared", "-fPIC")  # fmt: skip
BUILD_SECONDS = 120


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return the compiled loops, built if need be; None where they cannot be had."""
    compiler = shutil.which(os.environ.get("CXX") or "g++") or shutil.which("clang++")
    if compiler is None or os.environ.get("BENCH_KERNELS") == "off":
        return None
    try:
        path = _folder() / f"kernels-{_fingerprint(compiler)}.so"
        if not path.exists():
            _build(compiler, path)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError):
        return None


def described() -> str:
    """Return in words what the CPU's normalisation and recurrence are computed by, for the record of a result."""
    return "PyTorch" if library() is None else f"compiled {_source_hash()}"


def _folder() -> Path:
    root = os.environ.get("BENCH_DATA") or "~/.cache/submodel-bench"
    folder = Path(root).expanduser() / "kernels"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _fingerprint(compiler: str) -> str:
    """Return a hash of what the library's code depends on: source, flags, compiler and processor."""
    version = subprocess.run([compiler, "--version"], capture_output=True, timeout=BUILD_SECONDS, check=True).stdout
    about = [_source_hash(), *FLAGS, compiler, version.decode(errors="replace"), platform.machine(), _processor()]
    return hashlib.sha256("\n".join(about).encode()).hexdigest()[:16]


def _source_hash() -> str:
    return hashlib.sha256(b"".join(source.read_bytes() for source in SOURCES)).hexdigest()[:10]


def _processor() -> str:
    """Return what tells processors apart for a compiler that builds for this one; the machine's name elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))


def _build(compiler: str, path: Path) -> None:
    """Build the library beside its place and rename it: several processes may do so at once."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        fresh = Path(folder) / path.name
        command = [compiler, *FLAGS, *map(str, SOURCES), "-o", str(fresh)]
        subprocess.run(command, capture_output=True, timeout=BUILD_SECONDS, check=True)
        fresh.replace(path)
