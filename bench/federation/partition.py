"""Who holds which samples: the ways of sharing a training split out to clients."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from bench.errors import BenchError, choices
from bench.federation import by_shares, pachinko

CONVENTIONS = {
    "iid": "none",
    "iid-exact": "none",
    "lda": "q ~ Dir(alpha, ..., alpha) over the classes of each client: concentration alpha per class",
    "lda-prior": (
        "q ~ Dir(alpha p) over the classes of each client, p being the classes' shares of the training split: "
        "concentration alpha times its share per class"
    ),
    "pachinko": pachinko.convention(math.nan),
    "dirichlet": "p ~ Dir(alpha, ..., alpha) over the clients of each class: concentration alpha per client",
    "natural": "none",
}

CONCENTRATED = ("lda", "lda-prior", "pachinko", "dirichlet")
"""The kinds that have an alpha."""

WITHOUT_CLASSES = ("iid", "natural")
"""The kinds that do not ask for the samples' classes."""

LEAST_ALPHA, LARGEST_ALPHA = 1e-100, 1e100
"""Beyond these a draw from a Dirichlet law under- or overflows: its shares no longer have the law."""


@dataclass(frozen=True)
class Partition:
    """Disjoint sets of samples, one per client.

    Attributes:
        kind: one of ``CONVENTIONS``.
        alpha: the concentration parameter as it was given; None where the kind has none.
        convention: what ``alpha`` means, in words; "none" where the kind has none.
        indices: int64 ``[samples held]``, the sample indices of client 0, then of client 1, and so on.
        offsets: int64 ``[clients + 1]``; client ``i`` holds ``indices[offsets[i]:offsets[i + 1]]``.
    """

    kind: str
    alpha: float | None
    convention: str
    indices: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        """Return the number of clients."""
        return len(self.offsets) - 1

    def client(self, number: int) -> np.ndarray:
        """Return the sample indices of one client, int64 ``[samples of the client]``."""
        if not 0 <= number < len(self):
            raise BenchError(f"partition: there is no client {number}; allowed: 0 to {len(self) - 1}")
        return self.indices[self.offsets[number] : self.offsets[number + 1]]

    @property
    def sizes(self) -> np.ndarray:
        """The number of samples of each client, int64 ``[clients]``."""
        return np.diff(self.offsets)

    def counts(self, labels: np.ndarray, classes: int, padding: int | None = None) -> np.ndarray:
        """Return how many samples (of sequences, answers) of each class each client holds, ``[clients, classes]``."""
        owner = np.repeat(np.arange(len(self)), self.sizes)
        held = labels[self.indices]
        cell = owner.reshape(-1, *(1,) * (labels.ndim - 1)) * classes + held
        cell = cell.ravel() if padding is None else cell[held != padding]
        return np.bincount(cell, minlength=len(self) * classes).reshape(len(self), classes)


