"""Three GPT-2 blocks on Shakespeare's characters (Korzhenkov and Louizos, 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from bench.data.characters import LENGTH, VOCABULARY
from bench.models.gpt import GPT, initialise_gpt
from bench.models.transformer import check_heads
from bench.parameters import parameter
from bench.tasks.base import Recipe
from bench.tasks.characters import SPECTRAL_PAPER, CharacterParams, CharacterTask


@dataclass(frozen=True)
class GPTParams(CharacterParams):
    """The shape of the network and which texts it reads; heads of 64 channels and a ratio of 4 are GPT-2's."""

    embedding: int = parameter(256, "channels of the residual stream, which the heads share evenly", low=1)
    heads: int = parameter(4, "heads of each block, a divisor of the embedding", low=1)
    layers: int = parameter(3, "blocks", low=1)
    factored: Literal["all", "mlp"] = parameter(
        "all", "spectral methods factor all layers but the first and the last, or a block's two linear layers alone"
    )

    def __post_init__(self) -> None:
        """Refuse heads that cannot share the embedding.

        Raises:
            ValueError: in one sentence.
        """
        check_heads(self.embedding, self.heads)


class GPTShakespeare(CharacterTask):
    name = "gpt-shakespeare"
    summary = "three blocks of GPT-2 that tell each next character of Shakespeare, clients are roles"
    paper = "Korzhenkov and Louizos, arXiv 2410.24106; blocks: GPT-2 (Radford et al., 2019)"
    Params = GPTParams
    tiers = {
        "spectral-paper": SPECTRAL_PAPER,
        "quick": Recipe(
            rounds=25,
            clients=20,
            cohort=5,
            samples_per_client=40,
            batch_size=10,
            lr=0.3,
            weight_decay=1e-4,
            evaluate_every=5,
            standin_train=1000,
            standin_test=200,
        ),
    }
    tier_params = {"quick": {"embedding": 32, "heads": 2}}

    def model(self) -> GPT:
        channels = GPT.default_channels(self.params.embedding, self.params.heads, self.params.layers)
        return GPT(channels, self.params.heads, VOCABULARY, LENGTH, self.params.factored)

    def initialise(self, model: torch.nn.Module, generator: torch.Generator) -> None:
        assert isinstance(model, GPT)
        initialise_gpt(model, generator)
