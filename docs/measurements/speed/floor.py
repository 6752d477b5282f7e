"""The least that a call can be: engine and copies as one CUDA graph, launched and awaited."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from trtlab.backend import device_context
from trtlab.slot import Slot


@contextmanager
def bare_call(slot: Slot, batch: int) -> Iterator[Callable[[], object]]:
    """Yield a call that runs a slot on what its pinned memory holds, with nothing around it.

    PyTorch's current stream is the slot's inside the block, so that a call is a launch and a wait.
    """
    slot.resize(batch)  # runs the engine: what TensorRT sets up at a first call cannot be captured
    with device_context():
        pinned = slot._call.inputs | slot._call.outputs
        graph, side = torch.cuda.CUDAGraph(), torch.cuda.ExternalStream(slot._stream.handle)
        with torch.cuda.graph(graph, stream=side):
            slot._enqueue({name: view.shape for name, view in pinned.items()})

        def call() -> None:
            graph.replay()
            slot._stream.synchronize()

        with torch.cuda.stream(side):
            yield call
