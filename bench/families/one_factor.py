"""Training one factor of each product at a time, so that averages of factors are averages of products.

With v fixed and shared by the clients that hold a kernel, ``mean_c(u_c) v^T = mean_c(u_c v^T)``: the cross terms that
the mean of both factors accepts as an error are gone. A factor that is fixed is sent to the clients, who compute with
it; it is not trained (no gradient, no momentum) and not sent back.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from bench.models.factorise import low_rank_layers

Train = Literal["both", "u", "v", "alternate"]
TRAIN = (
    "which factors of a kernel are trained: both, u alone, v alone (the other is fixed, shared and not sent back), or "
    "u and v in turn, u in the first round"
)


def frozen_side(train: Train, round_number: int) -> str:
    """Return which factor is fixed in a round (from 1): "u", "v", or "" for none."""
    if train == "alternate":
        return "v" if round_number % 2 else "u"
    return {"both": "", "u": "v", "v": "u"}[train]


def rounds_of(train: Train) -> int:
    """Return after how many rounds what is trained repeats itself."""
    return 2 if train == "alternate" else 1


def freeze_factors(submodel: nn.Module, side: str) -> None:
    """Let the factors of one side, "u" or "v", of a sub-model's low-rank layers be trained no more; "" freezes none."""
    for layer in low_rank_layers(submodel).values() if side else ():
        for weight in layer.factored_weights():
            layer.get_parameter(f"{weight}_{side}").requires_grad_(False)
