"""FastInference: TensorRTInference's answers, several calls at a time, and nothing left over."""

import gc
import threading
import time

import numpy as np
import pytest
import torch

from inference.conftest import agree, images
from trtlab.backend import IS_EMULATED, cuda, device_context
from trtlab.backend.graphs import Graph
from trtlab.engines import load_engine
from trtlab.errors import EngineError, InferenceError, InputError
from trtlab.fast_infer import FastInference


class TestOneCall:
    def test_every_batch_of_the_profile_agrees_with_pytorch_again_and_again(self, fast, expected):
        # The first call at a shape records its graph, the later ones launch it.
        for seed, batch in enumerate([*range(1, 9), 3, 8, 1, 3]):
            x = images(batch, seed=seed)
            agree(fast.infer(x), expected(x))

    def test_more_shapes_than_graphs_are_kept_for(self, engine_path, expected):
        with FastInference(engine_path, slots=1, graphs=2) as fast:
            for batch in (1, 2, 3, 4, 1, 4, 2, 3):
                agree(fast(images(batch, seed=batch)), expected(images(batch, seed=batch)))
            with fast.slot(1) as slot:
                assert len(slot._calls) == 2

    def test_a_new_shape_runs_on_nothing_that_lies_in_the_buffers(self, embedding_path):
        ids = np.array([[3, 0, 9, 1], [2, 2, 7, 5]], np.int32)
        with FastInference(embedding_path, slots=1) as fast:
            with fast.slot(4) as slot:
                slot.input[...] = 1000  # no row of the table
            agree(fast.infer(ids), 10 * ids)

    def test_another_profile_takes_its_own_batches(self, engine_path, expected):
        with FastInference(engine_path, profile=1) as fast:
            agree(fast.infer(images(16)), expected(images(16)))
            with pytest.raises(InputError, match="Profile 0 takes it"):
                fast.infer(images(2))

    @pytest.mark.skipif(not IS_EMULATED, reason="a GPU would be done too soon")
    def test_the_default_stream_and_a_slot_do_not_wait_for_each_other(self, fast):
        with fast.slot(2) as slot, device_context():
            slot.input[...] = images(2)
            slot._call.queue()
            cuda.memcpy_htod(cuda.mem_alloc(4), np.zeros(1, np.float32))  # on the default stream
            assert not slot._stream.is_done()

    @pytest.mark.skipif(IS_EMULATED, reason="the emulation has no graphs")
    def test_pytorch_may_work_while_a_shape_is_recorded(self, engine_path, expected):
        is_over, failed = threading.Event(), []

        def work():
            x = torch.ones(1000, device="cuda")
            try:
                while not is_over.is_set():
                    x.mul_(1.0).sum().item()
            except RuntimeError as error:
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            for _ in range(20):
                with FastInference(engine_path, slots=1) as fast:
                    for batch in range(1, 9):
                        agree(fast.infer(images(batch)), expected(images(batch)))
                        with fast.slot(batch) as slot:
                            assert isinstance(slot._call.queue, Graph)
        finally:
            is_over.set()
            thread.join()
        assert not failed

    def test_a_large_batch_is_sent_in_pieces(self, fast, expected, monkeypatch):
        monkeypatch.setattr("trtlab.slot.PIECE_BYTES", 3 * images(1).nbytes)
        for x in (images(8), images(7)[::-1], np.asfortranarray(images(6)), read_only(images(5))):
            agree(fast.infer(x), expected(x.copy()))

    def test_one_image_larger_than_a_piece_is_a_piece_of_its_own(self, fast, expected, monkeypatch):
        monkeypatch.setattr("trtlab.slot.PIECE_BYTES", 1)
        agree(fast.infer(images(3)), expected(images(3)))

    def test_results_are_the_callers_own(self, fast, expected):
        first = fast.infer(images(3, seed=1))
        kept = first.copy()
        fast.infer(images(3, seed=2))[:] = 0
        np.testing.assert_array_equal(first, kept)
        assert first.flags.owndata

    def test_the_input_is_left_alone(self, fast):
        x = images(4)
        kept = x.copy()
        fast.infer(read_only(x))
        np.testing.assert_array_equal(x, kept)

    def test_several_inputs_and_outputs_go_by_name(self, two_inputs_path):
        a, b = images(3)[:, 0, 0, :4], images(3, seed=1)[:, 0, 0, :4]
        with FastInference(two_inputs_path) as fast:
            for _ in range(2):
                found = fast.infer({"b": b, "a": a})
                agree(found["total"], a + b)
                agree(found["difference"], a - b)


