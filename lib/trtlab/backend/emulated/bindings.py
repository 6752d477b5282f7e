"""An engine's inputs and outputs: their names, types and shapes, as the network states them."""

import onnx
from onnx import helper

from trtlab.backend.emulated import graph
from trtlab.backend.emulated.network import INetworkDefinition
from trtlab.backend.emulated.plan import TensorFacts
from trtlab.backend.emulated.types import DataType


def with_binding_types(network: INetworkDefinition) -> onnx.ModelProto:
    """Return a copy of the model whose inputs and outputs have the types that the network states.

    TensorRT converts at the border where an ITensor.dtype differs from the type inside.
    """
    model = onnx.ModelProto()
    model.CopyFrom(network._model)
    before, after = [], []
    for value in graph.network_inputs(model.graph):
        wanted = graph.element_type(network._tensor(value.name).dtype)
        if wanted != value.type.tensor_type.elem_type:
            inner = _rename_uses(model, value.name)
            before.append(_cast(value.name, inner, value.type.tensor_type.elem_type))
            value.type.tensor_type.elem_type = wanted
    for value in model.graph.output:
        wanted = graph.element_type(_output_type(network, value.name))
        if wanted != value.type.tensor_type.elem_type:
            after.append(_cast(_rename_uses(model, value.name), value.name, wanted))
            value.type.tensor_type.elem_type = wanted
    nodes = [*before, *model.graph.node, *after]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _cast(source: str, target: str, element_type: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}/cast", to=element_type)


def _rename_uses(model: onnx.ModelProto, tensor: str) -> str:
    """Give a tensor a new name in all nodes, so that the old one is free for the binding."""
    inner = f"{tensor}/inside"
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [inner if name == tensor else name for name in names]
    return inner


def _output_type(network: INetworkDefinition, name: str) -> DataType:
    for layer in network._layers:
        for index, tensor in enumerate(layer._outputs):
            if tensor.name == name and layer.output_type_is_set(index):
                return layer.get_output_type(index)
    return network._tensor(name).dtype


def tensor_facts(network: INetworkDefinition, model: onnx.ModelProto) -> tuple[TensorFacts, ...]:
    """Return the engine's inputs and outputs, in the network's order."""
    shapes = {name: graph.shape_of(value) for name, value in graph.values(model).items()}
    inputs = {value.name for value in graph.network_inputs(model.graph)}
    return tuple(
        TensorFacts(
            name=value.name,
            is_input=value.name in inputs,
            dtype=(graph.data_type(value.type.tensor_type.elem_type) or DataType.FLOAT).name,
            shape=shapes[value.name],
        )
        for value in [*graph.network_inputs(model.graph), *model.graph.output]
    )
