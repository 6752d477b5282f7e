"""pycuda as the labs use it. Errors that a GPU leaves undefined are in test_emulated_cuda.py."""

import inspect

import numpy as np
import pytest

N = 1024


def numbers():
    return np.arange(N, dtype=np.float32)


def on_device(lab, array):
    allocation = lab.cuda.mem_alloc(array.nbytes)
    lab.cuda.memcpy_htod(allocation, array)
    return allocation


def read(lab, address, count=N):
    out = np.zeros(count, np.float32)
    lab.cuda.memcpy_dtoh(out, address)
    return out


def pinned(lab, array):
    copy = lab.cuda.pagelocked_empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def test_what_is_copied_in_comes_back(lab):
    np.testing.assert_array_equal(read(lab, on_device(lab, numbers())), numbers())


def test_an_allocation_is_an_integer_address_on_a_256_byte_boundary(lab):
    allocation = lab.cuda.mem_alloc(100)
    assert int(allocation) > 0
    assert int(allocation) % 256 == 0


def test_an_address_plus_an_offset_points_into_the_allocation(lab):
    allocation = on_device(lab, numbers())
    np.testing.assert_array_equal(read(lab, int(allocation) + 40, 3), [10, 11, 12])


def test_copies_and_fills_within_the_device(lab):
    source, target = on_device(lab, numbers()), lab.cuda.mem_alloc(4 * N)
    lab.cuda.memset_d8(target, 0, 4 * N)
    lab.cuda.memcpy_dtod(int(target) + 4, source, 8)
    np.testing.assert_array_equal(read(lab, target, 4), [0, 0, 1, 0])


def test_a_round_trip_of_asynchronous_copies(lab):
    stream, first, second = lab.cuda.Stream(), *(lab.cuda.mem_alloc(4 * N) for _ in range(2))
    source, out = pinned(lab, numbers()), lab.cuda.pagelocked_empty(N, np.float32)
    lab.cuda.memcpy_htod_async(first, source, stream)
    lab.cuda.memcpy_dtod_async(second, first, 4 * N, stream)
    lab.cuda.memcpy_dtoh_async(out, second, stream)
    stream.synchronize()
    np.testing.assert_array_equal(out, numbers())


def test_a_pageable_array_may_be_changed_right_after_an_asynchronous_copy(lab):
    stream, target, source = lab.cuda.Stream(), lab.cuda.mem_alloc(4 * N), numbers()
    lab.cuda.memcpy_htod_async(target, source, stream)
    source[:] = 0
    stream.synchronize()
    np.testing.assert_array_equal(read(lab, target), numbers())


def test_one_pagelocked_buffer_can_go_in_and_come_out(lab):
    stream, memory, buffer = lab.cuda.Stream(), lab.cuda.mem_alloc(4 * N), pinned(lab, numbers())
    lab.cuda.memcpy_htod_async(memory, buffer, stream)
    lab.cuda.memcpy_dtoh_async(buffer, memory, stream)
    stream.synchronize()
    np.testing.assert_array_equal(buffer, numbers())


def test_pagelocked_memory_is_an_ordinary_array(lab):
    array = lab.cuda.pagelocked_empty((2, 3), np.float16)
    assert isinstance(array, np.ndarray)
    assert (array.shape, array.dtype) == ((2, 3), np.float16)
    assert (lab.cuda.pagelocked_zeros((2, 2), np.float32) == 0).all()


def test_an_array_in_fortran_order_is_copied_in_memory_order(lab):
    array = np.asfortranarray(numbers().reshape(32, 32))
    np.testing.assert_array_equal(read(lab, on_device(lab, array)), array.ravel(order="F"))


def test_a_strided_array_is_refused(lab):
    allocation = lab.cuda.mem_alloc(4 * N)
    with pytest.raises(ValueError, match="not contiguous"):
        lab.cuda.memcpy_htod(allocation, numbers()[::2])


def test_a_read_only_destination_is_refused(lab):
    out = numbers()
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        lab.cuda.memcpy_dtoh(out, on_device(lab, numbers()))


def test_a_list_is_no_buffer(lab):
    with pytest.raises(TypeError):
        lab.cuda.memcpy_htod(lab.cuda.mem_alloc(16), [1.0, 2.0])


