"""Slot: what one call of FastInference needs for itself, and how it is queued and awaited."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import torch

from trtlab.backend import cuda, device_context, trt
from trtlab.backend.graphs import record
from trtlab.errors import InferenceError, InputError
from trtlab.handover import HostOrDevice, dtype_of
from trtlab.infer import TensorRTInference
from trtlab.tensors import Array, Shape, only_input, require_fit

PIECE_BYTES = 4 << 20
"""How much of a batch is copied into pinned memory at once; see Slot._send."""

Feeds = Mapping[str, HostOrDevice]
Results = dict[str, Array]


class Plan(NamedTuple):
    """What is to be done with inputs of certain shapes; worked out once, where they come again.

    Attributes:
        whole: all inputs are on the host and small: copied at once, and sent by the graph.
        shapes: of the inputs, by name.
        key: of the graph.
    """

    whole: bool
    shapes: dict[str, Shape]
    key: tuple[bool, tuple[Shape, ...]]


def planned(shapes: dict[str, Shape], host_bytes: int | None) -> Plan:
    """Return how to call at these input shapes; None bytes: not all inputs are on the host."""
    whole = host_bytes is not None and host_bytes <= PIECE_BYTES
    return Plan(whole, shapes, (whole, tuple(shapes.values())))


class _Call(NamedTuple):
    """A call at certain input shapes: pinned memory by tensor, and what queues it."""

    inputs: Results
    outputs: Results
    queue: Callable[[], object]


_NO_CALL = _Call({}, {}, lambda: None)


class _Settling:
    """A block after whose failure nothing is under way; the GPU's errors become InferenceErrors.

    Not a generator: every call enters it.
    """

    def __init__(self, slot: "Slot") -> None:
        self._settle = slot.settle

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is None:
            return
        self._settle()
        if isinstance(error, cuda.Error):
            raise InferenceError(f"The GPU failed while running the engine: {error}") from error


class Slot(TensorRTInference):
    """An execution context with its stream and buffers, and a graph for each shape it has met.

    FastInference hands slots out. To save the copy into pinned memory, write the batch there:

        with engine.slot(batch=32) as slot:
            slot.input[...] = images  # (32, 3, 224, 224), pinned
            logits = slot.run()  # pinned as well: copy what is to outlast the block

    A slot serves one thread at a time.

    Args:
        engine, profile: as TensorRTInference takes them.
        graphs: how many graphs to keep; beyond, the least recently used one goes.
    """

    # CU_STREAM_NON_BLOCKING. PyTorch works on the default stream: with that one, other slots would
    # wait for each other, and nobody might use it while a graph is recorded.
    _STREAM_FLAGS = 1
    _PIECE_BYTES = PIECE_BYTES

    def __init__(self, engine: "trt.ICudaEngine", *, profile: int, graphs: int) -> None:
        super().__init__(engine, profile=profile)
        self._most_graphs = graphs
        self._settling = _Settling(self)
        # One context may have a graph for each of several shapes: Triton's TensorRT backend does
        # the same. The least recently used comes first.
        self._calls: OrderedDict[tuple[bool, tuple[Shape, ...]], _Call] = OrderedDict()
        self._call = _NO_CALL  # the one that is under way, or to come
        self._read: list[torch.Tensor] = []  # on the GPU, until the call that reads them is over

    # For whoever fills the slot

    def resize(self, batch: int) -> None:
        """Take batches of this size from now on.

        Raises:
            InputError: if the profile does not.
            InferenceError: if the engine fails.
        """
        shapes = {
            name: (batch, *spec.shape[1:]) if spec.shape[:1] == (-1,) else spec.shape
            for name, spec in self.inputs.items()
        }
        for name, spec in self.inputs.items():
            require_fit(np.broadcast_to(spec.dtype.type(), shapes[name]), spec, self.profile)
        with device_context(), self._settling:
            self._call = self._known(planned(shapes, host_bytes=0))

    @property
    def feeds(self) -> Results:
        """The inputs' pinned memory, by name, at the slot's batch. Write to it before `run`."""
        return self._call.inputs

    @property
    def input(self) -> Array:
        """The only input's pinned memory."""
        return self.feeds[only_input(self.inputs, self.outputs)]

    def run(self) -> Array:
        """Run on what the input's pinned memory holds; return a view of the output's.

        Raises:
            InferenceError: if the engine fails.
        """
        only_input(self.inputs, self.outputs)
        return next(iter(self.run_all().values()))

    def run_all(self) -> Results:
        """Run on what the inputs' pinned memory holds; return views of the outputs', by name.

        Raises:
            InferenceError: if the engine fails.
        """
        with device_context():
            with self._settling:
                self._call.queue()
            return self._wait()

    # For FastInference, which makes the CUDA context current

    def begin(self, feeds: Feeds, plan: Plan) -> None:
        """Queue a call. Arrays on the host may be changed as soon as this returns.

        Raises:
            InputError: if an array is on another GPU.
            InferenceError: if the engine fails.
        """
        with self._settling:
            self._call = self._known(plan)
            for name, given in feeds.items():
                if plan.whole:
                    np.copyto(self._call.inputs[name], given)
                elif isinstance(given, np.ndarray):
                    self._send(name, given)
                else:
                    self._bring(name, given)
            self._call.queue()

    def finish(self, out: Mapping[str, Any] | None = None) -> Results:
        """Wait for the call that was begun; return its outputs, the caller's own, or `out`.

        Raises:
            InputError: if `out` does not fit.
            InferenceError: if the engine fails.
        """
        if out is None:
            # Made while the GPU works: nothing is left to do afterwards but to copy.
            results = {name: np.empty_like(view) for name, view in self._call.outputs.items()}
            for name, view in self._wait().items():
                np.copyto(results[name], view)
            return results
        views = self._wait()
        if not isinstance(out, Mapping) or out.keys() != views.keys():
            given = ", ".join(out) if isinstance(out, Mapping) else "one array"
            raise InputError(f"The outputs are {', '.join(views)}; out has {given}.")
        for name, target in out.items():
            self._write(name, views[name], target)
        return dict(out)

    def settle(self) -> None:
        """Wait for whatever is queued, and forget it."""
        with suppress(cuda.Error):  # the call has failed already, or nobody asks for it any more
            self._stream.synchronize()
        self._read.clear()

    # How it is done

    def _send(self, name: str, array: Array) -> None:
        """Copy to the GPU by way of pinned memory: one piece is on its way as the next is copied.

        Of a large batch, one core may take as long to copy it as a GPU to compute on it, so PyTorch
        copies on several.
        """
        array, staged = np.atleast_1d(array), np.atleast_1d(self._call.inputs[name])
        address = int(self._buffers[name].device)
        rows = max(self._PIECE_BYTES // staged[0].nbytes, 1)
        # PyTorch warns about memory that it may not write to.
        plainly = not (array.flags.c_contiguous and array.flags.writeable)
        for start in range(0, len(array), rows):
            piece = staged[start : start + rows]
            if plainly:
                np.copyto(piece, array[start : start + rows])
            else:
                torch.from_numpy(piece).copy_(torch.from_numpy(array[start : start + rows]))
            cuda.memcpy_htod_async(address + start * staged[0].nbytes, piece, self._stream)

    def _bring(self, name: str, tensor: torch.Tensor) -> None:
        """Copy within the GPU, after what PyTorch's current stream has still to do.

        A graph reads from a fixed address; the copy runs at the speed of the GPU's memory.
        """
        here = torch.cuda.current_device()
        if tensor.device.index != here:
            raise InputError(
                f"Input {name!r} is on {tensor.device}, and the engine on cuda:{here}: move it."
            )
        whole = tensor.contiguous()
        self._read.append(whole)
        self._wait_for_pytorch()
        cuda.memcpy_dtod_async(
            int(self._buffers[name].device), whole.data_ptr(), whole.nbytes, self._stream
        )

    def _wait_for_pytorch(self) -> None:
        """Let what is queued from now on wait for what PyTorch's current stream has to do."""
        torch.cuda.ExternalStream(self._stream.handle).wait_stream(torch.cuda.current_stream())

    def _known(self, plan: Plan) -> _Call:
        """Return the call of a plan. A new one runs once, on zeros."""
        call = self._calls.get(plan.key)
        if call is None:
            call = self._calls[plan.key] = self._record(plan)
            while len(self._calls) > self._most_graphs:
                self._calls.popitem(last=False)
        self._calls.move_to_end(plan.key)
        return call

    def _record(self, plan: Plan) -> _Call:
        shapes = plan.shapes | self._set_input_shapes(plan.shapes)

        def queue() -> None:
            self._set_input_shapes(plan.shapes)  # no graph: another shape may have come meanwhile
            (self._enqueue if plan.whole else self._execute)(shapes)

        pinned = {name: self._buffers[name].view(shape) for name, shape in shapes.items()}
        for name in self.inputs:
            pinned[name].fill(0)  # what lies there may be no index into an embedding, for one
        self._enqueue(shapes)
        self._stream.synchronize()
        return _Call(
            {name: pinned[name] for name in self.inputs},
            {name: pinned[name] for name in self.outputs},
            record(self._stream, queue),
        )

    def _wait(self) -> Results:
        with self._settling:
            self._stream.synchronize()
        self._read.clear()
        return self._call.outputs

    def _write(self, name: str, view: Array, target: Any) -> None:
        if not isinstance(target, (np.ndarray, torch.Tensor)):
            raise InputError(f"out is a {type(target).__name__}, expected a NumPy array or tensor.")
        if tuple(target.shape) != view.shape or dtype_of(target) != view.dtype:
            raise InputError(
                f"out is {dtype_of(target)} {tuple(target.shape)}, and output {name!r} is "
                f"{view.dtype} {view.shape}."
            )
        if isinstance(target, np.ndarray) and not target.flags.writeable:
            raise InputError("out is read-only: pass an array that may be written to.")
        if isinstance(target, np.ndarray):
            np.copyto(target, view)
        elif target.is_cuda and target.is_contiguous():
            self._wait_for_pytorch()  # which may still read what is there
            device = int(self._buffers[name].device)
            cuda.memcpy_dtod_async(target.data_ptr(), device, view.nbytes, self._stream)
            self._stream.synchronize()  # what PyTorch does next finds it there
        else:
            target.copy_(torch.from_numpy(view))

    def close(self) -> None:
        """Free graphs, buffers, context and engine. May be called twice."""
        # Before the memory that they name.
        if hasattr(self, "_calls"):
            with device_context():
                self._calls.clear()
                self._call = _NO_CALL
        super().close()
