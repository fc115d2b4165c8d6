"""A GPU's lane asks for the right things in the right order; a stand-in for PyTorch's streams writes them down."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from bench.training.lanes import CudaLane


class Streams:
    """Stands in for ``torch.cuda``: names what is done and on which stream."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.current, self.mode = Stream(self, "caller"), 0

    def Stream(self, device: torch.device) -> Stream:  # noqa: N802 - PyTorch's name
        return Stream(self, "lane")

    def current_stream(self, device: torch.device) -> Stream:
        return self.current

    @contextlib.contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    def graph_pool_handle(self) -> str:
        return "memory"

    def CUDAGraph(self) -> Graph:  # noqa: N802 - PyTorch's name
        return Graph(self)

    @contextlib.contextmanager
    def graph(self, graph: Graph, pool: str, stream: Stream) -> Iterator[None]:
        self.told.append(f"begin recording on {stream.name} in {pool}")
        self.current = stream  # which a recording that fails leaves as it is
        yield
        self.told.append("end recording")

    def get_sync_debug_mode(self) -> int:
        return self.mode

    def set_sync_debug_mode(self, mode: Any) -> None:
        self.mode = mode


class Stream:
    def __init__(self, streams: Streams, name: str) -> None:
        self.streams, self.name = streams, name

    def wait_stream(self, other: Stream) -> None:
        self.streams.told.append(f"{self.name} waits for {other.name}")

    def record_event(self) -> Stream:
        self.streams.told.append(f"event on {self.name}")
        return self

    def synchronize(self) -> None:
        self.streams.told.append(f"host waits for {self.name}")


class Graph:
    def __init__(self, streams: Streams) -> None:
        self.streams = streams

    def replay(self) -> None:
        self.streams.told.append(f"replay on {self.streams.current.name}")


class Result:
    def __init__(self, streams: Streams) -> None:
        self.streams = streams

    def record_stream(self, stream: Stream) -> None:
        self.streams.told.append(f"a result is read on {stream.name}")


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Streams:
    stand_in = Streams()
    for name in ("Stream", "current_stream", "stream", "graph_pool_handle", "CUDAGraph", "graph"):
        monkeypatch.setattr(torch.cuda, name, getattr(stand_in, name))
    for name in ("get_sync_debug_mode", "set_sync_debug_mode"):
        monkeypatch.setattr(torch.cuda, name, getattr(stand_in, name))
    return stand_in


def test_a_client_is_trained_on_the_lane_and_waited_for_by_the_host(streams: Streams) -> None:
    lane = CudaLane(torch.device("cuda"))
    with lane.entered():
        repeated = lane.record(lambda: streams.told.append(f"step on {streams.current.name}"))
        repeated()
        wait = lane.done([Result(streams)])  # type: ignore[list-item]
    streams.told.append(f"back on {streams.current.name}")
    wait()
    assert streams.told == [
        "lane waits for caller",
        "begin recording on lane in memory",
        "step on lane",
        "end recording",
        "replay on lane",
        "a result is read on caller",
        "event on lane",
        "back on caller",
        "host waits for lane",
    ]


def test_a_recording_that_fails_leaves_the_caller_on_its_stream(streams: Streams) -> None:
    lane = CudaLane(torch.device("cuda"))

    def fail() -> None:
        raise RuntimeError("not permitted")

    with pytest.raises(RuntimeError, match="not permitted"), lane.entered():
        lane.record(fail)
    assert streams.current.name == "caller"


def test_waiting_is_forbidden_for_a_while_only(streams: Streams) -> None:
    lane = CudaLane(torch.device("cuda"))
    with lane.without_waiting():
        assert streams.mode == "error"
    assert streams.mode == 0
    with pytest.raises(RuntimeError, match="waits"), lane.without_waiting():
        raise RuntimeError("waits")
    assert streams.mode == 0
