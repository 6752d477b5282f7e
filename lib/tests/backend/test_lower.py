"""What each precision computes, against PyTorch, NumPy and integer arithmetic."""

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from torch import nn
from torch.nn import functional as F

from trtlab.backend.emulated.fusion import fuse
from trtlab.backend.emulated.lower import lower, make_session
from trtlab.backend.emulated.quantize import collect_ranges

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


class TestFullPrecision:
    @pytest.mark.parametrize("precision", ["FP32", "TF32"])
    def test_it_equals_the_network(self, precision):
        model = network(CONV_RELU, {"w": normal(4, 3, 3, 3), "b": normal(4)})
        x = normal(2, 3, 8, 8)
        np.testing.assert_array_equal(run(lowered(model, precision), x), run(model, x))

    def test_a_batch_norm_is_folded_as_pytorch_computes_it(self):
        module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        for tensor in (*module[1].parameters(), module[1].running_mean, module[1].running_var):
            nn.init.uniform_(tensor, 0.5, 2)
        weights = {
            name: value.detach().numpy()
            for name, value in zip(
                "wbgcmv",
                [*module[0].parameters(), *module[1].parameters(), *module[1].buffers()],
                strict=False,
            )
        }
        model = network(
            """net (float[n,3,8,8] x) => (float[n,4,8,8] y) {
                a = Conv <pads = [1, 1, 1, 1]> (x, w, b)
                c2 = BatchNormalization (a, g, c, m, v)
                y = Relu (c2)
            }""",
            weights,
        )
        x = normal(2, 3, 8, 8)
        expected = module.eval()(torch.from_numpy(x)).detach().numpy()
        result = lowered(model, "FP32")
        assert [node.op_type for node in result.graph.node] == ["Conv", "Relu"]
        np.testing.assert_allclose(run(result, x), expected, atol=1e-5)

    def test_the_model_that_came_in_is_left_alone(self):
        model = network(CONV_RELU, {"w": normal(4, 3, 3, 3), "b": normal(4)})
        before = model.SerializeToString()
        lowered(model, "INT8", x=1.0)
        assert model.SerializeToString() == before


