"""Turns fused layers with their precisions into an ONNX model that ONNX Runtime executes.

What a precision means, here as on the GPU:

FP32, TF32  The network as it is. The 10-bit mantissa of TF32 products is not emulated.
FP16        Weights are stored as float16. Activations are rounded to float16 where they enter and
            leave the layer; beyond 65504 they become infinite. Products are summed in float32, as
            tensor cores do.
INT8        Weights are stored as int8, one scale per output channel: its largest magnitude / 127.
            Activations that enter the layer are rounded to int8 with scale = range / 127 and zero
            point 0. Products are summed exactly; bias, residual and ReLU are applied before the
            next rounding, as in TensorRT's fused kernels.

The Q/DQ nodes are placed here because onnxruntime.quantization also rounds between a convolution
and its Add or Relu. Inputs and outputs of the network stay float32 and keep their names and
dynamic dimensions.
"""

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from trtlab.backend.emulated.fusion import FusedLayer, constant_names, float_tensors, node_names

# The same integers with 128 added: ONNX Runtime's kernels for x86 are ten times faster on uint8.
_INT8_ZERO = np.uint8(128)
_PRECISIONS = ("FP32", "TF32", "FP16", "INT8")
_INTEGER_CLIP_OPSET = 12
_FLOAT16_MAX = float(np.finfo(np.float16).max)

