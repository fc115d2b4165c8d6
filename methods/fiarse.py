"""FIARSE: each client trains the largest entries of the server's weights, as a mask over the whole model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.api import Cohort, Method, Selection, Server, Skip, Streams, Update, parameter
from bench.families.averaging import client_weight
from bench.families.magnitude import maskable, thresholds
from bench.models.factorise import with_layers
from bench.models.masked import VALUES, Kept, masked_layer


@dataclass(frozen=True)
class FIARSEParams:
    """Thresholds, gradients, averages; the defaults are the authors'."""

    thresholds: Literal["global", "layer"] = parameter(
        "global", "the largest entries of all weights together, or as large a share of each layer (fiarse_layerwise)"
    )
    gradient: Literal["threshold", "plain"] = parameter(
        "threshold", "the gradient follows the threshold: 1.5 times as large at it; or it is that of pruning (plain)"
    )
    mean: Literal["changed", "held"] = parameter(
        "changed", "an entry's mean is over the clients that changed it (released), or over all that held it"
    )
    weights: Literal["uniform", "samples"] = parameter("uniform", "clients count alike (authors), or by their samples")
    tail: Literal["drop", "keep"] = parameter(
        "drop", "evaluated are the largest entries of the strongest clients' keep ratio, or all entries"
    )


class FIARSE(Method):
    """A client of keep ratio p gets the ``int(p n)`` largest of the n entries of convolutions, linear layers and LSTMs.

    With theta the least magnitude among them, its forward pass computes with ``w 1(|w| >= theta)`` and its backward
    pass with ``g (1 + 2 theta |w| / (|w| + theta)^2)`` where ``|w| >= theta``, 0 elsewhere; theta is fixed in the
    round, so that entries fall out while they are trained. The server adds to each entry the mean of the changes of the
    clients that changed it.

    The mask is unstructured: such a client computes and keeps activations as the full model's. It holds and receives
    the kept values and, of each weight, a bit for every entry or an index for every kept one, whichever is less.
    """

    family = "unstructured"
    summary = "the largest entries of all weights, as a mask over the whole model, with a gradient for the threshold"
    paper = (
        "Wu et al., FIARSE: model-heterogeneous federated learning via importance-aware submodel extraction, "
        "NeurIPS 2024"
    )
    deviations = (
        "rules are those of the released code; the paper's text was not at hand",
        "optimiser, learning rate, batches and local epochs are the task's: momentum and weight decay act on entries "
        "below the threshold too, where the authors' plain SGD leaves them alone",
        "weights that are not sent do not exist at the client: only what it holds can change",
        "evaluated is the mask of the strongest clients' keep ratio (tail=drop), as the authors evaluate the masks of "
        "their clients' sizes",
        "LSTMs, which the authors do not have, are masked in their matrices and biases; embeddings stay whole, where "
        "the authors' RoBERTa masks them by a threshold of their own",
    )
    Params = FIARSEParams
    reduces = ("parameters", "down_bytes", "ideal_macs", "ideal_train_macs")

    def __init__(self, params: Any = None) -> None:
        super().__init__(params)
        # Even with plain gradients the smallest entries fall below the threshold in the first step.
        self.equals_fedavg = False

    def setup(self, model: nn.Module, task: Any) -> Server:
        server = super().setup(model, task)
        if not any(True for _ in maskable(model)):
            raise Skip(f"{type(model).__name__} has no convolution, linear layer or LSTM that a mask could prune")
        return server

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        chosen = {keep: self._chosen(server, keep) for keep in {client.keep for client in cohort.clients}}
        return [Selection(client, chosen[client.keep]) for client in cohort.clients]

    def _chosen(self, server: Server, keep: float) -> dict[str, Tensor]:
        """Return for each weight that has scores the flat positions of the entries that a keep ratio keeps."""
        weights = dict(maskable(server.model))
        least = thresholds(weights, keep, self.params.thresholds == "layer")
        return {
            name: (tensor.detach().abs().flatten() >= least[name]).nonzero()[:, 0] for name, tensor in weights.items()
        }

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        return self._masked(server, selection.indices)

    @torch.no_grad()
    def _masked(self, server: Server, chosen: Mapping[str, Tensor]) -> nn.Module:
        """Return the sub-model of the chosen entries."""
        by_layer: dict[str, dict[str, Kept]] = defaultdict(dict)
        for name, positions in chosen.items():
            tensor, (layer, _, own) = server.model.get_parameter(name).detach(), name.rpartition(".")
            by_layer[layer][own] = Kept(tensor.flatten().index_select(0, positions), positions, tensor.shape)
        # The least magnitude that is sent is the threshold: it need not be sent itself.
        least = {layer: _least(kept.values()) for layer, kept in by_layer.items()}
        if self.params.thresholds == "global":
            least = dict.fromkeys(by_layer, torch.stack(list(least.values())).min())
        follows = self.params.gradient == "threshold"
        return with_layers(
            server.model,
            {
                layer: masked_layer(server.model.get_submodule(layer), kept, least[layer], follows)
                for layer, kept in by_layer.items()
            },
        )

    def received(self, server: Server, selection: Selection, submodel: nn.Module) -> Iterable[Tensor]:
        """Return what is sent: values, masks and whole parameters, not the thresholds, which follow from the values."""
        return [tensor for name, tensor in submodel.state_dict().items() if name.rpartition(".")[2] != "threshold"]

    @torch.no_grad()
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        named = dict(server.model.named_parameters())
        change = {name: torch.zeros_like(tensor.flatten()) for name, tensor in named.items()}
        count = {name: torch.zeros_like(total) for name, total in change.items()}
        for update in updates:
            weight = client_weight(update.selection.client, self.params.weights)
            for name, values in update.parameters.items():
                name = name.removesuffix(VALUES)
                places = update.selection.indices.get(name, torch.arange(values.numel(), device=values.device))
                moved = values.flatten().to(named[name]) - named[name].flatten()[places]
                change[name][places] += weight * moved
                count[name][places] += weight * (moved != 0 if self.params.mean == "changed" else 1)
        for name, tensor in named.items():
            tensor.add_((change[name] / torch.where(count[name] > 0, count[name], 1.0)).view_as(tensor))
        return server

    def full_model(self, server: Server) -> nn.Module:
        if self.params.tail == "keep":
            return server.model
        return self._masked(server, self._chosen(server, max(self.levels)))

    def nested_models(self, server: Server) -> Iterator[tuple[float, nn.Module]]:
        for keep in self.levels if len(self.levels) > 1 else ():
            yield keep, self._masked(server, self._chosen(server, keep))

    def coverage(self, server: Server, selection: Selection) -> dict[str, tuple[Tensor, int]]:
        return {name: (kept, server.model.get_parameter(name).numel()) for name, kept in selection.indices.items()}


def _least(kept: Iterable[Kept]) -> Tensor:
    """Return the least magnitude of entries, infinite where there are none."""
    values = torch.cat([weight.values for weight in kept])
    return values.abs().min() if len(values) else values.new_tensor(torch.inf)
