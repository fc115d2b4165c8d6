"""Declared revisions: a finished cell stays valid until one of those that it ran under is raised.

A revision is raised when what it stands for computes other numbers than before, and only then: moving code about, or
naming it better, raises none. What changed in the numbers is written down in ``docs/revisions.md``, and golden cells
(``tests/simulation/golden.json``) make sure that none is forgotten. Files of users have none: they count by their code.
"""

from __future__ import annotations

FIRST = 1
"""The revision at which each has begun."""
HARNESS = 1
"""What all cells share: streams, partitions, cohorts, local training, evaluation, stand-in data, models."""
MEASURES = 1
"""What is measured beside training: costs, diagnostics and columns. Raising it makes no cell stale."""
FAMILIES = {"exits": 1, "hadamard": 1, "low-rank": 1, "spectral": 1, "width": 1}
"""What methods of a family share, by :attr:`bench.api.Method.family`."""
TASKS = {
    "cct-cifar100": 1,
    "cct-tinyimagenet": 1,
    "cnn-femnist": 1,
    "gpt-shakespeare": 1,
    "lstm-imdb": 1,
    "lstm-shakespeare": 1,
    "resnet18-cifar10": 1,
    "resnet18-cifar100": 1,
}
"""Data, model, loss and recipes of each task that is built in."""
TASK_PARTS = ("base", "cct_images", "characters", "images", "own_images", "resnet_images")
"""Modules of ``bench/tasks`` that hold what tasks share, and count as the harness."""
METHODS = {
    "collective": 1,
    "depthfl": 1,
    "fedavg": 1,
    "federated_dropout": 1,
    "fedhm": 1,
    "fedlama": 1,
    "fedlmt": 1,
    "fedpara": 1,
    "fedrolex": 1,
    "fiarse": 1,
    "fiarse_channels": 1,
    "fjord": 1,
    "flanc": 1,
    "heterofl": 1,
    "inclusive_kdd": 1,
    "inclusivefl": 1,
    "nefl": 1,
    "origdrop": 1,
    "orthdrop": 1,
    "pfedlmt": 1,
    "pfedpara": 1,
    "prism": 1,
    "scalefl": 1,
    "small_model": 1,
    "splitmix": 1,
    "unbiased": 1,
}
"""The file of each method that is built in. A file that is not named here counts by its code, as a user's does."""
