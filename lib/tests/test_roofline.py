"""Counting FLOPs and bytes of an ONNX graph, against PyTorch's counter and by hand."""

from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from trtlab.backend import IS_EMULATED
from trtlab.errors import InferenceError, ModelError
from trtlab.export import export_onnx
from trtlab.models import create_model
from trtlab.roofline import (
    Ceilings,
    as_kernels,
    count_nodes,
    engine_seconds,
    measure_ceilings,
    total,
)

CONTRACTIONS = ("Conv", "Gemm", "MatMul")


def contraction_flops(model: onnx.ModelProto, batch_size: int) -> int:
    return sum(n.flops for n in count_nodes(model, batch_size) if n.op_type in CONTRACTIONS)


class Grouped(nn.Module):
    """Strides, groups, dilation, padding, and a matrix product without a Gemm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 5, stride=2, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8, dilation=2)
        self.fc = nn.Linear(8, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.depthwise(torch.relu(self.stem(x)))).mean((2, 3))
        return self.fc(x) @ self.fc.weight


@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("arch", ["grouped", "resnet50-slim"])
def test_flops_are_those_that_pytorch_counts(arch: str, batch_size: int, tmp_path: Path) -> None:
    model = Grouped() if arch == "grouped" else create_model(arch, 10)
    path = export_onnx(model.eval(), tmp_path / "model.onnx", input_shape=(3, 64, 64))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(batch_size, 3, 64, 64))
    assert contraction_flops(onnx.load(path), batch_size) == counter.get_total_flops()


def residual_block() -> onnx.ModelProto:
    """conv -> relu -> (+ input) -> output, 4 channels of 5x5, so that all can be done by hand."""
    float32 = TensorProto.FLOAT
    weight = helper.make_tensor("w", float32, [4, 4, 1, 1], [0.0] * 16)
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["c"], "conv"),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Add", ["r", "input"], ["output"], "add"),
    ]
    values = [
        helper.make_tensor_value_info(name, float32, ["batch", 4, 5, 5])
        for name in ("input", "output")
    ]
    graph = helper.make_graph(nodes, "block", values[:1], values[1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


IMAGE = 2 * 4 * 5 * 5  # elements of any activation at batch 2


def test_a_node_by_itself_reads_its_inputs_and_weights_and_writes_its_output() -> None:
    kernels = as_kernels(count_nodes(residual_block(), 2), bytes_per_element=4)
    assert [kernel.bytes for kernel in kernels] == [
        4 * (IMAGE + 16 + IMAGE),  # conv
        4 * (IMAGE + IMAGE),  # relu
        4 * (2 * IMAGE + IMAGE),  # add
    ]
    assert kernels[0].flops == 2 * IMAGE * 4
    assert kernels[0].intensity == kernels[0].flops / kernels[0].bytes


def test_fusion_saves_the_traffic_of_the_tensors_inside_and_no_arithmetic() -> None:
    nodes = count_nodes(residual_block(), 2)
    apart = total(as_kernels(nodes, bytes_per_element=2))
    (fused,) = as_kernels(nodes, [("conv", "relu", "add")], bytes_per_element=2)
    assert fused.bytes == 2 * (IMAGE + 16 + IMAGE)  # the residual is the input, read once
    assert fused.flops == apart.flops
    assert fused.bytes < apart.bytes


def test_a_tensor_that_somebody_outside_reads_is_written_all_the_same() -> None:
    model = residual_block()
    model.graph.node[2].input[1] = "c"  # add reads the convolution's output, past the relu
    first, second = as_kernels(
        count_nodes(model, 2), [("conv", "relu"), ("add",)], bytes_per_element=1
    )
    assert first.bytes == IMAGE + 16 + 2 * IMAGE  # c and r are both written
    assert second.bytes == 2 * IMAGE + IMAGE


def test_an_output_of_the_network_is_written_even_if_its_own_kernel_reads_it() -> None:
    """MatMul -> Relu, (2, 4) @ (4, 4), both of them outputs."""
    float32 = TensorProto.FLOAT
    weight = helper.make_tensor("w", float32, [4, 4], [0.0] * 16)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"], "matmul"),
        helper.make_node("Relu", ["product"], ["y"], "relu"),
    ]
    x, *outputs = (
        helper.make_tensor_value_info(name, float32, ["batch", 4]) for name in ("x", "product", "y")
    )
    model = helper.make_model(helper.make_graph(nodes, "two", [x], outputs, [weight]))
    (fused,) = as_kernels(count_nodes(model, 2), [("matmul", "relu")], bytes_per_element=4)
    assert fused.bytes == 4 * (8 + 16 + 8 + 8)  # x, w, product, y


def test_names_that_are_no_nodes_and_nodes_named_twice_count_once() -> None:
    nodes = count_nodes(residual_block(), 2)
    groups = [("conv", "(Unnamed Layer* 3) [Shuffle]"), ("conv",), ("relu",), ("add",)]
    assert as_kernels(nodes, groups, bytes_per_element=4) == as_kernels(nodes, bytes_per_element=4)


def test_intensity_grows_with_the_batch_because_weights_are_read_once() -> None:
    model = residual_block()
    one, many = (total(as_kernels(count_nodes(model, n), bytes_per_element=4)) for n in (1, 64))
    assert many.flops == 64 * one.flops
    assert many.bytes < 64 * one.bytes
    assert many.intensity > one.intensity


def test_a_shape_that_stays_unknown_is_refused_by_name() -> None:
    model = residual_block()
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[2].dim_param = "height"
    with pytest.raises(ModelError, match="'input'"):
        count_nodes(model, 1)


def test_the_roof_is_the_lower_of_memory_and_arithmetic_and_they_meet_at_the_ridge() -> None:
    ceilings = Ceilings("a GPU", bytes_per_second=2e12, fp16_flops=600e12)
    assert ceilings.ridge == 300
    assert ceilings.roof(100) == 200e12
    assert ceilings.roof(300) == ceilings.roof(5000) == 600e12


@pytest.mark.skipif(torch.cuda.is_available(), reason="tells what happens without a GPU")
def test_without_a_gpu_ceilings_are_refused_and_not_made_up() -> None:
    with pytest.raises(InferenceError, match="GPU"):
        measure_ceilings()


@pytest.mark.gpu
@pytest.mark.skipif(IS_EMULATED, reason="needs real TensorRT")
def test_an_engine_stays_below_the_roof(small_onnx: Path, small_engine: Path) -> None:
    ceilings = measure_ceilings()
    work = total(as_kernels(count_nodes(onnx.load(small_onnx), 4), bytes_per_element=2))
    assert work.flops / engine_seconds(small_engine, 4) < ceilings.roof(work.intensity)
