"""EngineInspector: what is inside an engine, as JSON shaped like TensorRT 8.6's.

As there, DETAILED verbosity at build time is needed for more than names, formats are unknown while
shapes are dynamic, and "Metadata" joins ONNX nodes with a raw control character (U+001E), so parse
with json.loads(text, strict=False).
"""

import json
from typing import TYPE_CHECKING, Any

from trtlab.backend.emulated.context import IExecutionContext
from trtlab.backend.emulated.graph import Shape, shape_of, values
from trtlab.backend.emulated.plan import LayerFacts
from trtlab.backend.emulated.pybind import Managed, expect
from trtlab.backend.emulated.types import LayerInformationFormat, ProfilingVerbosity

if TYPE_CHECKING:
    from trtlab.backend.emulated.runtime import ICudaEngine

_SEPARATOR = "\x1e"
_DYNAMIC_FORMAT = "N/A due to dynamic shapes"
_FORMATS = {
    "FP32": "Row major linear FP32",
    "TF32": "Row major linear FP32",
    "FP16": "Row major linear FP16 format",
    "INT8": "Row major linear Int8 format",
}
_BINDING_FORMATS = {
    "FLOAT": "Row major linear FP32",
    "HALF": "Row major linear FP16 format",
    "INT8": "Row major linear Int8 format",
    "INT32": "Row major INT32 format",
    "BOOL": "Row major linear BOOL format",
    "UINT8": "Row major linear UINT8 format",
}


class EngineInspector(Managed):
    """Describes the layers of an engine, at the shapes of `execution_context` if one is set."""

    def __init__(self, engine: "ICudaEngine") -> None:
        self._engine = engine
        self._context: IExecutionContext | None = None

    @property
    def execution_context(self) -> IExecutionContext | None:
        """The context whose input shapes are used, None for the engine's dynamic ones."""
        return self._context

    @execution_context.setter
    def execution_context(self, context: IExecutionContext | None) -> None:
        if context is not None:
            expect(context, IExecutionContext, "execution_context")
        self._context = context

    def get_layer_information(self, layer_index: int, format: LayerInformationFormat) -> str:
        """Return one layer as JSON or as a line; '' if there is no such index."""
        expect(format, LayerInformationFormat, "format")
        layers = self._engine._plan.metadata.layers
        if not 0 <= layer_index < len(layers):
            self._engine._log.error(
                3,
                "engineInspector.cpp::getLayerInformation",
                f"Parameter check failed, condition: 0 <= layerIndex < {len(layers)}, "
                f"got {layer_index}",
            )
            return ""
        return self._write(self._describe(layers[layer_index]), format)

    def get_engine_information(self, format: LayerInformationFormat) -> str:
        """Return all layers and the names of inputs and outputs."""
        expect(format, LayerInformationFormat, "format")
        none = self._engine.profiling_verbosity is ProfilingVerbosity.NONE
        layers = [] if none else self._engine._plan.metadata.layers
        written = [self._write(self._describe(layer), format) for layer in layers]
        bindings = list(self._engine._tensors)
        if format is LayerInformationFormat.ONELINE:
            return "\n".join(["Layers:", *written, "", "Bindings:", *bindings, ""])
        listed = "\n,".join(written)
        return f'{{"Layers": [{listed}\n],\n"Bindings": {json.dumps(bindings)}\n}}'

    def _describe(self, layer: LayerFacts) -> str | dict[str, Any]:
        verbosity = self._engine.profiling_verbosity
        if verbosity is ProfilingVerbosity.NONE:
            return ""
        if verbosity is ProfilingVerbosity.LAYER_NAMES_ONLY:
            return layer.name
        shapes = self._shapes()
        return {
            "Name": layer.name,
            "LayerType": layer.kind,
            "Inputs": [self._tensor(name, layer, shapes) for name in layer.inputs],
            "Outputs": [self._tensor(name, layer, shapes) for name in layer.outputs],
            "ParameterType": layer.kind,
            **layer.parameters,
            "TacticName": f"emulated_{layer.kind.lower()}_{layer.precision.lower()}",
            "TacticValue": "0x0000000000000000",
            "StreamId": 0,
            "Metadata": _SEPARATOR.join(f"[ONNX Layer: {name}]" for name in layer.onnx_nodes),
        }

    def _shapes(self) -> dict[str, Shape]:
        """Return the shapes of all tensors that are known."""
        if self._context is not None and not self._context._missing_shapes():
            return self._context._inferred_shapes()
        if not self._engine._is_dynamic():
            return self._engine._shapes({})
        known = values(self._engine._skeleton)
        return {name: shape_of(value) for name, value in known.items()}

    def _tensor(self, name: str, layer: LayerFacts, shapes: dict[str, Shape]) -> dict[str, Any]:
        binding = self._engine._tensors.get(name)
        shape = shapes.get(name, ())
        known = name in shapes and -1 not in shape
        precision = _BINDING_FORMATS[binding.dtype] if binding else _FORMATS[layer.precision]
        return {
            "Name": name,
            "Dimensions": list(shape),
            "Format/Datatype": precision if known else _DYNAMIC_FORMAT,
        }

    @staticmethod
    def _write(description: str | dict[str, Any], format: LayerInformationFormat) -> str:
        if format is LayerInformationFormat.JSON:
            return json.dumps(description).replace("\\u001e", _SEPARATOR)
        if isinstance(description, str):
            return description
        return ", ".join(f"{key}: {value}" for key, value in description.items())
