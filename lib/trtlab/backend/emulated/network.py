"""INetworkDefinition with its layers and tensors: views onto the ONNX model that was parsed.

One ONNX node is one layer, named as the node; constants are no layers. What a program sets here
(precisions, ranges, names, types) is kept beside the model and read by the builder. Networks come
from the ONNX parser: the `add_*` methods are not emulated.
"""

from typing import Any

import onnx

from trtlab.backend.emulated import graph
from trtlab.backend.emulated.fusion import LAYER_KINDS, constant_names, node_names
from trtlab.backend.emulated.logger import Log
from trtlab.backend.emulated.pybind import Managed, expect
from trtlab.backend.emulated.types import DataType, Dims, LayerType, TensorLocation, _dims

_KIND_TYPES = {
    "Activation": LayerType.ACTIVATION,
    "Cast": LayerType.CAST,
    "Concatenation": LayerType.CONCATENATION,
    "Convolution": LayerType.CONVOLUTION,
    "Deconvolution": LayerType.DECONVOLUTION,
    "ElementWise": LayerType.ELEMENTWISE,
    "Gather": LayerType.GATHER,
    "Identity": LayerType.IDENTITY,
    "LRN": LayerType.LRN,
    "MatrixMultiply": LayerType.MATRIX_MULTIPLY,
    "Normalization": LayerType.NORMALIZATION,
    "ParametricReLU": LayerType.PARAMETRIC_RELU,
    "Pooling": LayerType.POOLING,
    "Reduce": LayerType.REDUCE,
    "Resize": LayerType.RESIZE,
    "Scale": LayerType.SCALE,
    "Shape": LayerType.SHAPE,
    "Shuffle": LayerType.SHUFFLE,
    "Slice": LayerType.SLICE,
    "SoftMax": LayerType.SOFTMAX,
    "Unary": LayerType.UNARY,
}


class ITensor:
    """A tensor of the network, before it is built."""

    def __init__(self, network: "INetworkDefinition", name: str) -> None:
        self._network = network
        self._name = name
        self._dtype: DataType | None = None
        self._range: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """Name of the tensor; inputs and outputs keep theirs in the engine."""
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._network._rename(self, expect(name, str, "name"))

    @property
    def shape(self) -> Dims:
        """Shape, -1 where it is dynamic. Can be set on network inputs."""
        value = self._network._values.get(self._name)
        return Dims(graph.shape_of(value) if value is not None else ())

    @shape.setter
    def shape(self, shape: Any) -> None:
        dims = tuple(_dims(shape))
        if not self.is_network_input:
            self._network._log.error(
                3, "tensor.cpp::setDimensions", f"{self._name} is not a network input"
            )
            return
        self._network._reshape(self._name, dims)

    @property
    def dtype(self) -> DataType:
        """Element type. Set on an input or output, it is the type of the engine's binding."""
        if self._dtype is not None:
            return self._dtype
        value = self._network._values.get(self._name)
        found = graph.data_type(value.type.tensor_type.elem_type) if value is not None else None
        return found or DataType.FLOAT

    @dtype.setter
    def dtype(self, dtype: DataType) -> None:
        self._dtype = expect(dtype, DataType, "dtype")

    @property
    def location(self) -> TensorLocation:
        """Where the tensor lives: on the device."""
        return TensorLocation.DEVICE

    @property
    def is_network_input(self) -> bool:
        """Whether it is an input of the network."""
        return self._name in self._network._input_names()

    @property
    def is_network_output(self) -> bool:
        """Whether it is an output of the network."""
        return self._name in self._network._output_names()

    @property
    def is_shape_tensor(self) -> bool:
        """Whether its values are shapes; the emulation takes none from outside."""
        return False

    @property
    def is_execution_tensor(self) -> bool:
        """Whether its values are data."""
        return True

    @property
    def dynamic_range(self) -> tuple[float, float] | None:
        """The (min, max) that INT8 represents, None if it is not set."""
        return self._range

    @dynamic_range.setter
    def dynamic_range(self, bounds: tuple[float, float]) -> None:
        if len(bounds) != 2:
            raise ValueError("Dynamic range must contain exactly 2 elements")
        if not self.set_dynamic_range(*bounds):
            raise ValueError("Error in set dynamic range")

    def set_dynamic_range(self, min: float, max: float) -> bool:
        """Set the values that INT8 represents; INT8 is symmetric, so the larger bound counts."""
        if not min <= max:
            self._network._log.error(
                3, "tensor.cpp::setDynamicRange", f"condition: min <= max, got [{min}, {max}]"
            )
            return False
        self._range = (float(min), float(max))
        return True

    def reset_dynamic_range(self) -> None:
        """Forget the dynamic range."""
        self._range = None

    def get_dimension_name(self, index: int) -> str | None:
        """Return the symbol of a dynamic dimension, such as 'batch', None if it has none."""
        value = self._network._values.get(self._name)
        dims = value.type.tensor_type.shape.dim if value is not None else []
        return dims[index].dim_param or None if 0 <= index < len(dims) else None


