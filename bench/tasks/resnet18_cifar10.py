"""ResNet-18 on CIFAR-10 (PriSM, Tables 2 and 5; Korzhenkov and Louizos, 2024), or ResNet-20 (EmbracingFL, 2024)."""

from __future__ import annotations

from bench.tasks.base import Recipe
from bench.tasks.resnet_images import ResNetImages


class ResNet18Cifar10(ResNetImages):
    name = "resnet18-cifar10"
    summary = "ResNet-18 (or ResNet-20) with 3 x 3 stem on 32 x 32 colour images of 10 classes"
    paper = (
        "PriSM, Tables 2 and 5; tier spectral-paper: Korzhenkov and Louizos, arXiv 2410.24106; "
        "ResNet-20: EmbracingFL, arXiv 2406.15125"
    )
    dataset = "cifar10"
    partition = "lda"
    classes = 10
    tiers = {
        "paper": Recipe(rounds=1000, samples_per_client=500, evaluate_every=20),
        "spectral-paper": Recipe(rounds=1000, cohort=10, samples_per_client=500, weight_decay=1e-4, evaluate_every=20),
        "quick": Recipe(
            rounds=30,
            clients=10,
            cohort=3,
            samples_per_client=200,
            evaluate_every=5,
            standin_train=2000,
            standin_test=500,
        ),
    }
    tier_partitions = {"spectral-paper": ("lda-prior", 1.0)}
    tier_params = {
        "quick": {"width": 8},
        "spectral-paper": {"norm": "group", "inputs": "spectral", "factored": "all"},
    }
