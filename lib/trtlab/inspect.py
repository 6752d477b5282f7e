"""What TensorRT made of a model: the layers of an engine, their precisions, and what was fused.

Reads the engine inspector's JSON, whose details need an engine built with ProfilingVerbosity
DETAILED. Times are benchmark.py's.
"""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, computed_field

from trtlab.backend import IS_EMULATED, compat, trt
from trtlab.engines import load_engine
from trtlab.errors import EngineError
from trtlab.logger import LOGGER

UNKNOWN = "unknown"
"""Precision of a layer of which the inspector tells no data type."""

_PRECISIONS = {
    # as the types of weights, and of TensorRT 10's tensors, are written
    "float": "FP32",
    "half": "FP16",
    "bfloat16": "BF16",
    "int64": "INT64",
    # as 8.6 writes them within formats: "Row major linear FP32"
    "fp32": "FP32",
    "tf32": "TF32",
    "fp16": "FP16",
    "bf16": "BF16",
    "int8": "INT8",
    "int32": "INT32",
    "uint8": "UINT8",
    "bool": "BOOL",
}
_BYTES = {"FP32": 4, "FP16": 2, "BF16": 2, "INT8": 1, "INT32": 4, "INT64": 8}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LayerTensor(_Frozen):
    """An input or output of a layer, inside the engine."""

    name: str
    dims: tuple[int, ...]  # at the opt shape of profile 0
    format: str  # memory layout and data type in TensorRT's words


class Layer(_Frozen):
    """One layer of the engine: what runs as one unit, mostly one GPU kernel."""

    name: str
    kind: str  # TensorRT's, such as "CaskConvolution"
    precision: str  # "FP32", "TF32", "FP16", "INT8", ... or "unknown"
    onnx_nodes: tuple[str, ...]  # the nodes of the ONNX graph that it stands for
    inputs: tuple[LayerTensor, ...] = ()
    outputs: tuple[LayerTensor, ...] = ()
    tactic: str | None = None  # the kernel that the builder chose

    @property
    def is_reformat(self) -> bool:
        """Whether it only converts layout or data type between two other layers."""
        return self.kind == "Reformat" or self.name.startswith("Reformatting CopyNode")


class IoTensor(_Frozen):
    """An input or output of the engine."""

    name: str
    mode: str  # "input" or "output"
    dtype: str  # "FP32", ...
    shape: tuple[int, ...]  # -1 for a dynamic dimension


class ProfileShapes(_Frozen):
    """The shapes that one optimization profile allows for one input."""

    profile: int
    input: str
    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]


class EngineReport(_Frozen):
    """All that can be read off an engine without running it."""

    path: str | None
    tensorrt_version: str
    emulated: bool
    engine_bytes: int | None  # of the file
    activation_bytes: int  # device memory that one execution context needs, at the largest shapes
    weights_bytes: int | None  # of the layers whose weights the inspector lists
    tensors: tuple[IoTensor, ...]
    profiles: tuple[ProfileShapes, ...]
    layers: tuple[Layer, ...]
    notes: tuple[str, ...]  # what could not be read, and why

    @computed_field  # type: ignore[prop-decorator]
    @property
    def precision_counts(self) -> dict[str, int]:
        """Precision -> number of layers, most frequent first, without reformat layers."""
        layers = [layer for layer in self.layers if not layer.is_reformat]
        return dict(Counter(layer.precision for layer in layers).most_common())

    @computed_field  # type: ignore[prop-decorator]
    @property
    def reformats(self) -> int:
        """Number of layers that only convert layout or data type."""
        return sum(layer.is_reformat for layer in self.layers)

    @property
    def fusions(self) -> tuple[Layer, ...]:
        """The layers that stand for two or more ONNX nodes."""
        return tuple(layer for layer in self.layers if len(layer.onnx_nodes) >= 2)


def inspect_engine(engine: Any) -> EngineReport:
    """Read an engine's layers, tensors, profiles and memory.

    Args:
        engine: path of an engine file, or a trt.ICudaEngine.

    Raises:
        EngineError: if the file cannot be loaded, or the inspector gives no valid JSON.
    """
    path = None
    if isinstance(engine, str | Path):
        path = Path(engine)
        engine = load_engine(path)
    information, notes = _inspector_json(engine)
    # The layers of further profiles repeat those of the first, with this suffix.
    raw_layers = [
        raw
        for raw in information.get("Layers", [])
        if not re.search(r"\[profile [1-9]\d*\]$", raw["Name"] if isinstance(raw, dict) else raw)
    ]
    detailed = [raw for raw in raw_layers if isinstance(raw, dict)]
    if len(detailed) < len(raw_layers) or not raw_layers:
        notes.append(
            "The engine was built without ProfilingVerbosity.DETAILED: precisions, formats and "
            "tactics are unknown. Build it again with config.profiling_verbosity = "
            "trt.ProfilingVerbosity.DETAILED."
        )
    return EngineReport(
        path=None if path is None else str(path),
        tensorrt_version=trt.__version__,
        emulated=IS_EMULATED,
        engine_bytes=None if path is None else path.stat().st_size,
        activation_bytes=compat.device_memory_bytes(engine),
        weights_bytes=sum(map(_weights_bytes, detailed)) if detailed else None,
        tensors=_io_tensors(engine),
        profiles=_profile_shapes(engine),
        layers=tuple(map(_layer, raw_layers)),
        notes=tuple(notes),
    )


