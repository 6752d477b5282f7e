"""Pinned memory: it counts as pinned, and goes in whatever thread drops it."""

import gc
import threading

import numpy as np
import pytest

from trtlab.backend import IS_EMULATED, cuda
from trtlab.backend.pinned import pinned_empty


def test_it_is_a_flat_array_of_the_dtype_that_was_asked_for():
    array = pinned_empty(6, np.dtype(np.float16))
    array[:] = np.arange(6)
    assert array.dtype == np.float16
    np.testing.assert_array_equal(array.reshape(2, 3)[1], [3, 4, 5])


def test_a_copy_to_the_device_reads_it_when_the_stream_gets_there():
    """Pageable memory is staged by the call itself: what is written later would not arrive."""
    if not IS_EMULATED:
        pytest.skip("on a GPU this is a race")
    array, stream = pinned_empty(4, np.dtype(np.float32)), cuda.Stream()
    array[:] = 1
    memory, back = cuda.mem_alloc(array.nbytes), np.empty_like(array)
    cuda.memcpy_htod_async(memory, array[:4], stream)
    array[:] = 2
    stream.synchronize()
    cuda.memcpy_dtoh(back, memory)
    np.testing.assert_array_equal(back, 2)


@pytest.mark.skipif(IS_EMULATED, reason="the emulation's memory belongs to no context")
def test_a_thread_without_a_context_may_drop_the_last_view():
    """pycuda warns where it cannot free, and warnings are errors here."""
    kept = [pinned_empty(3 << 18, np.dtype(np.float32))[3:].reshape(-1, 3)]
    thread = threading.Thread(target=lambda: (kept.clear(), gc.collect()))
    thread.start()
    thread.join()
    assert not kept
