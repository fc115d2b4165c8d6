"""Where the work of a client is queued: a stream of its own on a GPU, so that several clients are trained at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager

import torch
from torch import Tensor

Step = Callable[[], None]


class Lane:
    """Does its work at once, on a device without streams; what a GPU's lane does is said here."""

    def entered(self) -> AbstractContextManager[None]:
        """Queue what is done meanwhile on this lane, behind all that was queued where this is called from."""
        return contextlib.nullcontext()

    def without_waiting(self) -> AbstractContextManager[None]:
        """Raise ``RuntimeError`` meanwhile where the host would wait for the device."""
        return contextlib.nullcontext()

    def record(self, step: Step) -> Step:
        """Return what repeats a step, recorded as it is done once within ``entered``; recording computes nothing."""
        return step

    def done(self, results: Iterable[Tensor]) -> Step:
        """Return what waits until all that is queued by now is done.

        Args:
            results: tensors made on this lane that will be used, and given up, where the lane was entered from.
        """
        return lambda: None

    def wait(self) -> None:
        """Wait until the lane is empty."""


class CudaLane(Lane):
    """A stream, and the memory that the steps recorded on it share: they never run at the same time."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream = device, torch.cuda.Stream(device)
        self.memory = torch.cuda.graph_pool_handle()
        self._caller = torch.cuda.current_stream(device)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        self._caller = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(self._caller)
        with torch.cuda.stream(self.stream):
            yield

    @contextlib.contextmanager
    def without_waiting(self) -> Iterator[None]:
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)

    def record(self, step: Step) -> Step:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.memory, stream=self.stream):
            step()
        return graph.replay

    def done(self, results: Iterable[Tensor]) -> Step:
        for tensor in results:  # the memory of a result that is given up is not used anew before its readers are done
            tensor.record_stream(self._caller)
        return self.stream.record_event().synchronize

    def wait(self) -> None:
        self.stream.synchronize()


def lane_on(device: torch.device) -> Lane:
    """Return a new lane on a device."""
    return CudaLane(device) if device.type == "cuda" else Lane()
