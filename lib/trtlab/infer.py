"""TensorRTInference: running an engine from NumPy arrays to NumPy arrays.

The plain path, meant to be read: copy in, enqueue, copy out, wait. Buffers are pinned and allocated
once, which is most of what separates a good wrapper from a slow one. Timing it is benchmark.py's.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, overload

import numpy as np

from trtlab.backend import cuda, device_context, trt
from trtlab.backend.compat import device_memory_bytes
from trtlab.backend.pinned import pinned_empty
from trtlab.engines import load_engine
from trtlab.errors import EngineError, InferenceError
from trtlab.logger import LOGGER
from trtlab.tensors import (
    Array,
    Shape,
    only_input,
    require_finite,
    require_fit,
    require_names,
    require_one_batch,
    tensor_specs,
)

_MIB = 2**20


@dataclass(frozen=True)
class _Buffer:
    """A tensor's memory at its largest shape: pinned on the host, and on the device."""

    host: Array  # flat
    device: Any

    def view(self, shape: Shape) -> Array:
        """Return the first elements of the pinned buffer as an array of `shape`."""
        return self.host[: math.prod(shape)].reshape(shape)


class TensorRTInference:
    """An engine ready to run: execution context, stream and buffers, allocated once.

        with TensorRTInference("resnet50_fp16.engine") as model:
            logits = model.infer(images)  # (N, 3, 224, 224) float32 -> (N, 1000) float32

    Any number of threads may share one instance: a lock lets them in one at a time, because the
    buffers and the execution context serve one call at a time. To run calls side by side, make an
    instance for each thread.

    Args:
        engine: path of an engine file, or a deserialised engine.
        profile: index of the optimization profile to use.

    Attributes:
        inputs, outputs: a TensorSpec for each tensor, by name.
        max_batch: the largest batch that the profile accepts.

    Raises:
        EngineError: if the engine file cannot be used here.
        InferenceError: if there is no such profile, the GPU has too little memory, or TensorRT
            refuses.
    """

    _STREAM_FLAGS = 0  # CU_STREAM_DEFAULT: work on the default stream waits for it, and it for that

    def __init__(self, engine: "str | Path | trt.ICudaEngine", *, profile: int = 0) -> None:
        # What close() needs comes first: it also cleans up after a failure further down.
        self._lock = Lock()
        self._buffers: dict[str, _Buffer] = {}
        self._context: Any = None
        self._stream: Any = None
        self._engine: Any = load_engine(engine) if isinstance(engine, (str, Path)) else engine
        self.profile = profile
        self.inputs, self.outputs = tensor_specs(self._engine)
        if not 0 <= profile < self._engine.num_optimization_profiles:
            raise InferenceError(
                f"There is no optimization profile {profile}; the engine has "
                f"{self._engine.num_optimization_profiles}, counted from 0."
            )
        if not self.inputs or not self.outputs:
            raise EngineError(
                f"The engine has {len(self.inputs)} inputs and {len(self.outputs)} outputs; it "
                "takes one of each at least to run it. Build it from a model that has both."
            )
        largest = next(iter(self.inputs.values())).profiles[profile].max
        self.max_batch = largest[0] if largest else 1  # a scalar has no batch
        try:
            with device_context():
                self._create_context()
                self._allocate()
        except BaseException:
            self.close()
            raise

    def _create_context(self) -> None:
        need = device_memory_bytes(self._engine) / _MIB
        self._context = _ask(
            f"create an execution context, which needs {need:.0f} MiB of GPU memory",
            self._engine.create_execution_context,
        )
        # Not the default stream: engines that share it wait for each other.
        self._stream = cuda.Stream(self._STREAM_FLAGS)
        self._select_profile()

    def _select_profile(self) -> None:
        active = self._context.active_optimization_profile
        if active == self.profile:
            return
        # A context begins with profile 0, or with none if another context holds that one and the
        # engine was built without profile sharing. Asking for it then crashes TensorRT 8.6.
        if active < 0 and self.profile == 0:
            raise InferenceError(
                "Optimization profile 0 of this engine is in use by another context. Close that "
                "one, use another profile, or build the engine so that contexts share profiles."
            )
        _ask(
            f"select optimization profile {self.profile}",
            self._context.set_optimization_profile_async,
            self.profile,
            self._stream.handle,
        )
        self._stream.synchronize()

    def _allocate(self) -> None:
        """Allocate every tensor's buffers at the profile's largest shapes, and bind them."""
        largest = {name: spec.profiles[self.profile].max for name, spec in self.inputs.items()}
        largest |= self._set_input_shapes(largest)
        dtypes = {name: spec.dtype for name, spec in (self.inputs | self.outputs).items()}
        try:
            for name, shape in largest.items():
                host = pinned_empty(math.prod(shape), dtypes[name])
                self._buffers[name] = _Buffer(host, cuda.mem_alloc(host.nbytes))
        except cuda.MemoryError as error:
            need = sum(math.prod(shape) * dtypes[name].itemsize for name, shape in largest.items())
            free, total = cuda.mem_get_info()
            raise InferenceError(
                f"The GPU has too little memory for the engine's inputs and outputs: they take "
                f"{need / _MIB:.1f} MiB at a batch of {self.max_batch}, and {free / _MIB:.1f} of "
                f"{total / _MIB:.0f} MiB are free. Close other engines, or build this one with a "
                "smaller largest batch."
            ) from error
        for name, buffer in self._buffers.items():
            address = int(buffer.device)
            _ask(f"bind tensor {name!r}", self._context.set_tensor_address, name, address)

    @overload
    def infer(self, x: Array) -> Array: ...

    @overload
    def infer(self, x: Mapping[str, Array]) -> dict[str, Array]: ...

    def infer(self, x: Array | Mapping[str, Array]) -> Array | dict[str, Array]:
        """Run the engine on one batch, of any size that the profile accepts.

        Args:
            x: an array, where the engine has one input and one output, or arrays by input name.
                They must have the engine's dtype, float32 as a rule: nothing is converted in
                silence. They need not be contiguous, and are not changed.

        Returns:
            An array, or arrays by output name, as `x` was given. They are the caller's own: a later
            call does not overwrite them.

        Raises:
            InputError: if names, dtypes, ranks or shapes do not fit, a batch is empty or outside
                the profile, or a value is NaN or infinite.
            InferenceError: if the engine fails, or was closed.
        """
        feeds = x if isinstance(x, Mapping) else {only_input(self.inputs, self.outputs): x}
        require_names(feeds, self.inputs)
        for name, array in feeds.items():
            require_fit(array, self.inputs[name], self.profile)
        require_one_batch({name: array.shape for name, array in feeds.items()}, self.inputs)
        with self._lock, device_context():
            if self._context is None:
                raise InferenceError("The engine was closed; make a new TensorRTInference.")
            outputs = self._run(feeds)
        return outputs if isinstance(x, Mapping) else next(iter(outputs.values()))

    __call__ = infer

    def _run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        shapes = {name: array.shape for name, array in feeds.items()}
        for name, array in feeds.items():
            staged = self._buffers[name].view(array.shape)
            np.copyto(staged, array)
            require_finite(staged, name)
        try:
            shapes |= self._set_input_shapes(shapes)
            try:
                self._enqueue(shapes)
            finally:
                # After a failure too: copies still under way must not meet the next call's data.
                self._stream.synchronize()
        except cuda.Error as error:
            raise InferenceError(f"The GPU failed while running the engine: {error}") from error
        return {name: self._buffers[name].view(shapes[name]).copy() for name in self.outputs}

    def _set_input_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        """Tell the context the inputs' shapes; return the outputs' shapes that follow from them."""
        for name, shape in shapes.items():
            what = f"take the shape {shape} for input {name!r}"
            _ask(what, self._context.set_input_shape, name, shape)
        _ask(f"infer the output shapes from {dict(shapes)}", self._context.infer_shapes)
        return {name: tuple(self._context.get_tensor_shape(name)) for name in self.outputs}

    def _enqueue(self, shapes: Mapping[str, Shape]) -> None:
        """Queue the copies to the device, the engine, and the copies back; wait for nothing."""
        for name in self.inputs:
            buffer = self._buffers[name]
            cuda.memcpy_htod_async(buffer.device, buffer.view(shapes[name]), self._stream)
        self._execute(shapes)

    def _execute(self, shapes: Mapping[str, Shape]) -> None:
        """Queue the engine, and the copies of its outputs to the host."""
        _ask("run the engine", self._context.execute_async_v3, self._stream.handle)
        for name in self.outputs:
            buffer = self._buffers[name]
            cuda.memcpy_dtoh_async(buffer.view(shapes[name]), buffer.device, self._stream)

    def close(self) -> None:
        """Free buffers, context and engine. May be called twice; `infer` raises afterwards."""
        with self._lock:
            if self._engine is None:
                return
            with device_context():
                for buffer in self._buffers.values():
                    buffer.device.free()
                self._buffers.clear()
                # In this order: a context must not outlive its engine.
                self._context = None
                self._stream = None
                self._engine = None

    def __enter__(self) -> "TensorRTInference":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Too late to tell anybody: __init__ may have failed early, or the driver be gone at exit.
        with suppress(Exception):
            self.close()


def _ask(what: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """Call a method of TensorRT and return its answer; raise InferenceError if it refuses.

    Most methods refuse with False or None, which is easily missed: an enqueue that nobody checks
    leaves the last call's outputs, at an impossible speed. The reason is in the log.
    """
    with LOGGER.listen() as messages:
        try:
            answer = call(*arguments)
        except RuntimeError as error:  # so do set_optimization_profile_async and infer_shapes
            raise InferenceError(f"TensorRT could not {what}{messages.because()}") from error
    if answer is None or answer is False:
        raise InferenceError(f"TensorRT could not {what}{messages.because()}")
    return answer
