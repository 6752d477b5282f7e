"""What INT8 computes, against integer arithmetic."""

import numpy as np
import pytest
import torch
from onnx import TensorProto

from lowering import (
    CONV_RELU,
    RESIDUAL,
    TWO_CONVS,
    conv,
    half,
    lowered,
    network,
    normal,
    optimised,
    quantised,
    quantised_weights,
    run,
    without_optimisations,
)
from trtlab.backend.emulated.lower import make_session
from trtlab.backend.emulated.quantize import collect_ranges


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
