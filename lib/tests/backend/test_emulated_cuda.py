"""The emulated pycuda: memory, host arrays and the device, and what they refuse."""

import gc

import numpy as np
import pytest

from trtlab.backend.emulated import cuda
from trtlab.errors import BackendError

N = 16


def numbers(start=0):
    return np.arange(start, start + N, dtype=np.float32)


def on_device(array):
    allocation = cuda.mem_alloc(array.nbytes)
    cuda.memcpy_htod(allocation, array)
    return allocation


def read(allocation, count=N, dtype=np.float32):
    out = np.zeros(count, dtype)
    cuda.memcpy_dtoh(out, allocation)
    return out


class TestMemory:
    def test_what_is_copied_in_comes_back(self):
        np.testing.assert_array_equal(read(on_device(numbers(5))), numbers(5))

    def test_fresh_device_memory_reads_as_nan(self):
        assert np.isnan(read(cuda.mem_alloc(4 * N))).all()

    def test_an_address_plus_an_offset_points_into_the_allocation(self):
        allocation = on_device(numbers())
        np.testing.assert_array_equal(read(int(allocation) + 8, 3), [2, 3, 4])

    def test_addresses_are_aligned_to_256_bytes_and_never_reused(self):
        addresses = set()
        for size in (1, 255, 256, 257, 1000):
            allocation = cuda.mem_alloc(size)
            assert int(allocation) % 256 == 0
            addresses.add(int(allocation))
            allocation.free()
        assert len(addresses) == 5

    def test_a_copy_beyond_the_end_names_both_sizes_and_the_remedy(self):
        small = cuda.mem_alloc(60)
        with pytest.raises(cuda.LogicError, match=r"^cuMemcpyHtoD failed: invalid arg") as error:
            cuda.memcpy_htod(small, numbers())
        for part in ("64 bytes", "of 60 bytes", "Allocate as much as"):
            assert part in str(error.value)

    def test_a_copy_that_starts_before_the_end_and_ends_after_it_is_refused(self):
        allocation = on_device(numbers())
        with pytest.raises(cuda.LogicError, match=r"16 bytes at offset 56 do not fit .* 64 bytes"):
            read(int(allocation) + 56, 4)

    def test_the_gap_between_two_allocations_is_no_memory(self):
        first, second = cuda.mem_alloc(256), cuda.mem_alloc(256)  # no padding by alignment
        assert int(second) > int(first)
        with pytest.raises(cuda.LogicError, match="no device memory at"):
            read(int(first) + 256, 1)
        with pytest.raises(cuda.LogicError, match="no device memory at"):
            read(int(second) - 4, 1)

    def test_a_garbage_pointer_is_refused(self):
        for address in (0, 0xDEADBEEF, 1 << 62):
            with pytest.raises(cuda.LogicError, match="no device memory at"):
                cuda.memcpy_htod(address, numbers())

    def test_use_after_free_is_refused_and_named(self):
        allocation = on_device(numbers())
        allocation.free()
        with pytest.raises(cuda.LogicError, match="have been freed"):
            read(allocation)

    def test_a_pointer_whose_allocation_was_collected_is_refused(self):
        allocation = on_device(numbers())
        address = int(allocation)
        del allocation
        gc.collect()
        with pytest.raises(cuda.LogicError, match="have been freed"):
            read(address)

    def test_freeing_twice_is_refused(self):
        allocation = cuda.mem_alloc(8)
        allocation.free()
        with pytest.raises(cuda.LogicError, match=r"^device_allocation::free failed: invalid res"):
            allocation.free()

    def test_sizes_that_are_not_positive_python_ints_are_refused_as_by_pycuda(self):
        with pytest.raises(cuda.LogicError, match="cuMemAlloc failed: invalid argument"):
            cuda.mem_alloc(0)
        with pytest.raises(OverflowError, match="dynamic dimension"):
            cuda.mem_alloc(-4)
        with pytest.raises(TypeError, match=r"int64.* use int"):
            cuda.mem_alloc(np.prod([2, 3]))

    def test_a_numpy_integer_is_no_pointer(self):
        allocation = on_device(numbers())
        with pytest.raises(TypeError, match="DeviceAllocation or a Python int, not int64"):
            read(np.int64(int(allocation)))

    def test_memory_info_counts_what_is_live(self):
        gc.collect()
        free, total = cuda.mem_get_info()
        allocation = cuda.mem_alloc(1 << 20)
        assert cuda.mem_get_info() == (free - (1 << 20), total)
        allocation.free()
        other = cuda.mem_alloc(1 << 20)
        del other
        assert cuda.mem_get_info() == (free, total)

    def test_the_device_has_the_memory_that_the_environment_says(self, monkeypatch):
        assert cuda.Device(0).total_memory() == 8192 << 20
        monkeypatch.setenv("TRTLAB_EMULATED_MEMORY_MIB", "64")
        assert cuda.Device(0).total_memory() == 64 << 20
        with pytest.raises(cuda.MemoryError, match=r"^cuMemAlloc failed: out of memory"):
            cuda.mem_alloc(65 << 20)
        assert np.isnan(read(cuda.mem_alloc(4 * N))).all()  # and life goes on

    def test_a_memory_setting_that_is_no_number_is_refused(self, monkeypatch):
        monkeypatch.setenv("TRTLAB_EMULATED_MEMORY_MIB", "8 GiB")
        with pytest.raises(BackendError, match="'8 GiB'"):
            cuda.mem_get_info()

    def test_copies_and_fills_within_the_device(self):
        source, target = on_device(numbers()), cuda.mem_alloc(4 * N)
        cuda.memset_d8(target, 0, 4 * N)
        assert (read(target) == 0).all()
        cuda.memcpy_dtod(int(target) + 4, source, 8)
        np.testing.assert_array_equal(read(target, 4), [0, 0, 1, 0])
        with pytest.raises(cuda.LogicError, match=r"^cuMemcpyDtoD failed"):
            cuda.memcpy_dtod(target, source, 4 * N + 1)
        with pytest.raises(OverflowError):
            cuda.memcpy_dtod(target, source, -1)


