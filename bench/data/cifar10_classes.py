"""The classes of CIFAR-10, as its ``batches.meta`` names them, and the short names of the PyTorch tutorial."""

from __future__ import annotations

from bench.data.labels import ClassNames

OBJECTS = ClassNames(
    ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    others={"plane": 0, "aeroplane": 0, "car": 1},
)
CLASSES = len(OBJECTS.names)