class TestOut:
    @pytest.mark.parametrize("kind", ["numpy", "torch"])
    def test_results_are_written_where_the_caller_says(self, fast, expected, kind):
        out = np.full((3, 5), np.nan, np.float32)
        target = out if kind == "numpy" else torch.from_numpy(out)
        assert fast.infer(images(3), out=target) is target
        agree(out, expected(images(3)))

    def test_names_in_take_names_out(self, fast, expected):
        out = {"output": np.empty((2, 5), np.float32)}
        assert fast.infer({"input": images(2)}, out=out)["output"] is out["output"]
        agree(out["output"], expected(images(2)))

    @pytest.mark.parametrize(
        ("out", "reason"),
        [
            (np.empty((1, 5), np.float32), r"out is float32 \(1, 5\), and output 'output' is"),
            (np.empty((3, 5), np.float64), r"out is float64 \(3, 5\)"),
            (torch.empty((3, 5), dtype=torch.bfloat16), r"out is object \(3, 5\)"),
            ([0.0] * 15, "out is a list"),
            (np.broadcast_to(np.float32(0), (3, 5)), "out is read-only"),
        ],
    )
    def test_what_does_not_fit_is_refused_and_left_alone(self, fast, expected, out, reason):
        with pytest.raises(InputError, match=reason):
            fast.infer(images(3), out=out)
        agree(fast.infer(images(3)), expected(images(3)))

    def test_wrong_names_are_refused(self, fast):
        with pytest.raises(InputError, match="outputs are output; out has logits"):
            fast.infer({"input": images(1)}, out={"logits": np.empty((1, 5), np.float32)})

    def test_names_in_and_no_names_out_are_refused(self, fast):
        with pytest.raises(InputError, match="outputs are output; out has one array"):
            fast.infer({"input": images(1)}, out=np.empty((1, 5), np.float32))


class TestRefusals:
    @pytest.mark.parametrize(
        ("x", "reason"),
        [
            (images(9), "takes .* to"),
            (images(1)[0], "A single image needs a leading dimension"),
            (images(2).astype(np.float64), "is float64, expected float32"),
            (torch.zeros((2, 3, 8, 8), dtype=torch.float16), "is float16, expected float32"),
            ([[1.0]], "is a list, expected an array"),
            (
                {"image": images(1)},
                "lacks 'input' and does not know 'image'; its inputs are 'input'",
            ),
        ],
    )
    def test_the_refusal_says_what_was_there_and_the_next_call_is_right(
        self, fast, expected, x, reason
    ):
        fast.infer(images(2))  # known from now on, and nothing else with it
        with pytest.raises(InputError, match=reason):
            fast.infer(x)
        agree(fast.infer(images(2)), expected(images(2)))

    def test_one_array_for_two_outputs_is_refused_when_its_shape_is_known_too(
        self, two_outputs_path
    ):
        x = np.ones((2, 4), np.float32)
        with FastInference(two_outputs_path) as fast:
            for _ in range(2):
                assert fast.infer({"x": x}).keys() == {"double", "square"}
                with pytest.raises(InputError, match="pass a dict"):
                    fast.infer(x)

    def test_one_array_for_several_inputs_is_refused_with_their_names(self, two_inputs_path):
        with FastInference(two_inputs_path) as fast, pytest.raises(InputError, match="'a', 'b'"):
            fast.infer(images(1))

    def test_inputs_of_different_batches_are_refused(self, two_inputs_path):
        rows = np.ones((2, 4), np.float32)
        with FastInference(two_inputs_path) as fast, pytest.raises(InputError, match="'b' has 1"):
            fast.infer({"a": rows, "b": rows[:1]})

    @pytest.mark.parametrize("wrong", [{"slots": 0}, {"graphs": 0}])
    def test_none_of_something_is_refused(self, engine_path, wrong):
        with pytest.raises(InferenceError, match="at least 1"):
            FastInference(engine_path, **wrong)

    def test_no_engine_is_an_engine_error(self, tmp_path):
        with pytest.raises(EngineError, match="no engine file"):
            FastInference(tmp_path / "none.engine")