class TestFP16:
    def test_weights_inputs_and_outputs_are_rounded_and_sums_are_not(self):
        # Rounded, x and w are multiples of 1/64: their sums are exact in float32, not in float16.
        x, w = np.rint(normal(2, 3, 8, 8) * 64) / 64, np.rint(normal(4, 3, 3, 3) * 64) / 64
        x, w = x * np.float32(1 + 2**-13), w * np.float32(1 - 2**-13)
        b = np.zeros(4, np.float32)
        expected = half(np.maximum(conv(half(x), half(w)), 0))
        result = run(lowered(network(CONV_RELU, {"w": w, "b": b}), "FP16"), x)
        np.testing.assert_array_equal(result, expected)
        assert not np.array_equal(result, half(np.maximum(conv(x, w), 0)))

    def test_values_beyond_65504_become_infinite_and_weights_the_largest_float16(self):
        w = np.zeros((4, 3, 3, 3), np.float32)
        w[:, 0, 1, 1] = [1, 1e6, -1, 0.5]
        model = network(CONV_RELU, {"w": w, "b": np.zeros(4, np.float32)})
        x = np.zeros((1, 3, 8, 8), np.float32)
        x[0, 0, 0, ::3] = [1, 60000, 70000]
        y = run(lowered(model, "FP16"), x)[0]
        assert y[0, 0, ::3].tolist() == [1, 60000, np.inf]
        assert y[1, 0, ::3].tolist() == [65504, np.inf, np.inf]
        # 70000 is infinite on entry already, so half of it is too.
        assert y[3, 0, ::3].tolist() == [0.5, 30000, np.inf]

    def test_subnormal_values_survive(self):
        w = np.ones((4, 3, 3, 3), np.float32)
        model = network(CONV_RELU, {"w": w, "b": np.zeros(4, np.float32)})
        x = np.zeros((1, 3, 8, 8), np.float32)
        x[0, 0, 0, 0] = 3 * 2.0**-24
        assert run(lowered(model, "FP16"), x)[0, 0, 0, 0] == 3 * 2.0**-24

    def test_the_plan_is_half_the_size(self):
        model = network(TWO_CONVS, {"w": normal(256, 3, 3, 3), "v": normal(5, 256, 1, 1)})
        result = lowered(model, "FP16")
        stored = {tensor.data_type for tensor in result.graph.initializer}
        assert stored == {TensorProto.FLOAT16}
        size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
        assert sum(len(tensor.raw_data) for tensor in result.graph.initializer) == size // 2

    def test_a_tensor_is_rounded_once_for_all_its_readers(self):
        model = network(
            """net (float[n,4] x) => (float[n,8] y) {
                [a] a = Sigmoid (x)
                [b] b = Tanh (x)
                [y] y = Concat <axis = 1> (a, b)
            }"""
        )
        result = lowered(model, "FP16")
        assert Counter(node.op_type for node in result.graph.node)["Cast"] == 6
        x = normal(2, 4)
        expected = np.concatenate([half(1 / (1 + np.exp(-half(x)))), half(np.tanh(half(x)))], 1)
        np.testing.assert_allclose(run(result, x), expected, rtol=2**-10)

    def test_only_the_marked_layers_are_rounded(self):
        w, v = normal(4, 3, 3, 3), normal(5, 4, 1, 1)
        model = network(TWO_CONVS, {"w": w, "v": v})
        x = normal(2, 3, 8, 8)
        middle = np.maximum(conv(x, w), 0)
        first = run(lowered(model, {"first + relu": "FP16"}), x)
        second = run(lowered(model, {"second": "FP16"}), x)
        np.testing.assert_array_equal(second, half(second))
        assert np.abs(first - half(first)).max() > 0
        np.testing.assert_allclose(second, conv(half(middle), half(v)), rtol=1e-3, atol=2e-3)

    def test_integers_are_not_rounded(self):
        model = network(
            """net (float[n,6] x) => (int64[2] y) {
                z = Relu (x)
                y = Shape (z)
            }"""
        )
        assert run(lowered(model, "FP16"), normal(2049, 6)).tolist() == [2049, 6]


