"""What a client of each built-in method takes of the full model's, counted before and shipped, for listings."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

FILE = Path(__file__).with_name("shares.csv")
QUANTITIES = ("memory", "bytes", "macs")
TASK, TIER, KEEP = "resnet18-cifar10", "paper", 0.4
"""What is counted: the paper's ResNet-18, or the CNN for methods that are not defined for it."""


def known_shares() -> Mapping[str, Mapping[str, float]]:
    """Return the shares of memory, bytes and operations by method and quantity; empty where the file is not there."""
    try:
        with FILE.open(encoding="utf-8", newline="") as file:
            return {row["method"]: {name: float(row[name]) for name in QUANTITIES} for row in csv.DictReader(file)}
    except (OSError, ValueError, KeyError):
        return {}
