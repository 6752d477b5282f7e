"""Tiny ONNX models for the conformance suite, and ONNX Runtime as their oracle."""

import functools

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

CHANNELS, SIZE, CLASSES = 3, 16, 5


def _model(nodes, inputs, outputs, weights=()) -> bytes:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights],
    )
    domains = sorted({node.domain for node in nodes})
    opsets = [helper.make_opsetid(domain, 1 if domain else 17) for domain in domains]
    return helper.make_model(graph, ir_version=8, opset_imports=opsets).SerializeToString()


@functools.cache
def cnn(batch: str | int = "N") -> bytes:
    """A residual block and a classifier: input (N, 3, 16, 16) -> output (N, 5)."""
    rng = np.random.default_rng(0)

    def weight(*shape):
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    weights = [
        ("conv1.weight", weight(8, CHANNELS, 3, 3)),
        ("conv1.bias", weight(8, 1).ravel()),
        ("conv2.weight", weight(8, 8, 3, 3)),
        ("conv2.bias", weight(8, 1).ravel()),
        ("fc.weight", weight(CLASSES, 8)),
        ("fc.bias", weight(CLASSES, 1).ravel()),
    ]

    def conv(layer, source, target):
        inputs = [source, f"conv{layer}.weight", f"conv{layer}.bias"]
        name = f"/conv{layer}/Conv"
        return helper.make_node("Conv", inputs, [target], name, pads=[1, 1, 1, 1])

    nodes = [
        conv(1, "input", "c1"),
        helper.make_node("Relu", ["c1"], ["r1"], "/relu1/Relu"),
        conv(2, "r1", "c2"),
        helper.make_node("Add", ["c2", "r1"], ["a"], "/Add"),
        helper.make_node("Relu", ["a"], ["r2"], "/relu2/Relu"),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"], "/pool/GlobalAveragePool"),
        helper.make_node("Flatten", ["p"], ["f"], "/Flatten"),
        helper.make_node("Gemm", ["f", "fc.weight", "fc.bias"], ["output"], "/fc/Gemm", transB=1),
    ]
    return _model(
        nodes,
        [("input", [batch, CHANNELS, SIZE, SIZE])],
        [("output", [batch, CLASSES])],
        weights,
    )


@functools.cache
def adder() -> bytes:
    """Two inputs, two outputs: a, b (N, 4) -> sum (N, 4) and positive (N, 4)."""
    nodes = [
        helper.make_node("Add", ["a", "b"], ["sum"], "/Add"),
        helper.make_node("Relu", ["sum"], ["positive"], "/Relu"),
    ]
    both = ["N", 4]
    return _model(nodes, [("a", both), ("b", both)], [("sum", both), ("positive", both)])


def unsupported() -> bytes:
    """A model whose second node has an operator that no backend knows."""
    nodes = [
        helper.make_node("Relu", ["input"], ["r"], "/Relu"),
        helper.make_node("Frobnicate", ["r"], ["output"], "/Frobnicate", domain="com.example"),
    ]
    return _model(nodes, [("input", [1, 4])], [("output", [1, 4])])


def images(batch: int, seed: int = 0) -> np.ndarray:
    """Return standard normal images of shape (batch, 3, 16, 16), float32."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((batch, CHANNELS, SIZE, SIZE)).astype(np.float32)


def expected(model: bytes, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what ONNX Runtime computes on the CPU."""
    session = _session(model)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


@functools.cache
def _session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def first_half(model: bytes) -> bytes:
    """Return what an interrupted download leaves of a model file."""
    return model[: len(model) // 2]