class TestINT8:
    def test_a_layer_computes_what_integer_arithmetic_computes(self):
        x, w, b = normal(2, 3, 8, 8), normal(4, 3, 3, 3), normal(4)
        integers, scale = quantised_weights(w)
        unit = np.float32(2.5 / 127) * scale
        sums = conv(quantised(x, 2.5), integers) + np.rint(b[:, None, None] / unit)
        result = run(lowered(network(CONV_RELU, {"w": w, "b": b}), "INT8", x=2.5), x)
        np.testing.assert_allclose(result, np.maximum(sums * unit, 0), rtol=1e-5, atol=1e-5)
        assert np.abs(x).max() > 2.5  # so that clipping was seen too

    def test_between_two_layers_the_tensor_is_int8(self):
        x, w, v = normal(2, 3, 8, 8), normal(4, 3, 3, 3), normal(5, 4, 1, 1)
        model = lowered(network(TWO_CONVS, {"w": w, "v": v}), "INT8", x=3.0, b=6.0)
        (w_int, w_scale), (v_int, v_scale) = quantised_weights(w), quantised_weights(v)
        middle = conv(quantised(x, 3.0), w_int) * np.float32(3 / 127) * w_scale
        expected = conv(quantised(np.maximum(middle, 0), 6.0), v_int)
        expected = expected * np.float32(6 / 127) * v_scale
        np.testing.assert_allclose(run(model, x), expected, rtol=1e-4, atol=1e-4)

    def test_a_residual_is_added_before_rounding(self):
        x, w, v = normal(2, 4, 8, 8), normal(4, 4, 1, 1), normal(4, 4, 1, 1, seed=1)
        model = lowered(network(RESIDUAL, {"w": w, "v": v}), "INT8", x=3.0, d=7.0)
        (w_int, w_scale), (v_int, v_scale) = quantised_weights(w), quantised_weights(v)
        x_int, x_scale = quantised(x, 3.0), np.float32(3 / 127)
        summed = conv(x_int, w_int) * x_scale * w_scale + x_int * x_scale
        expected = conv(quantised(np.maximum(summed, 0), 7.0), v_int) * np.float32(7 / 127)
        np.testing.assert_allclose(run(model, x), expected * v_scale, rtol=1e-4, atol=1e-4)

    def test_saturating_products_are_exact_on_every_processor(self):
        # 255 * 127 * 2 exceeds 16 bits: kernels without VNNI go wrong unless told to be careful.
        x, w = np.ones((1, 8, 8, 8), np.float32), np.ones((32, 8, 3, 3), np.float32)
        v = np.ones((32, 32, 1, 1), np.float32)
        text = TWO_CONVS.replace("n,3,", "n,8,").replace("n,5,", "n,32,")
        model = lowered(network(text, {"w": w, "v": v}), "INT8", x=1.0, b=72.0)
        assert run(model, x)[0, 0, 4, 4] == pytest.approx(32 * 72, rel=1e-5)
        np.testing.assert_allclose(run(model, x), without_optimisations(model, x), rtol=1e-5)

    def test_onnx_runtime_really_executes_integers(self, tmp_path):
        weights = {"w": normal(4, 3, 3, 3), "v": normal(5, 4, 1, 1)}
        model = network(
            TWO_CONVS.replace("y = Conv (b, v)", "c = Conv (b, v) y = Relu (c)"), weights
        )
        operators = optimised(lowered(model, "INT8", x=3.0, b=6.0), tmp_path / "a.onnx")
        assert operators["QLinearConv"] == 1  # the other writes the float output of the network
        gemm = network(
            "net (float[n,4] x) => (float[n,2] y) { y = Gemm (x, w, b) }",
            {"w": normal(4, 2), "b": normal(2)},
        )
        assert optimised(lowered(gemm, "INT8", x=3.0), tmp_path / "b.onnx")["QGemm"] == 1

    def test_weights_are_stored_as_int8(self):
        model = network(TWO_CONVS, {"w": normal(256, 3, 3, 3), "v": normal(5, 256, 1, 1)})
        result = lowered(model, "INT8", x=3.0, b=6.0)
        stored = [t for t in result.graph.initializer if len(t.raw_data) >= 5 * 256]
        assert {(tuple(t.dims), t.data_type) for t in stored if len(t.dims) == 4} == {
            ((256, 3, 3, 3), TensorProto.INT8),
            ((5, 256, 1, 1), TensorProto.INT8),
        }
        assert len(result.SerializeToString()) < 0.45 * len(model.SerializeToString())

    def test_only_the_marked_layer_is_quantised(self):
        x, w, v = normal(2, 3, 8, 8), normal(4, 3, 3, 3), normal(5, 4, 1, 1)
        model = lowered(network(TWO_CONVS, {"w": w, "v": v}), {"second": "INT8"}, b=6.0)
        v_int, v_scale = quantised_weights(v)
        expected = conv(quantised(np.maximum(conv(x, w), 0), 6.0), v_int) * np.float32(6 / 127)
        difference = np.abs(run(model, x) - expected * v_scale)
        assert np.median(difference) < 1e-5  # a sum close to a half may round the other way

    def test_int8_beside_fp16(self):
        x, w, v = normal(2, 3, 8, 8), normal(4, 3, 3, 3), normal(5, 4, 1, 1)
        model = network(TWO_CONVS, {"w": w, "v": v})
        result = run(lowered(model, {"first + relu": "INT8", "second": "FP16"}, x=4.0), x)
        w_int, w_scale = quantised_weights(w)
        middle = np.maximum(conv(quantised(x, 4.0), w_int) * np.float32(4 / 127) * w_scale, 0)
        np.testing.assert_array_equal(result, half(result))
        np.testing.assert_allclose(result, conv(half(middle), half(v)), rtol=2e-3, atol=2e-3)

    def test_an_output_of_the_network_that_an_int8_layer_reads_is_not_rounded(self):
        text = TWO_CONVS.replace("(float[n,5,8,8] y)", "(float[n,4,8,8] b, float[n,5,8,8] y)")
        x, w, v = normal(1, 3, 8, 8), normal(4, 3, 3, 3), normal(5, 4, 1, 1)
        model = network(text, {"w": w, "v": v})
        session = make_session(lowered(model, "INT8", x=4.0, b=8.0).SerializeToString())
        b, y = session.run(["b", "y"], {"x": x})
        w_int, w_scale = quantised_weights(w)
        middle = np.maximum(conv(quantised(x, 4.0), w_int) * np.float32(4 / 127) * w_scale, 0)
        np.testing.assert_allclose(b, middle, rtol=1e-5, atol=1e-5)
        v_int, v_scale = quantised_weights(v)
        expected = conv(quantised(b, 8.0), v_int) * np.float32(8 / 127) * v_scale
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize(
        ("node", "shape"),
        [
            ("Conv <pads = [1, 1, 1, 1]> (x, w, b)", (6, 4, 3, 3)),
            ("Conv <pads = [1, 1, 1, 1], group = 2> (x, w, b)", (6, 2, 3, 3)),
            ("ConvTranspose (x, w, b)", (4, 6, 2, 2)),
            ("ConvTranspose <group = 2> (x, w, b)", (4, 3, 2, 2)),
        ],
    )
    @pytest.mark.parametrize("opset", [11, 13, 17])
    def test_channels_of_any_scale_keep_their_precision(self, node, shape, opset):
        """A tiny channel beside a large one would vanish with one scale for all."""
        w, b = normal(*shape), np.float32(0.1) * normal(6)
        axis = 0 if node.startswith("Conv <") else 1
        sizes = np.float32(10.0) ** np.linspace(-4, 2, shape[axis], dtype=np.float32)
        w *= sizes.reshape([-1 if i == axis else 1 for i in range(4)])
        b[:] = 0
        text = f"net (float[n,4,8,8] x) => (float[n,6,h,v] y) {{ a = {node} y = Relu (a) }}"
        model = network(text, {"w": w, "b": b}, opset)
        x = normal(2, 4, 8, 8)
        expected = run(model, x)
        result = run(lowered(model, "INT8", x=float(np.abs(x).max())), x)
        error = np.abs(result - expected).max(axis=(0, 2, 3))
        assert (error / expected.max(axis=(0, 2, 3))).max() < 0.02

    @pytest.mark.parametrize(
        ("node", "shape", "axis"),
        [
            ("Gemm (x, w, b)", (8, 5), 1),
            ("Gemm <transB = 1> (x, w, b)", (5, 8), 0),
            ("Gemm <alpha = 0.5, beta = 2.0> (x, w, b)", (8, 5), 1),
            ("MatMul (x, w)", (8, 5), 1),
        ],
    )
    def test_matrix_products_keep_the_precision_of_every_column(self, node, shape, axis):
        sizes = np.float32(10.0) ** np.linspace(-4, 2, 5, dtype=np.float32)
        w = normal(*shape) * (sizes if axis == 1 else sizes[:, None])
        text = f"net (float[n,8] x) => (float[n,5] y) {{ y = {node} }}"
        model = network(text, {"w": w, "b": sizes})
        x = normal(50, 8)
        expected = run(model, x)
        result = run(lowered(model, "INT8", x=float(np.abs(x).max())), x)
        error = np.abs(result - expected).max(axis=0) / np.abs(expected).max(axis=0)
        assert error.max() < 0.03

    def test_a_channel_without_weights_keeps_its_bias(self):
        w, b = normal(4, 3, 3, 3), np.array([1, -2, 3, 40000], np.float32)
        w[0], w[3] = 0, w[3] * 1e-30
        x = normal(1, 3, 8, 8)
        y = run(lowered(network(CONV_RELU, {"w": w, "b": b}), "INT8", x=3.0), x)
        np.testing.assert_allclose(y[0, 0], 1, rtol=1e-6)
        np.testing.assert_allclose(y[0, 3], 40000, rtol=1e-6)

    def test_calibrated_ranges_make_a_close_network(self):
        torch.manual_seed(0)
        weights = {"w": normal(16, 3, 3, 3), "v": normal(5, 16, 1, 1)}
        model = network(TWO_CONVS, weights)
        ranges = collect_ranges(model, [{"x": normal(64, 3, 8, 8, seed=1)}])
        x = normal(16, 3, 8, 8, seed=2)
        expected, result = run(model, x).ravel(), run(lowered(model, "INT8", **ranges), x).ravel()
        cosine = expected @ result / np.linalg.norm(expected) / np.linalg.norm(result)
        assert 0.999 < cosine < 1

    def test_a_missing_or_impossible_range_is_named(self):
        model = network(TWO_CONVS, {"w": normal(4, 3, 3, 3), "v": normal(5, 4, 1, 1)})
        with pytest.raises(ValueError, match="'b', whose range is None"):
            lowered(model, "INT8", x=1.0)
        with pytest.raises(ValueError, match="'x', whose range is nan"):
            lowered(model, "INT8", x=float("nan"), b=1.0)


