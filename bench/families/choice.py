"""What a method chose, checked before anything is built from it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.errors import BenchError


def checked_choice(chosen: np.ndarray, count: int, size: int, piece: str, device: torch.device) -> Tensor:
    """Return the units that ``choose`` returned as int64 on the device.

    Raises:
        BenchError: they are not ``count`` distinct numbers from 0 to ``size - 1`` in ascending order.
    """
    units = np.asarray(chosen)
    whole = units.ndim == 1 and np.issubdtype(units.dtype, np.integer) and len(units) == count
    if not whole or np.any(np.diff(units) <= 0) or units[0] < 0 or units[-1] >= size:
        raise BenchError(
            f"choose returned {units.tolist()!r:.80} for {piece!r}; allowed: {count} distinct whole numbers "
            f"from 0 to {size - 1}, ascending"
        )
    return torch.as_tensor(units, dtype=torch.int64, device=device)
