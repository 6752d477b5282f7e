"""What is particular to the emulation: the binding's manners, its parser, network and profiles.

What holds for real TensorRT as well is in the conformance suite.
"""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from conformance import models
from conformance.lab import Lab, classify, run
from trtlab.backend.emulated import cuda
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


# Values


def test_the_version_says_that_it_is_emulated():
    assert trt.__version__.endswith("+emulated")


def test_enums_convert_to_int_but_are_none():
    assert int(trt.DataType.HALF) == 1
    assert trt.DataType.HALF != 1
    with pytest.raises(TypeError):
        1 << trt.DataType.HALF
    assert trt.Logger.ERROR < trt.Logger.WARNING == 2
    assert repr(trt.float32) == "<DataType.FLOAT: 0>"


@pytest.mark.parametrize("dtype", list(trt.DataType))
def test_item_sizes_are_those_of_numpy(dtype):
    assert dtype.itemsize == np.dtype(trt.nptype(dtype)).itemsize


def test_dims_behave_like_a_short_sequence():
    dims = trt.Dims([4, 3, 2])
    assert dims == (4, 3, 2) == tuple(dims)
    assert dims == [4, 3, 2]
    assert dims != (4, 3)
    assert dims[1:] == (3, 2)
    assert dims[-1] == 2
    assert len(dims) == 3
    assert np.empty(dims).shape == (4, 3, 2)
    assert trt.volume(dims) == 24
    with pytest.raises(IndexError):
        dims[3]
    with pytest.raises(ValueError):
        trt.Dims([1] * 9)
    with pytest.raises(TypeError):
        trt.Dims([1.5])


# Manners of the binding


@pytest.mark.parametrize("base", [trt.IInt8EntropyCalibrator2, trt.ILogger])
def test_a_subclass_must_call_the_init_of_its_base(base):
    class Forgetful(base):
        def __init__(self):
            self.ready = True

    with pytest.raises(TypeError, match=f"{base.__name__}.__init__"):
        Forgetful()


def test_a_path_is_no_buffer(lab):
    with pytest.raises(TypeError, match="Read the file"):
        lab.runtime.deserialize_cuda_engine("model.engine")
    with pytest.raises(TypeError, match="buffer"):
        trt.OnnxParser(lab.network(), lab.log).parse("model.onnx")


@pytest.mark.parametrize("bad", [None, 3, "log", object()])
def test_a_logger_must_be_one(bad):
    for made in (trt.Builder, trt.Runtime):
        with pytest.raises(TypeError, match="Logger"):
            made(bad)


def test_what_a_logger_raises_is_swallowed(capsys):
    class Broken(trt.ILogger):
        def log(self, severity, msg):
            raise ValueError("disk full")

    assert trt.Runtime(Broken()).deserialize_cuda_engine(b"") is None
    assert "Exception caught in log(): disk full" in capsys.readouterr().err


def test_the_default_logger_prints_what_is_severe_enough(capsys):
    logger = trt.Logger(trt.Logger.WARNING)
    logger.log(trt.Logger.INFO, "quiet")
    logger.log(trt.Logger.ERROR, "loud")
    printed = capsys.readouterr().out
    assert "quiet" not in printed
    assert "[TRT] [E] loud" in printed


def test_objects_work_in_with_statements(plan):
    logger = trt.Logger(trt.Logger.ERROR)
    with trt.Runtime(logger) as runtime, runtime.deserialize_cuda_engine(plan) as engine:
        assert engine.num_io_tensors == 2


# Parser and network


def _model(nodes, inputs, outputs, weights=(), opset=17):
    def values(described):
        return [helper.make_tensor_value_info(n, kind, shape) for n, kind, shape in described]

    graph = helper.make_graph(
        nodes,
        "test",
        values(inputs),
        values(outputs),
        [numpy_helper.from_array(array, name) for name, array in weights],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, ir_version=8, opset_imports=opsets).SerializeToString()


