"""Runs convolutions forward and backward in a process of its own, which a faulty library may end.

Reads a JSON list of cases from the file that is named first, from the position that is named second on; writes a line
before and after each case, so that the one at which the process died is known.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.models.convolution import convolve

LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


def drawn(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def passes(tensors: dict[str, Tensor], weights: Tensor, case: dict[str, Any], halved: bool) -> dict[str, Tensor]:
    """Return the outputs and the gradients of all tensors, for a loss that weighs each output on its own."""
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in tensors.items()}
    inputs = leaves["inputs"][:, :, ::2, ::2] if case["sliced"] else leaves["inputs"]
    with torch.autocast("cpu", torch.bfloat16, enabled=halved):
        outputs = convolve(inputs, leaves["weight"], leaves.get("bias"), tuple(case["stride"]), tuple(case["padding"]))
    (outputs * weights.to(outputs.dtype)).sum().backward()
    gradients = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
    return {"outputs": outputs.detach(), **gradients}


def errors(case: dict[str, Any]) -> dict[str, float]:
    """Return the greatest error of each tensor against double precision, relative to the sum of its terms' sizes.

    Double precision has no kernels in the library: PyTorch computes it by its own loops. The sizes of the terms are
    what the same passes give for absolute values: rounding is relative to them, whatever cancels.
    """
    generator = torch.Generator().manual_seed(0)
    size = [2 * length - 1 if case["sliced"] else length for length in case["size"]]
    exact = {
        "inputs": drawn(generator, case["samples"], case["inputs"], *size),
        "weight": drawn(generator, case["outputs"], case["inputs"], *case["kernel"]),
    }
    if case["bias"]:
        exact["bias"] = drawn(generator, case["outputs"])
    halved = case["precision"] == "bf16"
    kind = torch.bfloat16 if halved else torch.float32
    exact = {name: tensor.to(kind).double() for name, tensor in exact.items()}
    held = {name: tensor.float() for name, tensor in exact.items()}
    held["inputs"] = held["inputs"].contiguous(memory_format=LAYOUTS[case["layout"]])
    with torch.no_grad():
        shape = convolve(
            exact["inputs"][:, :, ::2, ::2] if case["sliced"] else exact["inputs"],
            exact["weight"],
            exact.get("bias"),
            tuple(case["stride"]),
            tuple(case["padding"]),
        ).shape
    weights = drawn(generator, *shape).to(kind).double()
    expected = passes(exact, weights, case, halved=False)
    sizes = passes({name: tensor.abs() for name, tensor in exact.items()}, weights.abs(), case, halved=False)
    worst: dict[str, float] = {}
    for _ in range(case["repeats"]):
        found = passes(held, weights.float(), case, halved)
        for name, value in expected.items():
            error = float((found[name].double() - value).abs().max() / sizes[name].max())
            worst[name] = max(worst.get(name, 0.0), error if math.isfinite(error) else 1e30)
    return worst


def main() -> None:
    torch.set_num_threads(1)
    cases = json.loads(Path(sys.argv[1]).read_text())
    for index in range(int(sys.argv[2]), len(cases)):
        print(json.dumps({"begins": index}), flush=True)
        try:
            print(json.dumps({"index": index, "errors": errors(cases[index])}), flush=True)
        except RuntimeError as refused:
            print(json.dumps({"index": index, "refused": str(refused)[:200]}), flush=True)


if __name__ == "__main__":
    main()
