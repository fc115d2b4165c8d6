"""FedPara: weights are entry-wise products of low-rank halves, and only their factors are sent."""

from __future__ import annotations

from bench.families.hadamard import Hadamard


class FedPara(Hadamard):
    """``W = W_1 * W_2`` entry by entry, where both halves are of low rank and their product need not be.

    Clients train the factors and compute with the whole weight; the server averages the factors.
    """

    summary = "entry-wise products of two low-rank halves; clients train and send the factors, at full computation"
    paper = "Hyeon-Woo et al., FedPara: low-rank Hadamard product for communication-efficient FL, ICLR 2022"
    deviations = (
        "ranks follow the paper; the authors' notebook takes the smallest one that holds a share of the weight's "
        "numbers, and never less than the root of the larger side (rank_rule=share)",
        "without normalisation layers initial weights are as large as the task's own (init=matched): by the authors' "
        "law (fan_in) the CNN learns little at keep ratio 0.4 and nothing at 0.2",
        "no Jacobian regularisation: neither the authors' notebook nor Flower's baseline has it",
        "ranks of matrices follow from their own count of parameters: the authors' notebook has convolutions alone",
        "where keep ratios differ, all clients have the rank of the smallest one: factors of two ranks have no mean",
        "whole stay 1 x 1 shortcuts, and weights of which the smallest rank would hold as many numbers",
    )