def split(
    kind: str,
    labels: np.ndarray,
    *,
    clients: int,
    rng: np.random.Generator,
    alpha: float | None = None,
    users: np.ndarray | None = None,
    samples_per_client: int | None = None,
    users_per_client: int | None = None,
    coarse: np.ndarray | None = None,
) -> Partition:
    """Share samples out to clients.

    Args:
        kind: one of

            - "iid": uniform draws without replacement, equal sizes;
            - "iid-exact": every client holds equally many random samples of each class (see ``_iid_exact``);
            - "lda": every client has its own class shares ``q ~ Dir(alpha, ..., alpha)``, equal sizes (see
              :func:`bench.federation.by_shares.lda`);
            - "lda-prior": the same with ``q ~ Dir(alpha p)``, p being the classes' shares of ``labels``: for K classes
              of equal size "lda" with alpha / K;
            - "pachinko": the same with shares drawn down a hierarchy, Dir(alpha, ..., alpha) over coarse classes and
              then Dir(10, ..., 10) over the classes of each, or Dir(b, ..., b) for "pachinko:b" (see
              :mod:`bench.federation.pachinko`);
            - "dirichlet": every class is shared out by ``p ~ Dir(alpha, ..., alpha)``, unequal sizes (see
              ``_dirichlet``);
            - "natural": whole users, grouped in the order of their numbers.
        labels: class numbers, integers ``[samples]``; where they are sequences, ``[samples, length]``, samples have no
            class, and only "iid" and "natural" are defined.
        clients: number of clients.
        rng: the stream that all draws come from.
        alpha: concentration, for the kinds of ``CONCENTRATED`` only; small values give skewed clients.
        users: the user of each sample, integers ``[samples]``; needed for "natural".
        samples_per_client: for "iid", "lda", "lda-prior" and "pachinko" the size of each client (default: samples //
            clients, what is over stays unused), for "iid-exact" too (default: as many as the rarest class allows); for
            "natural" a cap, above which a client keeps a random subset.
        users_per_client: for "natural" only; default: users // clients, what is over stays unused.
        coarse: the coarse class of each class, integers ``[classes]``; needed for "pachinko".

    Raises:
        BenchError: the request is impossible, or an argument has no meaning for the kind.
    """
    as_written = kind
    kind, fine_alpha = pachinko.read_kind(kind, LEAST_ALPHA, LARGEST_ALPHA)
    _check(kind, clients, samples_per_client, users_per_client)
    concentration = _concentration(kind, alpha)
    if labels.ndim > 1 and kind not in WITHOUT_CLASSES:
        raise BenchError(
            f"partition: {kind!r} goes by the class of a sample, and these samples are sequences with a label at each"
            f" place; allowed: {_quoted(WITHOUT_CLASSES)}"
        )
    if kind == "iid":
        members = _iid(len(labels), clients, samples_per_client, rng)
    elif kind == "iid-exact":
        members = _iid_exact(labels, clients, samples_per_client, rng)
    elif kind in ("lda", "lda-prior"):
        counts = np.unique(labels, return_counts=True)[1]
        law = concentration * counts / len(labels) if kind == "lda-prior" else np.full(len(counts), concentration)
        members = by_shares.lda(labels, clients, _equal_size(len(labels), clients, samples_per_client), law, rng)
    elif kind == "pachinko":
        size = _equal_size(len(labels), clients, samples_per_client)
        members = by_shares.allocate(labels, clients, size, (concentration, fine_alpha), coarse, rng)
    elif kind == "dirichlet":
        members = _dirichlet(labels, clients, concentration, rng)
    else:
        members = _natural(users, clients, users_per_client, samples_per_client, rng)
    offsets = np.concatenate([[0], np.cumsum([len(member) for member in members])]).astype(np.int64)
    return Partition(as_written, alpha, convention_of(as_written), np.concatenate(members).astype(np.int64), offsets)


def convention_of(kind: str) -> str:
    """Return what alpha means in a kind of partition as it is written, in words."""
    name, fine_alpha = pachinko.read_kind(kind, LEAST_ALPHA, LARGEST_ALPHA)
    return pachinko.convention(fine_alpha) if name == "pachinko" else CONVENTIONS[name]


def _check(kind: str, clients: int, samples_per_client: int | None, users_per_client: int | None) -> None:
    """Refuse what no data could satisfy."""
    if kind not in CONVENTIONS:
        raise BenchError(f"partition: unknown kind {kind!r}; {choices(kind, CONVENTIONS)}")
    counted = {"clients": clients, "samples_per_client": samples_per_client, "users_per_client": users_per_client}
    for name, value in counted.items():
        if value is not None and value < 1:
            raise BenchError(f"partition: {name}={value} is not possible; allowed: 1 or more")
    if kind == "dirichlet" and samples_per_client is not None:
        raise BenchError(
            f"partition: samples_per_client={samples_per_client} has no meaning for 'dirichlet', whose sizes are "
            f"drawn; allowed for: {_quoted(kind for kind in CONVENTIONS if kind != 'dirichlet')}"
        )
    if kind != "natural" and users_per_client is not None:
        raise BenchError(
            f"partition: users_per_client={users_per_client} has no meaning for {kind!r}; allowed for: 'natural'"
        )


def _concentration(kind: str, alpha: float | None) -> float:
    """Return the concentration parameter, NaN for the kinds that have none."""
    if kind not in CONCENTRATED:
        if alpha is not None:
            raise BenchError(
                f"partition: alpha={alpha} has no meaning for {kind!r}; allowed for: {_quoted(CONCENTRATED)}"
            )
        return math.nan
    if alpha is None or not LEAST_ALPHA <= alpha <= LARGEST_ALPHA:
        raise BenchError(
            f"partition: {kind!r} needs an alpha from {LEAST_ALPHA:g} to {LARGEST_ALPHA:g}, not {alpha} (for clients "
            "without skew take 'iid')"
        )
    return alpha


def _quoted(kinds: Iterable[str]) -> str:
    return ", ".join(repr(kind) for kind in kinds)


