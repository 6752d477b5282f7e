"""Emulated device memory: host arrays behind integer addresses, with bounds and lifetime checked.

Addresses are never reused and a gap follows every allocation, so that a wrong size, a stale pointer
or a garbage one is caught, where on a GPU it may hit a neighbour and go unnoticed. Fresh memory is
filled with 0xFF bytes (NaN as floats), so that reading what was never written shows.
Not for callers outside this folder: they use `cuda`.
"""

import bisect
import os

import numpy as np
from numpy.typing import NDArray

from trtlab.errors import BackendError

Bytes = NDArray[np.uint8]

POISON = 0xFF
"""Every byte of memory without defined content; 0xFFFFFFFF is a float32 NaN."""

_ALIGNMENT = 256  # what cuMemAlloc guarantees
_GAP = 1 << 20
_FIRST_ADDRESS = 0x7F00_0000_0000


class Error(Exception):
    """Base of pycuda's exceptions."""


class MemoryError(Error):
    """The device is out of memory."""


class LogicError(Error):
    """An argument that CUDA refuses, or an illegal memory access found when synchronising."""


class LaunchError(Error):
    """Work that ran on the device failed."""


class RuntimeError(Error):
    """The device is not ready for what was asked."""


class AddressError(LogicError):
    """No live device memory at an address; the message says what is there instead."""


class _Block:
    """One allocation; `data` is None once it has been freed."""

    def __init__(self, address: int, nbytes: int) -> None:
        self.address = address
        self.nbytes = nbytes
        self.data: Bytes | None = np.full(nbytes, POISON, np.uint8)


class DeviceMemory:
    """The sparse address space of the emulated device."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []  # in ascending address; freed ones stay, to be recognised
        self._next = _FIRST_ADDRESS
        self.used = 0
        """Bytes in live allocations."""

    @property
    def total(self) -> int:
        """Device memory in bytes: TRTLAB_EMULATED_MEMORY_MIB in MiB, 8192 unless set."""
        setting = os.environ.get("TRTLAB_EMULATED_MEMORY_MIB", "8192")
        if not setting.isdecimal():
            raise BackendError(
                f"TRTLAB_EMULATED_MEMORY_MIB is {setting!r}; it must be a whole number of MiB."
            )
        return int(setting) << 20

    def allocate(self, nbytes: int) -> int:
        """Return the address of `nbytes` fresh, poisoned bytes.

        Raises:
            MemoryError: if they do not fit.
        """
        if self.used + nbytes > self.total:
            raise MemoryError(
                f"cuMemAlloc failed: out of memory - {nbytes} bytes were asked for and "
                f"{self.total - self.used} of {self.total} are free. Free buffers, use a smaller "
                "batch, or raise TRTLAB_EMULATED_MEMORY_MIB."
            )
        block = _Block(self._next, nbytes)
        self._blocks.append(block)
        self._next += -(-(nbytes + _GAP) // _ALIGNMENT) * _ALIGNMENT
        self.used += nbytes
        return block.address

    def release(self, address: int) -> None:
        """Free the allocation that begins at `address`."""
        block = self._block_at(address)
        if block is None or block.data is None:
            raise AddressError(f"there is no live allocation at {address:#x}")
        block.data = None
        self.used -= block.nbytes

    def view(self, address: int, nbytes: int) -> Bytes:
        """Return `nbytes` bytes at `address` as a writable array, without a copy.

        Raises:
            AddressError: if they are not all inside one live allocation.
        """
        block = self._block_at(address)
        if block is None:
            raise AddressError(
                f"no device memory at {address:#x}. Pass what mem_alloc returned, or "
                "int(allocation) + offset, and keep the allocation referenced"
            )
        if block.data is None:
            raise AddressError(
                f"the {block.nbytes} bytes of device memory at {address:#x} have been freed. Keep "
                "the allocation referenced, and unfreed, until the work that uses it is done"
            )
        offset = address - block.address
        if offset + nbytes > block.nbytes:
            raise AddressError(
                f"{nbytes} bytes at offset {offset} do not fit the allocation of {block.nbytes} "
                "bytes there. Allocate as much as the array's nbytes, or copy less"
            )
        return block.data[offset : offset + nbytes]

    def _block_at(self, address: int) -> _Block | None:
        """Return the block, live or freed, whose bytes include `address`."""
        index = bisect.bisect_right(self._blocks, address, key=lambda block: block.address) - 1
        if index < 0 or address >= self._blocks[index].address + self._blocks[index].nbytes:
            return None
        return self._blocks[index]


class PagelockedHostAllocation(np.ndarray):
    """The owner of pagelocked host memory; every view of it leads here through `.base`."""


def pagelocked(nbytes: int) -> PagelockedHostAllocation:
    """Return `nbytes` poisoned bytes of host memory that count as pagelocked."""
    # Made here, not viewed from another array: NumPy shortens chains of .base to the data's owner.
    owner = PagelockedHostAllocation((nbytes,), np.uint8)
    owner.fill(POISON)
    return owner


def is_pagelocked(owner: object) -> bool:
    """Say whether an array, or the memory behind it, came from `pagelocked`."""
    while owner is not None and not isinstance(owner, PagelockedHostAllocation):
        owner = owner.obj if isinstance(owner, memoryview) else getattr(owner, "base", None)
    return owner is not None
