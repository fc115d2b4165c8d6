"""A picture of a partition: which client holds how many samples of which class."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.federation.partition import Partition
from bench.federation.skew import skew_of

# More columns than this could not be told apart on a page.
MOST_CLIENTS = 100


def draw_partition(
    partition: Partition, labels: np.ndarray, classes: int, title: str, padding: int | None = None
) -> Figure:
    """Return a heat map of samples per client and class, with the clients' sizes as bars above.

    Colours run from white (no sample) to dark on a scale that also keeps small counts visible; they can be told
    apart with any colour vision and in grey. Only the first 100 clients are drawn, which the title then says.

    Args:
        partition: the clients' samples.
        labels: class numbers of the split that was partitioned, integers ``[samples]`` or ``[samples, length]``.
        classes: number of classes of the task.
            Those that no client holds have no row, which the title then says.
        title: what the data are, such as ``Dataset.title``, which speaks of "stand-in data" where they are. Below it
            stands the skew that all clients have, drawn or not.
        padding: the label that is no answer, where labels are sequences.
    """
    clients = min(len(partition), MOST_CLIENTS)
    counts, sizes = partition.counts(labels, classes, padding), partition.sizes[:clients]
    held = np.flatnonzero(counts.sum(axis=0))
    empty, counts, classes = classes - len(held), counts[:clients, held], len(held)
    figure = Figure(figsize=(7.0, 3.4 if classes <= 20 else 6.0), layout="constrained")
    bars, heat = figure.subplots(2, 1, sharex=True, height_ratios=[1, 3 if classes <= 20 else 6])

    bars.bar(np.arange(clients), sizes, width=1.0, color="0.35", edgecolor="white", linewidth=0.4)
    bars.set(ylabel="samples", ylim=(0, 1.08 * max(sizes.max(), 1)))
    bars.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    bars.grid(False, axis="x")

    norm = PowerNorm(0.5, vmin=0, vmax=max(counts.max(), 1))
    image = heat.imshow(counts.T, aspect="auto", cmap="Blues", norm=norm, interpolation="nearest", origin="lower")
    heat.set(xlabel="client", ylabel="class", xlim=(-0.5, clients - 0.5))
    for axis in (heat.xaxis, heat.yaxis):
        axis.set_major_locator(MaxNLocator(11, integer=True, min_n_ticks=1))
    heat.yaxis.set_major_formatter(
        FuncFormatter(lambda place, _: str(held[int(place)]) if 0 <= place < classes and place == int(place) else "")
    )
    heat.grid(False)
    figure.colorbar(image, ax=heat, label="samples of the class", ticks=MaxNLocator(5, integer=True), pad=0.01)
    noun = "class that nobody holds is" if empty == 1 else "classes that nobody holds are"
    gone = f"; {empty} {noun} left out" if empty else ""
    words = f"{title}: {_described(partition, clients)}\n{skew_of(partition, labels, padding)}{gone}"
    figure.suptitle(words, fontsize="medium")
    return figure


def _described(partition: Partition, drawn: int) -> str:
    """Return the words of the title that tell the kind, the concentration and the clients drawn."""
    kind = {
        "iid": "IID",
        "iid-exact": "IID, equally many of each class",
        "lda": "balanced Dirichlet",
        "lda-prior": "balanced Dirichlet by the prior",
        "pachinko": "Pachinko allocation",
        "dirichlet": "Dirichlet",
        "natural": "natural users",
    }
    name, _, fine = partition.kind.partition(":")
    words = kind[name] if partition.alpha is None else f"{kind[name]}, $\\alpha$ = {partition.alpha:g}"
    words += f", fine {fine}" if fine else ""
    number = str(drawn) if drawn == len(partition) else f"first {drawn} of {len(partition):,}"
    return f"{words}, {number} client{'' if len(partition) == 1 else 's'}"
