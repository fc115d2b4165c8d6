"""CCT-6/3x2 on CIFAR-100 with Pachinko allocation (Korzhenkov and Louizos, 2024)."""

from __future__ import annotations

from bench.tasks.base import Recipe
from bench.tasks.cct_images import CCTImages


class CCTCifar100(CCTImages):
    name = "cct-cifar100"
    summary = "compact convolutional transformer (CCT-6/3x2) on 32 x 32 colour images of 100 classes of 20 kinds"
    paper = "Korzhenkov and Louizos, arXiv 2410.24106; network: Hassani et al., arXiv 2104.05704"
    dataset = "cifar100"
    partition = "lda"
    classes, side = 100, 32
    shared_samples = 10
    tiers = {
        "spectral-paper": Recipe(
            rounds=1500,
            cohort=10,
            samples_per_client=500,
            batch_size=64,
            lr=0.05,
            weight_decay=1e-4,
            evaluate_every=30,
        ),
        "quick": Recipe(
            rounds=30,
            clients=10,
            cohort=3,
            samples_per_client=150,
            weight_decay=1e-4,
            evaluate_every=5,
            standin_train=1500,
            standin_test=500,
        ),
    }
    tier_partitions = {"spectral-paper": ("pachinko", 1.0)}
    tier_params = {"quick": {"embedding": 32, "heads": 2, "layers": 2}}
