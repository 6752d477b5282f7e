"""The plan file: what an emulated engine is stored as.

    offset  size  content
    0       20    TRTLAB-EMULATED-PLAN
    20      4     format version, little-endian like the rest
    24      32    SHA-256 of everything behind it
    56      24    three lengths in bytes: metadata, skeleton, model
    80            metadata (JSON), skeleton (ONNX without weights), model (ONNX for ONNX Runtime)

The weights of the model are stored in the engine's precision, so sizes compare as TensorRT's do.
"""

import hashlib
import struct

from pydantic import BaseModel, ConfigDict, ValidationError

MAGIC = b"TRTLAB-EMULATED-PLAN"
FORMAT_VERSION = 1

_TENSORRT_MAGIC = b"ftrt"
_HEADER = struct.Struct("<20sI32s3Q")
_HASHED_FROM = 56


class TensorFacts(BaseModel):
    """One input or output of an engine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    is_input: bool
    dtype: str  # name of a DataType
    shape: tuple[int, ...]  # -1 where dynamic


class LayerFacts(BaseModel):
    """One layer of an engine, as the inspector shows it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: str
    precision: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: dict[str, int | str | list[int] | dict[str, int | str]]
    onnx_nodes: tuple[str, ...]


class Metadata(BaseModel):
    """What the runtime has to know beside the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    tensorrt_version: str
    tensors: tuple[TensorFacts, ...]
    profiles: tuple[dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]], ...]
    layers: tuple[LayerFacts, ...]
    verbosity: str
    shares_profiles: bool
    tactic_sources: int
    device_memory_bytes: int


class Plan(BaseModel):
    """The content of a plan file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metadata: Metadata
    skeleton: bytes
    model: bytes

    def to_bytes(self) -> bytes:
        """Return the plan file."""
        parts = [self.metadata.model_dump_json().encode(), self.skeleton, self.model]
        lengths = struct.pack("<3Q", *map(len, parts))
        digest = hashlib.sha256(b"".join([lengths, *parts])).digest()
        return b"".join([_HEADER.pack(MAGIC, FORMAT_VERSION, digest, *map(len, parts)), *parts])


class PlanError(Exception):
    """The bytes are no plan that can be used here; the message says why."""


def parse(data: bytes) -> Plan:
    """Return the content of a plan file.

    Raises:
        PlanError: if it is of real TensorRT, no plan, truncated, damaged or of another version.
    """
    if data.startswith(_TENSORRT_MAGIC):
        raise PlanError(
            "this is an engine of real TensorRT, and the emulation cannot run it; build it again "
            "here, or use it on a machine with an NVIDIA GPU"
        )
    if not data.startswith(MAGIC[: len(data)]) or not data:
        raise PlanError(f"it begins with {data[:8]!r}; it is no engine file")
    if len(data) < _HEADER.size:
        raise PlanError(f"it is truncated: {len(data)} bytes are not even a header")
    _, version, digest, *lengths = _HEADER.unpack_from(data)
    if version != FORMAT_VERSION:
        raise PlanError(
            f"it has plan format {version} where this version of trtlab reads {FORMAT_VERSION}; "
            "build the engine again"
        )
    expected = _HEADER.size + sum(lengths)
    if len(data) != expected:
        reason = "truncated" if len(data) < expected else "followed by foreign bytes"
        raise PlanError(f"it is {reason}: {len(data)} bytes where {expected} were written")
    if hashlib.sha256(memoryview(data)[_HASHED_FROM:]).digest() != digest:
        raise PlanError("it is damaged: its SHA-256 is not the one that was written")
    bounds = [_HEADER.size, _HEADER.size + lengths[0], _HEADER.size + lengths[0] + lengths[1]]
    try:
        metadata = Metadata.model_validate_json(data[bounds[0] : bounds[1]])
    except ValidationError as error:
        raise PlanError(f"its metadata cannot be read: {error}") from None
    return Plan(metadata=metadata, skeleton=data[bounds[1] : bounds[2]], model=data[bounds[2] :])
