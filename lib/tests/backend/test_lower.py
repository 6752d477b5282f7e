"""What full precision and FP16 compute, against PyTorch and NumPy; INT8: test_lower_int8.py."""

from collections import Counter

import numpy as np
import pytest
import torch
from onnx import TensorProto
from torch import nn

from lowering import CONV_RELU, TWO_CONVS, conv, half, lowered, network, normal, run
from trtlab.backend.emulated.fusion import fuse
from trtlab.backend.emulated.lower import lower
from trtlab.backend.emulated.quantize import collect_ranges


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
