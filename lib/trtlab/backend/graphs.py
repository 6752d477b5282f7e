"""CUDA graphs: what was queued on a stream once, queued again as a whole.

An engine of 60 kernels costs 60 launches on every call, time of the CPU that a small batch has to
wait for. Recorded as a graph, they are one launch.
"""

from collections.abc import Callable
from typing import Any

import torch

from trtlab.backend import IS_EMULATED
from trtlab.errors import TrtLabError


def record(stream: Any, queue: Callable[[], None]) -> Callable[[], None]:
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
    graph = torch.cuda.CUDAGraph()
    side = torch.cuda.ExternalStream(stream.handle)
    try:
        with torch.cuda.stream(side):
            # Other threads may go on allocating: their calls are not this graph's.
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                queue()
            finally:
                graph.capture_end()
    except (RuntimeError, TrtLabError):  # a layer that synchronises, for one
        return queue

    def replay() -> None:
        with torch.cuda.stream(side):
            graph.replay()

    return replay
