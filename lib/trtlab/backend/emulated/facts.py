"""What an engine knows about its layers: parameters for the inspector, and the memory they need."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from trtlab.backend.emulated import graph
from trtlab.backend.emulated.fusion import FusedLayer, constant_names
from trtlab.backend.emulated.plan import LayerFacts

ITEM_SIZES = {"FP32": 4, "TF32": 4, "FP16": 2, "INT8": 1}
WEIGHT_TYPES = {"FP32": "Float", "TF32": "Float", "FP16": "Half", "INT8": "Int8"}

_WINDOWS = {"kernel_shape": "Kernel", "strides": "Stride", "dilations": "Dilation"}
_PARAMETRISED = ("Convolution", "Deconvolution", "MatrixMultiply")


def layer_facts(model: onnx.ModelProto, layers: Sequence[FusedLayer]) -> tuple[LayerFacts, ...]:
    """Return what the inspector shows of each layer."""
    nodes = {node.name: node for node in model.graph.node}
    shapes = {name: graph.shape_of(value) for name, value in graph.values(model).items()}
    shapes.update({weight.name: tuple(weight.dims) for weight in model.graph.initializer})
    constants = constant_names(model.graph)
    return tuple(
        LayerFacts(
            name=layer.name,
            kind=layer.kind,
            precision=layer.precision,
            inputs=layer.inputs,
            outputs=layer.outputs,
            parameters=_parameters(layer, [nodes[n] for n in layer.node_names], shapes, constants),
            onnx_nodes=layer.node_names,
        )
        for layer in layers
    )


def _parameters(
    layer: FusedLayer,
    nodes: Sequence[onnx.NodeProto],
    shapes: Mapping[str, graph.Shape],
    constants: set[str],
) -> dict[str, Any]:
    """Return the parameters of a layer in the inspector's words."""
    head = nodes[0]
    given = graph.attributes(head)
    found: dict[str, Any] = {
        word: list(given[name]) for name, word in _WINDOWS.items() if name in given
    }
    if pads := given.get("pads"):
        half = len(pads) // 2
        found["PrePadding"], found["PostPadding"] = list(pads[:half]), list(pads[half:])
    if layer.kind in _PARAMETRISED and len(head.input) > 1 and head.input[1] in constants:
        weight = shapes[head.input[1]]
        if head.op_type.startswith("Conv"):
            found["Kernel"] = list(weight[2:])
        transposed = head.op_type == "Gemm" and given.get("transB", 0)
        axis = {"Conv": 0, "ConvTranspose": 1}.get(head.op_type, 0 if transposed else -1)
        found["OutMaps"] = weight[axis]
        found["Groups"] = given.get("group", 1)
        found["Weights"] = {"Type": WEIGHT_TYPES[layer.precision], "Count": math.prod(weight)}
        biased = len(head.input) > 2 or any(node.op_type == "BatchNormalization" for node in nodes)
        found["Bias"] = {"Type": "Float", "Count": weight[axis] if biased else 0}
    operators = [node.op_type for node in nodes]
    if layer.kind == "Convolution":
        found["HasResidual"] = int("Add" in operators)
    if {"Relu", "Clip"}.intersection(operators):
        found["Activation"] = "RELU" if "Relu" in operators else "CLIP"
    return found


def activation_bytes(
    bare: onnx.ModelProto, layers: Sequence[FusedLayer], inputs: Mapping[str, graph.Shape]
) -> int:
    """Return the peak size of the tensors between layers, each freed after its last reader.

    Inputs and outputs of the network are the caller's buffers and not counted.
    """
    shapes = graph.infer_shapes(bare, inputs)
    borders = {value.name for value in [*bare.graph.input, *bare.graph.output]}
    last_use = {name: i for i, layer in enumerate(layers) for name in layer.inputs}
    live: dict[str, int] = {}
    peak = 0
    for i, layer in enumerate(layers):
        for name in layer.outputs:
            if name not in borders:
                elements = math.prod(shapes.get(name, (0,)))
                live[name] = elements * ITEM_SIZES[layer.precision]
        peak = max(peak, sum(live.values()))
        for name in layer.inputs:
            if last_use[name] == i:
                live.pop(name, None)
    return peak