class ILayer:
    """A layer of the network: one ONNX node."""

    def __init__(self, network: "INetworkDefinition", node: onnx.NodeProto, constants: set[str]):
        self._network = network
        self._node = node
        self._inputs = [network._tensor(name) for name in node.input if name not in constants]
        self._outputs = [network._tensor(name) for name in node.output if name]
        self._precision: DataType | None = None
        self._output_types: dict[int, DataType] = {}
        self.name = node.name
        self.metadata = f"[ONNX Layer: {node.name}]"

    @property
    def type(self) -> LayerType:
        """Kind of the layer."""
        return _KIND_TYPES[LAYER_KINDS[self._node.op_type]]

    @property
    def num_inputs(self) -> int:
        """Number of inputs, weights not counted."""
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        """Number of outputs."""
        return len(self._outputs)

    def get_input(self, index: int) -> ITensor | None:
        """Return an input, None if there is no such index."""
        return self._inputs[index] if 0 <= index < len(self._inputs) else None

    def get_output(self, index: int) -> ITensor | None:
        """Return an output, None if there is no such index."""
        return self._outputs[index] if 0 <= index < len(self._outputs) else None

    @property
    def precision(self) -> DataType:
        """Precision to compute in. Counts only with OBEY_ or PREFER_PRECISION_CONSTRAINTS."""
        return self._precision or DataType.FLOAT

    @precision.setter
    def precision(self, precision: DataType) -> None:
        self._precision = expect(precision, DataType, "precision")

    @property
    def precision_is_set(self) -> bool:
        """Whether `precision` was set."""
        return self._precision is not None

    def reset_precision(self) -> None:
        """Leave the precision to the builder again."""
        self._precision = None

    def set_output_type(self, index: int, dtype: DataType) -> None:
        """Set the type of an output."""
        self._output_types[index] = expect(dtype, DataType, "dtype")

    def get_output_type(self, index: int) -> DataType:
        """Return the type of an output."""
        tensor = self.get_output(index)
        return self._output_types.get(index) or (tensor.dtype if tensor else DataType.FLOAT)

    def output_type_is_set(self, index: int) -> bool:
        """Whether the type of an output was set."""
        return index in self._output_types

    def reset_output_type(self, index: int) -> None:
        """Leave the type of an output to the builder again."""
        self._output_types.pop(index, None)


