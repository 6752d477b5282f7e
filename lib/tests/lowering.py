"""Small networks, lowered and run, and what they should compute."""

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch.nn import functional as F

from trtlab.backend.emulated.fusion import fuse
from trtlab.backend.emulated.lower import lower, make_session

Arrays = dict[str, NDArray[np.float32]]


def network(text: str, weights: Arrays | None = None, opset: int = 17) -> onnx.ModelProto:
    """Parse a graph in ONNX's text format and add weights to it."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> {text}')
    for name, value in (weights or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    onnx.checker.check_model(model)
    return model


def lowered(model: onnx.ModelProto, precisions: dict[str, str] | str, **ranges: float):
    """Lower with one precision for all layers, or by the layers' names with FP32 for the others."""
    layers = [
        replace(
            layer,
            precision=precisions
            if isinstance(precisions, str)
            else precisions.get(layer.name, "FP32"),
        )
        for layer in fuse(model)
    ]
    result = lower(model, layers, ranges)
    onnx.checker.check_model(result)
    return result


def run(model: onnx.ModelProto, x: NDArray) -> NDArray[np.float32]:
    return make_session(model.SerializeToString(), threads=1).run(None, {"x": x})[0]


def optimised(model: onnx.ModelProto, path) -> Counter[str]:
    """Return the operators that ONNX Runtime executes, after its optimisations."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def without_optimisations(model: onnx.ModelProto, x: NDArray) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0]


def normal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def half(x: NDArray) -> NDArray[np.float32]:
    return x.astype(np.float16).astype(np.float32)


def conv(x: NDArray, w: NDArray, **options: int) -> NDArray:
    """Convolve in double precision, where sums of small integers are exact."""
    options.setdefault("padding", w.shape[-1] // 2)
    return F.conv2d(torch.from_numpy(x).double(), torch.from_numpy(w).double(), **options).numpy()


def quantised_weights(w: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return integers and one scale per output channel, (channels, 1, 1)."""
    scale = np.abs(w).max(axis=(1, 2, 3), keepdims=True) / np.float32(127)
    return np.rint(w / scale).astype(np.float64), scale[:, 0]


def quantised(x: NDArray, limit: float) -> NDArray[np.float64]:
    scale = np.float32(limit / 127)
    return np.clip(np.rint(x.astype(np.float32) / scale), -128, 127).astype(np.float64)


CONV_RELU = """net (float[n,3,8,8] x) => (float[n,4,8,8] y) {
    [conv] a = Conv <pads = [1, 1, 1, 1]> (x, w, b)
    [relu] y = Relu (a)
}"""
TWO_CONVS = """net (float[n,3,8,8] x) => (float[n,5,8,8] y) {
    [first] a = Conv <pads = [1, 1, 1, 1]> (x, w)
    [relu] b = Relu (a)
    [second] y = Conv (b, v)
}"""
RESIDUAL = """net (float[n,4,8,8] x) => (float[n,4,8,8] y) {
    [conv] a = Conv (x, w)
    [add] c = Add (a, x)
    [relu] d = Relu (c)
    [last] y = Conv (d, v)
}"""