def test_every_unsupported_node_is_reported(lab):
    model = _model(
        [
            helper.make_node("NonZero", ["input"], ["a"], "/first"),
            helper.make_node("Cast", ["a"], ["b"], "/fine", to=TensorProto.FLOAT),
            helper.make_node("Det", ["b"], ["output"], "/second"),
        ],
        [("input", TensorProto.FLOAT, ["N", 4])],
        [("output", TensorProto.FLOAT, [])],
    )
    network = lab.network()
    parser = trt.OnnxParser(network, lab.log)
    assert not parser.parse(model)
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    assert [error.node() for error in errors] == [0, 2]
    assert all(error.code() == trt.ErrorCode.UNSUPPORTED_NODE for error in errors)
    assert "NonZero" in errors[0].desc()
    assert "/first" in errors[0].desc()
    assert "Supported operators" in lab.errors()[0]
    parser.clear_errors()
    assert parser.num_errors == 0
    assert network.num_layers == 0


def test_a_graph_that_cannot_be_shaped_is_refused(lab):
    model = _model(
        [helper.make_node("MatMul", ["input", "w"], ["output"], "/MatMul")],
        [("input", TensorProto.FLOAT, ["N", 4])],
        [("output", TensorProto.FLOAT, ["N", 2])],
        [("w", np.ones((3, 2), np.float32))],
    )
    parsed = lab.parse(model)
    assert not parsed.ok
    assert parsed.parser.get_error(0).code() == trt.ErrorCode.INVALID_GRAPH


def test_a_double_input_is_refused(lab):
    model = _model(
        [helper.make_node("Relu", ["input"], ["output"], "/Relu")],
        [("input", TensorProto.DOUBLE, ["N", 4])],
        [("output", TensorProto.DOUBLE, ["N", 4])],
    )
    parsed = lab.parse(model)
    assert not parsed.ok
    assert "DOUBLE" in parsed.parser.get_error(0).desc()


def test_a_missing_file_is_named(lab, tmp_path):
    parser = trt.OnnxParser(lab.network(), lab.log)
    assert not parser.parse_from_file(str(tmp_path / "absent.onnx"))
    assert "absent.onnx" in lab.errors()[0]


def test_external_weights_are_found_beside_the_model(lab, tmp_path):
    model = onnx.load_from_string(models.cnn())
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert trt.OnnxParser(lab.network(), lab.log).parse_from_file(str(path))
    (tmp_path / "weights.bin").unlink()
    assert not trt.OnnxParser(lab.network(), lab.log).parse_from_file(str(path))


def test_a_network_takes_one_model(lab):
    parsed = lab.parse(models.cnn())
    assert not parsed.parser.parse(models.cnn())
    assert "non-empty" in parsed.parser.get_error(0).desc()


def test_layers_are_the_nodes(lab):
    network = lab.parse(models.cnn()).network
    found = [(layer.name, layer.type) for layer in (network[i] for i in range(len(network)))]
    assert found[0] == ("/conv1/Conv", trt.LayerType.CONVOLUTION)
    assert found[3] == ("/Add", trt.LayerType.ELEMENTWISE)
    assert network.get_layer(0).num_inputs == 1  # weights are no inputs
    assert network.get_layer(3).get_input(1).name == "r1"
    assert network.get_layer(8) is None


def test_a_renamed_output_keeps_its_values(lab):
    def rename(network, config):
        network.get_output(0).name = "logits"
        network.get_layer(0).get_output(0).name = "features"

    context = lab.context(lab.build(models.cnn(), prepare=rename))
    images = models.images(2)
    expected = models.expected(models.cnn(), {"input": images})["output"]
    np.testing.assert_allclose(run(lab, context, input=images)["logits"], expected, atol=1e-5)


def test_an_input_shape_can_be_made_static(lab):
    def fix(network, config):
        network.get_input(0).shape = (2, 3, 16, 16)
        assert network.get_output(0).shape == (2, 5)

    engine = lab.engine(lab.build(models.cnn(), profiles=(), prepare=fix))
    assert engine.get_tensor_shape("input") == (2, 3, 16, 16)
    assert engine.get_tensor_shape("output") == (2, 5)


