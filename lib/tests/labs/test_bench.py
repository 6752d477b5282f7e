"""The bench on engines that no lab asks for: whatever is wrong with a file is a TrtLabError."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtlab.backend import trt
from trtlab.backend.compat import explicit_batch_flags
from trtlab.errors import EngineError, InferenceError, InputError
from trtlab.infer import TensorRTInference
from trtlab.lab.bench import LocalBench

IMAGES = np.ones((4, 3), np.float32)


def built(folder: Path, node: onnx.NodeProto, inputs: dict, output: list) -> Path:
    """Build an engine of one node without the library, which refuses such graphs; (1, 8, 32)."""
    graph = helper.make_graph(
        [node],
        "odd",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
            for name, dims in inputs.items()
        ],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(np.ones((2, 3), np.float32), "constant")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(explicit_batch_flags(trt))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(model.SerializeToString())
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    for name, dims in inputs.items():
        if "n" in dims:
            profile.set_shape(name, *((batch, *dims[1:]) for batch in (1, 8, 32)))
    config.add_optimization_profile(profile)
    path = folder / "odd.engine"
    path.write_bytes(bytes(builder.build_serialized_network(network, config)))
    return path


@pytest.fixture
def without_inputs(tmp_path: Path) -> Path:
    return built(tmp_path, helper.make_node("Relu", ["constant"], ["output"]), {}, [2, 3])


def test_an_engine_without_inputs_is_refused(without_inputs: Path) -> None:
    with pytest.raises(EngineError, match=r"odd\.engine has no input"):
        LocalBench().inspect(without_inputs)
    with pytest.raises(EngineError, match="0 inputs and 1 outputs"):
        LocalBench().run_engine(without_inputs, IMAGES, 2)


def test_an_engine_that_reduces_the_batch_gives_no_rows(tmp_path: Path) -> None:
    node = helper.make_node("ReduceSum", ["input"], ["output"], keepdims=0)
    engine = built(tmp_path, node, {"input": ["n", 3]}, [])
    with pytest.raises(InferenceError, match="no row for each image"):
        LocalBench().run_engine(engine, IMAGES, 2)


def test_an_engine_whose_input_is_a_number_has_no_batch(tmp_path: Path) -> None:
    engine = built(tmp_path, helper.make_node("Relu", ["input"], ["output"]), {"input": []}, [])
    assert LocalBench().inspect(engine).tensors[0].shape == ()
    with TensorRTInference(engine) as model:
        assert model.max_batch == 1
        assert model.infer(np.array(-2.0, np.float32)) == 0
    with pytest.raises(InputError, match="has shape"):
        LocalBench().run_engine(engine, IMAGES, 2)


def test_an_engine_of_two_inputs_is_asked_for_by_name(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["input", "other"], ["output"])
    engine = built(tmp_path, node, {"input": ["n", 3], "other": ["n", 3]}, ["n", 3])
    with pytest.raises(InputError, match="'input', 'other'"):
        LocalBench().run_engine(engine, IMAGES, 2)


def test_no_images_have_no_answer(small_engine: Path) -> None:
    with pytest.raises(InferenceError, match="0 images"):
        LocalBench().run_engine(small_engine, np.ones((0, 3, 224, 224), np.float32), 2)
