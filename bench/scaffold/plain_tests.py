"""The method sketch conforms, and its step has the length that it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.api import Client, Selection, Server, Streams, Update
from bench.conformance import check_method
from bench.plugins import registry

PLUGIN = Path(__file__).resolve().parents[1] / "methods" / "sketch.py"


def test_conforms() -> None:
    assert check_method("sketch", [PLUGIN]).failures == []


def test_the_server_goes_its_step_towards_the_mean() -> None:
    kind: Any = registry.method("sketch", [PLUGIN]).kind
    model = nn.utils.skip_init(nn.Linear, 1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    updates = [Update(Selection(Client(number, 5, 1.0)), {"weight": torch.tensor([[value]])})
               for number, value in enumerate((2.0, 6.0))]  # fmt: skip
    server = kind(kind.Params(step=0.5)).aggregate(Server(model), updates, Streams(0, "aggregation", 1))
    assert server.model.weight.item() == pytest.approx(1 + 0.5 * (4 - 1))
