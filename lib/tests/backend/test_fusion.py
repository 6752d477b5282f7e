"""How ONNX nodes become TensorRT layers."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from trtlab.backend.emulated.fusion import (
    INT8_KINDS,
    LAYER_KINDS,
    constant_names,
    float_tensors,
    fuse,
    node_names,
)


def network(text: str, **shapes: tuple[int, ...]) -> onnx.ModelProto:
    """Parse a graph in ONNX's text format and add zero weights of the given shapes."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {text}')
    for name, shape in shapes.items():
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    onnx.checker.check_model(model)
    return model


BOTTLENECK = """net (float[batch,4,8,8] x) => (float[batch,4,8,8] y) {
    [conv3] a = Conv (x, w3)
    [downsample] b = Conv (x, wd)
    [add] c = Add (a, b)
    [relu] y = Relu (c)
}"""


def layer_names(model: onnx.ModelProto) -> list[str]:
    return [layer.name for layer in fuse(model)]


class TestFusion:
    def test_a_convolution_takes_its_batch_norm_and_relu_and_the_batch_norm_loses_its_name(self):
        model = network(
            """net (float[n,3,8,8] x) => (float[n,4,8,8] y) {
                [conv1] a = Conv (x, w)
                [bn1] b = BatchNormalization (a, g, h, i, j)
                [relu1] y = Relu (b)
            }""",
            w=(4, 3, 1, 1),
            **dict.fromkeys("ghij", (4,)),
        )
        (layer,) = fuse(model)
        assert layer.name == "conv1 + relu1"
        assert layer.kind == "Convolution"
        assert layer.node_names == ("conv1", "bn1", "relu1")
        assert (layer.inputs, layer.outputs, layer.precision) == (("x",), ("y",), "FP32")

    def test_a_residual_add_joins_its_first_convolution_and_runs_after_the_other_branch(self):
        downsample, residual = fuse(network(BOTTLENECK, w3=(4, 4, 1, 1), wd=(4, 4, 1, 1)))
        assert downsample.name == "downsample"
        assert residual.name == "conv3 + add + relu"
        assert residual.inputs == ("x", "b")
        assert residual.outputs == ("y",)

    def test_an_add_that_broadcasts_is_not_a_residual(self):
        model = network(
            """net (float[n,4,8,8] x, float[n,4,1,1] z) => (float[n,4,8,8] y) {
                [conv] a = Conv (x, w)
                [add] y = Add (a, z)
            }""",
            w=(4, 4, 1, 1),
        )
        assert layer_names(model) == ["conv", "add"]

    def test_an_add_of_a_constant_is_not_a_residual(self):
        model = network(
            """net (float[n,4,8,8] x) => (float[n,4,8,8] y) {
                [conv] a = Conv (x, w)
                [add] y = Add (a, z)
            }""",
            w=(4, 4, 1, 1),
            z=(4, 1, 1),
        )
        assert layer_names(model) == ["conv", "add"]

    def test_a_matrix_product_takes_its_bias_and_relu(self):
        model = network(
            """net (float[n,4] x) => (float[n,2] y) {
                [matmul] a = MatMul (x, w)
                [bias] b = Add (a, z)
                [relu] y = Relu (b)
            }""",
            w=(4, 2),
            z=(2,),
        )
        (layer,) = fuse(model)
        assert (layer.name, layer.kind) == ("matmul + bias + relu", "MatrixMultiply")

    def test_a_tensor_that_is_read_twice_ends_its_layer(self):
        model = network(
            """net (float[n,4,8,8] x) => (float[n,4,8,8] y) {
                [conv] a = Conv (x, w)
                [relu] b = Relu (a)
                [add] y = Mul (a, b)
            }""",
            w=(4, 4, 1, 1),
        )
        assert layer_names(model) == ["conv", "relu", "add"]

    def test_an_output_of_the_network_ends_its_layer(self):
        model = network(
            """net (float[n,4,8,8] x) => (float[n,4,8,8] a, float[n,4,8,8] y) {
                [conv] a = Conv (x, w)
                [relu] y = Relu (a)
            }""",
            w=(4, 4, 1, 1),
        )
        assert layer_names(model) == ["conv", "relu"]

    def test_layers_are_of_tensorrts_kinds(self):
        model = network(
            """net (float[n,4,8,8] x) => (float[n,4] y) {
                a = MaxPool <kernel_shape = [2, 2]> (x)
                b = Sigmoid (a)
                c = Concat <axis = 1> (a, b)
                d = GlobalAveragePool (c)
                e = Flatten (d)
                f = Gemm (e, w)
                y = Softmax (f)
            }""",
            w=(8, 4),
        )
        kinds = [layer.kind for layer in fuse(model)]
        assert kinds[:4] == ["Pooling", "Activation", "Concatenation", "Pooling"]
        assert kinds[4:] == ["Shuffle", "MatrixMultiply", "SoftMax"]

    def test_weights_that_nodes_compute_are_no_layers(self):
        model = network(
            """net (float[n,4,8,8] x) => (float[n,256] y) {
                w2 = Identity (w)
                a = Conv (x, w2)
                shape = Constant <value = int64[2] {-1, 256}> ()
                y = Reshape (a, shape)
            }""",
            w=(4, 4, 1, 1),
        )
        assert [layer.kind for layer in fuse(model)] == ["Convolution", "Shuffle"]
        assert constant_names(model.graph) == {"w", "w2", "shape"}

    def test_an_operator_that_is_missing_is_named_together_with_those_there_are(self):
        model = network("net (float[n] x) => (float[n] y) { [odd] y = Sinh (x) }")
        with pytest.raises(ValueError, match=r"'odd' is a 'Sinh'.*Conv, ConvTranspose"):
            fuse(model)

    def test_every_operator_in_the_table_exists_in_onnx(self):
        assert [name for name in LAYER_KINDS if not onnx.defs.has(name)] == []
        assert set(LAYER_KINDS.values()) > INT8_KINDS


