"""How PriSM's released code departs from its paper, each departure a switch of its own.

Read from the authors' code (current revision, convolutions). Two departures need no switch here: the accuracy of the
best round is the column ``oracle_acc`` of the table ``cells``, and clients with exactly equal classes are the
partition "iid-exact".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.api import Selection, Server, Streams, Update, parameter
from bench.families.product_decay import factor_names, product_decay
from bench.families.spectral import SpectralServer
from bench.families.weighed import Weighed, WeighedParams
from bench.models.base import Model
from bench.models.factorise import low_rank_layers
from bench.models.low_rank import Factors
from bench.spectral.decompose import rank_of

RELEASED = {
    "sampling": "uniform",
    "u_rows": 0.4,
    "sigma": "absorbed",
    "client_momentum": "carry",
    "first_epoch_lr": "stale",
    "gradient_clip": 5.0,
    "full_batches": True,
    "last_relu": "lost",
}
"""What ``as_released`` switches on."""
LAST_ROUND = "last_round"
LAST_RELU = "the CNN's last ReLU is kept, or lost as in the released code's factored model; other models lose nothing"


@dataclass(frozen=True)
class ReleasedParams(WeighedParams):
    """The switches; the defaults are the paper's."""

    as_released: bool = parameter(
        False, "all at once: " + ", ".join(f"{name}={value}" for name, value in RELEASED.items())
    )
    sampling: Literal["power", "uniform", "softmax"] = parameter(
        "power", "kernels are drawn by sigma^kappa (paper), all alike, or by exp(sigma) (both in the released code)"
    )
    u_rows: float = parameter(
        1.0,
        "share of the rows of U that clients get values of and send, the first ones (released: 0.4)",
        above=0.0,
        high=1.0,
    )
    first_epoch_lr: Literal["scheduled", "stale"] = parameter(
        "scheduled", "learning rate of a client's first local epoch: the round's, or that of its last round (released)"
    )
    gradient_clip: float | None = parameter(None, "largest norm of a client's gradient (released: 5)", above=0.0)
    full_batches: bool = parameter(False, "leave out each client's last, smaller batch (released)")
    last_relu: Literal["kept", "lost"] = parameter("kept", LAST_RELU)


class AsReleased(Weighed):
    """A sampled spectral method with the released code's departures in training and aggregation."""

    Params = ReleasedParams

    def __init__(self, params: Any = None) -> None:
        super().__init__(params)
        if self.params.as_released:
            super().__init__(with_released(self.params))
        self.drop_last = self.params.full_batches

    def setup(self, model: nn.Module, task: Any) -> SpectralServer:
        server = super().setup(model, task)
        if self.params.last_relu == "lost":
            lose_last_relu(model)
        if self.params.first_epoch_lr == "stale":
            device = next(model.parameters()).device
            server.memory[LAST_ROUND] = torch.zeros(task.recipe.clients, dtype=torch.int64, device=device)
        return server

    def factors(self, server: SpectralServer, selection: Selection, name: str) -> Factors:
        factors = super().factors(server, selection, name)
        factors.u[self._rows(factors.u) :] = 0  # of the client's own copy
        return factors

    def upload(self, submodel: nn.Module) -> dict[str, Tensor]:
        factors = factor_names(submodel)
        # The rows that were left out act in local training all the same, as in the released code.
        return {
            name: tensor[: self._rows(tensor)] if name in factors and name.endswith("_u") else tensor
            for name, tensor in super().upload(submodel).items()
        }

    def _rows(self, u: Tensor) -> int:
        return rank_of(self.params.u_rows, len(u))

    def penalty(self, submodel: nn.Module) -> Tensor | None:
        if self.params.u_rows == 1:
            return super().penalty(submodel)
        return product_decay(submodel, self.frobenius_decay, self._rows)

    def idle_hooks(self) -> frozenset[str]:
        idle = super().idle_hooks()
        if self.params.u_rows < 1 or self.params.gradient_clip is not None:
            idle -= {"adjust_gradients"}
        return idle | {"learning_rates"} if self.params.first_epoch_lr == "scheduled" else idle

    def adjust_gradients(self, submodel: nn.Module) -> None:
        super().adjust_gradients(submodel)
        if self.params.u_rows < 1:
            self._clear_rows(submodel)
        if self.params.gradient_clip is not None:
            nn.utils.clip_grad_norm_(submodel.parameters(), self.params.gradient_clip)

    @torch.no_grad()
    def _clear_rows(self, submodel: nn.Module) -> None:
        """Set the rows of U that are left out to zero, after a step's gradients are known and before it is made.

        The released Frobenius decay masks U in place at each local step: rows that are left out hold one step's change
        in the next forward pass, and never more.
        """
        for layer in low_rank_layers(submodel).values():
            for weight in layer.factored_weights():
                u = layer.factors(weight).u
                u[self._rows(u) :] = 0

    def initial_momentum(self, server: Server, selection: Selection) -> Mapping[str, Tensor] | None:
        momentum = super().initial_momentum(server, selection)
        for name, buffer in (momentum or {}).items():
            if name.endswith("_u") and name[:-2] in selection.indices:
                buffer[self._rows(buffer) :] = 0  # handed out under the mask of the weights, as they are
        return momentum

    def learning_rates(self, server: Server, selection: Selection, round_number: int) -> Sequence[float] | None:
        if self.params.first_epoch_lr == "scheduled":
            return None
        # The released scheduler steps after each epoch: the first one has what the client's last round left behind.
        recipe, last = self.task.recipe, int(server.memory[LAST_ROUND][selection.client.number])
        return [recipe.lr_of(max(last, 1))] + [recipe.lr_of(round_number)] * (recipe.local_epochs - 1)

    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> SpectralServer:
        if LAST_ROUND not in server.memory:
            return super().aggregate(server, updates, streams)
        last_round = server.memory[LAST_ROUND].clone()
        following = super().aggregate(server, _noted(updates, last_round, streams.round_number), streams)
        following.memory[LAST_ROUND] = last_round
        return following


def _noted(updates: Iterable[Update], last_round: Tensor, round_number: int) -> Iterable[Update]:
    """Pass updates on and note in which round their clients took part."""
    for update in updates:
        last_round[update.selection.client.number] = round_number
        yield update


def lose_last_relu(model: nn.Module) -> bool:
    """Let a model and its sub-models compute as the released code's, from now on; return whether that is a change."""
    return isinstance(model, Model) and model.lose_repeated_layers()


def with_released(params: Any) -> Any:
    """Return parameters in which everything that is still the paper's is as in the released code."""
    usual = {field.name: field.default for field in fields(params)}
    return replace(params, **{name: value for name, value in RELEASED.items() if getattr(params, name) == usual[name]})
