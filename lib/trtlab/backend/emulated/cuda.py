"""The part of `pycuda.driver` that the labs use, with the same names, on host memory.

Copies and kernels that are asynchronous on a GPU are deferred here until something synchronises.
Until then the destination of a copy to the host holds 0xFF bytes (NaN): CUDA promises no more,
though a GPU may well be done sooner. The source of a copy to the device is read at the call if it
is pageable (CUDA stages it) and when the copy runs if it is pagelocked: do not overwrite it before
synchronising.

`view` and `launch` are not in pycuda; they are for the emulated TensorRT alone.
"""

import weakref
from collections.abc import Callable, Sequence
from enum import IntFlag
from typing import Any

import numpy as np

from trtlab.backend.emulated import streams
from trtlab.backend.emulated.memory import (
    POISON,
    AddressError,
    Bytes,
    DeviceMemory,
    Error,
    LaunchError,
    LogicError,
    MemoryError,
    RuntimeError,
    is_pagelocked,
    pagelocked,
)
from trtlab.backend.emulated.streams import LOCK, Event, Stream

__all__ = [
    "Context",
    "Device",
    "DeviceAllocation",
    "Error",
    "Event",
    "LaunchError",
    "LogicError",
    "MemoryError",
    "RuntimeError",
    "Stream",
    "event_flags",
    "get_driver_version",
    "get_version",
    "init",
    "mem_alloc",
    "mem_alloc_like",
    "mem_get_info",
    "memcpy_dtod",
    "memcpy_dtod_async",
    "memcpy_dtoh",
    "memcpy_dtoh_async",
    "memcpy_htod",
    "memcpy_htod_async",
    "memset_d8",
    "memset_d8_async",
    "pagelocked_empty",
    "pagelocked_empty_like",
    "pagelocked_zeros",
]

_memory = DeviceMemory()
_condemned: list[int] = []  # addresses whose DeviceAllocation is gone but whose users may not be


class event_flags(IntFlag):
    """What Event(flags) takes."""

    DEFAULT = 0
    BLOCKING_SYNC = 1
    DISABLE_TIMING = streams.DISABLE_TIMING


# Device and context


def init(flags: int = 0) -> None:
    """Do nothing: there is no driver to start."""


def get_version() -> tuple[int, int, int]:
    """Return the CUDA version: (0, 0, 0), for there is none."""
    return (0, 0, 0)


def get_driver_version() -> int:
    """Return the driver's version: 0, for there is none."""
    return 0


class Device:
    """The one emulated device."""

    def __init__(self, number: int) -> None:
        if number != 0:
            raise LogicError(
                f"cuDeviceGet failed: invalid device ordinal - {number} was asked for, and the "
                "emulation has device 0 only."
            )

    @staticmethod
    def count() -> int:
        """Return the number of devices."""
        return 1

    def name(self) -> str:
        """Return a name that no GPU has."""
        return "CPU emulation"

    def compute_capability(self) -> tuple[int, int]:
        """Return (0, 0): a CPU has none."""
        return (0, 0)

    def total_memory(self) -> int:
        """Return the device memory in bytes."""
        return _memory.total


class Context:
    """The device's only context; it is always current."""

    @staticmethod
    def synchronize() -> None:
        """Wait until all work of all streams is done."""
        streams.synchronize_device("cuCtxSynchronize")

    @staticmethod
    def get_device() -> Device:
        """Return the device of the current context."""
        return Device(0)


# Memory


class DeviceAllocation:
    """Device memory; int() gives its address. Freed by free(), or when no longer referenced."""

    def __init__(self, address: int) -> None:
        self._address = address
        self._finalizer = weakref.finalize(self, _condemn, address)
        self._finalizer.atexit = False

    def __int__(self) -> int:
        return self._address

    __index__ = __int__

    def free(self) -> None:
        """Free the memory once all pending work is done.

        Raises:
            LogicError: if it has been freed before.
        """
        with LOCK:
            if not self._finalizer.alive:
                raise LogicError(
                    "device_allocation::free failed: invalid resource handle - the memory at "
                    f"{self._address:#x} has been freed already. Free each allocation once."
                )
            streams.synchronize_device("cuMemFree")
            self._finalizer.detach()
            _memory.release(self._address)


