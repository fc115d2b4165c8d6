"""Which Ray cluster a sweep runs on, what a cell needs of it, and connecting to it."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import os
import re
import signal
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import BenchError, at, one_line, words_of
from bench.numerics.runtime import cores
from bench.toml_files import read_text
from bench.written import number_in

EXAMPLE = "for example cpus=1,gpus=0.5,memory=4e9"


@dataclass(frozen=True)
class Settings:
    """A cluster as the user names it.

    Attributes:
        address: host:port of its head, "auto" for the one of this machine, "local" for a new one on this machine.
        cpus: cores of a cell; as many processes train its clients.
        gpus: GPUs of a cell, also a part of one.
        memory: bytes of a cell; 0 to leave it out.
        others: custom resources of the cluster.
        runtime_env: Ray's runtime environment of the tasks.
    """

    address: str = "auto"
    cpus: float = 1.0
    gpus: float = 0.0
    memory: float = 0.0
    others: Mapping[str, float] = field(default_factory=dict)
    runtime_env: Mapping[str, Any] = field(default_factory=dict)

    @property
    def workers(self) -> int:
        """Processes that train the clients of a cell."""
        return max(1, int(self.cpus))

    @property
    def options(self) -> dict[str, Any]:
        """What a cell needs, in Ray's words."""
        memory = {"memory": int(self.memory)} if self.memory else {}
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "resources": dict(self.others), **memory}

    @property
    def words(self) -> str:
        """What a cell needs as the user writes it."""
        needs = {"cpus": self.cpus, "gpus": self.gpus, "memory": self.memory, **self.others}
        return ",".join(f"{name}={need:g}" for name, need in needs.items() if need)

    def slots(self, node: Mapping[str, float]) -> int:
        """Return how many cells a node with these resources has room for."""
        needs = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory, **self.others}
        return min(math.floor(node.get(name, 0.0) / need + 1e-9) for name, need in needs.items() if need)


def settings_of(address: str, resources: str, runtime_env: Path | None, device: str) -> Settings:
    """Return the settings from what the user typed.

    Args:
        address: see :class:`Settings`.
        resources: name=value, separated by commas: cpus, gpus, memory, and any that the cluster's nodes declare.
        runtime_env: a file in JSON or YAML.
        device: "auto", "cpu" or "cuda"; "cuda" alone means one GPU for each cell.

    Raises:
        BenchError: one of them cannot be.
    """
    values = dict(_resource(words) for words in resources.split(",") if words.strip())
    if device not in ("auto", "cpu", "cuda"):
        raise BenchError(f"--device {device!r}: with --engine ray it is auto, cpu or cuda")
    if device == "cpu" and values.get("gpus"):
        raise BenchError("--resources gpus: with --device cpu there is no use for them")
    if device == "cuda" and values.get("gpus") == 0:
        raise BenchError("--resources gpus=0: with --device cuda a cell needs a part of a GPU, such as gpus=0.5")
    if device == "cuda":
        values.setdefault("gpus", 1.0)
    known = {name: values.pop(name) for name in ("cpus", "gpus", "memory") if name in values}
    if known.get("cpus", 1.0) <= 0:
        raise BenchError("--resources cpus=0: a cell needs some of a core, such as cpus=1")
    return Settings(address, **known, others=values, runtime_env=_environment(runtime_env) if runtime_env else {})


def _resource(words: str) -> tuple[str, float]:
    name, _, value = (part.strip() for part in words.partition("="))
    number = number_in(value)
    if not name or number is None or not 0 <= number < math.inf:
        raise BenchError(f"--resources {words.strip()!r}: it reads name=number, {EXAMPLE}")
    if name == "gpus" and number > 1:
        raise BenchError(f"--resources {words.strip()!r}: a cell runs on one GPU at most; allowed: from 0 to 1")
    return name, number


def _environment(path: Path) -> dict[str, Any]:
    import yaml

    with at("--runtime-env"):
        text = read_text(path, "runtime environment", lambda: _files_beside(path))
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a ValueError: a date that is none
        raise BenchError(f"--runtime-env {path}: neither JSON nor YAML ({one_line(str(error))})") from None
    if not isinstance(values, dict):
        raise BenchError(f"--runtime-env {path}: it holds no table, for example working_dir: dist/package")
    return values


def _files_beside(path: Path) -> list[Path]:
    """Return the files beside a path, or in it where it is a folder, that could be runtime environments."""
    try:
        folder = path if path.is_dir() else path.parent
        return sorted(file for pattern in ("*.yaml", "*.yml", "*.json") for file in folder.glob(pattern))
    except (OSError, ValueError):  # a name that cannot be
        return []


def connect(settings: Settings) -> None:
    """Connect this process to the cluster.

    Raises:
        BenchError: there is none, or it cannot be used.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if settings.runtime_env and importlib.util.find_spec("aiohttp") is None:
        raise BenchError("--runtime-env: Ray needs more for it on all nodes; type pip install 'ray[default]'")
    with contextlib.suppress(AttributeError):  # private to Ray, and only about what is printed
        ray._private.worker._worker_logs_enabled = False  # the loss of a node is told by the sweep itself
    address = settings.address
    if address not in ("auto", "local"):
        _must_answer(address)
    here: dict[str, Any] = {"num_cpus": cores(), "include_dashboard": False} if address == "local" else {}
    try:
        with _own_signals():
            ray.init(
                address=address,
                runtime_env=dict(settings.runtime_env) or None,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **here,
            )
    except ConnectionError:
        raise BenchError(
            f"--address {address!r}: no Ray cluster runs here; start one with 'ray start --head', "
            "name one with --address HOST:6379, or type --address local"
        ) from None
    except (RuntimeError, ValueError, TimeoutError, TypeError, OSError) as error:
        raise BenchError(f"--address {address!r}: the cluster cannot be used: {words_of(error)}") from None


def _must_answer(address: str) -> None:
    """Look whether anybody listens at an address: Ray would try for a minute."""
    match = re.fullmatch(r"([\w.-]+|\[[0-9a-fA-F:]+\]):(\d+)", address)
    if not match:
        raise BenchError(
            f"--address {address!r}: it reads HOST:PORT, as 'ray start --head' prints it, or auto, or local; "
            "a sweep is started on a machine of the cluster"
        )
    host, port = match[1].strip("[]"), int(match[2])
    try:
        socket.create_connection((host, port), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise BenchError(
            f"--address {address!r}: nobody answers there ({error}); 'ray start --head' prints the address of a cluster"
        ) from None


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep Ray from taking over what happens on SIGTERM."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # not the main thread, where Ray sets none either
            signal.signal(signal.SIGTERM, before)
