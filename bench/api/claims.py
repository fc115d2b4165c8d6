"""What a method says of itself, and ``bench check`` holds it to."""

from __future__ import annotations

from typing import ClassVar


class Claims:
    """Facts about a method that listings show and the conformance kit checks.

    Class attributes:
        uses_keep: False for a method that trains the full model whatever the keep ratio.
        needs_full_clients: True for a method that is not defined unless some clients have keep ratio 1.
        follows_levels: True where a client's sub-model depends on the others' keep ratios, as FedPara's rank does.
        cuts_parts: True where a client gets whole parts of the model, so that near keep ratios may get the same.
        keep_is_share: False where a keep ratio is no share of what it cuts, but says how far a sub-model lies between
            the smallest and the largest one, as FedPara's gamma does.
        equals_fedavg: True if at keep ratio 1 a whole run equals FedAvg's; False where local training has other
            dynamics, as factors have.
        discards_unheld: True where the server discards on purpose what no client of a round held, as FedHM does; the
            kit then asks of full clients alone that nothing changes where nothing was trained.
        unbiased: True if the mean of a client's sub-model over all selections is the server's model; the kit checks it
            by Monte Carlo.
        cost_rounds: rounds after which what a client takes repeats itself; a budget holds in each of them.
        costs_rise: False where a larger keep ratio may take less, so that a budget has to try all of them.
    """

    uses_keep: ClassVar[bool] = True
    needs_full_clients: ClassVar[bool] = False
    follows_levels: ClassVar[bool] = False
    cuts_parts: bool = False
    keep_is_share: bool = True
    equals_fedavg: bool = True
    discards_unheld: bool = False
    unbiased: bool = False
    cost_rounds: int = 1
    costs_rise: bool = True
