"""Watches what an inference class asks of TensorRT and CUDA, alike on both backends.

While a watch is open, the functions that lab 4 is about are replaced by ones that note each call
and pass it on. So it does not matter what a student calls attributes and buffers. Nothing is judged
here; checks/lab4.py does that.
"""

import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from operator import methodcaller
from typing import Any, Literal
from unittest import mock

import numpy as np

from trtlab.backend import cuda, trt
from trtlab.errors import InferenceError
from trtlab.lab.attempts import attempt

Kind = Literal["allocate", "set shape", "copy in", "copy out", "enqueue", "wait"]
Function = Callable[..., Any]
Wrap = Callable[[Function, str], Any]

_DEVICE_ALLOCATORS = ("mem_alloc", "mem_alloc_like")
_PINNED_ALLOCATORS = (
    "pagelocked_empty",
    "pagelocked_zeros",
    "pagelocked_empty_like",
    "pagelocked_zeros_like",
    "register_host_memory",
)


@dataclass(frozen=True)
class Step:
    """One call of TensorRT or CUDA.

    Attributes:
        kind: what it was for.
        call: the function's name.
        start, end: of the call on the host, in seconds of time.perf_counter.
        stream: handle of its stream; None if it takes none, as a synchronous copy.
        host, device: addresses of a copy.
        nbytes: of a copy or an allocation.
        dtype: of a copy's host array.
        pinned: whether a copy's host array is pinned.
        rows: the batch that an enqueue ran at.
        accepted: whether an enqueue or a shape was accepted.
        events: CUDA events before and after an asynchronous copy.
    """

    kind: Kind
    call: str
    start: float
    end: float
    stream: int | None = None
    host: int = 0
    device: int = 0
    nbytes: int = 0
    dtype: str = ""
    pinned: bool = False
    rows: int = 0
    accepted: bool = True
    events: tuple[Any, Any] | None = None


