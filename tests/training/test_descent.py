"""SGD against PyTorch's own class, bit by bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.training.descent import Descent

SHAPES = {"weight": (3, 4), "bias": (3,), "frozen": (2,), "late": (2, 2)}


def parameters() -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(4)
    return {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in SHAPES.items()}


def set_gradients(tensors: dict[str, nn.Parameter], step: int) -> None:
    """Give all but one a gradient, and one of them only in the second step."""
    generator = torch.Generator().manual_seed(step)
    for name, tensor in tensors.items():
        gradient = torch.randn(tensor.shape, generator=generator)
        tensor.grad = None if name == "frozen" or (name == "late" and step == 0) else gradient


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("given", [False, True])
def test_a_step_is_that_of_pytorchs_class(momentum: float, given: bool) -> None:
    ours, theirs, lr = parameters(), parameters(), torch.zeros((), dtype=torch.float64)
    decayed, exempt = ("weight", "frozen"), ("bias", "late") if given else ("bias",)
    descent = Descent(
        [({name: ours[name] for name in decayed}, 0.1), ({name: ours[name] for name in exempt}, 0.0)], lr, momentum
    )
    groups = [
        {"params": [theirs[name] for name in decayed]},
        {"params": [theirs[name] for name in exempt], "weight_decay": 0.0},
    ]
    sgd = torch.optim.SGD(groups, lr, momentum, weight_decay=0.1, fused=True)
    if given:
        for name in (*decayed, *exempt):
            descent.buffers[name] = torch.ones(SHAPES[name])
            sgd.state[theirs[name]]["momentum_buffer"] = torch.ones(SHAPES[name])
    for step, rate in enumerate((0.5, 0.25, 0.1)):
        lr.fill_(rate)
        for tensors, optimiser in ((ours, descent), (theirs, sgd)):
            set_gradients(tensors, step)
            optimiser.step()  # type: ignore[attr-defined]

    def same(one: Tensor | None, other: Tensor | None) -> bool:
        return one is other is None or (one is not None and other is not None and torch.equal(one, other))

    assert all(torch.equal(ours[name], theirs[name]) for name in SHAPES)
    assert not torch.equal(ours["weight"], parameters()["weight"])
    buffers = {name: sgd.state[theirs[name]].get("momentum_buffer") for name in (*decayed, *exempt)}
    assert all(same(descent.buffers.get(name), buffer) for name, buffer in buffers.items())
    descent.zero_grad()
    assert all(ours[name].grad is None for name in (*decayed, *exempt))