def _inspector_json(engine: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the inspector's JSON, at the opt shapes of profile 0 where shapes are dynamic."""
    notes = []
    inspector = engine.create_engine_inspector()
    shapes = [shapes for shapes in _profile_shapes(engine) if shapes.profile == 0]
    context = _context_at_opt(engine, shapes) if shapes else None
    if context is not None:
        inspector.execution_context = context
    elif shapes:
        notes.append(
            "No execution context could be made at the opt shape of profile 0, so TensorRT may "
            "not know the tensors' formats. Is another context using that profile?"
        )
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    try:
        # The metadata of fused layers holds raw control characters as separators.
        return (json.loads(text, strict=False) if text.strip() else {}), notes
    except json.JSONDecodeError as error:
        raise EngineError(f"The engine inspector's answer is not valid JSON: {error}.") from error


def _context_at_opt(engine: Any, shapes: list[ProfileShapes]) -> Any:
    with LOGGER.listen():  # what goes wrong here becomes a note, not an error
        context = engine.create_execution_context()
        if context is None:
            return None
        accepted = [context.set_input_shape(each.input, each.opt) for each in shapes]
    return context if all(accepted) else None


def _layer(raw: Any) -> Layer:
    if isinstance(raw, str):  # all that LAYER_NAMES_ONLY tells
        return Layer(name=raw, kind=UNKNOWN, precision=UNKNOWN, onnx_nodes=_nodes_in_name(raw))
    metadata = re.findall(r"\[ONNX Layer: (.+?)\](?=[\x1e\x1f\[]|$)", raw.get("Metadata", ""))
    return Layer(
        name=raw["Name"],
        kind=raw.get("LayerType", UNKNOWN),
        precision=_precision(raw),
        onnx_nodes=tuple(dict.fromkeys(metadata)) or _nodes_in_name(raw["Name"]),
        inputs=tuple(map(_tensor, raw.get("Inputs", []))),
        outputs=tuple(map(_tensor, raw.get("Outputs", []))),
        tactic=raw.get("TacticName") or raw.get("TacticValue"),
    )


def _nodes_in_name(name: str) -> tuple[str, ...]:
    """Return the ONNX nodes in a layer's name, which joins them: "/conv1/Conv + /relu/Relu".

    " || " joins convolutions merged side by side, PWN(...) holds fused pointwise operations.
    Names in parentheses are TensorRT's own layers.
    """
    if name.startswith("Reformatting CopyNode"):
        return ()
    parts = re.split(r" \+ | \|\| |, ", name.replace("PWN(", "").rstrip(")"))
    parts = [
        part.rstrip(")") for part in parts if not part.startswith(("(Unnamed Layer*", "__myl"))
    ]
    return tuple(dict.fromkeys(part for part in parts if part))


def _tensor(raw: dict[str, Any]) -> LayerTensor:
    return LayerTensor(
        name=raw.get("Name", ""),
        dims=tuple(raw.get("Dimensions", ())),
        format=raw.get("Format/Datatype", UNKNOWN),
    )


def _precision(raw: dict[str, Any]) -> str:
    """Return a layer's precision: that of its weights, else of its output."""
    if "tf32" in str(raw.get("TacticName", "")).lower():
        return "TF32"  # the weights are stored as FP32; only the kernel's name tells
    weights = raw.get("Weights")
    if isinstance(weights, dict) and weights.get("Count"):
        return _data_type(weights.get("Type", ""))
    outputs = raw.get("Outputs", [])
    return _data_type(outputs[0].get("Format/Datatype", "")) if outputs else UNKNOWN


def _data_type(text: str) -> str:
    """Find the data type in "Half", "Row major linear FP32" or "Half(64,1:8,...)"."""
    for word in re.findall(r"\w+", text.lower()):
        if word in _PRECISIONS:
            return _PRECISIONS[word]
    return UNKNOWN


def _weights_bytes(raw: dict[str, Any]) -> int:
    """Sum the bytes of a layer's constants, which are written {"Type": "Half", "Count": 9408}."""
    constants = [value for value in raw.values() if isinstance(value, dict) and "Count" in value]
    return sum(
        value["Count"] * _BYTES.get(_data_type(value.get("Type", "")), 0) for value in constants
    )


def _io_tensors(engine: Any) -> tuple[IoTensor, ...]:
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    return tuple(
        IoTensor(
            name=name,
            mode=engine.get_tensor_mode(name).name.lower(),
            dtype=_data_type(engine.get_tensor_dtype(name).name),
            shape=tuple(engine.get_tensor_shape(name)),
        )
        for name in names
    )


def _profile_shapes(engine: Any) -> tuple[ProfileShapes, ...]:
    """Return what each profile allows for each input with a dynamic shape."""
    found = []
    for tensor in _io_tensors(engine):
        if tensor.mode == "input" and -1 in tensor.shape:
            for profile in range(engine.num_optimization_profiles):
                low, best, high = engine.get_tensor_profile_shape(tensor.name, profile)
                found.append(
                    ProfileShapes(
                        profile=profile,
                        input=tensor.name,
                        min=tuple(low),
                        opt=tuple(best),
                        max=tuple(high),
                    )
                )
    return tuple(found)
