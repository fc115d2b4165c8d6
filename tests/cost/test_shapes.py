"""Shapes on the meta device against what is computed on the CPU, counts against PyTorch's own counter of operations."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import CNN, LSTM, RESNET, cohort_of, initial, method_of, selections_of, small_task
from patience import PATIENCE_S
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from bench.cost.operations import _Products
from bench.models.attention import attend

IMAGES, KERNEL = (2, 4, 7, 9), (6, 4, 3, 2)
Works = Callable[[Callable[..., Tensor]], Tensor]
WORKED_OUT: dict[str, Works] = {
    "convolution": lambda of: functional.conv2d(of(*IMAGES), of(*KERNEL), of(6), (2, 1), (1, 0), (1, 2)),
    "grouped convolution": lambda of: functional.conv2d(of(*IMAGES), of(6, 2, 3, 3), groups=2),
    "convolution over a line": lambda of: functional.conv1d(of(2, 4, 9), of(3, 4, 2), stride=3),
    "transposed convolution": lambda of: functional.conv_transpose2d(of(*IMAGES), of(4, 3, 2, 2), stride=2),
    "pooling": lambda of: functional.max_pool2d(of(*IMAGES), 3, 2, 1),
    "pooling rounded up": lambda of: functional.max_pool2d(of(*IMAGES), 2, ceil_mode=True),
    "enlarged": lambda of: functional.interpolate(of(2, 4, 3, 5), (7, 9), mode="bilinear", align_corners=False),
    "batch norm": lambda of: functional.batch_norm(of(*IMAGES), None, None, of(4), of(4), True),
    "group norm": lambda of: functional.group_norm(of(*IMAGES), 2, of(4), of(4)),
    "layer norm": lambda of: functional.layer_norm(of(*IMAGES), (7, 9), of(7, 9), of(7, 9)),
    "matrices": lambda of: of(3, 4) @ of(5, 4).T,
    "batches of matrices": lambda of: torch.baddbmm(of(2, 3, 5), of(2, 3, 4), of(2, 4, 5)),
    "sum over some": lambda of: of(*IMAGES).sum((0, -1)),
    "mean that keeps": lambda of: of(*IMAGES).mean((2, 3), keepdim=True),
    "mean of all": lambda of: of(*IMAGES).mean(),
    "joined": lambda of: torch.cat([of(2, 3), of(2, 4), of(0)], -1),
    "stacked": lambda of: torch.stack([of(2, 3), of(2, 3)], -1),
    "parts": lambda of: of(*IMAGES)[:, 1, ::2].permute(2, 0, 1).contiguous().view(-1),
    "broadcast": lambda of: of(3, 1, 4) * of(5, 1) + 1,
    "types": lambda of: torch.where(of(3, 4) > 0, of(3, 4).double(), of(4)),
    "in place": lambda of: functional.relu((of(3, 4) * 2).add_(1), inplace=True),
    "order in memory": lambda of: (of(3, 4, 5).permute(2, 0, 1) * 2).permute(1, 2, 0).view(-1),
    "entries written": lambda of: of(3, 4).index_copy(1, torch.tensor([2, 0]).to(of(1).device), of(3, 2)),
    "entries taken": lambda of: of(3, 4).index_select(0, torch.tensor([2, 0, 2]).to(of(1).device)),
    "zeros": lambda of: of(3, 4) + of(2).new_zeros((3, 1)) + of(2).new_zeros(4, dtype=torch.float64),
    "attention": lambda of: attend(*(of(2, 7, 3, 5).transpose(1, 2) for _ in range(3)), causal=True),
    "left to PyTorch": lambda of: of(3, 4).softmax(-1).cumsum(0),
}


def computed(work: Works, device: str) -> tuple[Tensor, list[Tensor]]:
    """Return what is computed of new tensors that require gradients, and those gradients."""
    made: list[Tensor] = []

    def of(*shape: int) -> Tensor:
        made.append(torch.ones(shape, device=device, requires_grad=True))
        return made[-1]

    result = work(of)
    result.sum().backward()
    return result, [tensor.grad for tensor in made if tensor.grad is not None]


@pytest.mark.parametrize("name", WORKED_OUT)
def test_shapes_types_and_order_in_memory_are_those_of_the_cpu(name: str) -> None:
    with _Products():
        result, gradients = computed(WORKED_OUT[name], "meta")
    expected, expected_gradients = computed(WORKED_OUT[name], "cpu")
    assert result.is_meta
    assert [(one.shape, one.dtype) for one in (result, *gradients)] == [
        (one.shape, one.dtype) for one in (expected, *expected_gradients)
    ]
    assert result.stride() == expected.stride()


METHODS = {
    CNN: ("fedavg", "prism", "origdrop", "pfedpara", "depthfl", "fiarse", "flanc"),
    RESNET: ("fedhm", "fedpara"),
    LSTM: ("fedavg", "prism", "fedlmt"),
}


@pytest.mark.parametrize(("task_name", "method_name"), [(task, name) for task in METHODS for name in METHODS[task]])
def test_the_count_is_that_of_pytorchs_own_counter(task_name: str, method_name: str) -> None:
    task, method = small_task(task_name), method_of(method_name)
    server = method.setup(initial(task), task)
    submodel = method.extract(server, selections_of(method, server, cohort_of(0.5))[0])
    shadow, samples = copy.deepcopy(submodel).to("meta"), task.example(2, "meta")
    with FlopCounterMode(display=False) as expected:
        shadow(samples).sum().backward()
    with _Products() as counted:
        shadow(samples).sum().backward()
    assert 2 * counted.macs == counted.flops == expected.get_total_flops() > 0


TRAINS = """
import sys
from helpers import CNN, LSTM, RESNET, federation, run

of_cnn = ((method, CNN) for method in ("prism", "fedpara", "depthfl", "fiarse"))
for method, task in (*of_cnn, ("fedavg", RESNET), ("unbiased", LSTM)):
    rounds, _ = run(federation(method, task))
    assert rounds[-1].number == 2
heavy = {"torch._dynamo", "torch._inductor", "sympy"} & set(sys.modules)
assert not heavy, heavy
"""


def test_a_process_that_trains_imports_neither_pytorchs_compiler_nor_a_computer_algebra() -> None:
    support = Path(__file__).resolve().parents[1] / "support"
    result = subprocess.run(
        [sys.executable, "-c", TRAINS], cwd=support, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert result.returncode == 0, result.stderr
