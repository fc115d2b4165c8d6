"""FedHM: each client trains the truncated singular value decomposition of the server's convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.api import Client, Cohort, Selection, Server, Streams, Update, parameter
from bench.families.averaging import CoverageMean
from bench.families.bands import BANDS, BandMean
from bench.families.masked import mark_absent, masked_loss
from bench.families.one_factor import TRAIN, freeze_factors, frozen_side, rounds_of
from bench.families.product_decay import factor_names, product_decay
from bench.families.split import Split, SplitServer

ROWS_BY_CLASS = ("classifier.weight", "classifier.bias")
LARGEST_EXPONENT = 60.0
"""Of a weight relative to the strongest client's: beyond it single precision has nothing left of the others."""


@dataclass(frozen=True)
class FedHMParams:
    """How the server averages, and the decay of the products; the defaults are the authors' but for the rows."""

    weights: Literal["softmax", "uniform"] = parameter(
        "softmax", "clients count by softmax(-rank factor / temperature) over the cohort, or alike"
    )
    temperature: float = parameter(1.0, "of the softmax", above=0.0, search=(0.2, 10.0), log=True)
    label_rows: Literal["mean", "sum", "all"] = parameter(
        "mean",
        "low-rank clients give the classifier's rows of their own classes: to a mean over those who have the class, "
        "to a sum in which the others count as zero (released), or they give all rows",
    )
    frobenius_decay: float | None = parameter(
        None,
        "decay of the product of the factors; the task's weight decay if not given",
        low=0.0,
        search=(1e-5, 1e-2),
        log=True,
        alias="lambda",
    )
    bands: Literal["all", "holders"] = parameter("all", BANDS)
    train: Literal["both", "u", "v", "alternate"] = parameter("both", TRAIN)
    factor_decay: bool = parameter(False, "the optimiser's weight decay acts on the factors as well (released)")
    masked_loss: bool = parameter(
        False, "in training, outputs of classes that the client lacks are set to 0 (released: true)"
    )


class FedHM(Split):
    """A client of keep ratio p holds each kernel by ``max(round(p N), 1)`` singular vectors, N being its outputs.

    The authors' rank factor is ``1 / p``. A client of keep ratio 1 trains the dense model, so that FedHM with full
    clients alone is FedAvg, unless the loss is masked.
    """

    summary = "truncated SVD of each convolution, as a 1 x k and a k x 1 convolution; the server rebuilds dense kernels"
    paper = "Yao et al., FedHM: efficient federated learning for heterogeneous models via low-rank factorization, 2021"
    deviations = (
        "clients keep their keep ratio unless capacity=dynamic, which the authors' flag dynamic includes",
        "rows of the classifier are averaged over the clients that have the class; the released code sums them without "
        "dividing (label_rows=sum)",
        "the optimiser does not decay factors whose product decays; the released code does both (factor_decay=true)",
        "the loss is the plain cross entropy; the released code sets outputs of absent classes to 0 (masked_loss=true)",
    )
    Params = FedHMParams
    discards_unheld = True

    def __init__(self, params: Any = None) -> None:
        super().__init__(params)
        self.cost_rounds = rounds_of(self.params.train)
        self.equals_fedavg = not self.params.masked_loss
        self.frozen = ""

    def setup(self, model: nn.Module, task: Any) -> SplitServer:
        decay = self.params.frobenius_decay
        self.frobenius_decay: float = self.implied(task)["frobenius_decay"] if decay is None else decay
        return super().setup(model, task)

    @classmethod
    def implied(cls, task: Any) -> Mapping[str, Any]:
        return {"frobenius_decay": task.recipe.weight_decay}

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        self.frozen = frozen_side(self.params.train, cohort.round_number)
        return super().select(server, cohort, streams)

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        submodel = super().extract(server, selection)
        freeze_factors(submodel, self.frozen)
        if self.params.masked_loss:
            mark_absent(submodel, selection.client)
        return submodel

    @torch.no_grad()
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> SplitServer:
        assert isinstance(server, SplitServer)
        banded = server.factored if self.params.bands == "holders" else ()
        bands = {name: BandMean(server.spectra[name]) for name in banded}
        means = {
            name: CoverageMean(tensor.detach()) for name, tensor in server.model.named_parameters() if name not in bands
        }
        strongest = 0.0
        for update in updates:
            client, weight = update.selection.client, self.weight(update.selection.client.keep)
            strongest = max(strongest, client.keep)
            for name, band in bands.items():
                band.add(update, name, weight)
            for name, values in self.dense(server, update, but=banded):
                if name in ROWS_BY_CLASS and client.keep < 1 and client.labels:
                    self._add_rows(means[name], values, client, weight)
                else:
                    means[name].add(values, weight=weight)
        if strongest < max(self.levels):
            for mean in means.values():
                mean.add(mean.base, weight=self.weight(max(self.levels)))
            for band in bands.values():
                band.add_own(self.weight(max(self.levels)))
        for name, tensor in server.model.named_parameters():
            tensor.copy_(bands[name].result(tensor.shape) if name in bands else means[name].result())
        return SplitServer(server.model, factored=server.factored)

    def weight(self, keep: float) -> float:
        """Return a client's weight in the average, relative to that of the federation's strongest clients.

        The softmax over the cohort is these weights divided by their sum. Where no client of the cohort is as strong as
        the federation's strongest, the server's own model joins with the weight of such a client, so that the sum
        never vanishes.
        """
        if self.params.weights == "uniform":
            return 1.0
        exponent = (1 / max(self.levels) - 1 / keep) / self.params.temperature
        return math.exp(min(exponent, LARGEST_EXPONENT))

    def _add_rows(self, mean: CoverageMean, values: Tensor, client: Client, weight: float) -> None:
        """Add a low-rank client's classifier, or of it the rows of its classes."""
        if self.params.label_rows == "all":
            mean.add(values, weight=weight)
            return
        rows = torch.tensor(client.labels, device=values.device)
        if self.params.label_rows == "mean":
            mean.add(values[rows], rows, weight)
        else:
            mean.add(torch.zeros_like(values).index_copy(0, rows, values[rows]), weight=weight)

    def received(self, server: Server, selection: Selection, submodel: nn.Module) -> Iterable[Tensor]:
        """Return what is sent: not which classes a client lacks, which it knows best."""
        # The buffer is not persistent, so that the default leaves it out; overriding it declares that this is meant.
        return super().received(server, selection, submodel)

    def local_loss(self, submodel: nn.Module, forward: Callable[[], Tensor], targets: Tensor) -> Tensor | None:
        return masked_loss(submodel, forward, targets, self.task) if self.params.masked_loss else None

    def idle_hooks(self) -> frozenset[str]:
        idle = {"local_loss": not self.params.masked_loss, "decay_free": self.params.factor_decay}
        return frozenset(name for name, off in idle.items() if off)

    def penalty(self, submodel: nn.Module) -> Tensor | None:
        return product_decay(submodel, self.frobenius_decay)

    def decay_free(self, submodel: nn.Module) -> set[str]:
        return set() if self.params.factor_decay else factor_names(submodel)
