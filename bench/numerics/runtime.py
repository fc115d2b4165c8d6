"""Settings of a process that trains: one thread, no subnormal numbers, and an allocator that keeps its memory."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from collections.abc import Iterator

import torch

from bench.errors import BenchError, choices

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEEP_BYTES = 1 << 30
DEVICES = ("auto", "cpu", "cuda", "mps")
DETERMINISTIC, CUBLAS_WORKSPACE = "BENCH_DETERMINISTIC", "CUBLAS_WORKSPACE_CONFIG"
"""Environment variables by which processes know that they shall repeat themselves, and from which cuBLAS does."""


def prepare_process() -> None:
    """Set a process up for training.

    One thread: the order of sums, and with it every bit of a result, depends on the number of threads; all cores are
    used by several processes instead. Numbers below 1e-38 count as zero: the gradient of an LSTM's last step falls
    below that within some 150 steps, and arithmetic on such numbers made its backward pass ten times slower. The C
    allocator is told to keep freed memory: by default it hands activations back to the kernel at every step, which
    costs a quarter of the time of a small model's step. On a GPU, cuDNN tries out which algorithms are fastest, unless
    results are to repeat to the bit (:func:`deterministic`).
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if torch.cuda.is_available():
        torch.use_deterministic_algorithms(is_deterministic())
        torch.backends.cudnn.benchmark = not is_deterministic()
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, KEEP_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEEP_BYTES)


def release_memory() -> None:
    """Give back what earlier work in this process left allocated, so that peak memory is that of what follows."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """Prepare this process for a simulation and give its number of threads back afterwards."""
    threads = torch.get_num_threads()
    prepare_process()
    release_memory()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
        if torch.cuda.is_available():
            torch.use_deterministic_algorithms(False)
            torch.backends.cudnn.benchmark = False


@contextlib.contextmanager
def deterministic(wanted: bool = True) -> Iterator[None]:
    """Let processes that are prepared for training meanwhile, this one and its own, repeat themselves to the bit.

    It is to be entered before this process uses a GPU. Training on CPUs repeats anyway: there, nothing changes.
    """
    before = {name: os.environ.get(name) for name in (DETERMINISTIC, CUBLAS_WORKSPACE)}
    if wanted:
        os.environ[DETERMINISTIC], os.environ[CUBLAS_WORKSPACE] = "1", ":4096:8"
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def is_deterministic() -> bool:
    """Return whether results on a GPU are to repeat to the bit."""
    return os.environ.get(DETERMINISTIC) == "1"


def cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_named(name: str) -> str:
    """Return the device a user asked for.

    Raises:
        BenchError: it is unknown or not on this machine.
    """
    if name not in DEVICES:
        raise BenchError(f"--device {name!r} is unknown; {choices(name, DEVICES)}")
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if present[device])
    if not present[name]:
        here = [device for device, there in present.items() if there]
        raise BenchError(f"--device {name!r} is not on this machine; here: {', '.join(here)}")
    return name
