"""Every convolution that a model or sub-model computes is right, and leaves the memory beside it alone.

PyTorch's library for convolutions has kernels of its own for each instruction set, and some of them have written past
their workspace for a few channels. So the convolutions of all methods' sub-models are listed, and run in processes of
their own with the allocator's checks on.
"""

from __future__ import annotations

import functools
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import CNN, RESNET, initial, paper_task
from torch.utils._python_dispatch import TorchDispatchMode

from bench.api import Client, Cohort, Skip, copy_of
from bench.cell import Cell
from bench.plugins import registry
from bench.seeding import Streams

CHILD = Path(__file__).resolve().parents[1] / "support" / "convolution_child.py"
ROUNDING = {"fp32": 1e-6, "bf16": 1e-2}
"""Errors beside the sum of the terms' sizes: a few units in the last place, 2**-24 and 2**-9."""
CHANNELS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 15, 16, 17, 20)
SAMPLES = (1, 2, 3, 8, 10, 20, 32, 33)
MODELS: tuple[tuple[str, dict[str, Any]], ...] = (
    (RESNET, {"architecture": "resnet18", "width": 4, "factored": "3x3"}),
    (RESNET, {"architecture": "resnet18", "width": 4, "factored": "all"}),
    (RESNET, {"architecture": "resnet20", "width": 4, "factored": "3x3"}),
    (RESNET, {"architecture": "resnet20", "width": 4, "factored": "all"}),
    (CNN, {"variant": "paper"}),
    (CNN, {"variant": "released"}),
)
Kind = tuple[Any, ...]