class INetworkDefinition(Managed):
    """A network that OnnxParser fills and Builder builds."""

    def __init__(self, builder: Any, log: Log, explicit_batch: bool) -> None:
        self._log = log
        self._builder = builder
        self._explicit_batch = explicit_batch
        self._model = onnx.ModelProto()
        self._values: dict[str, onnx.ValueInfoProto] = {}
        self._tensors: dict[str, ITensor] = {}
        self._layers: list[ILayer] = []
        self.name = ""

    def _load(self, model: onnx.ModelProto) -> None:
        """Take over a checked model, all of whose operators are known."""
        for node, name in zip(model.graph.node, node_names(model), strict=True):
            node.name = name
        self._model = model
        self._values = graph.values(model)
        constants = constant_names(model.graph) | {""}
        self._tensors = {}
        self._layers = [
            ILayer(self, node, constants)
            for node in model.graph.node
            if not constants.issuperset(node.output)
        ]

    def _tensor(self, name: str) -> ITensor:
        return self._tensors.setdefault(name, ITensor(self, name))

    def _input_names(self) -> list[str]:
        return [value.name for value in graph.network_inputs(self._model.graph)]

    def _output_names(self) -> list[str]:
        return [value.name for value in self._model.graph.output]

    def _reshape(self, name: str, shape: graph.Shape) -> None:
        for value in self._model.graph.input:
            if value.name == name:
                graph.set_shape(value, shape)
        for value in self._model.graph.output:
            graph.set_shape(value, (-1,) * len(value.type.tensor_type.shape.dim))
        del self._model.graph.value_info[:]
        self._values = graph.values(self._model)

    def _rename(self, tensor: ITensor, name: str) -> None:
        old = tensor._name
        if name != old and (name in self._tensors or name in self._values):
            self._log.error(3, "tensor.cpp::setName", f"{name} is the name of another tensor")
            return
        model_graph = self._model.graph
        for value in [*model_graph.input, *model_graph.output, *model_graph.value_info]:
            value.name = name if value.name == old else value.name
        for node in model_graph.node:
            for names in (node.input, node.output):
                names[:] = [name if each == old else each for each in names]
        self._tensors[name] = self._tensors.pop(old, tensor)
        tensor._name = name
        self._values = graph.values(self._model)

    @property
    def builder(self) -> Any:
        """The builder that made the network."""
        return self._builder

    @property
    def has_implicit_batch_dimension(self) -> bool:
        """Whether it was made without EXPLICIT_BATCH."""
        return not self._explicit_batch

    @property
    def num_layers(self) -> int:
        """Number of layers."""
        return len(self._layers)

    @property
    def num_inputs(self) -> int:
        """Number of inputs."""
        return len(self._input_names())

    @property
    def num_outputs(self) -> int:
        """Number of outputs."""
        return len(self._model.graph.output)

    def get_layer(self, index: int) -> ILayer | None:
        """Return a layer, None if there is no such index."""
        return self._layers[index] if 0 <= index < len(self._layers) else None

    def get_input(self, index: int) -> ITensor | None:
        """Return an input, None if there is no such index."""
        names = self._input_names()
        return self._tensor(names[index]) if 0 <= index < len(names) else None

    def get_output(self, index: int) -> ITensor | None:
        """Return an output, None if there is no such index."""
        names = self._output_names()
        return self._tensor(names[index]) if 0 <= index < len(names) else None

    def mark_output(self, tensor: ITensor) -> None:
        """Make a tensor an output of the network."""
        expect(tensor, ITensor, "tensor")
        if tensor.is_network_output:
            self._log.error(3, "network.cpp::markOutput", f"{tensor.name} is an output already")
            return
        self._model.graph.output.append(self._values[tensor.name])

    def unmark_output(self, tensor: ITensor) -> None:
        """Make an output an ordinary tensor again."""
        expect(tensor, ITensor, "tensor")
        kept = [value for value in self._model.graph.output if value.name != tensor.name]
        if len(kept) == self.num_outputs:
            self._log.error(3, "network.cpp::unmarkOutput", f"{tensor.name} is not an output")
            return
        del self._model.graph.output[:]
        self._model.graph.output.extend(kept)

    def __len__(self) -> int:
        return len(self._layers)

    def __getitem__(self, index: int) -> ILayer:
        return self._layers[index]
