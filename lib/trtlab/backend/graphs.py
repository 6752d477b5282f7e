"""CUDA graphs: what was queued on a stream once, queued again as a whole.

An engine of 60 kernels costs 60 launches on every call, time of the CPU that a small batch has to
wait for. Recorded as a graph, they are one launch. pycuda has no graphs, and PyTorch's cost more of
Python than the launch itself and leave memory behind, so these are the driver's own functions.
Source: CUDA Driver API, stream and graph management.
"""

import ctypes
import functools
from collections.abc import Callable
from typing import Any

from trtlab.backend import IS_EMULATED, cuda
from trtlab.errors import InferenceError, TrtLabError

_Handle = ctypes.c_void_p
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "cuStreamBeginCapture_v2": (_Handle, ctypes.c_int),
    "cuStreamEndCapture": (_Handle, ctypes.POINTER(_Handle)),
    "cuGraphInstantiateWithFlags": (ctypes.POINTER(_Handle), _Handle, ctypes.c_ulonglong),
    "cuGraphLaunch": (_Handle, _Handle),
    "cuGraphExecDestroy": (_Handle,),
    "cuGraphDestroy": (_Handle,),
    "cuGetErrorName": (ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)),
}
_THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may go on allocating meanwhile."""


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
        return Graph(_driver(), stream.handle, queue)
    except (TrtLabError, cuda.Error):  # a layer that synchronises, for one
        return queue


class Graph:
    """What was recorded, ready to be launched: call it. The CUDA context must be current.

    Args:
        driver: the functions above.
        stream: the handle of the stream.
        queue: see `record`.

    Raises:
        InferenceError: if the driver refuses to record, or to launch.
    """

    def __init__(self, driver: Any, stream: int, queue: Callable[[], None]) -> None:
        self._driver, self._stream, self._ready = driver, _Handle(stream), _Handle()
        graph = _Handle()
        self._require(driver.cuStreamBeginCapture_v2(self._stream, _THREAD_LOCAL))
        try:
            try:
                queue()
            finally:
                ended = driver.cuStreamEndCapture(self._stream, ctypes.byref(graph))
            self._require(ended)
            made = driver.cuGraphInstantiateWithFlags(ctypes.byref(self._ready), graph, 0)
            self._require(made)
        finally:
            if graph:
                driver.cuGraphDestroy(graph)

    def __call__(self) -> None:
        """Launch it; wait for nothing. Raises: InferenceError."""
        status = self._driver.cuGraphLaunch(self._ready, self._stream)
        if status:
            self._require(status)

    def __del__(self) -> None:
        if self._ready:
            self._driver.cuGraphExecDestroy(self._ready)

    def _require(self, status: int) -> None:
        if status:
            name = ctypes.c_char_p()
            self._driver.cuGetErrorName(status, ctypes.byref(name))
            reason = name.value.decode() if name.value else f"error {status}"
            raise InferenceError(f"The CUDA driver refused a graph of the engine: {reason}.")


@functools.cache
def _driver() -> ctypes.CDLL:
    """Return the driver's library, which pycuda has loaded before."""
    driver = ctypes.CDLL("libcuda.so.1")
    for name, arguments in _FUNCTIONS.items():
        getattr(driver, name).argtypes = arguments
    return driver
