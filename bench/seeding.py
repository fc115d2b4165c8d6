"""Named random streams.

Every draw of a simulation comes from a stream keyed by (seed, purpose, round, client). A stream depends on its key
alone, so that adding a purpose, a round or a client shifts no other stream, and two methods that draw from the
streams "cohort" or "batches" see the same clients and the same data order (paired comparisons).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


def key_of(seed: int, purpose: str, round_number: int = 0, client: int = 0) -> int:
    """Return the 128-bit key of a stream: a hash of its name, so that near seeds give unrelated streams."""
    name = f"{seed}/{purpose}/{round_number}/{client}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=16).digest(), "little")


def stream(seed: int, purpose: str, round_number: int = 0, client: int = 0) -> np.random.Generator:
    """Return the generator of one stream.

    Philox is counter-based: making a generator costs microseconds, and the key alone fixes the stream on every
    platform.

    Args:
        seed: the cell's seed.
        purpose: what is drawn, for example "cohort" or "batches".
        round_number: the communication round, 0 for draws made once a run.
        client: the client, 0 for draws made by the server.
    """
    return np.random.Generator(np.random.Philox(key=key_of(seed, purpose, round_number, client)))


@dataclass(frozen=True)
class Streams:
    """The streams of one purpose in one round: one for the server and one for each client.

    A client's stream does not depend on who else is in the cohort.
    """

    seed: int
    purpose: str
    round_number: int

    def server(self) -> np.random.Generator:
        """Return the stream for draws that concern the whole cohort."""
        return stream(self.seed, f"{self.purpose}/server", self.round_number)

    def client(self, number: int) -> np.random.Generator:
        """Return the stream of the client with this number."""
        return stream(self.seed, self.purpose, self.round_number, number)