def _condemn(address: int) -> None:
    """Free memory whose DeviceAllocation was collected: now if the device is idle, else later.

    The garbage collector calls this at any time and in any thread, so it neither waits nor raises.
    """
    _condemned.append(address)
    if LOCK.acquire(blocking=False):
        try:
            if streams.is_idle():
                _release_condemned()
        finally:
            LOCK.release()


def _release_condemned() -> None:
    while _condemned:
        _memory.release(_condemned.pop())


def _settle(call: str) -> None:
    """Free what waits for pending work, as cuMemFree would have waited for it."""
    if _condemned:
        streams.synchronize_device(call)
        _release_condemned()


def mem_alloc(nbytes: int, /) -> DeviceAllocation:
    """Allocate `nbytes` of device memory, its content undefined.

    Raises:
        TypeError: if `nbytes` is no Python int; np.prod gives a NumPy one.
        OverflowError: if it is negative.
        LogicError: if it is 0.
        MemoryError: if the device is full.
    """
    if not isinstance(nbytes, int):
        raise TypeError(
            f"mem_alloc({type(nbytes).__name__}) did not match C++ signature: "
            "mem_alloc(unsigned long) - pycuda takes Python's int only; use int(...)."
        )
    if nbytes < 0:
        raise OverflowError(
            f"mem_alloc({nbytes}): can't convert negative value to unsigned int. Is a dynamic "
            "dimension, -1, part of the size? Take the shape from the execution context."
        )
    if nbytes == 0:
        raise LogicError("cuMemAlloc failed: invalid argument - 0 bytes were asked for.")
    with LOCK:
        _settle("cuMemAlloc")
        return DeviceAllocation(_memory.allocate(nbytes))


def mem_alloc_like(array: Any) -> DeviceAllocation:
    """Allocate as much device memory as `array` has bytes."""
    return mem_alloc(array.nbytes)


def mem_get_info() -> tuple[int, int]:
    """Return (free, total) device memory in bytes."""
    with LOCK:
        _settle("cuMemGetInfo")
        return _memory.total - _memory.used, _memory.total


def pagelocked_empty(
    shape: int | Sequence[int], dtype: Any, order: str = "C", mem_flags: int = 0
) -> np.ndarray:
    """Return a host array of pagelocked memory, its content undefined."""
    dims = (shape,) if isinstance(shape, int) else tuple(shape)
    items = int(np.prod(dims, dtype=np.int64))
    flat = pagelocked(items * np.dtype(dtype).itemsize)
    return np.ndarray(dims, dtype, buffer=flat, order="F" if order == "F" else "C")


def pagelocked_zeros(
    shape: int | Sequence[int], dtype: Any, order: str = "C", mem_flags: int = 0
) -> np.ndarray:
    """Return a host array of pagelocked memory, filled with zeros."""
    array = pagelocked_empty(shape, dtype, order, mem_flags)
    array.fill(0)
    return array


def pagelocked_empty_like(array: np.ndarray, mem_flags: int = 0) -> np.ndarray:
    """Return a pagelocked host array of the shape and dtype of `array`."""
    order = "C" if array.flags.c_contiguous else "F"
    return pagelocked_empty(array.shape, array.dtype, order, mem_flags)


# Copies


def memcpy_htod(dest: DeviceAllocation | int, src: Any) -> None:
    """Copy a host array to the device. Waits for the blocking streams first."""
    host = _host_bytes(src, writable=False)
    with LOCK:
        streams.synchronize_blocking("cuMemcpyHtoD")
        _device_bytes(dest, host.nbytes, "cuMemcpyHtoD")[:] = host


def memcpy_htod_async(dest: DeviceAllocation | int, src: Any, stream: Stream | None = None) -> None:
    """Queue a copy of a host array to the device."""
    call = "cuMemcpyHtoDAsync"
    host = _host_bytes(src, writable=False)
    with LOCK:
        device = _device_bytes(dest, host.nbytes, call)
        source = host if is_pagelocked(host) else host.copy()
        _enqueue_copy(device, source, stream, call)


def memcpy_dtoh(dest: Any, src: DeviceAllocation | int) -> None:
    """Copy from the device to a host array. Waits for the blocking streams first."""
    host = _host_bytes(dest, writable=True)
    with LOCK:
        streams.synchronize_blocking("cuMemcpyDtoH")
        host[:] = _device_bytes(src, host.nbytes, "cuMemcpyDtoH")


