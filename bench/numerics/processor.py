"""What this machine's processor computes by itself, and what PyTorch and oneDNN make of that.

oneDNN chooses its code by the processor, and can be held back by the environment variable ``ONEDNN_MAX_CPU_ISA``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

import torch

BF16_UNITS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
"""Any of these multiplies numbers in bfloat16: on x86 AVX-512-BF16 and AMX, on ARM the extensions of that name."""
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
"""Limits that keep oneDNN from the units of an x86 processor."""


def has_bf16() -> bool:
    """Return whether products in bfloat16 are the processor's own; True where PyTorch does not tell what it can do.

    Otherwise they are emulated: each by way of single precision.
    """
    known = capabilities()
    held_back = any(os.environ.get(limit, "").upper() in WITHOUT_BF16 for limit in LIMITS)
    return not known or (not held_back and any(known.get(unit) for unit in BF16_UNITS))


def capabilities() -> Mapping[str, Any]:
    """Return what PyTorch knows of the processor, by the names of :func:`torch.cpu.get_capabilities`."""
    return torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}


def described() -> str:
    """Return the processor's name and the instructions that PyTorch's own loops use, for example "AMD EPYC, AVX2"."""
    known = capabilities()
    name = known.get("cpu_name") or known.get("architecture") or "a processor of unknown name"
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


@functools.cache
def onednn_multiplies_bf16() -> bool:
    """Return whether oneDNN has matrix products in bfloat16 here, emulated or not.

    Where it has none, PyTorch's own loops take ten times as long as a product in single precision.
    """
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except AttributeError:  # PyTorch was built without oneDNN
        return False


@functools.cache
def onednn_trains_bf16_lstm() -> bool:
    """Return whether PyTorch's LSTM can be trained in bfloat16 with oneDNN here.

    PyTorch hands it to oneDNN without asking: where that has none for the processor, it is an error.
    """
    zeros = torch.zeros(1, 1, 1)
    weights = [torch.zeros(4, 1, requires_grad=True) for _ in range(2)]
    try:
        with torch.enable_grad(), torch.autocast("cpu", torch.bfloat16):
            outputs, _, _ = torch.lstm(zeros, (zeros, zeros), weights, False, 1, 0.0, True, False, True)
        outputs.float().sum().backward()
    except RuntimeError:
        return False
    return True
