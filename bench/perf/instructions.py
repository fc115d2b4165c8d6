"""Which instruction sets a timing was made with: it says little about a processor that has others."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from typing import Any

import torch

from bench import kernels
from bench.numerics import processor

ASK = "import torch; torch.nn.functional.conv2d(torch.ones(32, 64, 8, 8), torch.ones(64, 64, 3, 3))"
"""PyTorch computes a smaller convolution by itself."""
ASK_SECONDS = 120


@functools.cache
def instructions() -> dict[str, Any]:
    """Return the columns of instruction sets: those of PyTorch's own loops and of oneDNN, and what bfloat16 is here."""
    return {
        "isa_torch": torch.backends.cpu.get_cpu_capability(),
        "isa_onednn": onednn(),
        "bf16_native": processor.has_bf16(),
        "kernels": kernels.described(),
    }


def onednn() -> str | None:
    """Return the most that oneDNN uses, in its own words ("Intel AVX2"); None where it does not say.

    It says so on standard output when it computes for the first time: hence a process of its own.
    """
    try:
        asked = subprocess.run(
            [sys.executable, "-c", ASK],
            env={**os.environ, "ONEDNN_VERBOSE": "1"},
            capture_output=True,
            text=True,
            timeout=ASK_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return said(asked.stdout)


def said(output: str) -> str | None:
    """Return what oneDNN's output says of its instruction set.

    >>> said("onednn_verbose,v1,info,cpu,isa:Intel AVX2")
    'Intel AVX2'
    """
    found = re.search(r"info,cpu,isa:(.+)", output)
    return found[1].strip() if found else None