def memcpy_dtoh_async(dest: Any, src: DeviceAllocation | int, stream: Stream | None = None) -> None:
    """Queue a copy from the device to a host array, which holds 0xFF bytes until it is done."""
    call = "cuMemcpyDtoHAsync"
    host = _host_bytes(dest, writable=True)
    with LOCK:
        device = _device_bytes(src, host.nbytes, call)
        streams.finish_readers(host, call)
        host[:] = POISON
        _enqueue_copy(host, device, stream, call)


def memcpy_dtod(dest: DeviceAllocation | int, src: DeviceAllocation | int, size: int) -> None:
    """Copy `size` bytes within the device. Waits for the blocking streams first."""
    with LOCK:
        streams.synchronize_blocking("cuMemcpyDtoD")
        source = _device_bytes(src, size, "cuMemcpyDtoD")
        _device_bytes(dest, size, "cuMemcpyDtoD")[:] = source


def memcpy_dtod_async(
    dest: DeviceAllocation | int,
    src: DeviceAllocation | int,
    size: int,
    stream: Stream | None = None,
) -> None:
    """Queue a copy of `size` bytes within the device."""
    call = "cuMemcpyDtoDAsync"
    with LOCK:
        source = _device_bytes(src, size, call)
        _enqueue_copy(_device_bytes(dest, size, call), source, stream, call)


def memset_d8(dest: DeviceAllocation | int, data: int, size: int) -> None:
    """Set `size` bytes to `data`. Waits for the blocking streams first."""
    with LOCK:
        streams.synchronize_blocking("cuMemsetD8")
        _device_bytes(dest, size, "cuMemsetD8")[:] = data


def memset_d8_async(
    dest: DeviceAllocation | int, data: int, size: int, stream: Stream | None = None
) -> None:
    """Queue setting `size` bytes to `data`."""
    call = "cuMemsetD8Async"
    with LOCK:
        target = _device_bytes(dest, size, call)
        _enqueue_copy(target, np.full(size, data, np.uint8), stream, call)


def _enqueue_copy(target: Bytes, source: Bytes, stream: Stream | None, call: str) -> None:
    handle = 0 if stream is None else stream.handle
    streams.enqueue(handle, lambda: np.copyto(target, source), reads=source, call=call)


def _device_bytes(pointer: DeviceAllocation | int, nbytes: int, call: str) -> Bytes:
    """Return device memory as bytes, or raise as pycuda does for a bad pointer."""
    if not isinstance(pointer, (DeviceAllocation, int)):
        raise TypeError(
            f"{call}: a device pointer is a DeviceAllocation or a Python int, not "
            f"{type(pointer).__name__}."
        )
    if nbytes < 0:
        raise OverflowError(f"{call}: can't convert negative size {nbytes} to unsigned int.")
    try:
        return _memory.view(int(pointer), nbytes)
    except AddressError as error:
        raise LogicError(f"{call} failed: invalid argument - {error}.") from None


def _host_bytes(array: Any, *, writable: bool) -> Bytes:
    """Return a host buffer's bytes in memory order, without a copy.

    Raises:
        TypeError: if it has no buffer.
        ValueError: if it is not contiguous, or read-only and `writable`; pycuda raises that too.
    """
    buffer = memoryview(array)
    if not buffer.contiguous:
        raise ValueError(
            f"ndarray is not contiguous: its shape is {buffer.shape} and its strides are "
            f"{buffer.strides}. Copy np.ascontiguousarray(array) instead."
        )
    if writable and buffer.readonly:
        raise ValueError(
            "buffer source array is read-only: it cannot be the destination of a copy. "
            "Copy into np.empty_like(array) instead."
        )
    return np.asarray(buffer).ravel(order="K").view(np.uint8)


# For the emulated TensorRT; not in pycuda


def launch(stream_handle: int, work: Callable[[], None]) -> None:
    """Queue `work` on the stream with that handle, 0 being the default stream.

    An AddressError of `view` in `work` surfaces as LogicError, any other exception as LaunchError,
    at the call that synchronises; what follows on the stream is dropped.
    """
    streams.enqueue(stream_handle, work)


def view(address: int, nbytes: int) -> Bytes:
    """Return device memory as a writable uint8 array of `nbytes`, without a copy.

    Raises:
        LogicError: if it is not all inside one live allocation.
    """
    with LOCK:
        return _memory.view(address, nbytes)
