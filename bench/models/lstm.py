"""The sentiment LSTM: embedding, two LSTM layers, linear to one logit (PriSM, Table 4; 920,385 parameters)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Self

import torch
from torch import Tensor, nn

from bench.models.base import Axes, Axis, Exit, Model, still_there

LAYERS = 2


class SentimentLSTM(Model):
    """Reads token ids ``[batch, length]`` and returns logits ``[batch]`` from the last time step.

    The group of channels is ``hidden``: the hidden units, the same number in both layers. The embedding is the model's
    input side and stays whole.

    Args:
        hidden: hidden units of each layer.
        vocabulary: number of token ids, the padding id 0 included.
        embedding: size of a token's vector.
        layers: of the LSTM.
    """

    def __init__(self, hidden: int = 256, vocabulary: int = 1001, embedding: int = 64, layers: int = LAYERS) -> None:
        super().__init__()
        self.factorable = tuple(f"lstm.weight_{kind}_l{layer}" for layer in range(layers) for kind in ("ih", "hh"))
        # Its constructor draws normal numbers, which on the meta device takes PyTorch's compiler and comes to nothing.
        self.embedding = nn.Embedding.from_pretrained(torch.empty(vocabulary, embedding), freeze=False)
        self.lstm = nn.LSTM(embedding, hidden, layers, batch_first=True)
        self.classifier = nn.Linear(hidden, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        states, _ = self.lstm(self.embedding(tokens))
        return self.classifier(states[:, -1])[:, 0]

    def hidden_states(self, inputs: Tensor) -> Iterator[Tensor]:
        _, (last, _) = self.lstm(self.embedding(inputs))
        yield from last

    def exits(self) -> tuple[Exit, ...]:
        """Behind each layer, at the last time step."""
        return (Exit(Axis("hidden")),) * LAYERS

    def shorten(self, exits: int) -> None:
        whole = self.lstm
        if exits < LAYERS:
            with torch.device("meta"):
                self.lstm = nn.LSTM(whole.input_size, whole.hidden_size, exits, batch_first=True)
            for name, _ in list(self.lstm.named_parameters()):
                setattr(self.lstm, name, getattr(whole, name))
        del self.classifier
        self.factorable = still_there(self, self.factorable)

    def channels(self) -> dict[str, int]:
        return {"hidden": self.lstm.hidden_size}

    def axes(self) -> dict[str, Axes]:
        axes: dict[str, Axes] = {"embedding.weight": (None, None)}
        for layer in range(self.lstm.num_layers):
            gates, units = Axis("hidden", outer=4), Axis("hidden")
            axes[f"lstm.weight_ih_l{layer}"] = (gates, units if layer else None)
            axes[f"lstm.weight_hh_l{layer}"] = (gates, units)
            axes[f"lstm.bias_ih_l{layer}"] = axes[f"lstm.bias_hh_l{layer}"] = (gates,)
        return axes | {"classifier.weight": (None, Axis("hidden")), "classifier.bias": (None,)}

    def parts(self) -> list[tuple[str, ...]]:
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        layers = [tuple(f"lstm.{kind}_l{layer}" for kind in kinds) for layer in range(self.lstm.num_layers)]
        return [("embedding.",), *layers, ("classifier.",)]

    def narrow(self, channels: Mapping[str, int]) -> Self:
        with torch.device("meta"):
            return self._like(channels["hidden"], self.lstm.num_layers)

    def shallower(self) -> tuple[Self, ...]:
        """With fewer layers, the last ones left out, down to one."""
        with torch.device("meta"):
            return tuple(self._like(self.lstm.hidden_size, layers) for layers in range(self.lstm.num_layers - 1, 0, -1))

    def _like(self, hidden: int, layers: int) -> Self:
        return type(self)(hidden, self.embedding.num_embeddings, self.embedding.embedding_dim, layers)
