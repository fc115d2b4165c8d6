"""LEAF's stacked LSTM on Shakespeare's characters (Caldas et al., 2018), as TensorFlow Federated has it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bench.data.characters import VOCABULARY
from bench.models.initialise import initialise
from bench.models.lstm import CharacterLSTM
from bench.parameters import parameter
from bench.tasks.base import Recipe
from bench.tasks.characters import SPECTRAL_PAPER, CharacterParams, CharacterTask


@dataclass(frozen=True)
class CharacterLSTMParams(CharacterParams):
    """The shape of the network and which texts it reads."""

    hidden: int = parameter(256, "hidden units of each layer", low=1)
    embedding: int = parameter(8, "size of a character's vector", low=1)


class LSTMShakespeare(CharacterTask):
    name = "lstm-shakespeare"
    summary = "two-layer LSTM that tells each next character of Shakespeare, clients are roles"
    paper = "LEAF, arXiv:1812.01097; tier spectral-paper: Korzhenkov and Louizos, arXiv 2410.24106, of its GPT-2 blocks"
    Params = CharacterLSTMParams
    reads_steps = True
    tiers = {
        "paper": Recipe(
            rounds=80,
            clients=715,
            cohort=10,
            local_epochs=1,
            batch_size=10,
            lr=0.8,
            lr_end=0.8,
            momentum=0.0,
            weight_decay=0.0,
            evaluate_every=10,
            standin_train=10_000,
        ),
        "spectral-paper": SPECTRAL_PAPER,
        "quick": Recipe(
            rounds=25,
            clients=20,
            cohort=5,
            samples_per_client=60,
            batch_size=10,
            lr=1.0,
            weight_decay=1e-4,
            evaluate_every=5,
            standin_train=1500,
            standin_test=300,
        ),
    }
    tier_params = {"quick": {"hidden": 48}}

    def model(self) -> CharacterLSTM:
        return CharacterLSTM(self.params.hidden, VOCABULARY, self.params.embedding)

    def initialise(self, model: torch.nn.Module, generator: torch.Generator) -> None:
        initialise(model, generator)