def _equal_size(samples: int, clients: int, samples_per_client: int | None) -> int:
    """Return the size of each client where all have the same."""
    size = samples // clients if samples_per_client is None else samples_per_client
    if size < 1 or clients * size > samples:
        raise BenchError(
            f"partition: clients={clients} with samples_per_client={max(size, 1)} need {clients * max(size, 1)} "
            f"samples; the training split has {samples}"
        )
    return size


def _iid(samples: int, clients: int, samples_per_client: int | None, rng: np.random.Generator) -> list[np.ndarray]:
    """Return clients of equal size, drawn uniformly without replacement."""
    size = _equal_size(samples, clients, samples_per_client)
    return list(rng.permutation(samples)[: clients * size].reshape(clients, size))


def _iid_exact(
    labels: np.ndarray, clients: int, samples_per_client: int | None, rng: np.random.Generator
) -> list[np.ndarray]:
    """Return clients that hold equally many samples of each class, drawn without replacement.

    Source: PriSM's released code where it is asked for iid clients (``alpha=Inf``). The samples of each class are
    shuffled and dealt class by class in turn; client after client takes the next ``samples_per_client``.
    """
    classes, counts = np.unique(labels, return_counts=True)
    most = counts.min() // clients * len(classes)
    size = most if samples_per_client is None else samples_per_client
    if size % len(classes) or not 0 < size <= most:
        raise BenchError(
            f"partition: 'iid-exact' with clients={clients} and samples_per_client={size} is not possible; allowed: a "
            f"multiple of the {len(classes)} classes up to {most}, since the rarest class has {counts.min()} samples"
        )
    dealt = clients * size // len(classes)
    pools = [rng.permutation(np.flatnonzero(labels == label))[:dealt] for label in classes]
    return list(np.stack(pools, axis=1).reshape(clients, size))


def _dirichlet(labels: np.ndarray, clients: int, alpha: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Return clients of unequal sizes: the samples of each class are cut by ``p ~ Dir(alpha, ..., alpha)``.

    Source: Yurochkin et al., "Bayesian nonparametric federated learning of neural networks" (ICML 2019), section 4.
    A client that ends without a sample takes a random one from the client that holds the most at that moment.
    """
    if clients > len(labels):
        raise BenchError(f"partition: clients={clients} need a sample each; the training split has {len(labels)}")
    order, owner = [], []
    for label in np.unique(labels):
        pool = rng.permutation(np.flatnonzero(labels == label))
        edges = np.rint(np.cumsum(rng.dirichlet(np.full(clients, alpha)))[:-1] * len(pool))
        order.append(pool)
        owner.append(np.searchsorted(edges, np.arange(len(pool)), side="right"))
    indices, holder = np.concatenate(order), np.concatenate(owner)
    by_client = np.argsort(holder, kind="stable")
    members = np.split(indices[by_client], np.cumsum(np.bincount(holder, minlength=clients))[:-1])
    _fill_empty(members, rng)
    return members


def _fill_empty(members: list[np.ndarray], rng: np.random.Generator) -> None:
    """Give every empty client, in place, one random sample of the client that is the largest at that moment."""
    largest = [(-len(member), client) for client, member in enumerate(members)]
    heapq.heapify(largest)
    for client in [number for number, member in enumerate(members) if len(member) == 0]:
        giver = largest[0][1]
        place = rng.integers(len(members[giver]))
        members[client] = members[giver][place : place + 1].copy()
        members[giver] = np.delete(members[giver], place)
        heapq.heapreplace(largest, (-len(members[giver]), giver))


def _natural(
    users: np.ndarray | None, clients: int, users_per_client: int | None, cap: int | None, rng: np.random.Generator
) -> list[np.ndarray]:
    """Return clients made of whole users; users keep the order of their numbers."""
    if users is None:
        raise BenchError(
            "partition: this data set has no natural users; "
            f"allowed: {_quoted(kind for kind in CONVENTIONS if kind != 'natural')}"
        )
    numbers, sizes = np.unique(users, return_counts=True)
    group = len(numbers) // clients if users_per_client is None else users_per_client
    if group < 1 or group * clients > len(numbers):
        raise BenchError(
            f"partition: clients={clients} with users_per_client={max(group, 1)} need {clients * max(group, 1)} users; "
            f"the training split has {len(numbers)}"
        )
    by_user = np.argsort(users, kind="stable")
    ends = np.cumsum(sizes)[group - 1 : group * clients : group]
    members = np.split(by_user[: ends[-1]], ends[:-1])
    if cap is None:
        return members
    return [member if len(member) <= cap else rng.choice(member, size=cap, replace=False) for member in members]
