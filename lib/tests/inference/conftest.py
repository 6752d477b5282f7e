"""Small engines to run, and PyTorch to compare their answers with."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from trtlab.build import build_engine
from trtlab.export import export_onnx
from trtlab.fast_infer import FastInference
from trtlab.spec import BuildSpec, Precision, ShapeProfile

TWO_PROFILES = BuildSpec(
    precision=Precision.FP32,
    profiles=(ShapeProfile(min=1, opt=4, max=8), ShapeProfile(min=9, opt=16, max=16)),
)


def images(batch, seed=0):
    return np.random.default_rng(seed).standard_normal((batch, 3, 8, 8)).astype(np.float32)


def agree(found, wanted):
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(16, 5),
    ).eval()


@pytest.fixture(scope="module")
def expected(network):
    """The oracle: PyTorch on the CPU."""

    def run(x):
        with torch.inference_mode():
            return network(torch.from_numpy(np.ascontiguousarray(x))).numpy()

    return run


@pytest.fixture(scope="module")
def engine_path(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    onnx_path = export_onnx(network, folder / "tiny.onnx", input_shape=(3, 8, 8))
    build_engine(onnx_path, folder / "tiny.engine", TWO_PROFILES)
    return folder / "tiny.engine"


@pytest.fixture
def fast(engine_path):
    with FastInference(engine_path) as fast:
        yield fast


@pytest.fixture(scope="module")
def two_inputs_path(tmp_path_factory):
    """An engine for total = a + b and difference = a - b, of shape (N, 4)."""
    nodes = [
        helper.make_node("Add", ["a", "b"], ["total"], name="add"),
        helper.make_node("Sub", ["a", "b"], ["difference"], name="sub"),
    ]
    return _built(tmp_path_factory.mktemp("two"), nodes, ["a", "b"], ["total", "difference"])


@pytest.fixture(scope="module")
def two_outputs_path(tmp_path_factory):
    """An engine for double = x + x and square = x * x, of shape (N, 4)."""
    nodes = [
        helper.make_node("Add", ["x", "x"], ["double"], name="add"),
        helper.make_node("Mul", ["x", "x"], ["square"], name="mul"),
    ]
    return _built(tmp_path_factory.mktemp("outputs"), nodes, ["x"], ["double", "square"])


@pytest.fixture(scope="module")
def embedding_path(tmp_path_factory):
    """An engine for row = table[ids], of (N, 4) int32 ids into the table 0, 10, ... 90."""
    table = numpy_helper.from_array(10 * np.arange(10, dtype=np.float32), "table")
    nodes = [helper.make_node("Gather", ["table", "ids"], ["row"], name="gather")]
    folder = tmp_path_factory.mktemp("embedding")
    return _built(folder, nodes, ["ids"], ["row"], TensorProto.INT32, [table])


def _built(folder, nodes, inputs, outputs, dtype=TensorProto.FLOAT, constants=()):
    def values(names, dtype):
        return [helper.make_tensor_value_info(name, dtype, ["batch", 4]) for name in names]

    graph = helper.make_graph(
        nodes, "small", values(inputs, dtype), values(outputs, TensorProto.FLOAT), constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "small.onnx")
    spec = BuildSpec(precision=Precision.FP32, profiles=(ShapeProfile(min=1, opt=2, max=4),))
    build_engine(folder / "small.onnx", folder / "small.engine", spec)
    return folder / "small.engine"
