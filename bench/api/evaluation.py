"""Which models of a method are evaluated beside the full one, and how."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from bench.api.values import Client, Server


class Evaluated:
    """Further models that a method's server has.

    Class attributes:
        static_statistics: True where batch normalisation is evaluated with the statistics of one pass over the training
            samples of all clients (HeteroFL's static batch normalisation).
    """

    static_statistics: bool = False

    def nested_models(self, server: Server) -> Iterator[tuple[float, nn.Module]]:
        """Yield (keep ratio, model) for the sub-models that lie in one another, to be evaluated beside the full model.

        Empty for methods whose clients of one keep ratio do not all get the same part.
        """
        return iter(())

    def personal_model(self, server: Server, client: Client) -> nn.Module | None:
        """Return the model that a client of the last cohort uses for itself; None where that is the server's."""
        return None
