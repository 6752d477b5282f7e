"""Execution contexts: shapes, addresses, running, and what a context refuses."""

import numpy as np
import pytest

from conformance import models
from conformance.lab import Buffers, attempt, classify, logits, run

TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}  # FP32 with TF32 off, another order of summation


def test_shapes_are_dynamic_until_they_are_set(context):
    assert tuple(context.get_tensor_shape("input")) == (-1, 3, 16, 16)
    assert tuple(context.get_tensor_shape("output")) == (-1, 5)


def test_the_output_shape_follows_the_input_shape(context):
    for batch in (1, 3, 4):
        assert context.set_input_shape("input", (batch, 3, 16, 16)) is True
        assert tuple(context.get_tensor_shape("output")) == (batch, 5)


def test_a_static_context_needs_no_shape(lab, static_plan):
    context = lab.context(static_plan)
    assert tuple(context.get_tensor_shape("output")) == (2, 5)


@pytest.mark.parametrize("batch", [0, 5, 100])
def test_a_batch_outside_the_profile_is_refused(lab, context, batch):
    assert context.set_input_shape("input", (batch, 3, 16, 16)) is False
    assert lab.errors()


def test_a_refused_shape_leaves_the_one_before(context):
    assert context.set_input_shape("input", (3, 3, 16, 16))
    assert not context.set_input_shape("input", (9, 3, 16, 16))
    assert tuple(context.get_tensor_shape("input")) == (3, 3, 16, 16)


@pytest.mark.parametrize("shape", [(2, 3, 16), (2, 3, 16, 16, 1), (2, 1, 16, 16), (2, 3, 16, 17)])
def test_a_shape_that_contradicts_the_network_is_refused(lab, context, shape):
    assert context.set_input_shape("input", shape) is False
    assert lab.errors()


def test_a_shape_may_be_a_list(context):
    assert context.set_input_shape("input", [2, 3, 16, 16])


@pytest.mark.parametrize("name", ["output", "nothing"])
def test_only_inputs_take_a_shape(lab, context, name):
    assert context.set_input_shape(name, (2, 5)) is False
    assert lab.errors()


def test_infer_shapes_names_what_is_missing(context):
    assert context.infer_shapes() == ["input"]
    context.set_input_shape("input", (2, 3, 16, 16))
    assert context.infer_shapes() == []


def test_an_address_is_kept(lab, context):
    memory = lab.cuda.mem_alloc(3 * 16 * 16 * 4)
    assert context.set_tensor_address("input", int(memory)) is True
    assert context.get_tensor_address("input") == int(memory)


def test_an_unknown_tensor_takes_no_address(lab, context):
    memory = lab.cuda.mem_alloc(16)
    assert context.set_tensor_address("nothing", int(memory)) is False
    assert lab.errors()


def test_addresses_are_integers(lab, context):
    with pytest.raises(TypeError):
        context.set_tensor_address("input", lab.cuda.Stream())


def test_executing_without_a_shape_is_refused(lab, context):
    memory = [lab.cuda.mem_alloc(4 * 3 * 16 * 16 * 4) for _ in range(2)]
    for name, allocation in zip(["input", "output"], memory, strict=True):
        context.set_tensor_address(name, int(allocation))
    assert context.execute_async_v3(lab.cuda.Stream().handle) is False
    assert lab.errors()


@pytest.mark.parametrize("missing", ["input", "output"])
def test_executing_without_an_address_is_refused(lab, context, missing):
    memory = lab.cuda.mem_alloc(2 * 3 * 16 * 16 * 4)
    context.set_input_shape("input", (2, 3, 16, 16))
    context.set_tensor_address({"input": "output", "output": "input"}[missing], int(memory))
    assert context.execute_async_v3(lab.cuda.Stream().handle) is False
    assert lab.errors()


@pytest.mark.parametrize("batch", [1, 2, 3, 4])
def test_every_batch_of_the_profile_computes_what_onnx_runtime_does(lab, context, batch):
    images = models.images(batch)
    np.testing.assert_allclose(classify(lab, context, images), logits(images), **TOLERANCE)


def test_a_context_can_be_used_again_with_other_shapes(lab, context):
    for batch in (4, 1, 3, 4):
        images = models.images(batch, seed=batch)
        np.testing.assert_allclose(classify(lab, context, images), logits(images), **TOLERANCE)


def test_buffers_may_be_larger_than_the_batch(lab, context):
    images, stream = models.images(4), lab.cuda.Stream()
    buffers = Buffers(lab, context, {"input": images})
    context.set_input_shape("input", (2, 3, 16, 16))
    buffers.upload(stream)
    assert context.execute_async_v3(stream.handle)
    found = buffers.download(stream)["output"][:2]
    np.testing.assert_allclose(found, logits(images)[:2], **TOLERANCE)


def test_two_inputs_and_two_outputs_go_by_name(lab, adder_plan):
    rng = np.random.default_rng(3)
    feeds = {name: rng.standard_normal((3, 4)).astype(np.float32) for name in ("a", "b")}
    found = run(lab, lab.context(adder_plan), **feeds)
    np.testing.assert_allclose(found["sum"], feeds["a"] + feeds["b"], rtol=1e-6)
    np.testing.assert_allclose(found["positive"], np.maximum(found["sum"], 0), rtol=1e-6)


