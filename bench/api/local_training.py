"""What a method may change in local training: nothing, unless its paper does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from bench.api.values import Selection, Server

HOOKS = ("local_loss", "penalty", "decay_free", "adjust_gradients", "learning_rates", "initial_momentum")
SETTINGS = ("returns_momentum", "drop_last", "cohort_rounds")


class LocalTraining:
    """Departures from the local training that all methods share, for a paper or its code that makes them.

    Each shows in listings and tables (:meth:`departures`). Where clients are trained in worker processes these hooks
    are called on another instance there, which has seen ``setup`` alone: what they need belongs into the sub-model.

    Class attributes:
        returns_momentum: True where clients send their momentum buffers with their update.
        drop_last: True to leave out each client's last, smaller batch whatever the task's recipe says.
        cohort_rounds: rounds for which a cohort stays together, where the method's own rule needs that.
    """

    returns_momentum: bool = False
    drop_last: bool = False
    cohort_rounds: int = 1

    def local_loss(self, submodel: nn.Module, forward: Callable[[], Tensor], targets: Tensor) -> Tensor | None:
        """Return the mean loss of a batch, a scalar; None for the task's loss of the sub-model's outputs.

        Args:
            submodel: in training mode; may be changed between calls of ``forward``.
            forward: returns the sub-model's outputs for the batch, each time it is called.
            targets: the labels, int64 ``[batch]``, or ``[batch, length]`` of sequences.
        """
        return None

    def penalty(self, submodel: nn.Module) -> Tensor | None:
        """Return a scalar added to a client's loss, or None."""
        return None

    def decay_free(self, submodel: nn.Module) -> set[str]:
        """Return the names of the sub-model's parameters to which the optimiser applies no weight decay."""
        return set()

    def adjust_gradients(self, submodel: nn.Module) -> None:
        """Change a client's gradients in place, after each backward pass and before the optimiser's step."""

    def learning_rates(self, server: Server, selection: Selection, round_number: int) -> Sequence[float] | None:
        """Return the learning rate of each of a client's local epochs; None for the recipe's, the same in all."""
        return None

    def initial_momentum(self, server: Server, selection: Selection) -> Mapping[str, Tensor] | None:
        """Return the momentum buffers with which a client starts, by parameter name; None starts from zero."""
        return None

    def idle_hooks(self) -> frozenset[str]:
        """Return the names of hooks that are defined and do nothing with this instance's parameters."""
        return frozenset()

    def departures(self) -> tuple[str, ...]:
        """Return the names of what this instance changes in local training: hooks first, then attributes."""
        idle = self.idle_hooks()
        own = (name for name in HOOKS if getattr(type(self), name) is not getattr(LocalTraining, name))
        own = (name for name in own if name not in idle)
        changed = (name for name in SETTINGS if getattr(self, name) != getattr(LocalTraining, name))
        return (*own, *changed)
