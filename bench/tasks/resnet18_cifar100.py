"""ResNet-18 on CIFAR-100 with Pachinko allocation (Korzhenkov and Louizos, 2024), or ResNet-20."""

from __future__ import annotations

from bench.tasks.base import Recipe
from bench.tasks.resnet_images import ResNetImages


class ResNet18Cifar100(ResNetImages):
    name = "resnet18-cifar100"
    summary = "ResNet-18 (or ResNet-20) with 3 x 3 stem on 32 x 32 colour images of 100 classes of 20 kinds"
    paper = "Korzhenkov and Louizos, arXiv 2410.24106: tier spectral-paper; tier paper: PriSM's settings of CIFAR-10"
    dataset = "cifar100"
    partition = "lda"
    classes = 100
    shared_samples = 10
    tiers = {
        "paper": Recipe(rounds=1000, samples_per_client=500, evaluate_every=20),
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
            samples_per_client=300,
            evaluate_every=5,
            standin_train=3000,
            standin_test=500,
        ),
    }
    tier_partitions = {"spectral-paper": ("pachinko", 1.0)}
    tier_params = {
        "quick": {"width": 8},
        "spectral-paper": {"norm": "group", "inputs": "spectral", "factored": "all"},
    }
