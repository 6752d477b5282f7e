"""What is particular to the emulation: its hints, its choices, its inspector and its limits.

What holds for real TensorRT as well is in the conformance suite.
"""

import json
import struct

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from conformance import models
from conformance.lab import Lab, classify, run
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


def tensors(network):
    """Return every tensor of a network."""
    found = [network.get_input(i) for i in range(network.num_inputs)]
    return found + [network.get_layer(i).get_output(0) for i in range(network.num_layers)]


def set_ranges(network, config=None, limit=4.0):
    for tensor in tensors(network):
        assert tensor.set_dynamic_range(-limit, limit)


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


def precisions(lab, plan):
    """Return the precision of each layer, from the names of its emulated tactics."""
    return {name: info["TacticName"].rsplit("_", 1)[1] for name, info in layers(lab, plan).items()}


class Calibrator(trt.IInt8EntropyCalibrator2):
    """Serves `count` batches of 2 random images; `scale` widens them."""

    def __init__(self, count=3, cache=None, scale=1.0, fail_at=None):
        super().__init__()
        self.count, self.cache, self.scale, self.fail_at = count, cache, scale, fail_at
        self.served, self.written, self.names = 0, None, None
        self.device = cuda.mem_alloc(2 * 3 * 16 * 16 * 4)

    def get_batch_size(self):
        return 2

    def get_batch(self, names):
        self.names = names
        if self.served == self.fail_at:
            raise ValueError("no such image")
        if self.served == self.count:
            return None
        images = models.images(2, seed=self.served) * np.float32(self.scale)
        cuda.memcpy_htod(self.device, images)
        self.served += 1
        return [int(self.device)]

    def read_calibration_cache(self):
        return self.cache

    def write_calibration_cache(self, cache):
        self.written = bytes(cache)


class MinMax(trt.IInt8MinMaxCalibrator):
    """The same batches for the other algorithm."""

    __init__ = Calibrator.__init__
    get_batch_size = Calibrator.get_batch_size
    get_batch = Calibrator.get_batch
    read_calibration_cache = Calibrator.read_calibration_cache
    write_calibration_cache = Calibrator.write_calibration_cache


def use(calibrator):
    """Return a `prepare` that sets a calibrator."""

    def prepare(network, config):
        config.int8_calibrator = calibrator

    return prepare


def scales(cache):
    """Return the scale of each tensor in a cache."""
    lines = [line.rsplit(": ", 1) for line in cache.decode().splitlines()[1:]]
    return {name: struct.unpack(">f", bytes.fromhex(digits))[0] for name, digits in lines}


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
        [("output", TensorProto.FLOAT, None)],
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
        [("output", TensorProto.FLOAT, None)],
    )

    def unequal(network, config):
        profile = lab.builder.create_optimization_profile()
        profile.set_shape("a", (1, 3), (1, 3), (1, 3))
        profile.set_shape("b", (1, 4), (1, 4), (1, 4))
        config.add_optimization_profile(profile)

    assert lab.build(model, profiles=(), prepare=unequal) is None
    assert "cannot run" in lab.errors()[0]


# Precisions


def test_fp16_reaches_every_layer(lab):
    assert set(precisions(lab, lab.build(models.cnn(), "FP16")).values()) == {"fp16"}


def test_int8_without_fp16_falls_back_to_fp32(lab):
    model = _model(
        [
            helper.make_node("Relu", ["input"], ["r"], "/Relu"),
            helper.make_node("Softmax", ["r"], ["output"], "/Softmax", axis=1),
        ],
        [("input", TensorProto.FLOAT, ["N", 3, 16, 16])],
        [("output", TensorProto.FLOAT, ["N", 3, 16, 16])],
    )
    alone = precisions(lab, lab.build(model, "INT8", prepare=set_ranges))
    assert alone == {"/Relu": "int8", "/Softmax": "fp32"}
    both = precisions(lab, lab.build(model, "INT8", "FP16", prepare=set_ranges))
    assert both == {"/Relu": "int8", "/Softmax": "fp16"}


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


# Calibration


def test_the_cache_holds_the_largest_magnitude_as_a_scale(lab):
    calibrator = MinMax()
    assert lab.build(models.cnn(), "INT8", prepare=use(calibrator))
    assert calibrator.written.startswith(b"TRT-8600-MinMaxCalibration\n")
    batches = np.concatenate([models.images(2, seed) for seed in range(3)])
    found = scales(calibrator.written)
    assert found["input"] == pytest.approx(np.abs(batches).max() / 127)
    outputs = models.expected(models.cnn(), {"input": batches})["output"]
    assert found["output"] == pytest.approx(np.abs(outputs).max() / 127, rel=1e-5)
    assert calibrator.names == ["input"]


def test_entropy_clips_where_min_max_does_not(lab):
    entropy, largest = Calibrator(), MinMax()
    lab.build(models.cnn(), "INT8", prepare=use(entropy))
    lab.build(models.cnn(), "INT8", prepare=use(largest))
    assert entropy.written.startswith(b"TRT-8600-EntropyCalibration2\n")
    clipped, full = scales(entropy.written), scales(largest.written)
    assert clipped.keys() == full.keys()
    assert clipped["input"] < full["input"]


