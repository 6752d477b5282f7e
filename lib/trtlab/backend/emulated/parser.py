"""OnnxParser: checks an ONNX model and hands it to the network.

A model that cannot be built is refused here, with one ParserError for each node at fault.
"""

from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from trtlab.backend.emulated import graph
from trtlab.backend.emulated.fusion import LAYER_KINDS, constant_names
from trtlab.backend.emulated.logger import Log
from trtlab.backend.emulated.network import INetworkDefinition
from trtlab.backend.emulated.pybind import Managed, buffer, expect
from trtlab.backend.emulated.types import _PybindEnum


class ErrorCode(_PybindEnum):
    """What kind of error the parser met."""

    SUCCESS = 0
    INTERNAL_ERROR = 1
    MEM_ALLOC_FAILED = 2
    MODEL_DESERIALIZE_FAILED = 3
    INVALID_VALUE = 4
    INVALID_GRAPH = 5
    INVALID_NODE = 6
    UNSUPPORTED_GRAPH = 7
    UNSUPPORTED_NODE = 8

    def __str__(self) -> str:
        return self.name


class ParserError:
    """One error of the parser; `node` is the index of the ONNX node, -1 for the whole model."""

    def __init__(self, code: ErrorCode, desc: str, func: str, node: int = -1) -> None:
        self._code, self._desc, self._func, self._node = code, desc, func, node

    def code(self) -> ErrorCode:
        """Return the kind of error."""
        return self._code

    def desc(self) -> str:
        """Return the description."""
        return self._desc

    def file(self) -> str:
        """Return the source file of the parser that raised it."""
        return "ModelImporter.cpp"

    def line(self) -> int:
        """Return the line in that file: 0, since no such file exists here."""
        return 0

    def func(self) -> str:
        """Return the function of the parser that raised it."""
        return self._func

    def node(self) -> int:
        """Return the index of the node in the model, -1 if no single node is at fault."""
        return self._node

    def __str__(self) -> str:
        return f"In node {self._node} ({self._func}): {self._code}: {self._desc}"

    __repr__ = __str__


class OnnxParser(Managed):
    """Fills a network from an ONNX model."""

    def __init__(self, network: INetworkDefinition, logger: Any) -> None:
        self._network = expect(network, INetworkDefinition, "network")
        self._log = Log(logger)
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        """Number of errors of the parses since the last clear_errors."""
        return len(self._errors)

    def get_error(self, index: int) -> ParserError | None:
        """Return an error, None if there is no such index."""
        return self._errors[index] if 0 <= index < len(self._errors) else None

    def clear_errors(self) -> None:
        """Forget all errors."""
        self._errors = []

    def supports_operator(self, op_name: str) -> bool:
        """Whether the emulation executes an ONNX operator."""
        return op_name in LAYER_KINDS or op_name == "Constant"

    def parse(self, model: Any, path: str | None = None) -> bool:
        """Parse a serialized model; external weights are read beside `path`.

        Returns False on failure; see num_errors and get_error.
        """
        serialized = buffer(model, "model")
        try:
            loaded = onnx.load_model_from_string(serialized)
        except DecodeError:
            return self._undecodable(f"{len(serialized)} bytes are no ONNX model")
        return self._import(loaded, Path(path).parent if path else Path())

    def parse_from_file(self, model: str) -> bool:
        """Parse a model file. Returns False on failure; see num_errors and get_error."""
        path = Path(expect(model, str, "model"))
        if not path.is_file():
            return self._undecodable(f"Could not open file {path}")
        return self.parse(path.read_bytes(), str(path))

    def _undecodable(self, reason: str) -> bool:
        error = ParserError(
            ErrorCode.MODEL_DESERIALIZE_FAILED,
            f"Failed to parse ONNX model: {reason}",
            "parse",
        )
        return self._fail([error], "Is the file complete, and written by torch.onnx.export?")

    def _fail(self, errors: list[ParserError], hint: str) -> bool:
        self._errors.extend(errors)
        for error in errors:
            self._log.plain_error(str(error), hint)
        return False

    def _import(self, model: onnx.ModelProto, folder: Path) -> bool:
        if self._network.has_implicit_batch_dimension:
            error = ParserError(
                ErrorCode.UNSUPPORTED_GRAPH,
                "This version of the ONNX parser only supports TensorRT INetworkDefinitions with "
                "an explicit batch dimension. Please ensure the network was created using the "
                "EXPLICIT_BATCH NetworkDefinitionCreationFlag.",
                "parse",
            )
            hint = "create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))"
            return self._fail([error], hint)
        if self._network.num_layers:
            error = ParserError(
                ErrorCode.INVALID_GRAPH,
                "Parse was called with a non-empty network definition",
                "parse",
            )
            return self._fail([error], "A network holds one model: create_network() for each.")
        if not model.graph.node or not model.graph.output:
            return self._undecodable("it has no nodes or no outputs; the file may be empty")
        if errors := _unsupported(model):
            operators = sorted(LAYER_KINDS)
            return self._fail(errors, f"Supported operators: {', '.join(operators)}.")
        try:
            onnx.load_external_data_for_model(model, str(folder))
            onnx.checker.check_model(model)
            onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, OSError) as e:
            error = ParserError(ErrorCode.INVALID_GRAPH, str(e).strip(), "importModel")
            return self._fail([error], "onnx.checker.check_model reports the same.")
        if errors := _unsupported_types(model):
            return self._fail(errors, "TensorRT 8.6 takes float32, float16, int8, int32 and bool.")
        self._network._load(model)
        return True


def _unsupported(model: onnx.ModelProto) -> list[ParserError]:
    """Return one error for each node whose operator the emulation does not execute."""
    constants = constant_names(model.graph) | {""}
    errors = []
    for index, node in enumerate(model.graph.node):
        known = node.op_type in LAYER_KINDS or constants.issuperset(node.output)
        if known and node.domain in ("", "ai.onnx"):
            continue
        operator = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
        errors.append(
            ParserError(
                ErrorCode.UNSUPPORTED_NODE,
                f"No importer registered for op: {operator} (node {node.name!r}). Plugin not "
                "found, are the plugin name, version, and namespace correct?",
                "importFallbackPluginImporter",
                index,
            )
        )
    return errors


def _unsupported_types(model: onnx.ModelProto) -> list[ParserError]:
    """Return one error for each input or output whose element type TensorRT lacks."""
    return [
        ParserError(
            ErrorCode.UNSUPPORTED_GRAPH,
            f"Tensor {value.name!r} has the unsupported type "
            f"{onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)}",
            "convertDtype",
        )
        for value in [*graph.network_inputs(model.graph), *model.graph.output]
        if graph.data_type(value.type.tensor_type.elem_type) is None
    ]
