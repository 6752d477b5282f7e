"""Plans and engines: round trip, damage, and what an engine says about its tensors."""

import json

import numpy as np
import pytest

from conformance import models
from conformance.lab import classify


def io_names(engine):
    return [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]


def test_an_engine_lists_its_inputs_and_outputs(lab, adder_plan):
    engine = lab.engine(adder_plan)
    assert engine.num_io_tensors == 4
    assert sorted(io_names(engine)) == ["a", "b", "positive", "sum"]


def test_inputs_are_listed_before_outputs(lab, adder_plan):
    engine, mode = lab.engine(adder_plan), lab.trt.TensorIOMode
    modes = [engine.get_tensor_mode(name) for name in io_names(engine)]
    assert modes == [mode.INPUT, mode.INPUT, mode.OUTPUT, mode.OUTPUT]


def test_an_unknown_tensor_has_no_mode(lab, engine):
    assert engine.get_tensor_mode("nothing") == lab.trt.TensorIOMode.NONE
    assert lab.errors()


def test_tensors_have_shapes_with_the_dynamic_size_as_minus_one(engine):
    assert tuple(engine.get_tensor_shape("input")) == (-1, 3, 16, 16)
    assert tuple(engine.get_tensor_shape("output")) == (-1, 5)


def test_a_shape_equals_the_tuple_and_the_list_of_its_sizes(engine):
    shape = engine.get_tensor_shape("input")
    assert shape == (-1, 3, 16, 16)
    assert shape == [-1, 3, 16, 16]
    assert (len(shape), shape[0], shape[-1], tuple(shape[1:])) == (4, -1, 16, (3, 16, 16))


def test_tensors_have_a_type_with_a_numpy_equivalent(lab, engine):
    dtype = engine.get_tensor_dtype("input")
    assert dtype == lab.trt.float32 == lab.trt.DataType.FLOAT
    assert np.dtype(lab.trt.nptype(dtype)) == np.float32


def test_volume_is_the_number_of_elements(lab, static_plan):
    shape = lab.engine(static_plan).get_tensor_shape("input")
    assert lab.trt.volume(shape) == 2 * 3 * 16 * 16


def test_tensors_live_on_the_device(lab, engine):
    assert engine.get_tensor_location("input") == lab.trt.TensorLocation.DEVICE


def test_an_engine_has_layers_one_profile_and_an_explicit_batch(engine):
    assert engine.num_layers > 0
    assert engine.num_optimization_profiles == 1
    assert engine.has_implicit_batch_dimension is False


def test_layers_are_fused(lab, engine):
    network = lab.parse(models.cnn()).network
    assert 0 < engine.num_layers < network.num_layers


def test_an_engine_computes_the_same_after_a_round_trip(lab, engine):
    again = lab.engine(bytes(engine.serialize()))
    images = models.images(3)
    np.testing.assert_array_equal(
        classify(lab, again.create_execution_context(), images),
        classify(lab, engine.create_execution_context(), images),
    )


def test_a_plan_can_be_written_and_read(lab, plan, tmp_path):
    path = tmp_path / "model.engine"
    with open(path, "wb") as file:
        file.write(plan)
    assert lab.runtime.deserialize_cuda_engine(path.read_bytes()) is not None


@pytest.mark.parametrize("damaged", [b"", b"this is no plan", bytes(4096)])
def test_what_is_no_plan_gives_no_engine_and_an_error(lab, damaged):
    assert lab.runtime.deserialize_cuda_engine(damaged) is None
    assert lab.errors()


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_truncated_plan_gives_no_engine_and_an_error(lab, plan, part):
    whole = bytes(plan)
    assert lab.runtime.deserialize_cuda_engine(whole[: int(len(whole) * part)]) is None
    assert lab.errors()


def test_a_path_is_no_plan(lab):
    with pytest.raises(TypeError):
        lab.runtime.deserialize_cuda_engine("model.engine")


def test_an_engine_outlives_the_name_of_its_runtime(lab, plan):
    engine = lab.trt.Runtime(lab.log).deserialize_cuda_engine(plan)
    assert engine.num_io_tensors == 2


# Inspector


def information(lab, engine, context=None):
    inspector = engine.create_engine_inspector()
    if context is not None:
        inspector.execution_context = context
    text = inspector.get_engine_information(lab.trt.LayerInformationFormat.JSON)
    return json.loads(text, strict=False)


def built_with(lab, verbosity):
    def prepare(network, config):
        config.profiling_verbosity = getattr(lab.trt.ProfilingVerbosity, verbosity)

    return lab.engine(lab.build(models.cnn(2), profiles=(), prepare=prepare))


def test_the_inspector_lists_the_layers_and_bindings_as_json(lab, engine):
    found = information(lab, engine)
    assert len(found["Layers"]) == engine.num_layers
    assert found["Bindings"] == ["input", "output"]


def test_a_detailed_layer_is_an_object_with_name_type_inputs_and_outputs(lab, engine):
    for layer in information(lab, engine)["Layers"]:
        assert {"Name", "LayerType", "Inputs", "Outputs"} <= set(layer)


def test_a_fused_layer_is_named_after_its_nodes(lab, engine):
    names = [layer["Name"] for layer in information(lab, engine)["Layers"]]
    assert "/conv1/Conv + /relu1/Relu" in names


def test_without_detail_a_layer_is_its_name(lab):
    engine = built_with(lab, "LAYER_NAMES_ONLY")
    layers = information(lab, engine)["Layers"]
    assert all(isinstance(layer, str) for layer in layers)
    assert engine.profiling_verbosity == lab.trt.ProfilingVerbosity.LAYER_NAMES_ONLY


def test_one_layer_can_be_inspected(lab, engine):
    inspector = engine.create_engine_inspector()
    text = inspector.get_layer_information(0, lab.trt.LayerInformationFormat.JSON)
    assert json.loads(text, strict=False) == information(lab, engine)["Layers"][0]


def test_the_one_line_format_is_no_json(lab, engine):
    inspector = engine.create_engine_inspector()
    text = inspector.get_engine_information(lab.trt.LayerInformationFormat.ONELINE)
    assert "/conv1/Conv + /relu1/Relu" in text
    with pytest.raises(json.JSONDecodeError):
        json.loads(text, strict=False)


def formats(lab, precision):
    """Return the formats of the first convolution's output when all layers must use a precision."""

    def oblige(network, config):
        for index in range(network.num_layers):
            layer = network.get_layer(index)
            if layer.type != lab.trt.LayerType.CONSTANT:
                layer.precision = precision

    flags = ("FP16", "OBEY_PRECISION_CONSTRAINTS")
    engine = lab.engine(lab.build(models.cnn(2), *flags, profiles=(), prepare=oblige))
    layers = information(lab, engine)["Layers"]
    conv = next(layer for layer in layers if layer["Name"].startswith("/conv1/Conv"))
    return [tensor["Format/Datatype"] for tensor in conv["Outputs"]]


def test_a_layer_obliged_to_half_writes_half(lab):
    assert all("FP16" in text for text in formats(lab, lab.trt.float16))


def test_a_layer_obliged_to_float_writes_float_in_an_fp16_build(lab):
    assert all("FP32" in text for text in formats(lab, lab.trt.float32))