def test_inputs_that_must_agree_in_batch_do_not_run_if_they_differ(lab, adder_plan):
    context, memory = lab.context(adder_plan), []
    context.set_input_shape("a", (2, 4))
    context.set_input_shape("b", (3, 4))
    for name in ("a", "b", "sum", "positive"):
        memory.append(lab.cuda.mem_alloc(64))
        context.set_tensor_address(name, int(memory[-1]))
    assert context.execute_async_v3(lab.cuda.Stream().handle) is False
    assert lab.errors()


def test_fp16_computes_nearly_the_same(lab):
    context, images = lab.context(lab.build(models.cnn(), "FP16")), models.images(4)
    np.testing.assert_allclose(classify(lab, context, images), logits(images), atol=2e-2)


def test_the_second_profile_computes_its_batches(lab, two_profile_plan):
    context, stream = lab.context(two_profile_plan), lab.cuda.Stream()
    context.set_optimization_profile_async(1, stream.handle)
    stream.synchronize()
    images = models.images(7)
    np.testing.assert_allclose(classify(lab, context, images), logits(images), **TOLERANCE)


def test_two_contexts_with_a_profile_each_run_side_by_side(lab, two_profile_plan):
    engine, stream = lab.engine(two_profile_plan), lab.cuda.Stream()
    small, large = engine.create_execution_context(), engine.create_execution_context()
    large.set_optimization_profile_async(1, stream.handle)
    stream.synchronize()
    for context, batch in ((small, 2), (large, 6), (small, 4)):
        images = models.images(batch, seed=batch)
        np.testing.assert_allclose(classify(lab, context, images), logits(images), **TOLERANCE)


def run_two(lab, engine):
    """Say whether a second context of an engine runs while the first one lives."""
    first, second = engine.create_execution_context(), engine.create_execution_context()
    assert attempt(lab, first, 2)
    return attempt(lab, second, 2)


def test_two_contexts_may_share_a_profile_where_sharing_is_on(lab, shared_profile_plan):
    assert run_two(lab, lab.engine(shared_profile_plan)) is True


def test_two_contexts_may_not_share_a_profile_before_10(lab, plan):
    assert run_two(lab, lab.engine(plan)) is (lab.major >= 10)


def test_contexts_of_a_static_engine_run_side_by_side(lab, static_plan):
    assert run_two(lab, lab.engine(static_plan)) is True


def test_a_destroyed_context_leaves_its_profile_to_the_next(lab, engine):
    for seed in range(2):
        images = models.images(2, seed)
        context = engine.create_execution_context()
        np.testing.assert_allclose(classify(lab, context, images), logits(images), **TOLERANCE)
        del context


def test_execution_is_ordered_by_events_between_streams(lab, context):
    copying, computing, images = lab.cuda.Stream(), lab.cuda.Stream(), models.images(4)
    buffers = Buffers(lab, context, {"input": images})
    buffers.upload(copying)
    computing.wait_for_event(lab.cuda.Event().record(copying))
    assert context.execute_async_v3(computing.handle)
    np.testing.assert_allclose(buffers.download(computing)["output"], logits(images), **TOLERANCE)


def test_execution_on_the_default_stream_works(lab, context):
    images = models.images(2)
    buffers = Buffers(lab, context, {"input": images})
    buffers.upload(None)
    assert context.execute_async_v3(0)
    found = np.zeros((2, 5), np.float32)
    lab.cuda.memcpy_dtoh(found, buffers.device["output"])
    np.testing.assert_allclose(found, logits(images), **TOLERANCE)


def test_events_time_an_execution(lab, context):
    stream = lab.cuda.Stream()
    buffers = Buffers(lab, context, {"input": models.images(4)})
    buffers.upload(stream)
    start = lab.cuda.Event().record(stream)
    assert context.execute_async_v3(stream.handle)
    end = lab.cuda.Event().record(stream)
    end.synchronize()
    assert 0 < end.time_since(start) < 10_000


def test_the_synchronous_call_takes_the_addresses_in_order(lab, context):
    images = models.images(2)
    buffers = Buffers(lab, context, {"input": images})
    lab.cuda.memcpy_htod(buffers.device["input"], images)
    assert context.execute_v2([int(buffers.device[name]) for name in ("input", "output")])
    found = np.zeros((2, 5), np.float32)
    lab.cuda.memcpy_dtoh(found, buffers.device["output"])
    np.testing.assert_allclose(found, logits(images), **TOLERANCE)


def test_a_context_knows_its_engine(engine):
    context = engine.create_execution_context()
    assert context.engine.num_io_tensors == engine.num_io_tensors


def test_a_context_keeps_its_engine_alive(lab, plan):
    context = lab.runtime.deserialize_cuda_engine(plan).create_execution_context()
    images = models.images(1)
    np.testing.assert_allclose(classify(lab, context, images), logits(images), **TOLERANCE)
