"""What is particular to the emulated builder: choice of precisions, config and timing cache."""

import json

import onnx
import pytest

from conformance import models
from conformance.lab import Lab
from trtlab.backend.emulated import cuda
from trtlab.backend.emulated import tensorrt as trt


@pytest.fixture(scope="module")
def shared_lab():
    return Lab("emulated", trt, cuda)


@pytest.fixture
def lab(shared_lab):
    shared_lab.log.clear()
    return shared_lab


def tensors(network):
    """Return every tensor of a network."""
    found = [network.get_input(i) for i in range(network.num_inputs)]
    return found + [network.get_layer(i).get_output(0) for i in range(network.num_layers)]


def set_ranges(network, config=None, limit=4.0):
    for tensor in tensors(network):
        assert tensor.set_dynamic_range(-limit, limit)


def precisions(lab, plan):
    """Return the precision of each layer, from the names of its emulated tactics."""
    return {name: info["TacticName"].rsplit("_", 1)[1] for name, info in _layers(lab, plan).items()}


def _layers(lab, plan):
    """Return the inspector's JSON layers of a plan at batch 2, by the name of their first node."""
    context = lab.context(plan)
    context.set_input_shape("input", (2, 3, 16, 16))
    inspector = context.engine.create_engine_inspector()
    inspector.execution_context = context
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    return {
        layer["Name"].split(" + ")[0]: layer for layer in json.loads(text, strict=False)["Layers"]
    }


# Precisions


def test_fp16_reaches_every_layer(lab):
    assert set(precisions(lab, lab.build(models.cnn(), "FP16")).values()) == {"fp16"}


def test_int8_without_fp16_falls_back_to_fp32(lab):
    text = """<ir_version: 8, opset_import: ["": 17]>
        relu_softmax (float[N, 3, 16, 16] input) => (float[N, 3, 16, 16] output) {
            r = Relu(input)
            output = Softmax<axis = 1>(r)
        }"""
    model = onnx.parser.parse_model(text).SerializeToString()
    alone = precisions(lab, lab.build(model, "INT8", prepare=set_ranges))
    assert alone == {"Relu_0": "int8", "Softmax_1": "fp32"}
    both = precisions(lab, lab.build(model, "INT8", "FP16", prepare=set_ranges))
    assert both == {"Relu_0": "int8", "Softmax_1": "fp16"}


def test_a_layer_without_a_range_falls_back_with_a_warning(lab):
    def all_but_one(network, config):
        set_ranges(network)
        network.get_layer(3).get_input(1).reset_dynamic_range()  # r1, between the convolutions

    found = precisions(lab, lab.build(models.cnn(), "INT8", prepare=all_but_one))
    assert found["/conv1/Conv"] == found["/conv2/Conv"] == "fp32"
    assert found["/fc/Gemm"] == "int8"
    assert any("Missing scale and zero-point for tensor r1" in text for _, text in lab.log.messages)


@pytest.mark.parametrize("flag", ["OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS"])
def test_a_constrained_layer_gets_its_precision(lab, flag):
    def constrain(network, config):
        network.get_layer(0).precision = trt.float32

    found = precisions(lab, lab.build(models.cnn(), "FP16", flag, prepare=constrain))
    assert found.pop("/conv1/Conv") == "fp32"
    assert set(found.values()) == {"fp16"}


def test_a_constraint_without_its_flag_has_no_effect_and_says_so(lab):
    def constrain(network, config):
        network.get_layer(0).precision = trt.float32

    found = precisions(lab, lab.build(models.cnn(), "FP16", prepare=constrain))
    assert found["/conv1/Conv"] == "fp16"
    assert any("not binding" in text for _, text in lab.log.messages)


def test_obeying_the_impossible_fails_and_preferring_it_falls_back(lab):
    def constrain(network, config):
        set_ranges(network)
        network.get_layer(4).get_output(0).reset_dynamic_range()
        network.get_layer(0).precision = trt.int8
        network.get_layer(2).precision = trt.int8

    flags = ["INT8", "OBEY_PRECISION_CONSTRAINTS"]
    assert lab.build(models.cnn(), *flags, prepare=constrain) is None
    assert "Could not find any implementation for node /conv2/Conv" in lab.errors()[0]
    flags[1] = "PREFER_PRECISION_CONSTRAINTS"
    found = precisions(lab, lab.build(models.cnn(), *flags, prepare=constrain))
    assert found["/conv1/Conv"] == "int8"
    assert found["/conv2/Conv"] == "fp32"


