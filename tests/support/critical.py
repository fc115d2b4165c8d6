"""Which layers FedLAMA may leave unsent, by trying every possibility."""

from __future__ import annotations

CNN_LAYERS = {
    "conv1": ("conv1.weight", "conv1.bias"),
    "conv2": ("conv2.weight", "conv2.bias"),
    "classifier": ("classifier.weight", "classifier.bias"),
}


def prefixes(discrepancy: list[float], sizes: list[int], eligible: list[bool]) -> set[int]:
    """Return the least critical pieces by trying every prefix of the sorted order, each summed anew."""
    order = sorted((place for place in range(len(sizes)) if eligible[place]), key=lambda place: discrepancy[place])
    numbers_of_eligible = sum(sizes[place] for place in order)
    everything = sum(d * size for d, size in zip(discrepancy, sizes, strict=True))
    crossing = []
    for length in range(1, len(order) + 1):
        delta = sum(discrepancy[place] * sizes[place] for place in order[:length]) / everything
        left = sum(sizes[place] for place in order[length:]) / numbers_of_eligible
        if left < delta:
            crossing.append(length)
    return set(order[: min(crossing)] if crossing else order)
