"""pFedLMT: a common front, and behind it a low-rank rest that is the client's own, of the client's own rank."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from bench.api import Client, Selection, Server, Skip, Streams, Update, parameter
from bench.families.averaging import means_of
from bench.families.prefactored import Prefactored, factors_of
from bench.families.product_decay import factor_names, product_decay
from bench.models.base import Model

STEPS = "personal_steps"
"""A sub-model's attribute: for each local step to come whether it trains the client's own rest."""


@dataclass(frozen=True)
class PFedLMTParams:
    """What is common, decay and averages; the defaults are the authors' for CIFAR-10."""

    whole_blocks: int = parameter(5, "residual blocks after the stem that are whole and common to all", low=0)
    frobenius_decay: float = parameter(
        2e-6,
        "decay of the products in the place of weight decay on the factors; 0 for that",
        low=0.0,
        alias="lambda",
    )
    weights: Literal["samples", "uniform"] = parameter("samples", "clients count by their samples, or alike")


class PFedLMT(Prefactored):
    """Everything from the first factored layer on is the client's own, of rank ``max(round(p N), 1)``; it is not sent.

    Of a client's local steps the first half (the larger one) trains its own rest with the front fixed, the other half
    the front with the rest fixed. The server averages the fronts. A client that takes part for the first time is sent
    the rest too, which is the same for all clients of a rank: the leading singular vectors of the task's initial
    weights, and the initial classifier. A client whose keep ratio changes from round to round has a rest for each.

    There is no model for all: the server's has the rest that a client of keep ratio 1 begins with. What clients use is
    measured as ``personal_acc``.
    """

    summary = "as fedlmt, but the factored layers stay with the client, at its own rank; the front is common"
    paper = "pFedLMT of Liu et al., FedLMT, ICML 2024"
    deviations = (
        "rules are those of the released code; the paper's text was not at hand",
        "there is no first stage in which all train one network (released: meta_round, 0 rounds by default)",
        "initial factors are those of the task's initial weights; the released code factors products of drawn factors",
        "what is fixed in a step has no gradient and does not move; momentum of each half is its own",
        "frobenius_decay is lambda of lambda/2 ||U V||^2 and replaces weight decay on the factors; the released "
        "coefficient is half of it",
        "models without residual blocks are common up to their first factored layer; LSTMs are factored in their four "
        "matrices, at the share p of the smaller side",
    )
    Params = PFedLMTParams

    def setup(self, model: nn.Module, task: Any) -> Server:
        server = super().setup(model, task)
        assert isinstance(model, Model)
        parts = model.parts()
        first = next(number for number, part in enumerate(parts) if any(map(_begins_with(part), self.factored)))
        self.front = tuple(prefix for part in parts[:first] for prefix in part)
        """What the names of the common parameters begin with."""
        if not self.front:
            raise Skip(
                "in pfedlmt clients have in common what lies before the first factored layer, and "
                f"{type(model).__name__} begins with it"
            )
        server.memory |= self.decomposed(model, 1.0)
        self.compose(server)
        return server

    def is_own(self, name: str) -> bool:
        """Return whether a parameter of a sub-model stays with the client."""
        return not name.startswith(self.front)

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        submodel = self._of(server, selection.client)
        steps = self.task.recipe.local_steps(selection.client.samples)
        setattr(submodel, STEPS, deque(step < steps - steps // 2 for step in range(steps)))
        return submodel

    def _of(self, server: Server, client: Client) -> nn.Module:
        """Return the network that a client has: the common front, and the rest as it has kept it or begins with it."""
        factors = factors_of(server)
        for name in self.factored:
            rank = self.rank(server.model, name, client.keep)
            factors[f"{name}_u"], factors[f"{name}_v"] = factors[f"{name}_u"][:, :rank], factors[f"{name}_v"][:rank]
        submodel = self.submodel(server, factors)
        with torch.no_grad():
            for name, kept in _kept_by(server, client).items():
                submodel.get_parameter(name).copy_(kept)
        return submodel

    def computed(self, submodel: nn.Module) -> Iterator[tuple[nn.Module, float]]:
        """The sub-model, with one half of it fixed in one share of the steps and the other half in the rest."""
        steps = cast("deque[bool]", getattr(submodel, STEPS))
        for own in (True, False):
            share = steps.count(own) / max(len(steps), 1)
            if share or own:
                self._train(submodel, own)
                yield submodel, share
        submodel.requires_grad_(True)

    def _train(self, submodel: nn.Module, own: bool) -> None:
        """Let gradients be computed of the client's own rest alone, or of the front alone."""
        for name, tensor in submodel.named_parameters():
            tensor.requires_grad_(self.is_own(name) == own)

    def local_loss(self, submodel: nn.Module, forward: Callable[[], Tensor], targets: Tensor) -> Tensor | None:
        self._train(submodel, cast("deque[bool]", getattr(submodel, STEPS)).popleft())
        return None

    def upload(self, submodel: nn.Module) -> dict[str, Tensor]:
        submodel.requires_grad_(True)  # whichever half was trained last
        return {name: tensor for name, tensor in super().upload(submodel).items() if not self.is_own(name)}

    def local_state(self, submodel: nn.Module) -> dict[str, Tensor]:
        return {name: tensor.detach() for name, tensor in submodel.named_parameters() if self.is_own(name)}

    def received(self, server: Server, selection: Selection, submodel: nn.Module) -> Iterable[Tensor]:
        new = not _kept_by(server, selection.client)
        return [tensor for name, tensor in submodel.state_dict().items() if new or not self.is_own(name)]

    def penalty(self, submodel: nn.Module) -> Tensor | None:
        return product_decay(submodel, self.params.frobenius_decay)

    def decay_free(self, submodel: nn.Module) -> set[str]:
        return factor_names(submodel) if self.params.frobenius_decay else set()

    def idle_hooks(self) -> frozenset[str]:
        return frozenset() if self.params.frobenius_decay else frozenset({"penalty", "decay_free"})

    @torch.no_grad()
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        kept: dict[str, Tensor] = {}
        common = {name: tensor for name, tensor in server.model.named_parameters() if not self.is_own(name)}
        for name, mean in means_of(common, _noted(updates, kept), self.params.weights).items():
            common[name].copy_(mean)
        return Server(server.model, {**server.memory, **kept})

    def personal_model(self, server: Server, client: Client) -> nn.Module | None:
        return self._of(server, client) if _kept_by(server, client) else None


def _begins_with(prefixes: tuple[str, ...]) -> Callable[[str], bool]:
    return lambda name: name.startswith(prefixes)


def _kept_by(server: Server, client: Client) -> Mapping[str, Tensor]:
    """Return what a client has kept, by the names in its sub-model; empty before it first takes part."""
    prefix = _prefix(client)
    return {name.removeprefix(prefix): tensor for name, tensor in server.memory.items() if name.startswith(prefix)}


def _noted(updates: Iterable[Update], kept: dict[str, Tensor]) -> Iterator[Update]:
    """Pass updates on and note what their clients keep."""
    for update in updates:
        kept |= {_prefix(update.selection.client) + name: tensor.clone() for name, tensor in update.local.items()}
        yield update


def _prefix(client: Client) -> str:
    return f"client/{client.number}/{client.keep}/"  # one for each keep ratio that the client has had
