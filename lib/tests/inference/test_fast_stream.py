"""FastInference.stream: results in order, and every slot back whatever happens."""

import itertools
import threading

import numpy as np
import pytest

from inference.conftest import agree, images
from trtlab.backend import cuda
from trtlab.errors import InferenceError, InputError
from trtlab.fast_infer import FastInference
from trtlab.slot import Slot


class TestStream:
    def test_results_come_in_order_and_are_the_callers_own(self, fast, expected):
        batches = [images(1 + seed % 8, seed=seed) for seed in range(40)]
        results = list(fast.stream(batches))
        for found, batch in zip(results, batches, strict=True):
            agree(found, expected(batch))

    def test_an_array_may_be_used_again_at_once(self, fast, expected):
        x = np.empty((4, 3, 8, 8), np.float32)

        def refilled():
            for seed in range(10):
                x[...] = images(4, seed=seed)
                yield x

        for seed, found in enumerate(fast.stream(refilled())):
            agree(found, expected(images(4, seed=seed)))

    def test_names_in_give_names_out(self, fast, expected):
        (found,) = fast.stream([{"input": images(2)}])
        agree(found["output"], expected(images(2)))

    def test_nothing_in_gives_nothing_out(self, fast):
        assert list(fast.stream([])) == []

    def test_no_more_batches_are_drawn_than_slots_ahead(self, fast):
        drawn = itertools.count()
        stream = fast.stream(images(1) for _ in iter(lambda: next(drawn) < 10, False))
        next(stream)
        assert next(drawn) == fast.slots

    @pytest.mark.timeout(60)
    @pytest.mark.parametrize("slots", [1, 3])
    def test_the_source_may_run_the_engine_itself(self, engine_path, expected, slots):
        with FastInference(engine_path, slots=slots) as fast:

            def source():
                for seed in range(8):
                    agree(fast.infer(images(3, seed=seed)), expected(images(3, seed=seed)))
                    yield images(2, seed=seed)

            for seed, found in enumerate(fast.stream(source())):
                agree(found, expected(images(2, seed=seed)))

    @pytest.mark.timeout(60)
    def test_no_slot_is_held_while_the_source_waits(self, engine_path, expected):
        is_used = threading.Event()

        def source():
            assert is_used.wait(30)  # for another thread's call
            yield images(2)

        with FastInference(engine_path, slots=1) as fast:
            found = []
            thread = threading.Thread(target=lambda: found.extend(fast.stream(source())))
            thread.start()
            agree(fast.infer(images(3)), expected(images(3)))
            is_used.set()
            thread.join()
            agree(found[0], expected(images(2)))

    def test_a_bad_batch_comes_after_the_results_before_it(self, fast, expected):
        stream = fast.stream([images(2), images(3), images(9), images(1)])
        agree(next(stream), expected(images(2)))
        agree(next(stream), expected(images(3)))
        with pytest.raises(InputError, match="takes"):
            next(stream)
        agree(fast.infer(images(1)), expected(images(1)))

    def test_a_source_that_fails_is_told_and_leaves_all_slots(self, fast, expected):
        def source():
            yield images(2)
            raise OSError("the disk is gone")

        stream = fast.stream(source())
        agree(next(stream), expected(images(2)))
        with pytest.raises(OSError, match="the disk is gone"):
            next(stream)
        agree(list(fast.stream([images(3)] * 5))[4], expected(images(3)))

    def test_an_interrupt_is_not_kept_waiting(self, fast, expected):
        def source():
            yield images(2)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            next(fast.stream(source()))
        agree(list(fast.stream([images(3)] * 5))[4], expected(images(3)))

    def test_one_that_is_given_up_leaves_all_slots(self, fast, expected):
        stream = fast.stream(images(8) for _ in itertools.count())
        next(stream)
        stream.close()
        assert len(fast._idle) == fast._made
        agree(fast.infer(images(2)), expected(images(2)))

    def test_a_failure_of_the_gpu_is_told_and_leaves_the_object_usable(
        self, fast, expected, monkeypatch
    ):
        stream = fast.stream([images(2)] * 6)
        next(stream)
        wait = Slot._wait
        calls = itertools.count()

        def failing(slot):
            if next(calls) == 1:
                raise InferenceError("The GPU failed")
            return wait(slot)

        monkeypatch.setattr(Slot, "_wait", failing)
        agree(next(stream), expected(images(2)))
        with pytest.raises(InferenceError, match="The GPU failed"):
            next(stream)
        agree(list(fast.stream([images(3)] * 5))[4], expected(images(3)))

    def test_an_error_of_the_driver_is_an_inference_error(self, fast, expected):
        def queue():
            raise cuda.LogicError("an illegal address")

        with fast.slot(2) as slot:
            slot.input[...] = images(2)
            call, slot._call = slot._call, slot._call._replace(queue=queue)
            with pytest.raises(InferenceError, match=r"The GPU failed.*an illegal address"):
                slot.run()
            slot._call = call
            agree(slot.run(), expected(images(2)))

    def test_two_streams_share_the_slots(self, engine_path, expected):
        with FastInference(engine_path, slots=2) as fast:
            streams = [fast.stream(images(2, seed=s) for s in range(6)) for _ in range(2)]
            for seed, pair in enumerate(zip(*streams, strict=True)):
                for found in pair:
                    agree(found, expected(images(2, seed=seed)))
