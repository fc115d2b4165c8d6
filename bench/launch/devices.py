"""The accelerators that a sweep may use."""

from __future__ import annotations

import torch

from bench.errors import BenchError
from bench.numerics.runtime import device_named


def sweep_device(name: str) -> str:
    """Return the device a user asked for, "cuda" for all that are visible or "cuda:1" for one of them.

    Raises:
        BenchError: it is unknown or not on this machine.
    """
    kind, colon, number = name.partition(":")
    if kind != "cuda" or not colon:
        return device_named(name)
    device_named(kind)
    if not number.isdigit() or int(number) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise BenchError(f"--device {name!r} is not on this machine; here: 'cuda:0' to 'cuda:{last}'")
    return name


def free_bytes(device: str) -> dict[int, int]:
    """Return the memory of each CUDA device that a name stands for, by number, without what others use now."""
    _, _, number = device.partition(":")
    numbers = [int(number)] if number else range(torch.cuda.device_count())
    return {number: int(torch.cuda.mem_get_info(number)[0]) for number in numbers}
