"""The sentiment LSTM on IMDB reviews (PriSM, Tables 4 and 7)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bench.data.dataset import Dataset, Split
from bench.models.initialise import initialise
from bench.models.lstm import SentimentLSTM
from bench.parameters import parameter
from bench.tasks.base import Recipe, Task

VOCABULARY = 1001
STORED_LENGTH = 500


@dataclass(frozen=True)
class LSTMParams:
    """The shape of the network and of its input."""

    hidden: int = parameter(256, "hidden units of each layer", low=1)
    embedding: int = parameter(64, "size of a token's vector", low=1)
    length: int = parameter(STORED_LENGTH, "tokens of a review that are read", low=1, high=STORED_LENGTH)


class LSTMImdb(Task):
    name = "lstm-imdb"
    summary = "two-layer LSTM on film reviews, positive or negative"
    paper = "PriSM, Tables 4 and 7"
    dataset = "imdb"
    partition = "lda"
    Params = LSTMParams
    reads_steps = True
    tiers = {
        "paper": Recipe(rounds=300, samples_per_client=375, weight_decay=2e-4, evaluate_every=10),
        "quick": Recipe(
            rounds=40,
            clients=10,
            cohort=3,
            samples_per_client=300,
            lr=0.3,
            weight_decay=2e-4,
            evaluate_every=5,
            standin_train=3000,
            standin_test=1000,
        ),
    }
    tier_params = {"quick": {"hidden": 64, "length": 80}}

    def model(self) -> SentimentLSTM:
        return SentimentLSTM(self.params.hidden, VOCABULARY, self.params.embedding)

    def initialise(self, model: torch.nn.Module, generator: torch.Generator) -> None:
        initialise(model, generator)

    def data(self, source: str) -> Dataset:
        whole = super().data(source)
        length = self.params.length
        return replace(whole, train=_shortened(whole.train, length), test=_shortened(whole.test, length))

    def prepare(self, inputs: Tensor) -> Tensor:
        return inputs.long()

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(outputs, labels.float())

    def correct(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return (outputs > 0) == (labels > 0)

    def example(self, samples: int, device: str) -> Tensor:
        return torch.zeros(samples, self.params.length, dtype=torch.int64, device=device)


def _shortened(split: Split, length: int) -> Split:
    return replace(split, inputs=shorten(np.asarray(split.inputs), length))


def shorten(tokens: np.ndarray, length: int) -> np.ndarray:
    """Return left-padded token rows cut to ``length``: a longer text keeps its first tokens.

    Args:
        tokens: ``[samples, stored length]``, zeros on the left.
        length: number of tokens to keep, at most the stored length.
    """
    stored = tokens.shape[1]
    if length == stored:
        return tokens
    start = stored - np.maximum((tokens != 0).sum(1), length)
    columns = start[:, None] + np.arange(length)
    return np.take_along_axis(tokens, columns, axis=1)
