"""Small questions about an ONNX graph that the emulated builder and runtime share.

Shapes are answered from a skeleton: the graph without the values of its weights, a few kilobytes
that an engine can carry and shape inference can walk in milliseconds.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from trtlab.backend.emulated.types import DataType

Shape = tuple[int, ...]

# TensorRT 8.6 has no 64-bit types; its parser narrows them.
_DATA_TYPES = {
    TensorProto.FLOAT: DataType.FLOAT,
    TensorProto.FLOAT16: DataType.HALF,
    TensorProto.INT8: DataType.INT8,
    TensorProto.INT32: DataType.INT32,
    TensorProto.INT64: DataType.INT32,
    TensorProto.BOOL: DataType.BOOL,
    TensorProto.UINT8: DataType.UINT8,
}
_ELEMENT_TYPES = {
    DataType.FLOAT: TensorProto.FLOAT,
    DataType.HALF: TensorProto.FLOAT16,
    DataType.INT8: TensorProto.INT8,
    DataType.INT32: TensorProto.INT32,
    DataType.BOOL: TensorProto.BOOL,
    DataType.UINT8: TensorProto.UINT8,
}

_KEPT_WEIGHT_ELEMENTS = 64  # small ones may be shapes, which inference has to read


def data_type(element_type: int) -> DataType | None:
    """Return the DataType of an ONNX element type, None if TensorRT 8.6 has none."""
    return _DATA_TYPES.get(element_type)


def element_type(dtype: DataType) -> int:
    """Return the ONNX element type of a DataType."""
    return int(_ELEMENT_TYPES[dtype])


def shape_of(value: onnx.ValueInfoProto) -> Shape:
    """Return a value's shape, -1 where a dimension is dynamic."""
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else -1
        for dim in value.type.tensor_type.shape.dim
    )


def set_shape(value: onnx.ValueInfoProto, shape: Shape) -> None:
    """Give a value a new shape; -1 keeps the dimension's symbol, or leaves it unknown."""
    dims = value.type.tensor_type.shape.dim
    symbols = [dim.dim_param for dim in dims]
    del dims[:]
    for i, size in enumerate(shape):
        dim = dims.add()
        if size >= 0:
            dim.dim_value = size
        elif i < len(symbols) and symbols[i]:
            dim.dim_param = symbols[i]


def network_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Return the graph's inputs that are no weights (old exporters list those too)."""
    weights = {weight.name for weight in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def values(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    """Return type and shape of every tensor that ONNX's shape inference knows."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {value.name: value for value in [*graph.value_info, *graph.input, *graph.output]}


def skeleton(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with large weights replaced by inputs of the same type and shape."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    graph = bare.graph
    declared = {value.name for value in graph.input}
    kept = []
    for weight in graph.initializer:
        if np.prod(weight.dims, dtype=np.int64) <= _KEPT_WEIGHT_ELEMENTS:
            kept.append(weight)
        elif weight.name not in declared:
            graph.input.append(
                onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
            )
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]
    return bare


class ShapeError(Exception):
    """A network cannot run at these input shapes; the message says why."""


def infer_shapes(bare: onnx.ModelProto, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shape of every tensor of a skeleton for concrete input shapes.

    Raises:
        ShapeError: if dimensions of one name differ, or an operator refuses its inputs' shapes.
    """
    _check_symbols(bare, inputs)
    model = onnx.ModelProto()
    model.CopyFrom(bare)
    for value in model.graph.input:
        if value.name in inputs:
            set_shape(value, inputs[value.name])
    for value in model.graph.output:
        # Declared dimensions would contradict the inferred ones where a symbol became a number.
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise ShapeError(str(error).strip()) from error
    return {
        value.name: shape_of(value)
        for value in [*inferred.value_info, *inferred.input, *inferred.output]
    }


def _check_symbols(bare: onnx.ModelProto, inputs: Mapping[str, Shape]) -> None:
    sizes: dict[str, int] = {}
    for value in bare.graph.input:
        dims = value.type.tensor_type.shape.dim
        for dim, size in zip(dims, inputs.get(value.name, ()), strict=False):
            if dim.dim_param and sizes.setdefault(dim.dim_param, size) != size:
                raise ShapeError(
                    "All named dimensions that appear in multiple input tensors must have the same "
                    f"value: {dim.dim_param} is {sizes[dim.dim_param]} and {size}"
                )


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return a node's attributes as Python values, tensors as arrays."""
    found = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        found[attribute.name] = (
            numpy_helper.to_array(value) if isinstance(value, TensorProto) else value
        )
    return found
