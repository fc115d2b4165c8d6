"""OrigDrop: every client trains the same leading channels of each layer in the original space."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.api import Cohort, Selection, Server, Skip, Streams, Update, parameter
from bench.families.as_released import LAST_RELU, lose_last_relu
from bench.families.averaging import CoverageMean
from bench.families.nested import Nested
from bench.models.convolution import convolve
from bench.models.factorise import with_layers
from bench.spectral.decompose import rank_of
from bench.spectral.designs import Design, Leading


@dataclass(frozen=True)
class OrigDropParams:
    """Which OrigDrop, and whether channels that nobody trains take part in the evaluated model."""

    variant: Literal["nested", "released"] = parameter(
        "nested", "cut input and output channels as HeteroFL, or only outputs as PriSM's released code"
    )
    tail: Literal["drop", "keep"] = parameter(
        "drop", "untrained channels are left out of the evaluated model, or take part with their initial values"
    )
    last_relu: Literal["kept", "lost"] | None = parameter(
        None, f"{LAST_RELU}; if not given lost with variant=released, else kept"
    )


class PaddedConv2d(nn.Module):
    """A convolution that computes its leading output channels and pads the others with zeros."""

    def __init__(self, dense: nn.Conv2d, kept: int) -> None:
        super().__init__()
        self.stride, self.padding, self.missing = dense.stride, dense.padding, dense.out_channels - kept
        self.weight = nn.Parameter(dense.weight.detach()[:kept].clone())
        self.bias = None if dense.bias is None else nn.Parameter(dense.bias.detach()[:kept].clone())

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = convolve(inputs, self.weight, self.bias, self.stride, self.padding)  # rounds as the dense layer does
        return functional.pad(outputs, (0, 0, 0, 0, 0, self.missing))


class OrigDrop(Nested):
    """The first ``ceil(keep * channels)`` channels of every layer; the stem's input and the outputs stay full.

    Evaluated is the narrow network that was trained (``tail=keep``: the full width, with the initial values of what no
    client can train).

    ``variant=released`` is what PriSM's released code calls OrigDrop: only output channels are cut, dropped channels
    reach the normalisation as zeros, and the server averages with weight 1 / cohort, so that channels that nobody
    holds become zero. Its CNN lacks the last ReLU (``last_relu``). The embedding of the LSTM is its input side
    and stays whole.
    """

    summary = "the leading channels of each layer, the same for every client"
    paper = "baseline of PriSM (Niu et al., 2022), after HeteroFL (Diao et al., ICLR 2021) and FjORD (2021)"
    deviations = ("no scaler, masked loss or static batch normalisation: those are the method heterofl's",)
    Params = OrigDropParams

    def setup(self, model: nn.Module, task: Any) -> Server:
        self.released = self.params.variant == "released"
        self.keeps_tail = self.params.tail == "keep"
        if self.released and any(isinstance(module, nn.LSTM) for module in model.modules()):
            raise Skip("the released OrigDrop is not defined for LSTMs: the authors' code stops there")
        lost = self.params.last_relu == "lost" or (self.released and self.params.last_relu is None)
        self.equals_fedavg = not (lost and lose_last_relu(model))
        return super().setup(model, task)

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        if not self.released:
            return super().select(server, cohort, streams)
        layers = self._masked(server)
        return [
            Selection(client, {name: _leading(client.keep, layer) for name, layer in layers.items()})
            for client in cohort.clients
        ]

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        if not self.released:
            return super().extract(server, selection)
        layers = self._masked(server)
        return with_layers(
            server.model,
            {name: PaddedConv2d(layer, len(selection.indices[name])) for name, layer in layers.items()},
        )

    @torch.no_grad()
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        if not self.released:
            return super().aggregate(server, updates, streams)
        masked = self._masked(server)
        # A masked layer averages from zero over the whole cohort: what a client does not hold counts as zero.
        means = {
            name: CoverageMean(torch.zeros_like(tensor) if name.rpartition(".")[0] in masked else tensor.detach())
            for name, tensor in server.model.named_parameters()
        }
        for update in updates:
            for name, values in update.parameters.items():
                padded = torch.zeros_like(means[name].base)
                padded[: len(values)] = values
                means[name].add(padded)
        for name, tensor in server.model.named_parameters():
            tensor.copy_(means[name].result())
        return server

    def coverage(self, server: Server, selection: Selection) -> dict[str, tuple[Tensor, int]]:
        if not self.released:
            return super().coverage(server, selection)
        layers = self._masked(server)
        return {name: (kept, layers[name].out_channels) for name, kept in selection.indices.items()}

    def nested_keeps(self) -> Sequence[float]:
        return () if self.released else super().nested_keeps()

    def designs(self, server: Server, selections: Sequence[Selection]) -> dict[str, list[Design]]:
        if not self.released:
            return super().designs(server, selections)
        designs: dict[str, list[Design]] = defaultdict(list)
        for selection in selections:
            for piece, (kept, size) in self.coverage(server, selection).items():
                designs[piece].append(Leading(size, len(kept)))
        return dict(designs)

    def _masked(self, server: Server) -> Mapping[str, nn.Conv2d]:
        """Return the convolutions that the released code masks: all whose input is not an RGB image."""
        return {
            name: module
            for name, module in server.model.named_modules()
            if isinstance(module, nn.Conv2d) and module.in_channels != 3
        }


def _leading(keep: float, layer: nn.Conv2d) -> Tensor:
    return torch.arange(rank_of(keep, layer.out_channels), device=layer.weight.device)
