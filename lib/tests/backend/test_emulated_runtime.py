"""What is particular to the emulated runtime: engines, contexts and the inspector."""

import json

import numpy as np
import pytest

from conformance import models
from conformance.lab import Lab
from trtlab.backend.emulated import cuda, memory
from trtlab.backend.emulated import tensorrt as trt


@pytest.fixture(scope="module")
def shared_lab():
    return Lab("emulated", trt, cuda)


@pytest.fixture
def lab(shared_lab):
    shared_lab.log.clear()
    return shared_lab


@pytest.fixture(scope="module")
def plan(shared_lab):
    return shared_lab.build(models.cnn())


def layers(lab, plan):
    """Return the inspector's JSON layers of a plan at batch 2, by the name of their first node."""
    context = lab.context(plan)
    context.set_input_shape("input", (2, 3, 16, 16))
    inspector = context.engine.create_engine_inspector()
    inspector.execution_context = context
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    return {
        layer["Name"].split(" + ")[0]: layer for layer in json.loads(text, strict=False)["Layers"]
    }


def test_the_activation_memory_halves_with_the_precision(lab, plan):
    # At batch 4 the largest moment is c1/r1 and the block's output: two tensors of (4, 8, 16, 16).
    assert lab.engine(plan).device_memory_size == 2 * 4 * 8 * 16 * 16 * 4
    half = lab.engine(lab.build(models.cnn(), "FP16"))
    assert half.device_memory_size == 2 * 4 * 8 * 16 * 16 * 2


def test_memory_that_does_not_suffice_fails_the_build_and_the_context(lab, plan, monkeypatch):
    engine = lab.engine(plan)
    monkeypatch.setattr(memory.DeviceMemory, "total", property(lambda self: self.used + 100))
    assert engine.create_execution_context() is None
    assert "OutOfMemory" in lab.errors()[0]
    lab.log.clear()
    assert lab.build(models.cnn()) is None
    assert "OutOfMemory" in lab.errors()[0]
    monkeypatch.undo()
    assert engine.create_execution_context() is not None


def test_contexts_of_an_engine_share_one_session(lab, shared_lab, two_contexts):
    first, second = two_contexts
    assert first.engine._session() is second.engine._session()


@pytest.fixture
def two_contexts(lab):
    def share(network, config):
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)

    engine = lab.engine(lab.build(models.cnn(), prepare=share))
    return engine.create_execution_context(), engine.create_execution_context()


def test_a_second_context_without_a_profile_says_what_to_do(lab, plan):
    engine = lab.engine(plan)
    first, second = engine.create_execution_context(), engine.create_execution_context()
    assert (first.active_optimization_profile, second.active_optimization_profile) == (0, -1)
    assert not second.execute_async_v3(cuda.Stream().handle)
    assert "PROFILE_SHARING_0806" in lab.errors()[0]
    with pytest.raises(RuntimeError):
        second.set_optimization_profile_async(0, 0)
    del first
    assert second.set_optimization_profile_async(0, 0)
    assert second.set_input_shape("input", (1, 3, 16, 16))


def test_execute_v2_runs_and_waits(lab, plan):
    context = lab.context(plan)
    images = models.images(2)
    source, target = cuda.mem_alloc(images.nbytes), cuda.mem_alloc(2 * 5 * 4)
    cuda.memcpy_htod(source, images)
    context.set_input_shape("input", images.shape)
    assert context.execute_v2([int(source), int(target)])
    result = np.empty((2, 5), np.float32)
    cuda.memcpy_dtoh(result, target)
    expected = models.expected(models.cnn(), {"input": images})["output"]
    np.testing.assert_allclose(result, expected, atol=1e-5)
    assert not context.execute_v2([int(source)])


def test_the_inspector_separates_metadata_with_a_control_character(lab, plan):
    text = lab.engine(plan).create_engine_inspector()
    information = text.get_engine_information(trt.LayerInformationFormat.JSON)
    assert "\x1e" in information
    with pytest.raises(json.JSONDecodeError):
        json.loads(information)
    layer = json.loads(information, strict=False)["Layers"][0]
    assert layer["Metadata"] == "[ONNX Layer: /conv1/Conv]\x1e[ONNX Layer: /relu1/Relu]"


def test_the_inspector_knows_formats_once_the_shapes_are_set(lab, plan):
    engine = lab.engine(plan)
    inspector = engine.create_engine_inspector()

    def first():
        text = inspector.get_layer_information(0, trt.LayerInformationFormat.JSON)
        return json.loads(text, strict=False)

    assert first()["Outputs"][0]["Dimensions"] == [-1, 8, 16, 16]
    assert "dynamic shapes" in first()["Outputs"][0]["Format/Datatype"]
    context = engine.create_execution_context()
    context.set_input_shape("input", (3, 3, 16, 16))
    inspector.execution_context = context
    assert first()["Outputs"][0]["Dimensions"] == [3, 8, 16, 16]
    assert "FP32" in first()["Outputs"][0]["Format/Datatype"]


def test_the_inspector_gives_the_parameters_of_a_convolution(lab, plan):
    found = layers(lab, plan)
    assert found["/conv1/Conv"]["Kernel"] == [3, 3]
    assert found["/conv1/Conv"]["OutMaps"] == 8
    assert found["/conv1/Conv"]["Weights"] == {"Type": "Float", "Count": 8 * 3 * 3 * 3}
    assert found["/conv1/Conv"]["HasResidual"] == 0
    assert found["/conv2/Conv"]["HasResidual"] == 1
    assert found["/fc/Gemm"]["OutMaps"] == 5


@pytest.mark.parametrize(
    ("verbosity", "expected"), [("LAYER_NAMES_ONLY", "/conv1/Conv + /relu1/Relu"), ("NONE", None)]
)
def test_verbosity_decides_what_the_inspector_tells(lab, verbosity, expected):
    def prepare(network, config):
        config.profiling_verbosity = trt.ProfilingVerbosity[verbosity]

    inspector = lab.engine(lab.build(models.cnn(), prepare=prepare)).create_engine_inspector()
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    found = json.loads(text)
    assert found["Bindings"] == ["input", "output"]
    assert found["Layers"][:1] == ([expected] if expected else [])
    line = inspector.get_engine_information(trt.LayerInformationFormat.ONELINE)
    assert (expected or "Layers:") in line


def test_an_index_out_of_range_gives_no_layer(lab, plan):
    inspector = lab.engine(plan).create_engine_inspector()
    assert inspector.get_layer_information(99, trt.LayerInformationFormat.JSON) == ""
    assert "got 99" in lab.errors()[0]


def test_input_shapes_that_contradict_each_other_leave_the_output_open(lab):
    context = lab.context(lab.build(models.adder()))
    context.set_input_shape("a", (1, 4))
    context.set_input_shape("b", (3, 4))
    assert context.get_tensor_shape("sum") == (-1, 4)
    assert "same value: N is 1 and 3" in lab.errors()[0]


def test_a_format_is_described_in_words(lab, plan):
    engine = lab.engine(plan)
    assert engine.get_tensor_format("input") == trt.TensorFormat.LINEAR
    assert engine.get_tensor_format_desc("input") == "Row major linear FP32 (kLINEAR)"
    assert engine.get_tensor_format_desc("nothing") == ""
    assert "This engine has: input, output." in lab.errors()[0]