def test_an_intermediate_tensor_can_be_an_output(lab):
    def mark(network, config):
        network.mark_output(network.get_layer(1).get_output(0))

    context = lab.context(lab.build(models.cnn(), prepare=mark))
    outputs = run(lab, context, input=models.images(1))
    marked = onnx.load_from_string(models.cnn())
    marked.graph.output.append(helper.make_tensor_value_info("r1", TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(marked.SerializeToString())
    (expected,) = session.run(["r1"], {"input": models.images(1)})
    np.testing.assert_allclose(outputs["r1"], expected, atol=1e-5)


def test_bindings_of_another_type_are_converted_at_the_border(lab):
    def halve(network, config):
        network.get_input(0).dtype = trt.float16
        network.get_output(0).dtype = trt.float16

    context = lab.context(lab.build(models.cnn(), "FP16", prepare=halve))
    assert context.engine.get_tensor_dtype("input") == trt.float16
    images = models.images(2)
    result = classify(lab, context, images.astype(np.float16))
    assert result.dtype == np.float16
    expected = models.expected(models.cnn(), {"input": images})["output"]
    np.testing.assert_allclose(result, expected, atol=5e-3)


# Profiles


@pytest.mark.parametrize(
    ("low", "best", "high", "wrong"),
    [((2, 3), (1, 3), (4, 3), "opt"), ((1, 3), (4, 3), (2, 3), "max"), ((-1, 3),) * 3 + ("min",)],
)
def test_a_profile_out_of_order_is_refused(lab, low, best, high, wrong):
    profile = lab.builder.create_optimization_profile()
    with pytest.raises(RuntimeError, match=f"provided for {wrong} is inconsistent"):
        profile.set_shape("input", low, best, high)
    assert profile.get_shape("input") == []


def test_a_profile_that_contradicts_the_network_is_explained(lab):
    def wrong_channels(network, config):
        profile = lab.builder.create_optimization_profile()
        profile.set_shape("input", *[(n, 4, 16, 16) for n in (1, 2, 4)])
        config.add_optimization_profile(profile)

    assert lab.build(models.cnn(), profiles=(), prepare=wrong_channels) is None
    assert "expected min=opt=max=3" in lab.errors()[0]


def test_a_profile_for_another_name_is_explained(lab):
    def misspelt(network, config):
        profile = lab.builder.create_optimization_profile()
        profile.set_shape("inptu", *[(n, 3, 16, 16) for n in (1, 2, 4)])
        config.add_optimization_profile(profile)

    assert lab.build(models.cnn(), profiles=(), prepare=misspelt) is None
    assert "'input'" in lab.errors()[0]
    assert "inptu" in lab.errors()[0]


def test_a_network_that_cannot_run_at_a_shape_of_the_profile_is_refused(lab):
    model = _model(
        [
            helper.make_node("Concat", ["a", "b"], ["c"], "/Concat", axis=0),
            helper.make_node("Relu", ["c"], ["output"], "/Relu"),
        ],
        [("a", TensorProto.FLOAT, ["N", "M"]), ("b", TensorProto.FLOAT, ["N", 4])],
        [("output", TensorProto.FLOAT, ["2N", "M"])],
    )

    def unequal(network, config):
        profile = lab.builder.create_optimization_profile()
        profile.set_shape("a", (1, 3), (1, 3), (1, 3))
        profile.set_shape("b", (1, 4), (1, 4), (1, 4))
        config.add_optimization_profile(profile)

    assert lab.build(model, profiles=(), prepare=unequal) is None
    assert "cannot run" in lab.errors()[0]


def test_what_was_set_on_a_layer_can_be_reset(lab):
    layer = lab.parse(models.cnn()).network.get_layer(0)
    assert layer.precision == trt.float32
    assert not layer.precision_is_set
    layer.precision = trt.float16
    layer.set_output_type(0, trt.float16)
    assert layer.precision_is_set
    assert layer.get_output_type(0) == trt.float16
    layer.reset_precision()
    layer.reset_output_type(0)
    assert not layer.precision_is_set
    assert not layer.output_type_is_set(0)
    assert layer.get_output_type(0) == trt.float32
    with pytest.raises(TypeError):
        layer.precision = "fp16"


def test_a_tensor_refuses_what_tensorrt_refuses(lab):
    network = lab.parse(models.cnn()).network
    inside = network.get_layer(0).get_output(0)
    inside.shape = (1, 8, 16, 16)
    inside.name = "input"
    assert inside.name == "c1"
    assert not inside.set_dynamic_range(2, 1)
    for bounds in [(1,), (2, 1)]:
        with pytest.raises(ValueError):
            inside.dynamic_range = bounds
    network.mark_output(network.get_output(0))
    network.unmark_output(inside)
    assert network.num_outputs == 1
    assert len(lab.errors()) == 6


def test_a_dynamic_dimension_has_the_name_of_the_export(lab):
    tensor = lab.parse(models.cnn()).network.get_input(0)
    assert tensor.get_dimension_name(0) == "N"
    assert tensor.get_dimension_name(1) is None
