"""Finding tensors that are made without a device, on machines whose only device is the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, UntypedStorage
from torch.overrides import TorchFunctionMode

from bench.conformance.compare import tensors_in

CONSTRUCTORS = {
    torch.arange, torch.as_tensor, torch.asarray, torch.empty, torch.eye, torch.full, torch.linspace, torch.logspace,
    torch.normal, torch.ones, torch.rand, torch.randint, torch.randn, torch.randperm, torch.tensor, torch.tril_indices,
    torch.triu_indices, torch.zeros,
}  # fmt: skip
ACROSS_DEVICES = {Tensor.copy_, Tensor.__getitem__, Tensor.__setitem__}
"""What may read a tensor of another device: copies, and indexing by indices on the CPU."""


class Placement(TorchFunctionMode):
    """Notes which tensors are made without a device, and what is computed from them, until they are moved by ``to``.

    With an accelerator they would lie on the CPU, beside a model that does not. They are known by their memory, so
    that a parameter made of one is noted too. ``torch.from_numpy`` cannot be watched: what it makes is not noted.
    """

    def __init__(self) -> None:
        super().__init__()
        # Kept, so that their memory does not become that of other tensors.
        self._noted: dict[int, UntypedStorage] = {}

    def strays(self, holder: object) -> list[Tensor]:
        """Return the noted tensors among those that an object holds."""
        return [tensor for tensor in tensors_in(holder) if tensor.untyped_storage().data_ptr() in self._noted]

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = list(tensors_in([args, kwargs]))
        strays = self.strays(given)
        result = function(*args, **kwargs)
        if function in CONSTRUCTORS:
            # What is made of a tensor is where that is.
            if kwargs.get("device") is None and not given:
                self._note(result)
        elif function is Tensor.cpu:
            result = result.clone()
            self._note(result)
        elif function is Tensor.to and _moves(args[1:], kwargs):
            result = result.clone() if strays else result
        elif function not in ACROSS_DEVICES and any(tensor.dim() for tensor in strays):
            self._note(result)
        return result

    def _note(self, made: object) -> None:
        for tensor in tensors_in(made):
            storage = tensor.untyped_storage()
            if storage.nbytes():
                self._noted[storage.data_ptr()] = storage


def _moves(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Return whether ``Tensor.to`` is asked for a device, or for that of another tensor, and not for a type alone."""
    places = [*args, kwargs.get("device"), kwargs.get("other")]
    return any(isinstance(place, Tensor | torch.device | str) for place in places)
