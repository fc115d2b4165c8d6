"""What two sub-models have in common if one can be trained in the other's memory: everything but their numbers."""

from __future__ import annotations

import enum
import types
import weakref
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

CARRIED = "carried"
"""The attribute of a sub-model that concerns what is sent, and so may differ between two that train alike."""
PLAIN = (bool, int, float, complex, str, bytes, type(None), type, enum.Enum, types.BuiltinFunctionType)
PLAIN_OF_TORCH = (torch.dtype, torch.device, torch.layout, torch.memory_format)


class Incomparable(Exception):
    """A sub-model carries something that cannot be compared, with what it is."""


def shape_of(submodel: nn.Module) -> Hashable:
    """Return what a sub-model's training depends on beside the values of its parameters and buffers.

    These are the class of each module with all of its attributes, which modules and tensors are the same object, and of
    each tensor what it is, its shape, its order in memory, its type, its device and whether it is trained. Of what a
    sub-model has as ``carried`` only that there is one: by the contract of methods its training does not read it.

    Raises:
        Incomparable: there is a hook, or an attribute that is neither plain nor registered: two sub-models may differ
            in it and none would know.
    """
    modules = {id(module): number for number, module in enumerate(submodel.modules())}
    tensors: dict[int, int] = {}
    described: list[Hashable] = []
    for module in submodel.modules():
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None and id(tensor) not in tensors:
                tensors[id(tensor)] = len(tensors)
                described.append(_of_tensor(name, tensor))
    if len({tensor.data_ptr() for tensor in _tensors_of(submodel)}) < len(_tensors_of(submodel)):
        raise Incomparable("two of its tensors share memory")
    known = _Known(modules, tensors)
    for module in submodel.modules():
        described.append((type(module), known.attributes(module)))
    return tuple(described)


def _tensors_of(submodel: nn.Module) -> list[Tensor]:
    """Return the tensors that hold anything, each once."""
    return [tensor for tensor in (*submodel.parameters(), *submodel.buffers()) if tensor.numel()]


def _of_tensor(name: str, tensor: Tensor) -> Hashable:
    """Return what a tensor is beside its values."""
    extra = tensor._backward_hooks or getattr(tensor, "_post_accumulate_grad_hooks", None) or vars(tensor)
    if type(tensor) not in (Tensor, nn.Parameter) or tensor.layout != torch.strided or not tensor.is_leaf or extra:
        raise Incomparable(f"{name!r} is more than a plain tensor")
    if tensor.grad is not None:
        raise Incomparable(f"{name!r} comes with a gradient")
    return type(tensor), tensor.shape, tensor.stride(), tensor.dtype, tensor.device, tensor.requires_grad


class _Known:
    """The modules and tensors of one sub-model by identity, each with a number that takes its place."""

    def __init__(self, modules: Mapping[int, int], tensors: Mapping[int, int]) -> None:
        self.modules, self.tensors = modules, tensors

    def attributes(self, module: nn.Module) -> Hashable:
        described: list[Hashable] = []
        for name, value in vars(module).items():
            if name == CARRIED and self.modules[id(module)] == 0:
                described.append((name, None))
                continue
            if "hook" in name and value:
                raise Incomparable(f"a {type(module).__name__} has hooks")
            try:
                described.append((name, self.value(value)))
            except Incomparable as reason:
                raise Incomparable(f"{type(module).__name__}.{name} holds {reason}") from None
        return tuple(described)

    def value(self, value: Any) -> Hashable:
        """Return a plain value with its type (1 is not True), or what stands for one that is not."""
        if isinstance(value, weakref.ref):
            return "reference", self.value(value())
        if isinstance(value, Tensor) and id(value) in self.tensors:
            return "tensor", self.tensors[id(value)]
        if isinstance(value, nn.Module) and id(value) in self.modules:
            return "module", self.modules[id(value)]
        if isinstance(value, Mapping):
            return type(value), tuple((self.value(key), self.value(item)) for key, item in value.items())
        if isinstance(value, list | tuple):
            return type(value), tuple(self.value(item) for item in value)
        if isinstance(value, set | frozenset):
            return type(value), frozenset(self.value(item) for item in value)
        if isinstance(value, PLAIN + PLAIN_OF_TORCH):
            return type(value), value
        if isinstance(value, types.FunctionType) and value.__closure__ is None and not vars(value):
            return type(value), value
        raise Incomparable(f"a {type(value).__name__}")