class Convolutions(TorchDispatchMode):
    """Remembers the kinds of all convolutions: all but samples and channels."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: set[Kind] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.overloadpacket is torch.ops.aten.convolution:
            inputs, weight, bias, stride, padding, dilation, transposed, _, groups = args
            assert set(dilation) == {1} and not transposed and groups == 1
            layouts = torch.contiguous_format, torch.channels_last
            sliced = not any(inputs.is_contiguous(memory_format=layout) for layout in layouts)
            kind = *inputs.shape[2:], *weight.shape[2:], *stride, *padding, bias is not None, sliced
            self.kinds.add(kind)
        return function(*args, **(kwargs or {}))


@functools.cache
def kinds_of(models: int, *methods: str) -> frozenset[Kind]:
    """Return the kinds of convolutions in the sub-models of methods, all methods if none is named."""
    found = Convolutions()
    for name, model in MODELS[:models]:
        task = paper_task(name, **model)
        full = initial(task)
        for method in methods or registry.methods():
            for keep in (0.25, 1.0):
                try:
                    submodel = submodel_of(method, full, name, keep)
                except Skip:
                    continue
                with found:
                    submodel.to("meta")(task.example(2, "meta"))
    return frozenset(found.kinds)


def submodel_of(method: str, full: torch.nn.Module, task: str, keep: float) -> torch.nn.Module:
    built = registry.method(method).build(Cell(task, method))
    built.levels = (keep,)
    server = built.setup(copy_of(full), paper_task(task))
    (selection,) = built.select(server, Cohort(1, (Client(0, 1, keep),)), Streams(0, "selection", 1))
    return built.extract(server, selection)


def cases_of(kinds: frozenset[Kind], pairs: int, precision: str, layouts: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return convolutions of each kind with numbers of channels from one up, the narrowest ones first."""
    rng, cases = random.Random(0), []
    for kind in sorted(kinds):
        height, width, *kernel, down, right, above, left, bias, sliced = kind
        first = (height, width) == (28, 28)
        channels = {(1 if first else few, many) for few in CHANNELS for many in (1, few, 2 * few, 17)}
        channels |= set() if first else {(many, few) for few in CHANNELS for many in (17, 64)}
        narrow, rest = sorted(channels)[: pairs // 2], sorted(channels)[pairs // 2 :]
        for inputs, outputs in narrow + rng.sample(rest, min(pairs - len(narrow), len(rest))):
            case = {"size": (height, width), "kernel": kernel, "stride": (down, right), "padding": (above, left)}
            case |= {"bias": bias, "sliced": sliced, "inputs": inputs, "outputs": outputs, "precision": precision}
            for layout in layouts:
                cases.append(case | {"layout": layout, "samples": rng.choice(SAMPLES), "repeats": 2})
    return cases


def faults(cases: list[dict[str, Any]], folder: Path, **environment: str) -> list[str]:
    """Run all cases and return what is wrong with them; a process that dies is followed by another."""
    file = folder / "cases.json"
    file.write_text(json.dumps(cases))
    checks = {"MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165", "LD_PRELOAD": "libc_malloc_debug.so.0"}
    path = os.pathsep.join(filter(None, (str(CHILD.parents[2]), os.environ.get("PYTHONPATH"))))
    start, found = 0, []
    while start < len(cases):
        command = [sys.executable, str(CHILD), str(file), str(start)]
        settings = os.environ | checks | environment | {"PYTHONPATH": path}
        child = subprocess.run(command, capture_output=True, text=True, env=settings)
        last = start
        for line in map(json.loads, child.stdout.splitlines()):
            last = line.get("begins", last)
            worst = max(line.get("errors", {"": 0.0}).values())
            if "refused" in line or worst > ROUNDING[cases[last]["precision"]]:
                found.append(f"{cases[last]}: {line}")
        if child.returncode == 0:
            return found
        found.append(f"{cases[last]}: exit code {child.returncode}, {child.stderr[-300:]}")
        start = last + 1
    return found


def test_no_convolution_takes_single_positions_with_a_stride() -> None:
    kinds = kinds_of(2, "fedavg", "prism", "fedhm", "origdrop", "fedpara")
    single = [kind for kind in kinds if kind[2:4] == (1, 1)]
    assert {kind[:2] for kind in single if kind[-1]} >= {
        (16, 16),
        (8, 8),
        (4, 4),
    }  # the shortcuts, positions taken first
    assert all(kind[4:6] == (1, 1) for kind in single)


def test_narrow_convolutions_are_right_and_stay_in_their_memory(tmp_path: Path) -> None:
    kinds = frozenset(kind for kind in kinds_of(2, "fedavg", "prism") if max(kind[:2]) <= 16)
    assert faults(cases_of(kinds, 4, "fp32", ("channels last",)), tmp_path) == []


def test_a_wrong_result_and_a_process_that_dies_are_noticed(tmp_path: Path) -> None:
    cases = cases_of(frozenset({(4, 4, 1, 1, 1, 1, 0, 0, False, False)}), 2, "fp32", ("contiguous",))
    wrong, refused = cases[0] | {"precision": "bf16"}, cases[1] | {"kernel": (9, 9)}
    wrong_limit = dict(ROUNDING)
    try:
        ROUNDING["bf16"] = 1e-9
        found = faults([wrong, refused], tmp_path)
    finally:
        ROUNDING.update(wrong_limit)
    assert len(found) == 2 and "errors" in found[0] and "refused" in found[1]
    assert "exit code" in faults(cases[:1], tmp_path, PYTHONHOME="/nowhere")[0]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("instructions", ["", "AVX512_CORE", "AVX2", "SSE41"])
def test_all_convolutions_are_right_with_all_instruction_sets(
    instructions: str, precision: str, tmp_path: Path
) -> None:
    environment = {"ONEDNN_MAX_CPU_ISA": instructions} if instructions else {}
    if instructions == "AVX2":
        environment["ATEN_CPU_CAPABILITY"] = "avx2"
    kinds = kinds_of(len(MODELS))
    assert len(kinds) > 30
    assert faults(cases_of(kinds, 12, precision, ("channels last", "contiguous")), tmp_path, **environment) == []