def test_a_numpy_integer_is_no_size(lab):
    with pytest.raises(TypeError):
        lab.cuda.mem_alloc(np.prod([2, 3]))


def test_a_negative_size_is_refused(lab):
    with pytest.raises(OverflowError):
        lab.cuda.mem_alloc(-4)


def test_a_size_of_zero_is_refused(lab):
    with pytest.raises(lab.cuda.LogicError, match="cuMemAlloc failed: invalid argument"):
        lab.cuda.mem_alloc(0)


def test_freeing_twice_is_refused(lab):
    allocation = lab.cuda.mem_alloc(16)
    allocation.free()
    with pytest.raises(lab.cuda.LogicError, match="free failed: invalid resource handle"):
        allocation.free()


def test_more_than_the_device_has_is_out_of_memory_and_the_process_goes_on(lab):
    with pytest.raises(lab.cuda.MemoryError, match="cuMemAlloc failed: out of memory"):
        lab.cuda.mem_alloc(2 * lab.cuda.Device(0).total_memory())
    np.testing.assert_array_equal(read(lab, on_device(lab, numbers())), numbers())


def test_memory_info_is_free_and_total_and_counts_allocations(lab):
    free, total = lab.cuda.mem_get_info()
    assert 0 < free <= total
    allocation = lab.cuda.mem_alloc(256 << 20)
    assert free - lab.cuda.mem_get_info()[0] >= 256 << 20
    allocation.free()


def test_exceptions_share_a_base(lab):
    for kind in (lab.cuda.LogicError, lab.cuda.MemoryError, lab.cuda.RuntimeError):
        assert issubclass(kind, lab.cuda.Error)


def test_the_device_has_a_name_memory_and_a_number(lab):
    device = lab.cuda.Device(0)
    assert device.name()
    assert device.total_memory() > 0
    assert len(device.compute_capability()) == 2
    assert lab.cuda.Device.count() >= 1


def test_a_stream_has_a_handle_and_is_done_once_synchronised(lab):
    stream = lab.cuda.Stream()
    assert isinstance(stream.handle, int)
    assert stream.handle != 0
    stream.synchronize()
    assert stream.is_done()


def test_an_event_is_done_once_synchronised(lab):
    stream = lab.cuda.Stream()
    event = lab.cuda.Event().record(stream)
    assert event.synchronize() is event
    assert event.query()


def test_time_between_events_is_in_milliseconds_and_counts_both_ways(lab):
    stream, memory = lab.cuda.Stream(), lab.cuda.mem_alloc(4 * N)
    start = lab.cuda.Event().record(stream)
    lab.cuda.memcpy_htod_async(memory, numbers(), stream)
    end = lab.cuda.Event().record(stream)
    end.synchronize()
    assert 0 <= end.time_since(start) < 10_000
    assert start.time_till(end) == end.time_since(start)


def test_time_without_a_record_is_refused(lab):
    recorded = lab.cuda.Event().record()
    lab.cuda.Context.synchronize()
    with pytest.raises(lab.cuda.LogicError, match="cuEventElapsedTime failed"):
        recorded.time_since(lab.cuda.Event())


def test_a_stream_waits_for_an_event_of_another(lab):
    producer, consumer, memory = lab.cuda.Stream(), lab.cuda.Stream(), lab.cuda.mem_alloc(4 * N)
    out = lab.cuda.pagelocked_empty(N, np.float32)
    lab.cuda.memcpy_htod_async(memory, pinned(lab, numbers()), producer)
    consumer.wait_for_event(lab.cuda.Event().record(producer))
    lab.cuda.memcpy_dtoh_async(out, memory, consumer)
    consumer.synchronize()
    np.testing.assert_array_equal(out, numbers())


@pytest.mark.parametrize("lab", [pytest.param("tensorrt", marks=pytest.mark.gpu)], indirect=True)
def test_every_name_of_the_emulated_cuda_exists_in_pycuda(lab):
    from trtlab.backend.emulated import cuda as emulated

    for name in emulated.__all__:
        mine, real = getattr(emulated, name), getattr(lab.cuda, name)
        if inspect.isclass(mine):
            members = {member for member in vars(mine) if not member.startswith("_")}
            missing = members - set(dir(real))
            assert not missing, f"pycuda.driver.{name} has none of {missing}"
