"""What HeteroFL adds to narrow sub-models in training, aggregation and evaluation, each a switch.

Diao et al., "HeteroFL: computation and communication efficient federated learning for heterogeneous clients", ICLR
2021, sections 3.2 and 3.3, and the authors' released code. FedRolex is built on that code and shares all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from bench.api import Client, Selection, Server, Skip, parameter
from bench.families.averaging import client_weight
from bench.families.masked import classes_of, mark_absent, masked_loss
from bench.families.width import Width, model_of
from bench.models.base import Model


@dataclass(frozen=True)
class HeterogeneousParams:
    """The switches; the defaults are the authors'."""

    scaler: bool = parameter(True, "in training, hidden outputs are divided by the client's rate (the scaler)")
    masked_loss: bool = parameter(True, "in training, outputs of classes that the client lacks are set to 0")
    label_rows: bool = parameter(True, "the classifier's rows are averaged over the clients that have the class")
    statistics: Literal["static", "batch"] = parameter(
        "static", "batch normalisation is evaluated with statistics of the training samples, or of the test batch"
    )
    weights: Literal["uniform", "samples"] = parameter("uniform", "clients count alike (authors), or by their samples")
    gradient_clip: float | None = parameter(
        None, "largest norm of a client's gradient (released: 1; the paper names none)", above=0.0
    )


class Heterogeneous(Width):
    """A width method with HeteroFL's scaler, masked loss, averages by class and static batch normalisation.

    A client's rate is its keep ratio relative to that of the network that is evaluated, :meth:`evaluated_keep`.
    A client whose labels are not known has all classes.
    """

    Params: ClassVar[type] = HeterogeneousParams

    def setup(self, model: nn.Module, task: Any) -> Server:
        if any(isinstance(module, nn.LSTM) for module in model.modules()):
            raise Skip(
                f"{self.name} is defined for CNNs, ResNets and Transformers, not for LSTMs; origdrop and "
                "federated_dropout are the plain forms there"
            )
        self.static_statistics = self.params.statistics == "static"
        same_training = not self.params.masked_loss and self.params.gradient_clip is None
        self.equals_fedavg = same_training and not self.params.label_rows
        return super().setup(model, task)

    def evaluated_keep(self) -> float:
        """Return the keep ratio of the network that is evaluated: by default the largest of the federation."""
        return max(self.levels)

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        submodel = super().extract(server, selection)
        assert isinstance(submodel, Model)
        if self.params.scaler:
            submodel.scale_hidden(selection.client.keep / self.evaluated_keep())
        if self.params.masked_loss:
            mark_absent(submodel, selection.client)
        return submodel

    def received(self, server: Server, selection: Selection, submodel: nn.Module) -> Iterable[Tensor]:
        """Return what is sent: not which classes a client lacks, which it knows best."""
        # The buffer is not persistent, so that the default leaves it out; overriding it declares that this is meant.
        return super().received(server, selection, submodel)

    def local_loss(self, submodel: nn.Module, forward: Callable[[], Tensor], targets: Tensor) -> Tensor | None:
        if not self.params.masked_loss:
            return None
        return masked_loss(submodel, forward, targets, self.task)

    def idle_hooks(self) -> frozenset[str]:
        idle = {"local_loss": not self.params.masked_loss, "adjust_gradients": self.params.gradient_clip is None}
        return frozenset(name for name, off in idle.items() if off)

    def adjust_gradients(self, submodel: nn.Module) -> None:
        if self.params.gradient_clip is not None:
            nn.utils.clip_grad_norm_(submodel.parameters(), self.params.gradient_clip)

    def weight(self, client: Client) -> float:
        return client_weight(client, self.params.weights)

    def classes(self, server: Server, client: Client) -> Tensor | None:
        if not self.params.label_rows or not client.labels:
            return None
        return classes_of(client, next(model_of(server).parameters()).device)
