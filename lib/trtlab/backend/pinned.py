"""Pinned memory that may be let go in any thread, at any time."""

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trtlab.backend import cuda, device_context


class _Owner:
    """Owns an array of `cuda.pagelocked_empty`, and lets it go where the CUDA context is current.

    pycuda frees pinned memory in whatever thread drops the last view of it; one without a context,
    as the garbage collector may happen to run in, cannot, and the memory is lost.
    """

    def __init__(self, size: int, dtype: np.dtype[Any]) -> None:
        # Under the name by which NumPy leads from a view to its owner: the emulation follows it.
        self.base = cuda.pagelocked_empty(size, dtype)
        self.__array_interface__ = self.base.__array_interface__

    def __del__(self) -> None:
        with suppress(Exception), device_context():  # at exit the driver may be gone
            self.__dict__.clear()


def pinned_empty(size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a flat array of pinned memory, its content undefined.

    Args:
        size: how many elements.
        dtype: of each.

    Raises:
        cuda.MemoryError: if there is no memory left to pin.
    """
    return np.asarray(_Owner(size, dtype))
