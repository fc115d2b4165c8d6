"""CCT-6/3x2 on Tiny ImageNet (Korzhenkov and Louizos, 2024)."""

from __future__ import annotations

from bench.tasks.base import Recipe
from bench.tasks.cct_images import CCTImages


class CCTTinyImageNet(CCTImages):
    name = "cct-tinyimagenet"
    summary = "compact convolutional transformer (CCT-6/3x2) on 64 x 64 colour images of 200 classes"
    paper = "Korzhenkov and Louizos, arXiv 2410.24106; network: Hassani et al., arXiv 2104.05704"
    dataset = "tinyimagenet"
    partition = "lda"
    classes, side = 200, 64
    tiers = {
        "spectral-paper": Recipe(
            rounds=2500,
            cohort=10,
            samples_per_client=1000,
            batch_size=128,
            lr=0.05,
            weight_decay=1e-4,
            evaluate_every=50,
        ),
        "quick": Recipe(
            rounds=30,
            clients=10,
            cohort=3,
            samples_per_client=100,
            batch_size=16,
            weight_decay=1e-4,
            evaluate_every=5,
            standin_train=1000,
            standin_test=200,
        ),
    }
    tier_partitions = {"spectral-paper": ("lda-prior", 10.0)}
    tier_params = {"quick": {"embedding": 32, "heads": 2, "layers": 2}}