class TestSlots:
    def test_what_is_written_into_a_slot_is_run(self, fast, expected):
        for batch in (2, 8, 2):
            x = images(batch, seed=batch)
            with fast.slot(batch) as slot:
                slot.input[...] = x
                agree(slot.run(), expected(x))
                slot.input[...] = -x
                agree(slot.run(), expected(-x))

    def test_several_inputs_are_filled_by_name(self, two_inputs_path):
        with FastInference(two_inputs_path) as fast, fast.slot(batch=3) as slot:
            slot.feeds["a"][...] = 2
            slot.feeds["b"][...] = 3
            found = slot.run_all()
            agree(found["total"], np.full((3, 4), 5))
            agree(found["difference"], np.full((3, 4), -1))

    def test_a_batch_outside_the_profile_is_refused(self, fast):
        with pytest.raises(InputError, match="profile 0 takes"), fast.slot(9):
            pass

    def test_a_slot_that_is_held_leaves_the_others(self, fast, expected):
        with fast.slot(1) as held:
            agree(fast.infer(images(2)), expected(images(2)))
            held.input[...] = images(1)
            agree(held.run(), expected(images(1)))

    def test_who_finds_no_slot_waits_for_one(self, engine_path, expected):
        with FastInference(engine_path, slots=1) as fast:
            found = []
            other = threading.Thread(
                target=lambda: found.append(fast.infer(images(2))), daemon=True
            )
            with fast.slot(1):
                other.start()
                other.join(0.2)
                assert other.is_alive()
            other.join(30)
            agree(found[0], expected(images(2)))


class TestThreads:
    def test_eight_threads_get_their_own_results(self, fast, expected):
        wrong = []

        def work(seed):
            for turn in range(25):
                x = images(1 + (seed + turn) % 8, seed=100 * seed + turn)
                if not np.allclose(fast.infer(x), expected(x), atol=1e-4):
                    wrong.append((seed, turn))

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


class TestClosing:
    def test_closing_returns_all_memory(self, engine_path):
        def cycle():
            with FastInference(engine_path) as fast:
                list(fast.stream([images(8)] * 4))

        free = []
        for _ in range(3):
            for _ in range(20):
                cycle()
            gc.collect()
            free.append(cuda.mem_get_info()[0])
        # The driver keeps some for graphs to come, once.
        assert free[2] == free[1]

    def test_afterwards_every_use_says_so(self, engine_path):
        fast = FastInference(engine_path)
        fast.close()
        fast.close()
        for use in (
            lambda: fast.infer(images(1)),
            lambda: list(fast.stream([images(1)])),
            lambda: fast.slot(1).__enter__(),
        ):
            with pytest.raises(InferenceError, match="was closed"):
                use()

    def test_a_call_under_way_comes_to_its_end(self, engine_path, expected):
        fast = FastInference(engine_path)
        with fast.slot(2) as slot:
            slot.input[...] = images(2)
            fast.close()
            agree(slot.run(), expected(images(2)))
        with pytest.raises(InferenceError, match="closed"):
            slot.infer(images(2))

    def test_whoever_waits_for_a_slot_is_told(self, engine_path):
        fast = FastInference(engine_path, slots=1)
        told = []

        def wait():
            try:
                fast.infer(images(1))
            except InferenceError as error:
                told.append(str(error))

        with fast.slot(1):
            waiting = [threading.Thread(target=wait, daemon=True) for _ in range(3)]
            for thread in waiting:
                thread.start()
            time.sleep(0.1)
            fast.close()
            for thread in waiting:
                thread.join(30)
        assert len(told) == 3
        assert all("was closed" in text for text in told)

    def test_a_slot_that_cannot_be_made_leaves_the_others(self, engine_path, expected, monkeypatch):
        with FastInference(engine_path, slots=2) as fast:

            def full(*arguments):
                raise cuda.MemoryError("cuMemAlloc failed: out of memory")

            with fast.slot(1):
                monkeypatch.setattr(cuda, "mem_alloc", full)
                with pytest.raises(InferenceError, match="too little memory"):
                    fast.infer(images(1))
                monkeypatch.undo()
                agree(fast.infer(images(1)), expected(images(1)))


def test_an_engine_that_is_loaded_already_serves_as_well(engine_path, expected):
    with FastInference(load_engine(engine_path)) as fast:
        agree(fast.infer(images(2)), expected(images(2)))


@pytest.mark.skipif(IS_EMULATED, reason="the emulation has no graphs")
def test_known_shapes_are_graphs(fast):
    fast.infer(images(2))
    with fast.slot(2) as slot:
        assert [type(call.queue).__name__ for call in slot._calls.values()] == ["Graph"]


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array
