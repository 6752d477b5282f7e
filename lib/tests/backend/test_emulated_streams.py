"""The emulated streams and events: what runs when, and what a missing synchronisation shows."""

import gc
import threading
import time

import numpy as np
import pytest

from trtlab.backend.emulated import cuda, streams

N = 16


@pytest.fixture(autouse=True)
def _no_work_left_behind():
    yield
    cuda.Context.synchronize()
    assert streams.is_idle()


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


def pinned(array):
    copy = cuda.pagelocked_empty(array.shape, array.dtype)
    copy[...] = array
    return copy


class TestDeferredWork:
    def test_the_destination_is_nan_until_the_stream_is_synchronised(self):
        source, stream = on_device(numbers()), cuda.Stream()
        out = np.zeros(N, np.float32)
        cuda.memcpy_dtoh_async(out, source, stream)
        assert np.isnan(out).all()
        stream.synchronize()
        np.testing.assert_array_equal(out, numbers())

    def test_a_pagelocked_source_is_read_when_the_copy_runs(self):
        host, target, stream = pinned(numbers()), cuda.mem_alloc(4 * N), cuda.Stream()
        cuda.memcpy_htod_async(target, host, stream)
        host[:] = 99
        stream.synchronize()
        assert (read(target) == 99).all()

    @pytest.mark.parametrize(
        "view",
        [
            lambda a: a[2:],
            lambda a: a.reshape(4, -1),
            lambda a: a.view(np.int32),
            lambda a: memoryview(a),
            lambda a: np.asarray(memoryview(a)),
            lambda a: a.reshape(2, -1)[1].reshape(1, -1),
        ],
        ids=["slice", "reshape", "dtype", "memoryview", "array of memoryview", "view of view"],
    )
    def test_views_of_pagelocked_arrays_are_pagelocked(self, view):
        host, target, stream = pinned(numbers()), cuda.mem_alloc(4 * N), cuda.Stream()
        cuda.memcpy_htod_async(target, view(host), stream)
        host[:] = 99
        stream.synchronize()
        assert read(target, 1)[0] == 99

    def test_a_pageable_source_is_read_at_the_call(self):
        host, target, stream = numbers(), cuda.mem_alloc(4 * N), cuda.Stream()
        cuda.memcpy_htod_async(target, host, stream)
        host[:] = 99
        stream.synchronize()
        np.testing.assert_array_equal(read(target), numbers())

    def test_a_copy_of_a_pagelocked_array_is_pageable(self):
        host, target, stream = pinned(numbers()).copy(), cuda.mem_alloc(4 * N), cuda.Stream()
        cuda.memcpy_htod_async(target, host, stream)
        host[:] = 99
        stream.synchronize()
        np.testing.assert_array_equal(read(target), numbers())

    def test_one_pagelocked_buffer_can_go_in_and_come_out_on_one_stream(self):
        host, stream = pinned(numbers()), cuda.Stream()
        first, second = cuda.mem_alloc(4 * N), cuda.mem_alloc(4 * N)
        cuda.memcpy_htod_async(first, host, stream)
        cuda.memcpy_dtod_async(second, first, 4 * N, stream)
        cuda.memcpy_dtoh_async(host, second, stream)
        assert np.isnan(host).all()
        stream.synchronize()
        np.testing.assert_array_equal(host, numbers())

    def test_work_of_a_stream_runs_in_order_and_once(self):
        stream, order = cuda.Stream(), []
        for step in range(5):
            cuda.launch(stream.handle, lambda step=step: order.append(step))
        assert order == []
        stream.synchronize()
        stream.synchronize()
        assert order == [0, 1, 2, 3, 4]

    def test_synchronising_one_stream_leaves_another_pending(self):
        one, other, ran = cuda.Stream(), cuda.Stream(), []
        cuda.launch(one.handle, lambda: ran.append("one"))
        cuda.launch(other.handle, lambda: ran.append("other"))
        other.synchronize()
        assert ran == ["other"]
        cuda.Context.synchronize()
        assert ran == ["other", "one"]

    @pytest.mark.parametrize(
        "synchronise",
        [
            lambda a: read(a),
            lambda a: cuda.memcpy_htod(a, numbers()),
            lambda a: cuda.memcpy_dtod(a, a, 4),
            lambda a: cuda.memset_d8(a, 0, 4),
            lambda a: cuda.Context.synchronize(),
            lambda a: cuda.mem_alloc(4).free(),
        ],
        ids=["dtoh", "htod", "dtod", "memset", "context", "free"],
    )
    def test_synchronous_calls_wait_for_blocking_streams(self, synchronise):
        allocation, stream, ran = on_device(numbers()), cuda.Stream(), []
        cuda.launch(stream.handle, lambda: ran.append(1))
        synchronise(allocation)
        assert ran == [1]

    def test_synchronous_copies_do_not_wait_for_a_non_blocking_stream(self):
        allocation, stream, ran = on_device(numbers()), cuda.Stream(1), []
        cuda.launch(stream.handle, lambda: ran.append(1))
        read(allocation)
        assert ran == []
        cuda.Context.synchronize()
        assert ran == [1]

    def test_the_default_stream_waits_for_blocking_streams_and_they_for_it(self):
        one, two, free, order = cuda.Stream(), cuda.Stream(), cuda.Stream(1), []
        cuda.launch(free.handle, lambda: order.append("free"))
        cuda.launch(one.handle, lambda: order.append("one"))
        cuda.launch(0, lambda: order.append("default"))
        cuda.launch(two.handle, lambda: order.append("two"))
        two.synchronize()
        assert order == ["one", "default", "two"]
        free.synchronize()

    def test_copies_and_fills_without_a_stream_go_to_the_default_stream(self):
        source, target = on_device(numbers()), cuda.mem_alloc(4 * N)
        out = np.zeros(N, np.float32)
        cuda.memset_d8_async(target, 0, 4 * N)
        cuda.memcpy_dtod_async(target, source, 8)
        cuda.memcpy_dtoh_async(out, target)
        assert np.isnan(out).all()
        cuda.Context.synchronize()
        np.testing.assert_array_equal(out[:3], [0, 1, 0])

    def test_polling_a_stream_says_no_once_and_then_yes(self):
        stream, ran = cuda.Stream(), []
        assert stream.is_done()
        cuda.launch(stream.handle, lambda: ran.append(1))
        assert [stream.is_done(), stream.is_done()] == [False, True]
        assert ran == [1]

    def test_a_long_queue_runs_without_being_asked_as_a_full_one_makes_the_caller_wait(self):
        stream, ran = cuda.Stream(), []
        for step in range(1000):
            cuda.launch(stream.handle, lambda step=step: ran.append(step))
        assert 900 < len(ran) < 1000
        assert ran == sorted(ran)

    def test_work_of_a_collected_stream_still_runs(self):
        stream, ran = cuda.Stream(), []
        cuda.launch(stream.handle, lambda: ran.append(1))
        del stream
        gc.collect()
        cuda.Context.synchronize()
        assert ran == [1]

    def test_the_handle_of_a_collected_stream_is_refused(self):
        handle = cuda.Stream().handle
        gc.collect()
        with pytest.raises(cuda.LogicError, match="Keep the Stream object referenced"):
            cuda.launch(handle, lambda: None)

    def test_a_collected_allocation_serves_the_work_that_is_pending(self):
        allocation, stream, out = on_device(numbers()), cuda.Stream(), np.zeros(N, np.float32)
        address = int(allocation)
        raw = out.view(np.uint8)
        cuda.launch(stream.handle, lambda: np.copyto(raw, cuda.view(address, 4 * N)))
        del allocation
        gc.collect()
        stream.synchronize()
        np.testing.assert_array_equal(out, numbers())
        cuda.mem_get_info()  # frees what had to wait for the work
        with pytest.raises(cuda.LogicError, match="have been freed"):
            cuda.view(address, 4)

    def test_bad_arguments_of_asynchronous_copies_fail_at_the_call(self):
        small, stream = cuda.mem_alloc(4), cuda.Stream()
        with pytest.raises(cuda.LogicError, match=r"^cuMemcpyHtoDAsync failed: invalid argument"):
            cuda.memcpy_htod_async(small, numbers(), stream)
        with pytest.raises(cuda.LogicError, match=r"^cuMemcpyDtoHAsync failed: invalid argument"):
            cuda.memcpy_dtoh_async(numbers(), small, stream)
        assert stream.is_done()