class TestBorder:
    @pytest.mark.parametrize("precision", ["FP32", "FP16", "INT8"])
    def test_names_types_and_the_dynamic_batch_stay(self, precision):
        model = network(TWO_CONVS, {"w": normal(4, 3, 3, 3), "v": normal(5, 4, 1, 1)})
        result = lowered(model, precision, x=3.0, b=6.0)
        assert list(result.graph.input) == list(model.graph.input)
        assert list(result.graph.output) == list(model.graph.output)
        for batch in (1, 5):
            y = run(result, normal(batch, 3, 8, 8))
            assert (y.dtype, y.shape) == (np.float32, (batch, 5, 8, 8))

    def test_weights_that_nodes_compute_are_folded(self):
        model = network(
            """net (float[n,4,8,8] x) => (float[n,256] y) {
                w2 = Neg (w)
                a = Conv (x, w2)
                shape = Constant <value = int64[2] {-1, 256}> ()
                y = Reshape (a, shape)
            }""",
            {"w": normal(4, 4, 1, 1)},
        )
        x = normal(3, 4, 8, 8)
        result = lowered(model, "INT8", **collect_ranges(model, [{"x": x}], "minmax"))
        assert "Neg" not in {node.op_type for node in result.graph.node}
        np.testing.assert_allclose(run(result, x), run(model, x), atol=0.2)

    def test_layers_of_another_model_are_refused(self):
        one = network(CONV_RELU, {"w": normal(4, 3, 3, 3), "b": normal(4)})
        other = network(TWO_CONVS, {"w": normal(4, 3, 3, 3), "v": normal(5, 4, 1, 1)})
        with pytest.raises(ValueError, match="not the same"):
            lower(one, fuse(other))

    def test_an_unknown_precision_is_refused(self):
        model = network(CONV_RELU, {"w": normal(4, 3, 3, 3), "b": normal(4)})
        with pytest.raises(ValueError, match=r"Unknown precisions \['fp16'\]"):
            lowered(model, "fp16")

    def test_a_session_prints_nothing(self, capfd):
        model = network(TWO_CONVS, {"w": normal(4, 3, 3, 3), "v": normal(5, 4, 1, 1)})
        run(lowered(model, "INT8", x=3.0, b=6.0), normal(1, 3, 8, 8))
        assert capfd.readouterr() == ("", "")
