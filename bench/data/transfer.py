"""Arrays on their way to a device: without waiting where that is a GPU, or once for all where they are small."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.data.dataset import Split

RESIDENT_SHARE = 0.25
"""The share of a GPU's free memory that a split may take to stay there."""


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """Return an array as a tensor on a device.

    A copy to a GPU starts from pinned memory and the host does not wait for it: PyTorch keeps that memory until the
    copy is done, and what is queued on the same stream comes after it.
    """
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class Samples:
    """A split's inputs and labels as they are stored, picked on the host or, if it fits, on the device.

    Args:
        split: what is picked from.
        device: where what is picked shall be.
        resident: keep the whole split on the device; by default, if that is a GPU with enough free memory.
    """

    def __init__(self, split: Split, device: torch.device, resident: bool | None = None) -> None:
        self.split, self.device = split, device
        stays = _fits(split, device) if resident is None else resident
        # A copy that the host waits for: whichever stream reads it later finds it complete.
        self._resident = (
            tuple(torch.from_numpy(np.array(array)).to(device) for array in self._stored) if stays else None
        )

    @property
    def _stored(self) -> tuple[np.ndarray, np.ndarray]:
        return self.split.inputs, self.split.labels

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, chosen: np.ndarray | slice) -> tuple[Tensor, Tensor]:
        """Return some samples' inputs (as stored) and labels on the device, as tensors of their own or views."""
        if self._resident is None:
            inputs, labels = (to_device(np.array(array[chosen]), self.device) for array in self._stored)
            return inputs, labels
        place = chosen if isinstance(chosen, slice) else to_device(chosen, self.device)
        inputs, labels = (tensor[place] for tensor in self._resident)
        return inputs, labels


def _fits(split: Split, device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return split.inputs.nbytes + split.labels.nbytes < RESIDENT_SHARE * free