class TestFailingWork:
    def test_an_illegal_access_surfaces_when_synchronising_and_drops_what_follows(self):
        stream, ran = cuda.Stream(), []
        cuda.launch(stream.handle, lambda: cuda.view(64, 4))
        cuda.launch(stream.handle, lambda: ran.append("after"))
        with pytest.raises(cuda.LogicError, match=r"^cuStreamSynchronize failed: an illegal") as e:
            stream.synchronize()
        assert "no device memory at 0x40" in str(e.value)
        assert "1 later operations" in str(e.value)
        cuda.launch(stream.handle, lambda: ran.append("new"))
        stream.synchronize()
        assert ran == ["new"]

    def test_any_other_failure_is_a_launch_error_that_keeps_its_cause(self):
        stream = cuda.Stream()
        cuda.launch(stream.handle, lambda: 1 / 0)
        with pytest.raises(cuda.LaunchError, match=r"^cuCtxSynchronize failed") as e:
            cuda.Context.synchronize()
        assert isinstance(e.value.__cause__, ZeroDivisionError)

    def test_all_exceptions_have_pycudas_base(self):
        for kind in (cuda.LogicError, cuda.MemoryError, cuda.LaunchError, cuda.RuntimeError):
            assert issubclass(kind, cuda.Error)


class TestEvents:
    def test_an_event_marks_the_work_before_it(self):
        stream, ran = cuda.Stream(), []
        cuda.launch(stream.handle, lambda: ran.append("before"))
        event = cuda.Event().record(stream)
        cuda.launch(stream.handle, lambda: ran.append("after"))
        event.synchronize()
        assert ran == ["before"]
        assert event.query()

    def test_polling_an_event_says_no_once_and_then_yes(self):
        stream = cuda.Stream()
        event = cuda.Event()
        assert event.query()  # never recorded counts as done
        event.record(stream)
        assert [event.query(), event.query()] == [False, True]

    def test_a_stream_waits_for_an_event_of_another(self):
        producer, consumer, order = cuda.Stream(), cuda.Stream(), []
        cuda.launch(producer.handle, lambda: order.append("produced"))
        event = cuda.Event().record(producer)
        cuda.launch(producer.handle, lambda: order.append("later"))
        consumer.wait_for_event(event)
        cuda.launch(consumer.handle, lambda: order.append("consumed"))
        consumer.synchronize()
        assert order == ["produced", "consumed"]

    def test_a_wait_refers_to_the_record_made_before_it(self):
        producer, consumer, order = cuda.Stream(), cuda.Stream(), []
        event = cuda.Event().record(producer)
        consumer.wait_for_event(event)
        cuda.launch(producer.handle, lambda: order.append("late"))
        event.record(producer)
        cuda.launch(consumer.handle, lambda: order.append("consumed"))
        consumer.synchronize()
        assert order == ["consumed"]

    def test_two_streams_in_ping_pong_keep_their_order(self):
        ping, pong, order = cuda.Stream(), cuda.Stream(), []
        for step in range(40):
            this, other = (ping, pong) if step % 2 else (pong, ping)
            cuda.launch(this.handle, lambda step=step: order.append(step))
            other.wait_for_event(cuda.Event().record(this))
        ping.synchronize()
        pong.synchronize()
        assert order == list(range(40))

    def test_events_time_the_work_between_them_in_milliseconds(self):
        stream, took_ms = cuda.Stream(), []

        def sleep():  # a busy machine oversleeps, so what it really took is the oracle
            begin = time.perf_counter()
            time.sleep(0.02)
            took_ms.append(1e3 * (time.perf_counter() - begin))

        start = cuda.Event().record(stream)
        cuda.launch(stream.handle, sleep)
        end = cuda.Event().record(stream)
        time.sleep(0.1)  # not between them: nothing runs yet
        end.synchronize()
        assert took_ms[0] <= end.time_since(start) < took_ms[0] + 100
        assert start.time_till(end) == end.time_since(start)

    def test_time_before_the_event_has_happened_is_not_ready(self):
        stream = cuda.Stream()
        start = cuda.Event().record(stream)
        start.synchronize()
        end = cuda.Event().record(stream)
        with pytest.raises(cuda.RuntimeError, match="device not ready"):
            end.time_since(start)

    def test_time_without_a_record_or_without_timing_is_refused(self):
        stream = cuda.Stream()
        timed = cuda.Event().record(stream)
        untimed = cuda.Event(cuda.event_flags.DISABLE_TIMING).record(stream)
        stream.synchronize()
        for other in (cuda.Event(), untimed):
            with pytest.raises(cuda.LogicError, match="invalid resource handle"):
                timed.time_since(other)


def test_threads_with_streams_of_their_own_do_not_disturb_each_other():
    failures = []

    def work(seed):
        stream, rng = cuda.Stream(), np.random.default_rng(seed)
        for _ in range(20):
            data = rng.standard_normal(256).astype(np.float32)
            source, out = pinned(data), cuda.pagelocked_empty(256, np.float32)
            a, b = cuda.mem_alloc(data.nbytes), cuda.mem_alloc(data.nbytes)
            cuda.memcpy_htod_async(a, source, stream)
            cuda.memcpy_dtod_async(b, a, data.nbytes, stream)
            cuda.memcpy_dtoh_async(out, b, stream)
            stream.synchronize()
            if not np.array_equal(out, data):
                failures.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
