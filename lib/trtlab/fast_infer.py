"""FastInference: TensorRTInference without its waits, for where every microsecond counts.

Three things make the difference. A call at a known shape is one CUDA graph. A large batch is copied
in pieces, each on its way to the GPU while the next is copied. And several slots, each with a
context, a stream and buffers of its own, let one batch be copied while another one is computed.

infer.py is the path to read and to imitate; this one is built on it.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Condition
from types import TracebackType
from typing import Any

import numpy as np

from trtlab.backend import device_context, trt
from trtlab.engines import load_engine
from trtlab.errors import InferenceError
from trtlab.handover import HostOrDevice, stand_in, taken
from trtlab.slot import Plan, Slot, planned
from trtlab.tensors import Shape, only_input, require_fit, require_names, require_one_batch


class FastInference:
    """An engine run with as little as possible between the caller's arrays and the GPU.

        with FastInference("resnet50_fp16.engine") as engine:
            logits = engine.infer(images)  # (N, 3, 224, 224) float32 -> (N, 1000) float32
            for logits in engine.stream(batches):  # several in flight, results in order
                ...

    Inputs may be NumPy arrays, PyTorch tensors on CPU or GPU, or anything with DLPack or
    `__cuda_array_interface__`. Unlike TensorRTInference it does not look for NaN in them, which
    takes as long as copying them. The first call at a shape is slow: it records that shape's graph.

    Any number of threads may share one instance; as many calls as there are slots run side by side.

    Args:
        engine: path of an engine file, or a deserialised engine.
        profile: index of the optimization profile to use.
        slots: calls that may be under way at a time. Each takes the memory of an execution context
            and of all buffers at the profile's maximum, when it is first needed.
        graphs: shapes whose graphs a slot keeps; beyond, the least recently used one goes.

    Attributes:
        inputs, outputs: a TensorSpec for each tensor, by name.
        max_batch: the largest batch that the profile accepts.

    Raises:
        EngineError, InferenceError: as TensorRTInference does.
    """

    def __init__(
        self,
        engine: "str | Path | trt.ICudaEngine",
        *,
        profile: int = 0,
        slots: int = 3,
        graphs: int = 8,
    ) -> None:
        if slots < 1 or graphs < 1:
            raise InferenceError(f"slots is {slots} and graphs is {graphs}; give at least 1.")
        self.slots, self._graphs, self._profile = slots, graphs, profile
        self._engine: Any = load_engine(engine) if isinstance(engine, (str, Path)) else engine
        first = self._new_slot()
        self.inputs, self.outputs, self.max_batch = first.inputs, first.outputs, first.max_batch
        self._only, self._only_output = next(iter(self.inputs)), next(iter(self.outputs))
        # What was let in once need not be looked at again: that takes longer than to launch.
        self._plans: dict[tuple[Shape, np.dtype[Any]], Plan] = {}
        self._changed = Condition()  # guards what follows
        self._idle = [first]
        self._made = 1
        self._closed = False

    def infer(self, x: Any, out: Any = None) -> Any:
        """Run the engine on one batch, of any size that the profile accepts.

        Args:
            x: an array where the engine has one input and one output, or arrays by input name;
                see the class. They must have the engine's dtype.
            out: where to write the outputs, as `x` is given: arrays of NumPy or PyTorch, of the
                outputs' shapes and dtypes. None returns new NumPy arrays.

        Returns:
            The outputs as `x` was given: `out`, or arrays that are the caller's own.

        Raises:
            InputError: if names, dtypes or shapes do not fit.
            InferenceError: if the engine fails, or was closed.
        """
        named = not isinstance(x, np.ndarray) and isinstance(x, Mapping)
        feeds, plan = self._feeds(x)
        if out is not None and not named:
            out = {self._only_output: out}
        slot = self._take()
        try:
            with device_context():
                slot.begin(feeds, plan)
                results = slot.finish(out)
        finally:
            self._give(slot)
        return results if named else results[self._only_output]

    __call__ = infer

    def stream(self, batches: Iterable[Any]) -> Generator[Any, None, None]:
        """Run the engine on one batch after the other, as many in flight as there are slots.

        Args:
            batches: each as `infer` takes it. One on the GPU must not be changed until its result
                has come.

        Yields:
            The results in order, the caller's own. Where a batch cannot be taken, the results of
            those before it come first, then the error; the object stays usable.

        Raises:
            InputError, InferenceError: as `infer` does.
        """
        pending: deque[tuple[Slot, bool]] = deque()
        pulled: list[Any] = []  # a batch that waits for a slot, or nothing
        source, end = iter(batches), None
        try:
            while True:
                while end is None and len(pending) < self.slots:
                    # Before a slot is taken: the source may take its time, or run the engine.
                    if not pulled:
                        try:
                            pulled.append(next(source))
                        except Exception as error:
                            end = error
                            break
                    slot = self._take(wait=not pending)
                    if slot is None:  # others have them: first the result that is due
                        break
                    x = pulled.pop()
                    try:
                        with device_context():
                            slot.begin(*self._feeds(x))
                    except BaseException as error:
                        self._give(slot)
                        if not isinstance(error, Exception):
                            raise
                        end = error
                    else:
                        pending.append((slot, isinstance(x, Mapping)))
                if not pending:
                    break
                slot, named = pending[0]
                with device_context():
                    results = slot.finish()
                pending.popleft()
                self._give(slot)
                yield results if named else results[self._only_output]
        finally:
            for slot, _ in pending:
                with device_context():
                    slot.settle()
                self._give(slot)
        if end is not None and not isinstance(end, StopIteration):
            raise end

    @contextmanager
    def slot(self, batch: int) -> Iterator[Slot]:
        """Hand out a slot for the block, to be filled in place; see Slot.

        Other calls inside the block need a slot of their own, and wait for one.

        Raises:
            InputError: if the profile does not take such a batch.
            InferenceError: if this was closed.
        """
        slot = self._take()
        try:
            slot.resize(batch)
            yield slot
        finally:
            self._give(slot)

    def close(self) -> None:
        """Free slots and engine. Calls under way come to their end; later ones are refused."""
        with self._changed:
            self._closed = True
            for slot in self._idle:
                slot.close()
            self._idle = []
            self._engine = None
            self._changed.notify_all()

    def __enter__(self) -> "FastInference":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # Slots

    def _new_slot(self) -> Slot:
        return Slot(self._engine, profile=self._profile, graphs=self._graphs)

    def _take(self, wait: bool = True) -> Any:
        """Return a slot that is nobody's, or a new one; None if all are taken and not to wait."""
        with self._changed:
            while True:
                if self._closed:
                    raise InferenceError("The engine was closed; make a new FastInference.")
                if self._idle:
                    return self._idle.pop()  # the last one used: its memory is in the caches
                if self._made < self.slots:
                    slot = self._new_slot()
                    self._made += 1
                    return slot
                if not wait:
                    return None
                self._changed.wait()

    def _give(self, slot: Slot) -> None:
        with self._changed:
            if self._closed:
                slot.close()
            else:
                self._idle.append(slot)
                self._changed.notify()

    # Arrays

    def _feeds(self, x: Any) -> tuple[dict[str, HostOrDevice], Plan]:
        """Return the inputs by name and what to do with them; they are known to fit."""
        if type(x) is np.ndarray and (plan := self._plans.get((x.shape, x.dtype))):
            return {self._only: x}, plan
        named = isinstance(x, Mapping)
        given = x if named else {only_input(self.inputs, self.outputs): x}
        require_names(given, self.inputs)
        feeds = {name: taken(given[name], name) for name in self.inputs}
        for name, array in feeds.items():
            require_fit(stand_in(array), self.inputs[name], self._profile)
        shapes = {name: tuple(array.shape) for name, array in feeds.items()}
        require_one_batch(shapes, self.inputs)
        hosted = [array for array in feeds.values() if isinstance(array, np.ndarray)]
        host_bytes = sum(a.nbytes for a in hosted) if len(hosted) == len(feeds) else None
        plan = planned(shapes, host_bytes)
        if hosted and not named:
            self._plans[hosted[0].shape, hosted[0].dtype] = plan
        return feeds, plan