def test_a_cache_replaces_the_batches_and_gives_the_same_engine(lab):
    first = Calibrator()
    plan = lab.build(models.cnn(), "INT8", prepare=use(first))
    second = Calibrator(cache=first.written)
    again = lab.build(models.cnn(), "INT8", prepare=use(second))
    assert second.served == 0
    assert second.written is None
    images = models.images(4)
    results = [classify(lab, lab.context(each), images) for each in (plan, again)]
    np.testing.assert_allclose(*results, atol=1e-6)


@pytest.mark.parametrize(
    "cache",
    [
        b"TRT-8501-EntropyCalibration2\ninput: 3c010a14\n",
        b"TRT-8600-MinMaxCalibration\ninput: 3c010a14\n",
        b"TRT-8600-EntropyCalibration2\n",
        b"TRT-8600-EntropyCalibration2\ninput: 7f800000\n",
        b"TRT-8600-EntropyCalibration2\ninput: 00000000\n",
        b"TRT-8600-EntropyCalibration2\ninput\n",
        b"\xff\xfe",
    ],
)
def test_a_cache_that_does_not_fit_is_ignored_with_a_warning(lab, cache):
    calibrator = Calibrator(cache=cache)
    assert lab.build(models.cnn(), "INT8", prepare=use(calibrator))
    assert calibrator.served == 3
    assert any("cache is not used" in text for _, text in lab.log.messages)


def test_an_exception_in_get_batch_ends_calibration_early(lab, capsys):
    short, failing = Calibrator(count=1), Calibrator(fail_at=1)
    lab.build(models.cnn(), "INT8", prepare=use(short))
    assert lab.build(models.cnn(), "INT8", prepare=use(failing))
    assert "Exception caught in get_batch(): ValueError: no such image" in capsys.readouterr().err
    assert failing.written == short.written


def test_no_batches_at_all_fail_the_build(lab):
    assert lab.build(models.cnn(), "INT8", prepare=use(Calibrator(count=0))) is None
    assert "no scaling factors detected" in lab.errors()[0]


def test_int8_without_calibrator_and_ranges_fails(lab):
    assert lab.build(models.cnn(), "INT8") is None
    assert "no int8 calibrator" in lab.errors()[0]


def test_a_batch_smaller_than_the_profile_is_an_illegal_access(lab):
    assert lab.build(models.cnn(), "INT8", profiles=((1, 4, 4),), prepare=use(Calibrator())) is None
    assert "illegal memory access" in lab.errors()[0]
    assert "(4, 3, 16, 16)" in lab.errors()[0]


def test_calibration_runs_at_the_calibration_profile(lab):
    def prepare(network, config):
        config.int8_calibrator = Calibrator()
        config.set_calibration_profile(lab.profile(network, (2, 2, 2)))

    assert lab.build(models.cnn(), "INT8", profiles=((1, 4, 4),), prepare=prepare)


@pytest.mark.parametrize("pointers", [[], [1.5], ["x"], [1, 2]])
def test_pointers_that_are_none_end_calibration(lab, pointers, capsys):
    class Odd(Calibrator):
        def get_batch(self, names):
            return super().get_batch(names) if self.served < 1 else pointers

    calibrator = Odd()
    assert lab.build(models.cnn(), "INT8", prepare=use(calibrator))
    assert calibrator.served == 1
    assert ("get_batch()" in capsys.readouterr().err) == bool(pointers)


def test_copies_to_the_batch_are_complete_before_it_is_read(lab):
    class Asynchronous(MinMax):
        stream = cuda.Stream()

        def get_batch(self, names):
            if self.served == 1:
                return None
            self.served += 1
            cuda.memcpy_htod_async(self.device, np.full((2, 3, 16, 16), 7, np.float32), self.stream)
            return [int(self.device)]

    calibrator = Asynchronous()
    lab.build(models.cnn(), "INT8", prepare=use(calibrator))
    assert scales(calibrator.written)["input"] == pytest.approx(7 / 127)


def test_calibrating_on_the_wrong_scale_costs_accuracy(lab):
    images = models.images(4, seed=99)
    expected = models.expected(models.cnn(), {"input": images})["output"]

    def error(scale):
        plan = lab.build(models.cnn(), "INT8", prepare=use(Calibrator(scale=scale)))
        return np.abs(classify(lab, lab.context(plan), images) - expected).max()

    assert error(1.0) < 0.1 < error(0.05)


def test_legacy_calibration_is_refused(lab):
    class Legacy(trt.IInt8LegacyCalibrator):
        pass

    assert lab.build(models.cnn(), "INT8", prepare=use(Legacy())) is None
    assert "LEGACY" in lab.errors()[0]


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
    config = lab.config()
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


# Engine, context, inspector


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
