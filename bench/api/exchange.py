"""What a client gets, keeps, computes and sends: what the cost columns count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

if TYPE_CHECKING:
    from bench.api.values import Selection, Server


class Exchange:
    """What is sent both ways and computed by a client, where it is not the whole sub-model, once.

    Where clients are trained in worker processes ``upload`` and ``local_state`` are called on another instance there,
    which has seen ``setup`` alone. What only they read there belongs into the sub-model's attribute ``carried``, of any
    type, in which sub-models that are trained alike may differ.

    Class attributes:
        reduces: which costs of a sub-model grow with the keep ratio, as fields of :class:`bench.cost.cost.Cost`;
            ``bench check`` holds a method to it. A method that cuts nothing but what is sent says so here.
    """

    reduces: ClassVar[Sequence[str]] = ("parameters", "down_bytes", "macs")

    def upload(self, submodel: nn.Module) -> dict[str, Tensor]:
        """Return the tensors a client sends back: by default all trainable parameters."""
        return {name: tensor.detach() for name, tensor in submodel.named_parameters() if tensor.requires_grad}

    def local_state(self, submodel: nn.Module) -> dict[str, Tensor]:
        """Return the tensors that a client keeps for its next round and does not send; they cost no bytes."""
        return {}

    def received(self, server: Server, selection: Selection, submodel: nn.Module) -> Iterable[Tensor]:
        """Return the tensors of a sub-model that are sent to the client: by default all parameters and buffers.

        What a client has kept from its last round is not sent.
        """
        return submodel.state_dict().values()

    def computed(self, submodel: nn.Module) -> Iterable[tuple[nn.Module, float]]:
        """Yield (network, passes) for what a client computes in training, passes per sample of its batches.

        By default the sub-model, once. The harness counts the networks' operations.
        """
        return ((submodel, 1.0),)
