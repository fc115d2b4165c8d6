"""HeteroFL: nested narrow networks, with a scaler, a masked loss and static batch normalisation."""

from __future__ import annotations

from bench.families.heterogeneous import Heterogeneous
from bench.families.nested import Nested


class HeteroFL(Nested, Heterogeneous):
    """The first ``ceil(keep * channels)`` channels of every layer; stem's input and outputs stay full.

    Each entry of the server's model becomes the mean over the clients that hold it (equation 2). Evaluated is the
    network of the channels that some client has held, and the network of each keep ratio.
    """

    summary = "the leading channels of each layer, with scaler, masked loss and static batch normalisation"
    paper = (
        "Diao et al., HeteroFL: computation and communication efficient federated learning for heterogeneous clients, "
        "ICLR 2021"
    )
    deviations = (
        "clients keep their keep ratios (the paper's fix mode) unless the cell says capacity=dynamic",
        "the ResNet normalises after each convolution; the authors' before it (pre-activation). The CNN has no "
        "normalisation; theirs has. The scaler stands before whatever follows the convolution",
        "of a transformer all clients count in the rows of its embedding; in the released code those that have the "
        "token, as in the classifier's. Its blocks normalise before each half, the authors' behind it",
        "optimiser, learning rate, batch size and local epochs are the task's; gradients are not clipped "
        "(gradient_clip=1: as in the released code)",
        "evaluated are the channels that some client has held so far; in the released code the largest level's width "
        "from the first round on, which differs until such a client has taken part",
    )