# Operators whose outputs are among their inputs, or 0: float16 in, float16 out without rounding.
_SELECTING = frozenset(
    {"Concat", "Dropout", "Expand", "Flatten", "Gather", "GlobalMaxPool", "Identity", "MaxPool"}
    | {"Neg", "Relu", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)


def make_session(model_bytes: bytes, threads: int | None = None) -> onnxruntime.InferenceSession:
    """Return a session that runs a (lowered) model on the CPU, quietly.

    Args:
        model_bytes: a serialised ONNX model.
        threads: threads per operator; None takes one per core.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3  # errors only; they are raised as well
    # Without VNNI, ONNX Runtime multiplies 8-bit numbers with VPMADDUBSW, which saturates at 16
    # bits. This makes it store the weights as uint8 there, whose kernels are exact.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(model_bytes, options, providers=["CPUExecutionProvider"])


def lower(
    model: onnx.ModelProto,
    layers: Sequence[FusedLayer],
    ranges: Mapping[str, float] | None = None,
) -> onnx.ModelProto:
    """Return the model that computes what an engine made of `layers` computes.

    Args:
        model: the network; it is not modified.
        layers: `fuse(model)`, in that order, with the precisions chosen.
        ranges: tensor -> largest magnitude that INT8 represents, for every float tensor that an
            INT8 layer reads.

    Raises:
        ValueError: if the layers are not those of the model, a precision is unknown, or an INT8
            layer reads a tensor without a finite positive range.
    """
    return _Lowering(model, layers, ranges or {}).run()


class _Lowering:
    """The graph under construction; every helper appends the nodes it needs."""

    def __init__(
        self, model: onnx.ModelProto, layers: Sequence[FusedLayer], ranges: Mapping[str, float]
    ) -> None:
        self.model, self.layers, self.ranges = model, layers, ranges
        self.floats = float_tensors(model)
        self.constants = _constant_values(model)
        self.source = dict(zip(node_names(model), model.graph.node, strict=True))
        self.network_outputs = {output.name for output in model.graph.output}
        self.opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        self.read_as_int8 = {
            name for layer in layers if layer.precision == "INT8" for name in layer.inputs
        }
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.stored: dict[str, str] = {}  # tensor -> the tensor that all its readers see
        self.half: set[str] = set()  # tensors that are float16 values already
        self.made: set[str] = set()  # tensors that helpers have appended nodes for

    def run(self) -> onnx.ModelProto:
        self._check_layers()
        self._check_ranges()
        for layer in self.layers:
            self._lower_layer(layer)
        lowered = onnx.ModelProto(ir_version=self.model.ir_version, producer_name="trtlab")
        lowered.opset_import.extend(self.model.opset_import)
        if self.opset < 13:
            lowered.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        graph = lowered.graph
        graph.name = self.model.graph.name
        constants = self.constants.keys()
        graph.input.extend(value for value in self.model.graph.input if value.name not in constants)
        graph.output.extend(self.model.graph.output)
        graph.node.extend(self.nodes)
        graph.initializer.extend(self.initializers.values())
        return lowered

    def _check_layers(self) -> None:
        covered = [name for layer in self.layers for name in layer.node_names]
        constant = constant_names(self.model.graph)
        active = {n for n, node in self.source.items() if not constant.issuperset(node.output)}
        if sorted(covered) != sorted(active):
            raise ValueError(
                f"The layers hold {len(covered)} nodes and the model {len(active)}, and they are "
                f"not the same: {sorted(active.symmetric_difference(covered))}. Pass the layers "
                "that fuse() made of this model."
            )
        unknown = {layer.precision for layer in self.layers} - set(_PRECISIONS)
        if unknown:
            raise ValueError(f"Unknown precisions {sorted(unknown)}; there are {_PRECISIONS}.")

    def _check_ranges(self) -> None:
        for name in sorted(self.read_as_int8 & self.floats):
            value = self.ranges.get(name)
            if value is None or not np.isfinite(value) or value <= 0:
                raise ValueError(
                    f"An INT8 layer reads tensor {name!r}, whose range is {value}. Calibrate with "
                    "images that reach it, or give the layer a higher precision."
                )

    def _lower_layer(self, layer: FusedLayer) -> None:
        nodes = [copy.deepcopy(self.source[name]) for name in layer.node_names]
        for name, node in zip(layer.node_names, nodes, strict=True):
            node.name = name
        if len(nodes) > 1 and nodes[1].op_type == "BatchNormalization":
            self._fold_batch_norm(nodes)
        border = {name: self._read(name, layer.precision) for name in layer.inputs}
        for node in nodes:
            if layer.precision == "INT8":
                self._quantise_weights(node)
            for i, name in enumerate(node.input):
                if name in border:
                    node.input[i] = border[name]
                elif name in self.constants:
                    node.input[i] = self._constant(name, node.op_type, layer.precision)
        self.nodes.extend(nodes)
        for output in layer.outputs:
            if output in self.floats:
                self._write(output, nodes, layer.precision)

    # -- activations ------------------------------------------------------------------------------

    def _read(self, tensor: str, precision: str) -> str:
        """Return the tensor that a layer of this precision reads."""
        if tensor not in self.floats:
            return tensor
        seen = self.stored.get(tensor, tensor)
        if precision == "INT8" and seen == tensor:
            return self._quantised(tensor, tensor)
        if precision == "FP16" and seen not in self.half:
            return self._rounded_to_half(seen, f"{seen}@fp16")
        return seen

    def _write(self, output: str, nodes: Sequence[onnx.NodeProto], precision: str) -> None:
        """Round what a layer puts out the way it lies in memory."""
        last = nodes[-1]
        if precision == "FP16":
            if all(node.op_type in _SELECTING for node in nodes):
                self.half.add(output)
                return
            wide = f"{output}@fp32"
            last.output[list(last.output).index(output)] = wide
            self._rounded_to_half(wide, output)
        elif precision == "INT8" and output in self.read_as_int8 - self.network_outputs:
            # From one INT8 layer to another the tensor lies in memory as int8, whoever reads it.
            relu = last.op_type == "Relu" and len(nodes) > 1 and self.opset >= _INTEGER_CLIP_OPSET
            if relu:
                # Rounding first and clipping the integers gives the same, and leaves the
                # convolution next to its QuantizeLinear, where ONNX Runtime runs it in int8.
                self.nodes.pop()
            self.stored[output] = self._quantised(last.input[0] if relu else output, output, relu)

    def _rounded_to_half(self, tensor: str, result: str) -> str:
        half = f"{tensor}@half"
        if half not in self.made:
            self.made.add(half)
            self._node("Cast", [tensor], half, to=TensorProto.FLOAT16)
            self._node("Cast", [half], result, to=TensorProto.FLOAT)
        self.half.add(result)
        return result

    def _quantised(self, source: str, tensor: str, relu: bool = False) -> str:
        """Round `source` to int8 with the range of `tensor` and return it as float32 again."""
        result = f"{tensor}@dequantized"
        if result in self.made:
            return result
        self.made.add(result)
        integers = f"{tensor}@int8"
        scale = self._new_constant(f"{tensor}@scale", self._scale(tensor))
        zero = self._new_constant("@int8_zero", _INT8_ZERO)
        self._quantise_node("QuantizeLinear", [source, scale, zero], integers)
        if relu:
            self._node("Clip", [integers, zero], f"{tensor}@int8_relu")
            integers = f"{tensor}@int8_relu"
        self._quantise_node("DequantizeLinear", [integers, scale, zero], result)
        return result

    def _scale(self, tensor: str) -> np.float32:
        return np.float32(self.ranges[tensor] / 127)

    # -- weights ----------------------------------------------------------------------------------

    def _constant(self, name: str, op_type: str, precision: str) -> str:
        """Store a constant as the layer needs it."""
        value = self.constants[name]
        # Scalars are bounds and exponents, and a Resize holds its geometry in floats.
        is_weight = value.dtype == np.float32 and value.ndim > 0 and op_type != "Resize"
        if precision != "FP16" or not is_weight:
            return self._new_constant(name, value)
        # As TensorRT: finite weights beyond float16 become its largest value.
        half = np.clip(value, -_FLOAT16_MAX, _FLOAT16_MAX).astype(np.float16)
        stored = self._new_constant(f"{name}@half", half)
        result = f"{name}@fp16"
        if result not in self.made:
            self.made.add(result)
            self._node("Cast", [stored], result, to=TensorProto.FLOAT)
        return result

    def _quantise_weights(self, node: onnx.NodeProto) -> None:
        """Store the weights of a convolution or matrix product as int8 and its bias as int32."""
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            return
        data, weight_name, *rest = node.input
        if weight_name not in self.constants or data not in self.floats:
            return
        weight = self.constants[weight_name]
        bias = self.constants.get(rest[0]) if rest else None
        axis = _channel_axis(node, weight.ndim)
        one_per_channel = [-1 if i == axis else 1 for i in range(weight.ndim)]
        others = tuple(i for i in range(weight.ndim) if i != axis)
        scale = np.abs(weight).max(axis=others) / np.float32(127)  # (channels,)
        if bias is not None and bias.shape != scale.shape:
            bias = None  # a Gemm's C may have any shape; it stays float32
        if bias is not None:
            # Keeps the bias within int32 where the weights of a channel are almost zero.
            scale = np.maximum(scale, np.abs(bias) / (self._scale(data) * np.float32(2**30)))
        scale = np.where(scale > 0, scale, np.float32(1))
        integers = np.rint(weight / scale.reshape(one_per_channel)).astype(np.int8)
        node.input[1] = self._dequantised(f"{node.name}@weight", integers, scale, axis)
        if bias is not None:
            scale = scale * self._scale(data)  # the unit of the accumulator
            integers = np.rint(bias.astype(np.float64) / scale).astype(np.int32)
            node.input[2] = self._dequantised(f"{node.name}@bias", integers, scale, 0)

    def _dequantised(
        self, prefix: str, integers: NDArray[np.integer], scale: NDArray[np.float32], axis: int
    ) -> str:
        stored = self._new_constant(f"{prefix}@{integers.dtype}", integers)
        scales = self._new_constant(f"{prefix}@scale", scale)
        zeros = self._new_constant(f"{prefix}@zero", np.zeros(scale.shape, integers.dtype))
        result = f"{prefix}@dequantized"
        self._quantise_node("DequantizeLinear", [stored, scales, zeros], result, axis=axis)
        return result

    def _fold_batch_norm(self, nodes: list[onnx.NodeProto]) -> None:
        """Fold a BatchNormalization into the convolution before it."""
        conv, norm = nodes[0], nodes.pop(1)
        gamma, beta, mean, variance = (self.constants[name] for name in norm.input[1:5])
        epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
        factor = gamma / np.sqrt(variance + epsilon)  # (channels,)
        weight = self.constants[conv.input[1]]
        bias = self.constants[conv.input[2]] if len(conv.input) > 2 else np.float32(0)
        names = [f"{conv.name}@folded_weight", f"{conv.name}@folded_bias"]
        self.constants[names[0]] = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
        self.constants[names[1]] = (bias - mean) * factor + beta
        del conv.input[1:]
        conv.input.extend(names)
        conv.output[0] = norm.output[0]

    # -- building blocks --------------------------------------------------------------------------

    def _new_constant(self, name: str, value: NDArray | np.generic) -> str:
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def _quantise_node(self, op_type: str, inputs: list[str], output: str, **axis: int) -> None:
        # ONNX has scales per channel from opset 13; ONNX Runtime has them for older models too.
        domain = "com.microsoft" if self.opset < 13 else ""
        self._node(op_type, inputs, output, domain=domain, **axis)

    def _node(self, op_type: str, inputs: list[str], output: str, **attributes: object) -> None:
        name = f"{output}@{op_type}"  # a node of the network may have the name of its output
        self.nodes.append(helper.make_node(op_type, inputs, [output], name=name, **attributes))


def _channel_axis(node: onnx.NodeProto, ndim: int) -> int:
    """Return the axis of a weight that holds the output channels."""
    if node.op_type == "Gemm":
        return 0 if any(a.name == "transB" and a.i for a in node.attribute) else 1
    return {"Conv": 0, "ConvTranspose": 1, "MatMul": ndim - 1}[node.op_type]


def _constant_values(model: onnx.ModelProto) -> dict[str, NDArray]:
    """Return the values of all constants; ONNX Runtime computes those that nodes compute."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    constant = constant_names(model.graph)
    nodes = [node for node in model.graph.node if constant.issuperset(node.output)]
    if not nodes:
        return values
    folding = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    folding.graph.name = "constants"
    folding.graph.node.extend(nodes)
    folding.graph.initializer.extend(model.graph.initializer)
    outputs = [name for node in nodes for name in node.output if name]
    folding.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    session = make_session(folding.SerializeToString())
    values.update(zip(outputs, session.run(outputs, {}), strict=True))
    return values
