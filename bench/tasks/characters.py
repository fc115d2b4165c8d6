"""What tasks of the next character share: texts of Shakespeare, a loss and answers at every place of a sequence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bench.data import characters, shakespeare
from bench.data.characters import LENGTH, PADDING, VOCABULARY
from bench.data.dataset import Dataset, Split
from bench.data.sources import load
from bench.parameters import parameter
from bench.tasks.base import Recipe, Task

__all__ = ["LENGTH", "PADDING", "VOCABULARY", "CharacterParams", "CharacterTask"]

SPECTRAL_PAPER = Recipe(
    rounds=1500,
    clients=715,
    cohort=10,
    batch_size=10,
    weight_decay=1e-4,
    evaluate_every=30,
    standin_train=10_000,
)
"""The setting of Korzhenkov and Louizos (arXiv 2410.24106) on these texts."""


@dataclass(frozen=True)
class CharacterParams:
    """Which texts are read."""

    text: Literal["tff", "plays"] = parameter(
        "tff", "TensorFlow Federated's Shakespeare, or the 37 plays by role (data set 'shakespeare')"
    )


class CharacterTask(Task):
    """A task that tells each next character of sequences of 80.

    Outputs are logits ``[samples, 80, 90]``, the classes last. Everything counts that is no padding: characters,
    unknown ones too, and the end of a text, as TensorFlow Federated counts; the beginning is never to be told.
    """

    dataset = "shakespeare-tff"
    partition = "natural"
    padding = PADDING
    shared_samples = 130
    Params = CharacterParams

    def data(self, source: str) -> Dataset:
        if source == "real" and self.params.text == "plays":
            plays = load("shakespeare")
            return replace(plays, train=_next(plays.train), test=_next(plays.test), classes=VOCABULARY)
        return super().data(source)

    def prepare(self, inputs: Tensor) -> Tensor:
        return inputs.long()

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        total = functional.cross_entropy(outputs.flatten(0, 1), labels.flatten(), ignore_index=PADDING, reduction="sum")
        # A batch may be of padding alone, and then has no loss.
        return total / (labels != PADDING).sum().clamp(min=1)

    def correct(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return (outputs.argmax(-1) == labels) & (labels != PADDING)

    def example(self, samples: int, device: str) -> Tensor:
        return torch.zeros(samples, LENGTH, dtype=torch.int64, device=device)


_ID_OF = np.array([characters.encode(character)[0] for character in shakespeare.CHARACTERS])
"""From the ids of the plays by role to those of TensorFlow Federated; characters that it does not know are unknown."""


def _next(split: Split) -> Split:
    """Return windows with the character behind each place in the place of the one behind the window."""
    following = np.concatenate([split.inputs[:, 1:], np.asarray(split.labels)[:, None].astype(np.int16)], axis=1)
    return replace(split, inputs=_ID_OF[split.inputs], labels=_ID_OF[following].astype(np.int64))
