"""Lab 4: what the checks say of evidence, and what a watch and the pictures see of a class."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from trtlab.backend import cuda, trt
from trtlab.checks.diagnosis4 import cause_of
from trtlab.checks.evidence import Attempt
from trtlab.checks.evidence4 import (
    BatchesEvidence,
    Call,
    CleanupEvidence,
    CopyFacts,
    Outside,
    RunningEvidence,
)
from trtlab.checks.registry import judge
from trtlab.errors import InferenceError
from trtlab.feedback import html_card, text_card
from trtlab.infer import TensorRTInference
from trtlab.lab import pictures4
from trtlab.lab.bench import LocalBench
from trtlab.lab.hints import hints_for
from trtlab.lab.subjects import OTHER, fresh_images
from trtlab.lab.trace import trace_call
from trtlab.lab.watching import watch

DONE = Attempt(stage="done", what="TensorRTInference")
COPY = CopyFacts(function="memcpy_htod_async", dtype="float32", pinned=True, stream=77)


def call(batch=8, **changes):
    facts = {
        "batch": batch,
        "kind": "float32 array",
        "shape": (batch, 10),
        "expected_shape": (batch, 10),
        "finite": True,
        "difference": 1e-5,
        "rows_run": (batch,),
        "rows_allocated": 32,
        "streams": (77,),
        "copies_in": (COPY,),
        "copies_out": (COPY,),
    }
    return Call(**{**facts, **changes})


def running(**changes):
    facts = {
        "course": (call(), call(3)),
        "other": call(4),
        "overwritten": False,
        "input_changed": False,
        "layouts": {"float64": "same", "Fortran order": "raised"},
        "refused_enqueue": "raised",
    }
    return RunningEvidence(attempt=DONE, **{**facts, **changes})


def batches(**changes):
    facts = {
        "calls": (call(1), call(5), call(32), call(2)),
        "outside": (Outside(batch=33, profile=(1, 32), error="ValueError: 33"),),
    }
    return BatchesEvidence(attempt=DONE, **{**facts, **changes})


def cleanup(**changes):
    facts = {"taken_bytes": 1000, "with_gives_object": True, "with_passes_errors_on": True}
    return CleanupEvidence(attempt=DONE, **{**facts, **changes})


def points(task, evidence):
    return judge(task, evidence).points


class TestChecks:
    @pytest.mark.parametrize(
        ("task", "evidence", "most"),
        [("4.1", running(), 4), ("4.2", batches(), 2), ("4.3", cleanup(), 1)],
    )
    def test_good_evidence_earns_everything_and_survives_json(self, task, evidence, most):
        again = type(evidence).model_validate_json(evidence.model_dump_json())
        assert again == evidence
        assert points(task, again) == most

    @pytest.mark.parametrize(
        ("changes", "lost", "misconception"),
        [
            ({"course": (call(difference=0.01),)}, 1.5, None),
            (
                {"course": (call(difference=None, finite=False, waited=False),)},
                1.5,
                "missing-synchronise",
            ),
            ({"course": (call(shape=(8, 1000)),)}, 1.5, None),
            ({"course": (call(kind="a Tensor", shape=()),)}, 1.5, None),
            ({"course": (call(), call(3, difference=0.01))}, 1.5, None),
            ({"other": call(4, error="ValueError: x")}, 1.0, "hard-coded-engine"),
            ({"overwritten": True}, 0.5, "returned-buffer"),
            ({"returned_buffer": True}, 0.5, "returned-buffer"),
            ({"overwritten": None}, 0.5, None),
            ({"input_changed": True}, 0.5, None),
            ({"layouts": {"float64": "different"}}, 0.5, "wrong-dtype"),
            ({"layouts": {"transposed view": "different"}}, 0.5, "memory-order"),
            ({"layouts": {}}, 0.5, None),
            ({"refused_enqueue": "returned"}, 0.5, "ignored-refusal"),
            ({"refused_enqueue": ""}, 0.5, None),
        ],
    )
    def test_each_fault_of_a_call_costs_its_points(self, changes, lost, misconception):
        verdict = judge("4.1", running(**changes))
        assert verdict.points == 4 - lost
        assert verdict.misconceptions == ((misconception,) if misconception else ())

    def test_a_layout_explains_nothing_where_plain_arrays_go_wrong_too(self):
        wrong = {"float64": "different", "transposed view": "different"}
        verdict = judge("4.1", running(course=(call(difference=0.5),), layouts=wrong))
        assert verdict.points == 2
        assert verdict.misconceptions == ()

    @pytest.mark.parametrize(
        ("changes", "lost", "misconception"),
        [
            ({"calls": (call(1), call(5, difference=0.5))}, 0.75, None),
            ({"calls": (call(5, rows_run=(32,)),)}, 0.25, "padded-to-maximum"),
            ({"outside": (Outside(batch=1, profile=(2, 6), error=""),)}, 0.25, "ignored-refusal"),
            ({"calls": (call(allocations={"mem_alloc": 2}),)}, 0.25, "allocation-per-call"),
            ({"calls": (call(streams=(0,)),)}, 0.25, "default-stream"),
            ({"calls": (call(streams=(1,)),)}, 0.25, "default-stream"),
            ({"calls": (call(copies_in=()), call(copies_in=(), copies_out=()))}, 0, None),
            ({"calls": (call(copies_in=(), copies_out=()),)}, 0.25, None),
        ],
    )
    def test_each_fault_of_a_sequence_of_calls_costs_its_points(self, changes, lost, misconception):
        verdict = judge("4.2", batches(**changes))
        assert verdict.points == 2 - lost
        assert verdict.misconceptions == ((misconception,) if misconception else ())

    @pytest.mark.parametrize(
        ("changes", "misconception"),
        [
            ({"stream": None}, "synchronous-copies"),
            ({"stream": 0}, "default-stream"),
            ({"pinned": False}, "pageable-copies"),
        ],
    )
    def test_a_copy_must_be_asynchronous_on_a_stream_and_pinned(self, changes, misconception):
        wrong = COPY.model_copy(update=changes)
        verdict = judge("4.2", batches(calls=(call(copies_out=(wrong,)),)))
        assert verdict.points == 1.75
        assert verdict.misconceptions == (misconception,)

    def test_calls_that_raise_earn_nothing_for_what_they_did_not_do(self):
        failed = call(error="ValueError: x", streams=(), rows_run=(), copies_in=(), copies_out=())
        assert points("4.2", batches(calls=(failed,))) == 0

    @pytest.mark.parametrize(
        ("changes", "lost", "misconception"),
        [
            ({"kept_bytes": 500}, 0.5, "never-freed"),
            ({"kept_bytes": 99}, 0, None),
            ({"taken_bytes": 0}, 0.5, None),
            ({"alive": ("IExecutionContext",)}, 0.5, "never-freed"),
            ({"second_close": "LogicError: freed"}, 0.25, "freed-twice"),
            ({"with_error": "AttributeError: __enter__"}, 0.25, None),
            ({"with_gives_object": False}, 0.25, None),
            ({"with_kept_bytes": 900}, 0.25, "never-freed"),
            ({"with_kept_after_error": 900}, 0.25, "never-freed"),
            ({"with_passes_errors_on": False}, 0.25, "swallowed-exception"),
        ],
    )
    def test_each_fault_of_the_clean_up_costs_its_points(self, changes, lost, misconception):
        verdict = judge("4.3", cleanup(**changes))
        assert verdict.points == 1 - lost
        assert verdict.misconceptions == ((misconception,) if misconception else ())

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({}, None),
            ({"rows_allocated": 1}, "buffers-too-small"),
            ({"rows_allocated": None, "shape_set": False}, "shape-not-set"),
            ({"copies_in": (COPY.model_copy(update={"dtype": "float64"}),)}, "wrong-dtype"),
            ({"rows_run": (32,)}, "padded-to-maximum"),
            ({"waited": False}, "missing-synchronise"),
        ],
    )
    def test_the_cause_of_a_wrong_call_is_told_from_what_it_did(self, changes, expected):
        assert cause_of(call(**changes)) == expected

    def test_cards_escape_what_a_student_wrote(self):
        verdict = judge("4.1", running(course=(call(error="ValueError: <script>"),)))
        assert "<script>" not in html_card(verdict)
        assert "ValueError: <script>" in text_card(verdict)


@dataclass(frozen=True)
class Small:
    """A small engine with two batches and what they should give."""

    engine: Path
    images: list[np.ndarray]
    expected: list[np.ndarray]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    OTHER.give(folder, 1, [4, 3])
    images = OTHER.given_images(folder, 2)
    expected = [OTHER.logits(1, batch, LocalBench()) for batch in images]
    return Small(OTHER.engine(folder), images, expected)


class TestWatch:
    def test_everything_is_as_before_afterwards(self, small):
        owners = (
            cuda,
            cuda.Stream,
            cuda.Event,
            cuda.Context,
            trt.IExecutionContext,
            trt.ICudaEngine,
        )
        before = [dict(vars(owner)) for owner in owners]

        def fail():
            with watch():
                assert [dict(vars(owner)) for owner in owners] != before
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert [dict(vars(owner)) for owner in owners] == before

    def test_the_steps_of_a_call_are_noted_in_order(self, small):
        with watch() as seen, TensorRTInference(small.engine) as model:
            made = len(seen.steps)
            model.infer(small.images[0])
            kinds = [step.kind for step in seen.steps[made:]]
        assert kinds == ["set shape", "copy in", "enqueue", "copy out", "wait"]
        assert not seen.unfinished
        starts = [step.start for step in seen.steps]
        assert starts == sorted(starts)

    def test_a_copy_past_the_end_of_an_allocation_is_stopped(self):
        with watch():
            allocation = cuda.mem_alloc(16)
            with pytest.raises(
                InferenceError, match="needs 20 bytes, but its device allocation has 16"
            ):
                cuda.memcpy_htod(allocation, np.zeros(5, np.float32))

    def test_an_engine_that_would_write_past_its_buffer_is_stopped(self, small):
        with watch() as seen:
            engine = trt.Runtime(trt.Logger()).deserialize_cuda_engine(small.engine.read_bytes())
            context, stream = engine.create_execution_context(), cuda.Stream()
            images = small.images[0]
            device, output = cuda.mem_alloc(images.nbytes), cuda.mem_alloc(4)
            context.set_input_shape("pixels", images.shape)
            context.set_tensor_address("pixels", int(device))
            context.set_tensor_address("scores", int(output))
            with pytest.raises(InferenceError, match="tensor 'scores'"):
                context.execute_async_v3(stream_handle=stream.handle)
        assert seen.bindings == {"pixels": int(device), "scores": int(output)}

    def test_pinned_memory_is_told_from_pageable(self):
        with watch() as seen:
            pinned = cuda.pagelocked_empty(8, np.float32)
            assert seen.is_pinned(pinned[3:])
            assert not seen.is_pinned(np.empty(8, np.float32))
            assert not seen.is_pinned([1.0])

    def test_a_refused_enqueue_runs_nothing(self, small):
        with watch() as seen, TensorRTInference(small.engine) as model:
            seen.refuse_enqueues = True
            with pytest.raises(InferenceError):
                model.infer(small.images[0])
            seen.refuse_enqueues = False
            np.testing.assert_allclose(
                model.infer(small.images[0]),
                small.expected[0],
                rtol=1e-3,
                atol=1e-5,
            )


class TestPictures:
    def test_a_trace_puts_the_device_between_the_copies(self, small):
        trace = trace_call(TensorRTInference, small.engine, small.images[0], calls=3)
        assert [span.what for span in trace.device] == ["copy in", "compute", "copy out"]
        ends = [span.end for span in trace.device]
        assert ends == sorted(ends)
        assert all(span.start <= span.end for span in trace.host)
        assert 0 < trace.copy_percent < 100
        whole = sum(span.end - span.start for span in trace.host)
        assert whole == pytest.approx(trace.total_ms)
        assert isinstance(pictures4.show_call(trace), Figure)

    def test_buffers_show_their_size_and_the_part_in_use(self, small):
        images = small.images[1]  # 3 of at most 6
        figure = pictures4.show_buffers(TensorRTInference, small.engine, images)
        texts = [text.get_text() for text in figure.axes[0].texts]
        assert {"pixels", "scores"} <= set(texts)
        assert sum(text.startswith("pinned") and "uses 50%" in text for text in texts) == 2
        mib = pictures4.input_buffer_mib(TensorRTInference, small.engine)
        assert mib == OTHER.profile.max * images[0].nbytes / 2**20

    def test_memory_comes_back_in_the_picture_of_two_lives(self, small):
        figure = pictures4.show_memory(TensorRTInference, small.engine, small.images[0])
        heights = [bar.get_height() for bar in figure.axes[0].patches]
        assert heights[0] == heights[3] == heights[6] == 0
        assert min(heights[1], heights[2], heights[4], heights[5]) > 0

    def test_answers_are_named_and_coloured(self):
        images = fresh_images((2, 3, 8, 8), np.random.default_rng(0))
        logits = np.array([[5.0, 0.0], [5.0, 0.0]], np.float32)
        figure = pictures4.show_answers(images, [0, 1], {"FP16": logits}, ["cat", "dog"])
        texts = [axes.texts[0] for axes in figure.axes]
        assert [text.get_text() for text in texts] == ["FP16: cat (99%)"] * 2
        assert texts[0].get_color() != texts[1].get_color()

    def test_pinned_memory_is_not_timed_on_the_emulation(self, small):
        figure = pictures4.show_pinned(TensorRTInference, small.engine, small.images[0])
        assert "Needs a GPU" in figure.axes[0].texts[0].get_text()


@pytest.mark.parametrize("task", ["4.1", "4.2", "4.3"])
def test_every_task_has_three_hints(task):
    assert all(hints_for(task))
