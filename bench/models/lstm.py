"""LSTMs on token ids: one that tells a text's sentiment, and one that tells each next character."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Self

import torch
from torch import Tensor, nn

from bench.models.base import Axes, Axis, Exit, Model, still_there

LAYERS = 2
_PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
"""Of a layer, in the order in which torch.lstm takes them."""


class TokenLSTM(Model):
    """Embedding, LSTM layers and a linear layer, reading token ids ``[batch, length]``.

    The group of channels is ``hidden``: the hidden units, the same number in all layers. The embedding is the model's
    input side and stays whole.

    Args:
        hidden: hidden units of each layer.
        vocabulary: number of token ids, the padding id 0 included.
        embedding: size of a token's vector.
        layers: of the LSTM.
        outputs: of the linear layer.
    """

    def __init__(self, hidden: int, vocabulary: int, embedding: int, layers: int, outputs: int) -> None:
        super().__init__()
        self.factorable = tuple(f"lstm.weight_{kind}_l{layer}" for layer in range(layers) for kind in ("ih", "hh"))
        # Its constructor draws normal numbers, which on the meta device takes PyTorch's compiler and comes to nothing.
        self.embedding = nn.Embedding.from_pretrained(torch.empty(vocabulary, embedding), freeze=False)
        self.lstm = nn.LSTM(embedding, hidden, layers, batch_first=True)
        self.classifier = nn.Linear(hidden, outputs)

    def exits(self) -> tuple[Exit, ...]:
        """Behind each layer."""
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
        layers = [tuple(f"lstm.{kind}_l{layer}" for kind in _PARAMETERS) for layer in range(self.lstm.num_layers)]
        return [("embedding.",), *layers, ("classifier.",)]

    def narrow(self, channels: Mapping[str, int]) -> Self:
        with torch.device("meta"):
            return self._like(channels["hidden"], self.lstm.num_layers)

    def shallower(self) -> tuple[Self, ...]:
        """With fewer layers, the last ones left out, down to one."""
        with torch.device("meta"):
            return tuple(self._like(self.lstm.hidden_size, layers) for layers in range(self.lstm.num_layers - 1, 0, -1))

    @abstractmethod
    def _like(self, hidden: int, layers: int) -> Self:
        """Return a model of the same kind with so many hidden units and layers."""


class SentimentLSTM(TokenLSTM):
    """Returns logits ``[batch]`` from the last time step (PriSM, Table 4; 920,385 parameters)."""

    def __init__(self, hidden: int = 256, vocabulary: int = 1001, embedding: int = 64, layers: int = LAYERS) -> None:
        super().__init__(hidden, vocabulary, embedding, layers, outputs=1)

    def forward(self, tokens: Tensor) -> Tensor:
        states, _ = self.lstm(self.embedding(tokens))
        return self.classifier(states[:, -1])[:, 0]

    def hidden_states(self, inputs: Tensor) -> Iterator[Tensor]:
        """The states at the last time step."""
        _, (last, _) = self.lstm(self.embedding(inputs))
        yield from last

    def _like(self, hidden: int, layers: int) -> Self:
        return type(self)(hidden, self.embedding.num_embeddings, self.embedding.embedding_dim, layers)


class CharacterLSTM(TokenLSTM):
    """Returns logits ``[batch, length, vocabulary]``, at each time step those of the next token.

    LEAF's network (S. Caldas et al., arXiv:1812.01097) as TensorFlow Federated has it, which reads an answer at every
    place and not at the last one alone: 822,570 parameters with PyTorch's two biases a layer, 820,522 with Keras's one.
    """

    def __init__(self, hidden: int = 256, vocabulary: int = 90, embedding: int = 8, layers: int = LAYERS) -> None:
        super().__init__(hidden, vocabulary, embedding, layers, outputs=vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        states, _ = self.lstm(self.embedding(tokens))
        return self.classifier(states)

    def hidden_states(self, inputs: Tensor) -> Iterator[Tensor]:
        """The states at all time steps, ``[batch, length, hidden]``."""
        states = self.embedding(inputs)
        for layer in range(self.lstm.num_layers):
            weights = [getattr(self.lstm, f"{kind}_l{layer}") for kind in _PARAMETERS]
            start = states.new_zeros(1, len(states), self.lstm.hidden_size)
            states = torch.lstm(states, (start, start), weights, True, 1, 0.0, self.training, False, True)[0]
            yield states

    def _like(self, hidden: int, layers: int) -> Self:
        return type(self)(hidden, self.embedding.num_embeddings, self.embedding.embedding_dim, layers)
