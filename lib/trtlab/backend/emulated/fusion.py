"""Groups the nodes of an ONNX graph into the layers that TensorRT's builder would make of them.

A layer is what gets a precision: values are rounded where they cross its border, never inside it.
This module only reads the graph; `lower` rewrites it.

Source: "Layer Fusion" in the TensorRT developer guide, and the layer names of engines that
TensorRT 8.6 built from torchvision's ResNet-50.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import onnx
from onnx import TensorProto

LAYER_KINDS = {
    "Add": "ElementWise",
    "AveragePool": "Pooling",
    "BatchNormalization": "Scale",
    "Cast": "Cast",
    "Clip": "Activation",
    "Concat": "Concatenation",
    "Conv": "Convolution",
    "ConvTranspose": "Deconvolution",
    "Div": "ElementWise",
    "Dropout": "Identity",
    "Elu": "Activation",
    "Erf": "Unary",
    "Exp": "Unary",
    "Expand": "Slice",
    "Flatten": "Shuffle",
    "Gather": "Gather",
    "Gemm": "MatrixMultiply",
    "GlobalAveragePool": "Pooling",
    "GlobalMaxPool": "Pooling",
    "HardSigmoid": "Activation",
    "HardSwish": "Activation",
    "Identity": "Identity",
    "InstanceNormalization": "Normalization",
    "LayerNormalization": "Normalization",
    "LeakyRelu": "Activation",
    "Log": "Unary",
    "LogSoftmax": "SoftMax",
    "LRN": "LRN",
    "MatMul": "MatrixMultiply",
    "Max": "ElementWise",
    "MaxPool": "Pooling",
    "Min": "ElementWise",
    "Mul": "ElementWise",
    "Neg": "Unary",
    "Pad": "Slice",
    "Pow": "ElementWise",
    "PRelu": "ParametricReLU",
    "ReduceMax": "Reduce",
    "ReduceMean": "Reduce",
    "ReduceSum": "Reduce",
    "Relu": "Activation",
    "Reshape": "Shuffle",
    "Resize": "Resize",
    "Shape": "Shape",
    "Sigmoid": "Activation",
    "Slice": "Slice",
    "Softmax": "SoftMax",
    "Sqrt": "Unary",
    "Squeeze": "Shuffle",
    "Sub": "ElementWise",
    "Tanh": "Activation",
    "Transpose": "Shuffle",
    "Unsqueeze": "Shuffle",
}
"""ONNX operator -> kind of TensorRT layer, for every operator that the emulation executes."""

INT8_KINDS = frozenset(
    {"Convolution", "Deconvolution", "MatrixMultiply", "Pooling", "ElementWise", "Activation"}
    | {"Concatenation", "Shuffle"}
)
"""Kinds of layer that have an INT8 implementation; the others fall back to a higher precision."""


@dataclass(frozen=True)
class FusedLayer:
    """One layer of an engine.

    `inputs` and `outputs` are the tensors at the border of the layer, without its weights.
    `node_names` are names from `node_names(model)`, in execution order.
    """

    name: str
    kind: str
    node_names: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    precision: str = "FP32"  # or TF32, FP16, INT8


def node_names(model: onnx.ModelProto) -> list[str]:
    """Return one unique, stable name per node of the graph, in the order of the nodes.

    ONNX allows nodes without a name and nodes that share one; those get their operator or name
    with their index behind it, as TensorRT's parser does.
    """
    shared = Counter(node.name for node in model.graph.node)
    return [
        node.name if node.name and shared[node.name] == 1 else f"{node.name or node.op_type}_{i}"
        for i, node in enumerate(model.graph.node)
    ]


def constant_names(graph: onnx.GraphProto) -> set[str]:
    """Return the tensors that do not depend on the graph's inputs: weights and folded nodes."""
    constants = {""} | {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if constants.issuperset(node.input):
            constants.update(node.output)
    return constants - {""}


def float_tensors(model: onnx.ModelProto) -> set[str]:
    """Return the float32 activation tensors: those that a lower precision would round."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    constants = constant_names(graph)
    return {
        value.name
        for value in values
        if value.type.tensor_type.elem_type == TensorProto.FLOAT and value.name not in constants
    }


def fuse(model: onnx.ModelProto) -> list[FusedLayer]:
    """Return the layers of the engine in execution order, all in FP32.

    Convolutions take a BatchNormalization, a residual Add and a Relu or Clip behind them; matrix
    multiplications a bias Add and a Relu or Clip; everything else is a layer of its own. A tensor
    that is read twice, or that is an output of the network, always ends its layer.

    Raises:
        ValueError: if the graph holds an operator that is not in `LAYER_KINDS`.
    """
    return _Fuser(model).layers()


class _Fuser:
    """The graph with what is needed to walk along it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.names = node_names(model)
        self.constants = constant_names(model.graph)
        self.shapes = _shapes(model)
        self.consumers: dict[str, list[int]] = {}
        for i, node in enumerate(self.graph.node):
            for tensor in node.input:
                self.consumers.setdefault(tensor, []).append(i)
        self.network_outputs = {output.name for output in self.graph.output}

    def layers(self) -> list[FusedLayer]:
        groups: list[list[int]] = []
        taken: set[int] = set()
        for i, node in enumerate(self.graph.node):
            if i in taken or self.constants.issuperset(node.output):
                continue
            if node.op_type not in LAYER_KINDS:
                raise ValueError(
                    f"Node {self.names[i]!r} is a {node.op_type!r}, an operator that the emulated "
                    f"TensorRT lacks. It has: {', '.join(sorted(LAYER_KINDS))}."
                )
            groups.append(self._chain(i, taken))
            taken.update(groups[-1])
        # A layer can run once its last node can: residual layers wait for their other branch.
        return [self._layer(group) for group in sorted(groups, key=lambda group: group[-1])]

    def _chain(self, head: int, taken: set[int]) -> list[int]:
        """Return the nodes that make one layer, beginning with `head`."""
        chain = [head]
        op_type = self.graph.node[head].op_type
        if op_type == "Conv":
            steps = [("BatchNormalization",), ("Add",), ("Relu", "Clip")]
        elif op_type == "ConvTranspose":
            steps = [("Relu", "Clip")]
        elif op_type in ("Gemm", "MatMul"):
            steps = [("Add",), ("Relu", "Clip")]
        else:
            return chain
        for wanted in steps:
            following = self._only_consumer(chain[-1])
            if following is None or following in taken:
                continue
            node = self.graph.node[following]
            if node.op_type in wanted and self._joins(node, chain[-1]):
                chain.append(following)
        return chain

    def _only_consumer(self, index: int) -> int | None:
        outputs = [name for name in self.graph.node[index].output if name]
        if len(outputs) != 1 or self.network_outputs.intersection(outputs):
            return None
        consumers = self.consumers.get(outputs[0], [])
        return consumers[0] if len(consumers) == 1 else None

    def _joins(self, node: onnx.NodeProto, index: int) -> bool:
        """Whether `node`, the only consumer of the node at `index`, belongs to its layer."""
        before = self.graph.node[index]
        if node.op_type == "BatchNormalization":
            return self.constants.issuperset([*before.input[1:], *node.input[1:]])
        if node.op_type != "Add":
            return True
        if before.op_type in ("Gemm", "MatMul"):
            return not self.constants.isdisjoint(node.input)  # a bias
        first, second = (self.shapes.get(name) for name in node.input)
        return self.constants.isdisjoint(node.input) and first is not None and first == second

    def _layer(self, group: Sequence[int]) -> FusedLayer:
        nodes = [self.graph.node[i] for i in group]
        produced = {name for node in nodes for name in node.output}
        inputs = _unique(
            name
            for node in nodes
            for name in node.input
            if name and name not in produced and name not in self.constants
        )
        # All but the last node of a chain have their one consumer inside the layer.
        outputs = tuple(name for name in nodes[-1].output if name)
        # TensorRT folds a BatchNormalization into the weights, and its name is gone.
        shown = [
            self.names[i]
            for i in group
            if i == group[0] or self.graph.node[i].op_type != "BatchNormalization"
        ]
        return FusedLayer(
            name=" + ".join(shown),
            kind=LAYER_KINDS[nodes[0].op_type],
            node_names=tuple(self.names[i] for i in group),
            inputs=inputs,
            outputs=outputs,
        )


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int | str, ...]]:
    """Return the shapes known to ONNX; a dynamic dimension is its name, such as 'batch'."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: tuple(
            dim.dim_param if dim.HasField("dim_param") else dim.dim_value
            for dim in value.type.tensor_type.shape.dim
        )
        for value in [*graph.input, *graph.value_info, *graph.output]
        if value.type.tensor_type.HasField("shape")
    }
