"""CUDA graphs: what was queued on a stream once, queued again as a whole.

An engine of 60 kernels costs 60 launches on every call, time of the CPU that a small batch has to
wait for. Recorded as a graph, they are one launch. NVIDIA's own bindings make it, which PyTorch
brings along: pycuda has no graphs, and PyTorch's cost more of Python than the launch itself.
"""

from collections.abc import Callable
from typing import Any

from trtlab.backend import IS_EMULATED, cuda
from trtlab.errors import InferenceError, TrtLabError


def record(stream: Any, queue: Callable[[], None]) -> Callable[[], object]:
    """Record what `queue` puts on a stream; return a function that puts all of it there again.

    Addresses and shapes are recorded as they are. What cannot be recorded is queued one by one, as
    is everything on the emulation: `queue` is returned. Let it run once before, because TensorRT
    allocates on the first run at a shape, which must not happen while recording.

    Args:
        stream: a `cuda.Stream` other than the default one.
        queue: puts work on that stream and waits for nothing.
    """
    if IS_EMULATED:
        return queue
    try:
        return _Graph(stream, queue)
    except (TrtLabError, cuda.Error):  # a layer that synchronises, for one
        return queue


class _GraphError(InferenceError):
    """The driver refused something to do with a graph."""


class _Graph:
    """A graph, ready to be launched. The CUDA context must be current wherever it is used."""

    def __init__(self, stream: Any, queue: Callable[[], None]) -> None:
        from cuda.bindings import driver

        self._driver, self._stream = driver, driver.CUstream(stream.handle)
        # Other threads may go on allocating: their calls are not this graph's.
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._ask(driver.cuStreamBeginCapture(self._stream, mode))
        try:
            queue()
        finally:
            status, graph = driver.cuStreamEndCapture(self._stream)
        self._ask((status,))
        try:
            (self._ready,) = self._ask(driver.cuGraphInstantiate(graph, 0))
        finally:
            driver.cuGraphDestroy(graph)

    def __call__(self) -> None:
        status = self._driver.cuGraphLaunch(self._ready, self._stream)[0]
        if status:
            self._ask((status,))

    def __del__(self) -> None:
        if hasattr(self, "_ready"):
            self._driver.cuGraphExecDestroy(self._ready)

    def _ask(self, answer: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return what the driver answered; raise if it is an error."""
        status, *rest = answer
        if status:
            raise _GraphError(f"CUDA graph: {status.name}")
        return tuple(rest)