class TestHostArrays:
    def test_a_strided_array_is_refused_both_ways(self):
        allocation = cuda.mem_alloc(4 * N)
        with pytest.raises(ValueError, match=r"not contiguous.*\(8,\).*ascontiguousarray"):
            cuda.memcpy_htod(allocation, numbers()[::2])
        with pytest.raises(ValueError, match="not contiguous"):
            cuda.memcpy_dtoh(numbers()[::2], allocation)

    def test_an_array_in_fortran_order_is_copied_in_memory_order(self):
        array = np.asfortranarray(numbers().reshape(2, -1))
        np.testing.assert_array_equal(read(on_device(array)), array.ravel(order="F"))

    def test_a_read_only_destination_is_refused(self):
        out = numbers()
        out.flags.writeable = False
        for copy in (cuda.memcpy_dtoh, cuda.memcpy_dtoh_async):
            with pytest.raises(ValueError, match="read-only"):
                copy(out, on_device(numbers()))

    def test_what_has_no_buffer_is_refused(self):
        with pytest.raises(TypeError, match="list"):
            cuda.memcpy_htod(cuda.mem_alloc(16), [1.0, 2.0])

    def test_scalars_bytes_and_empty_arrays_are_copied(self):
        allocation = on_device(numbers())
        cuda.memcpy_htod(allocation, np.float32(7))
        cuda.memcpy_htod(int(allocation) + 4, b"\0\0\0\0")
        cuda.memcpy_htod(allocation, np.empty((0, 3), np.float32))
        np.testing.assert_array_equal(read(allocation, 3), [7, 0, 2])

    def test_pagelocked_arrays_are_ordinary_arrays_with_undefined_content(self):
        array = cuda.pagelocked_empty((2, 3), np.float16)
        assert type(array) is np.ndarray
        assert (array.shape, array.dtype) == ((2, 3), np.float16)
        assert np.isnan(array).all()
        assert cuda.pagelocked_empty(5, np.int32).shape == (5,)
        assert (cuda.pagelocked_zeros((2, 2), np.float32) == 0).all()
        like = cuda.pagelocked_empty_like(np.zeros((2, 3), order="F"))
        assert like.flags.f_contiguous
        assert like.dtype == np.float64


class TestDevice:
    def test_the_device_says_that_it_is_an_emulation(self):
        cuda.init()
        assert cuda.Device.count() == 1
        assert cuda.Context.get_device().name() == "CPU emulation"
        assert cuda.Device(0).compute_capability() == (0, 0)
        assert (cuda.get_version(), cuda.get_driver_version()) == ((0, 0, 0), 0)
        with pytest.raises(cuda.LogicError, match="invalid device ordinal"):
            cuda.Device(1)