class Watch:
    """What was called while it was open; see `watch`.

    Attributes:
        steps: the calls, in order.
        bindings: the addresses given for tensors, by name.
        unfinished: whether work was queued that nothing has waited for yet.
        refuse_enqueues: set it, and every enqueue answers False, as on an error of TensorRT's.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.bindings: dict[str, int] = {}
        self.unfinished = False
        self.refuse_enqueues = False
        self._allocated: dict[int, int] = {}  # address -> bytes
        self._pinned: dict[int, int] = {}
        self._made: list[tuple[str, Callable[[], Any]]] = []

    @property
    def largest_allocation(self) -> int | None:
        """Bytes of the largest device allocation; None if there was none."""
        return max(self._allocated.values(), default=None)

    def alive(self) -> tuple[str, ...]:
        """Return the class names of the engines and execution contexts that still exist."""
        return tuple(dict.fromkeys(kind for kind, reference in self._made if reference()))

    def is_pinned(self, array: Any) -> bool:
        """Say whether an array lies in host memory that was pinned under this watch."""
        return isinstance(array, np.ndarray) and self.pinned_bytes(_address(array)) is not None

    def pinned_bytes(self, address: int) -> int | None:
        """Return the size of the pinned memory that a host address lies in; None if in none."""
        return _block_size(self._pinned, address)

    def device_bytes(self, address: int) -> int | None:
        """Return the size of the allocation that a device address lies in; None if in none."""
        return _block_size(self._allocated, address)

    # The replacements

    def _replacements(self) -> Iterator[tuple[Any, str, Wrap]]:
        for name in _DEVICE_ALLOCATORS:
            yield cuda, name, self._device_allocator
        for name in _PINNED_ALLOCATORS:
            yield cuda, name, self._pinned_allocator
        yield trt.Runtime, "deserialize_cuda_engine", self._maker
        yield trt.ICudaEngine, "create_execution_context", self._maker
        yield trt.IExecutionContext, "set_input_shape", self._set_input_shape
        yield trt.IExecutionContext, "set_tensor_address", self._set_tensor_address
        for name in ("execute_async_v3", "execute_v2"):
            yield trt.IExecutionContext, name, self._enqueue
        for name in ("memcpy_htod", "memcpy_htod_async", "memcpy_dtoh", "memcpy_dtoh_async"):
            yield cuda, name, self._copy
        for owner in (cuda.Stream, cuda.Event):
            yield owner, "synchronize", self._wait
        yield cuda.Context, "synchronize", lambda f, name: staticmethod(self._wait(f, name))

    def _note(self, kind: Kind, call: str, start: float, **facts: Any) -> None:
        self.steps.append(Step(kind, call, start, time.perf_counter(), **facts))

    def _device_allocator(self, original: Function, name: str) -> Function:
        def allocate(size: Any) -> Any:
            start = time.perf_counter()
            allocation = original(size)
            nbytes = getattr(size, "nbytes", size)
            self._allocated[int(allocation)] = nbytes
            self._note("allocate", name, start, nbytes=nbytes)
            return allocation

        return allocate

    def _pinned_allocator(self, original: Function, name: str) -> Function:
        def allocate(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            array = original(*args, **kwargs)
            self._pinned[_address(array)] = array.nbytes
            self._note("allocate", name, start, nbytes=array.nbytes)
            return array

        return allocate

    def _maker(self, original: Function, name: str) -> Function:
        def make(owner: Any, *args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            made = original(owner, *args, **kwargs)
            if made is not None:
                self._made.append((type(made).__name__, weakref.ref(made)))
            self._note("allocate", name, start)
            return made

        return make

    def _set_input_shape(self, original: Function, name: str) -> Function:
        def set_shape(context: Any, *args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            accepted = original(context, *args, **kwargs)
            self._note("set shape", name, start, accepted=bool(accepted))
            return accepted

        return set_shape

    def _set_tensor_address(self, original: Function, _name: str) -> Function:
        def set_address(context: Any, name: str, memory: Any) -> Any:
            self.bindings[name] = int(memory)
            return original(context, name, memory)

        return set_address

    def _enqueue(self, original: Function, name: str) -> Function:
        def enqueue(context: Any, *args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            (target,) = (*args, *kwargs.values())
            rows = self._rows(context)
            if name == "execute_async_v3":
                self._require_room_for_tensors(context)
            accepted = False if self.refuse_enqueues else original(context, target)
            # execute_v2 takes addresses in place of a stream: it runs on the default one and waits.
            stream = int(target) if name == "execute_async_v3" else 0
            self.unfinished |= name == "execute_async_v3" and bool(accepted)
            facts = {"stream": stream, "rows": rows, "accepted": bool(accepted)}
            self._note("enqueue", name, start, **facts)
            return accepted

        return enqueue

    def _copy(self, original: Function, name: str) -> Function:
        to_device = "htod" in name

        def copy(dest: Any, src: Any, stream: Any = None) -> None:
            start = time.perf_counter()
            host, device = (src, dest) if to_device else (dest, src)
            nbytes = memoryview(host).nbytes
            self._require_room(int(device), nbytes, "a copy")
            events = None
            if name.endswith("_async"):
                events = (cuda.Event(), cuda.Event())
                events[0].record(stream)
                original(dest, src, stream)
                events[1].record(stream)
                self.unfinished |= not to_device
            else:
                original(dest, src)
                self.unfinished &= to_device  # one to the host waits for what came before it
            self._note(
                "copy in" if to_device else "copy out",
                name,
                start,
                stream=None if events is None else 0 if stream is None else int(stream.handle),
                host=_address(host) if isinstance(host, np.ndarray) else 0,
                device=int(device),
                nbytes=nbytes,
                dtype=str(getattr(host, "dtype", "")),
                pinned=self.is_pinned(host),
                events=events,
            )

        return copy

    def _wait(self, original: Function, name: str) -> Function:
        def wait(*owner: Any) -> Any:
            start = time.perf_counter()
            answer = original(*owner)
            self.unfinished = False
            self._note("wait", name, start)
            return answer

        return wait

    # What is looked up

    def _rows(self, context: Any) -> int:
        for name in _tensors(context.engine):
            if context.engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
                return int(context.get_tensor_shape(name)[0])
        return 0

    def _require_room_for_tensors(self, context: Any) -> None:
        engine = context.engine
        for name in _tensors(engine):
            shape = tuple(context.get_tensor_shape(name))
            if -1 not in shape:
                itemsize = np.dtype(trt.nptype(engine.get_tensor_dtype(name))).itemsize
                address = context.get_tensor_address(name)
                self._require_room(address, trt.volume(shape) * itemsize, f"tensor {name!r}")

    def _require_room(self, address: int, nbytes: int, what: str) -> None:
        """Raise where a GPU might write past an allocation in silence, or lose its context."""
        for begin, size in self._allocated.items():
            if begin <= address < begin + size and address + nbytes > begin + size:
                raise InferenceError(
                    f"{what} needs {nbytes:,} bytes, but its device allocation has "
                    f"{begin + size - address:,}"
                )


def _tensors(engine: Any) -> list[str]:
    return [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def _block_size(blocks: dict[int, int], address: int) -> int | None:
    """Return the size of the block, given by begin and bytes, that an address lies in."""
    return next((n for begin, n in blocks.items() if begin <= address < begin + n), None)


@contextmanager
def watch() -> Iterator[Watch]:
    """Note what is called while the block runs."""
    seen = Watch()
    with ExitStack() as stack:
        for owner, name, wrap in seen._replacements():
            if name in vars(owner):
                replacement = wrap(getattr(owner, name), name)
                stack.enter_context(mock.patch.object(owner, name, replacement))
        yield seen


def discard(*models: Any) -> None:
    """Close what was made, whatever it can do, and leave nothing queued on the device."""
    for model in models:
        attempt("close", partial(methodcaller("close"), model))
    with suppress(cuda.Error):
        cuda.Context.synchronize()