class TestNames:
    def test_nodes_without_a_name_get_their_operator_and_index(self):
        model = network("net (float[n] x) => (float[n] y) { a = Relu (x) [b] y = Tanh (a) }")
        assert node_names(model) == ["Relu_0", "b"]

    def test_nodes_that_share_a_name_get_their_index_behind_it(self):
        model = network("net (float[n] x) => (float[n] y) { [a] z = Relu (x) [a] y = Tanh (z) }")
        assert node_names(model) == ["a_0", "a_1"]

    def test_only_float32_activations_can_be_rounded(self):
        model = network(
            """net (float[n,4] x, int64[k] i) => (float[n,k] y) {
                z = Add (x, w)
                y = Gather <axis = 1> (z, i)
            }""",
            w=(4,),
        )
        assert float_tensors(model) == {"x", "y", "z"}


@st.composite
def random_networks(draw: st.DrawFn) -> onnx.ModelProto:
    """Networks of convolutions, additions and activations, wired at random."""
    tensors, lines = ["x"], []
    for i in range(draw(st.integers(1, 12))):
        pick = st.sampled_from(tensors)
        operation = draw(
            st.one_of(
                pick.map("Conv ({}, w)".format),
                pick.map("Relu ({})".format),
                st.tuples(pick, pick).map(lambda pair: "Add ({}, {})".format(*pair)),
            )
        )
        lines.append(f"t{i} = {operation}")
        tensors.append(f"t{i}")
    body = "\n".join([*lines, f"y = Identity ({tensors[-1]})"])
    return network(f"net (float[n,2,4,4] x) => (float[n,2,4,4] y) {{ {body} }}", w=(2, 2, 1, 1))


@given(random_networks())
def test_every_node_is_in_one_layer_and_every_layer_can_run_after_those_before_it(model):
    layers = fuse(model)
    covered = [name for layer in layers for name in layer.node_names]
    assert sorted(covered) == sorted(node_names(model))
    available = {"x"}
    for layer in layers:
        assert available.issuperset(layer.inputs)
        available.update(layer.outputs)
    assert "y" in available