def test_a_precision_whose_builder_flag_is_missing_fails(lab):
    def constrain(network, config):
        network.get_layer(0).precision = trt.float16

    assert lab.build(models.cnn(), prepare=constrain) is None
    assert "fp16 is not configured in the builder" in lab.errors()[0]


# Config and timing cache


def test_a_timing_cache_grows_with_a_build_and_survives_serialization(lab):
    config = lab.config()
    cache = config.create_timing_cache(b"")
    empty = bytes(cache.serialize())

    def prepare(network, config):
        assert config.set_timing_cache(cache, False)

    lab.build(models.cnn(), prepare=prepare)
    grown = bytes(cache.serialize())
    assert len(grown) > len(empty)
    restored = config.create_timing_cache(grown)
    assert bytes(restored.serialize()) == grown
    lab.log.clear()
    lab.build(models.cnn(), prepare=prepare)
    assert bytes(cache.serialize()) == grown
    assert any("0 added" in text for _, text in lab.log.messages)
    assert restored.reset()
    assert bytes(restored.serialize()) == empty
    assert restored.combine(cache, False)
    assert bytes(restored.serialize()) == grown


@pytest.mark.parametrize("content", [b"garbage", b"TRTLAB-EMULATED-TIMING-8600\n{"])
def test_foreign_bytes_are_no_timing_cache(lab, content):
    assert lab.config().create_timing_cache(content) is None
    assert lab.errors()


def test_a_new_config_has_the_defaults_of_tensorrt(lab):
    config = lab.builder.create_builder_config()
    assert config.get_flag(trt.BuilderFlag.TF32)
    assert not config.get_flag(trt.BuilderFlag.FP16)
    assert config.profiling_verbosity == trt.ProfilingVerbosity.LAYER_NAMES_ONLY
    assert config.builder_optimization_level == 3
    assert config.get_timing_cache() is None
    assert config.num_optimization_profiles == 0


def test_a_config_refuses_what_the_binding_refuses(lab):
    config = lab.builder.create_builder_config()
    for wrong in (1, "FP16", trt.DataType.HALF):
        with pytest.raises(TypeError):
            config.set_flag(wrong)
    for wrong in (1.5, "1", -1):
        with pytest.raises(TypeError):
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, wrong)
    with pytest.raises(TypeError):
        config.int8_calibrator = object()
    config.builder_optimization_level = 9
    assert config.builder_optimization_level == 3
    assert "0 <= level <= 5" in lab.errors()[0]


# What cannot be built


def test_a_range_of_zero_names_its_tensor(lab):
    def flat(network, config):
        set_ranges(network)
        network.get_input(0).set_dynamic_range(0, 0)

    assert lab.build(models.cnn(), "INT8", prepare=flat) is None
    assert "'input'" in lab.errors()[0]


def test_support_is_answered_without_building(lab):
    parsed, config = lab.parse(models.cnn()), lab.config()
    assert not lab.builder.is_network_supported(parsed.network, config)
    assert "no optimization profile" in lab.errors()[0]
    config.add_optimization_profile(lab.profile(parsed.network, (1, 2, 4)))
    assert lab.builder.is_network_supported(parsed.network, config)


def test_a_failed_build_says_so_in_the_end(lab):
    assert lab.builder.build_serialized_network(lab.network(), lab.config()) is None
    first, last = lab.errors()
    assert "at least one output" in first
    assert "engine != nullptr" in last


def test_calibrating_an_input_that_is_no_float32_is_refused(lab):
    def halve(network, config):
        network.get_input(0).dtype = trt.float16
        config.int8_calibrator = trt.IInt8EntropyCalibrator2()

    assert lab.build(models.cnn(), "INT8", prepare=halve) is None
    assert "input is HALF" in lab.errors()[0]
