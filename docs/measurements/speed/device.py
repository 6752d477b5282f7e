"""Engines and PyTorch on tensors that lie in GPU memory: nothing of the host but the launch."""

import copy
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trtlab.backend import trt
from trtlab.benchmark import event_median_ms
from trtlab.errors import InferenceError
from trtlab.logger import LOGGER
from trtlab.tensors import TensorSpec, tensor_specs
from trtlab.torch_infer import tf32_set_to

LARGEST_ERROR = 0.3
"""Of the logits, relative. INT8 gives 0.03 to 0.1; a wrong layout or range of the input about 1."""


class DeviceEngine:
    """One execution context of an engine, bound to tensors on the GPU, captured as a CUDA graph.

    Args:
        engine: a deserialised engine of one input and one output; the output is floating-point.
        images: the input's memory, laid out as the engine's input wants it.
        batch: how many images that is.

    Attributes:
        images: as given; what is copied into it is what the next replay sees.
        output: (batch, classes) on the GPU; the next replay overwrites it.
        stream: one of its own, for replays beside other engines'.

    Raises:
        InferenceError: if TensorRT refuses anything.
    """

    def __init__(self, engine: Any, images: Tensor, batch: int) -> None:
        self._engine = engine  # a context must not outlive its engine
        self.images = images
        self.stream = torch.cuda.Stream()
        inputs, outputs = tensor_specs(engine)
        (source,), (target,) = inputs.values(), outputs.values()
        with LOGGER.listen() as messages:
            self._context = engine.create_execution_context()
            done = self._context is not None and self._bind(source, target, batch)
            # Images and poisoned output were written on another stream.
            torch.cuda.synchronize()
            # Once before the capture: what TensorRT sets up at the first call cannot be captured.
            done = done and self._context.execute_async_v3(self.stream.cuda_stream)
            torch.cuda.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            if done:
                with torch.cuda.graph(self._graph, stream=self.stream):
                    done = self._context.execute_async_v3(self.stream.cuda_stream)
        if not done:
            raise InferenceError(f"The engine does not run at batch {batch}{messages.because()}")

    def _bind(self, source: TensorSpec, target: TensorSpec, batch: int) -> bool:
        """Set shape and addresses; return whether TensorRT accepted all of them."""
        context = self._context
        if not context.set_input_shape(source.name, (batch, *source.shape[1:])):
            return False
        dtype = torch.from_numpy(np.zeros(0, target.dtype)).dtype
        shape = tuple(context.get_tensor_shape(target.name))
        self.output = torch.full(shape, torch.nan, dtype=dtype, device="cuda")
        return context.set_tensor_address(
            source.name, self.images.data_ptr()
        ) and context.set_tensor_address(target.name, self.output.data_ptr())

    def replay(self) -> None:
        """Launch the engine on PyTorch's current stream; wait for nothing."""
        self._graph.replay()

    def run(self) -> Tensor:
        """Launch the engine and wait for it; return its output."""
        self._graph.replay()
        torch.cuda.synchronize()
        return self.output

    def fresh_output(self) -> Tensor:
        """Return a copy of what one replay writes over a poisoned output.

        Raises:
            InferenceError: if a value was not written or is not finite.
        """
        self.output.fill_(torch.nan)
        return require_finite(self.run()).clone()

    def seconds(self, replays: int) -> float:
        """Return the time of one of `replays` back to back by events, the median of ten runs."""

        def back_to_back() -> None:
            for _ in range(replays):
                self._graph.replay()

        back_to_back()  # loads the graph, raises the clocks
        return event_median_ms(back_to_back, calls=10) / replays / 1e3

    def layer_seconds(self, runs: int) -> dict[str, float]:
        """Return the median seconds of each layer over `runs` by TensorRT's profiler, by name.

        Raises:
            InferenceError: if TensorRT refuses to run.
        """
        found: dict[str, list[float]] = {}

        class Profiler(trt.IProfiler):
            def __init__(self) -> None:
                trt.IProfiler.__init__(self)

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                found.setdefault(layer_name, []).append(ms / 1e3)

        self._profiler = Profiler()  # must live as long as the context
        self._context.profiler = self._profiler
        for _ in range(runs):
            if not self._context.execute_async_v3(self.stream.cuda_stream):
                raise InferenceError("The engine does not run with a profiler.")
            self.stream.synchronize()
        return {name: median(times) for name, times in found.items()}


def require_finite(output: Tensor) -> Tensor:
    """Return `output`. Raises: InferenceError if a value is NaN, as the poison, or infinite."""
    if not torch.isfinite(output).all():
        raise InferenceError(
            "An engine left values of its output unwritten, or computed NaN or infinity: its time "
            "means nothing."
        )
    return output


def require_agreement(output: Tensor, expected: Tensor) -> float:
    """Return ||output - expected|| / ||expected|| of two (N, classes) logits.

    Raises:
        InferenceError: if it is beyond what the coarsest INT8 gives: then something else than the
            model was timed.
    """
    error = float((output.float() - expected).norm() / expected.norm())
    if not error < LARGEST_ERROR:
        raise InferenceError(
            f"The engine's logits are {error:.2f} from PyTorch's, relative to their size: it does "
            "not compute the model."
        )
    return error


def eager(model: nn.Module, images: Tensor, tf32: bool) -> Callable[[], Tensor]:
    """Return a call that runs a copy of `model` on `images` on the GPU and waits for it."""
    on_gpu = copy.deepcopy(model).eval().to(images.device)

    def call() -> Tensor:
        with torch.inference_mode(), tf32_set_to(tf32):
            output: Tensor = on_gpu(images)
        torch.cuda.synchronize()
        return output

    return call
