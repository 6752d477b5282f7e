"""The plain values of the emulated API: enums, Dims, IHostMemory and the two helpers on them.

Members are those that TensorRT 8.6 and 10.16 share; the numbers are 8.6's, which is why code must
never write them out. Not here: anything that holds a network, an engine or memory.
"""

import math
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any

import numpy as np


class _PybindEnum(Enum):
    """What pybind11 makes of a C++ enum: it converts to int, but is none (`1 << flag` fails)."""

    def __int__(self) -> int:
        return int(self.value)

    def __index__(self) -> int:
        return int(self.value)


class _ArithmeticEnum(_PybindEnum):
    """A pybind11 enum declared with py::arithmetic: it also compares with ints and its like."""

    def __eq__(self, other: object) -> bool:
        return int(self) == int(other) if isinstance(other, int | type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.value)

    def __lt__(self, other: Any) -> bool:
        return int(self) < int(other)

    def __le__(self, other: Any) -> bool:
        return int(self) <= int(other)

    def __gt__(self, other: Any) -> bool:
        return int(self) > int(other)

    def __ge__(self, other: Any) -> bool:
        return int(self) >= int(other)


class DataType(_PybindEnum):
    """Element types of tensors."""

    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BOOL = 4
    UINT8 = 5

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return int(np.dtype(nptype(self)).itemsize)


class BuilderFlag(_ArithmeticEnum):
    """Switches of IBuilderConfig; those for DLA, refit and safety are absent here."""

    FP16 = 0
    INT8 = 1
    DEBUG = 2
    GPU_FALLBACK = 3
    DISABLE_TIMING_CACHE = 6
    TF32 = 7
    SPARSE_WEIGHTS = 8
    OBEY_PRECISION_CONSTRAINTS = 10
    PREFER_PRECISION_CONSTRAINTS = 11
    DIRECT_IO = 12
    REJECT_EMPTY_ALGORITHMS = 13


class NetworkDefinitionCreationFlag(_ArithmeticEnum):
    """Flags of Builder.create_network, as bit positions."""

    EXPLICIT_BATCH = 0


class MemoryPoolType(_PybindEnum):
    """Memory pools whose size the builder config limits."""

    WORKSPACE = 0
    DLA_MANAGED_SRAM = 1
    DLA_LOCAL_DRAM = 2
    DLA_GLOBAL_DRAM = 3
    TACTIC_DRAM = 4


class PreviewFeature(_PybindEnum):
    """Features that 8.6 offers ahead of their release."""

    PROFILE_SHARING_0806 = 2


class ProfilingVerbosity(_PybindEnum):
    """How much of its layers an engine can tell the inspector."""

    LAYER_NAMES_ONLY = 0
    NONE = 1
    DETAILED = 2


class LayerInformationFormat(_PybindEnum):
    """Format of the inspector's answers."""

    ONELINE = 0
    JSON = 1


class TensorIOMode(_PybindEnum):
    """Whether an engine tensor is an input or an output; NONE for an unknown name."""

    NONE = 0
    INPUT = 1
    OUTPUT = 2


class TensorLocation(_PybindEnum):
    """Where a tensor lives."""

    DEVICE = 0
    HOST = 1


class TensorFormat(_ArithmeticEnum):
    """Memory layout; the emulation has only row-major linear."""

    LINEAR = 0


class TacticSource(_ArithmeticEnum):
    """Libraries that TensorRT may take kernels from; the emulation records the choice."""

    CUBLAS = 0
    CUBLAS_LT = 1
    CUDNN = 2
    EDGE_MASK_CONVOLUTIONS = 3
    JIT_CONVOLUTIONS = 4


class LayerType(_PybindEnum):
    """Kinds of network layers that the emulated ONNX parser makes."""

    CONVOLUTION = 0
    CAST = 1
    ACTIVATION = 2
    POOLING = 3
    LRN = 4
    SCALE = 5
    SOFTMAX = 6
    DECONVOLUTION = 7
    CONCATENATION = 8
    ELEMENTWISE = 9
    UNARY = 11
    PADDING = 12
    SHUFFLE = 13
    REDUCE = 14
    TOPK = 15
    GATHER = 16
    MATRIX_MULTIPLY = 17
    CONSTANT = 19
    IDENTITY = 21
    SLICE = 23
    SHAPE = 24
    PARAMETRIC_RELU = 25
    RESIZE = 26
    SELECT = 31
    FILL = 32
    QUANTIZE = 33
    DEQUANTIZE = 34
    SCATTER = 38
    EINSUM = 39
    ONE_HOT = 41
    GRID_SAMPLE = 43
    NORMALIZATION = 46


class CalibrationAlgoType(_PybindEnum):
    """How a calibrator turns activations into a dynamic range."""

    LEGACY_CALIBRATION = 0
    ENTROPY_CALIBRATION = 1
    ENTROPY_CALIBRATION_2 = 2
    MINMAX_CALIBRATION = 3


class Dims:
    """A shape: a short sequence of ints that compares equal to the same list or tuple.

    As in TensorRT it is no tuple: slices are, and `tuple(dims)` makes one.
    """

    MAX_DIMS = 8

    def __init__(self, shape: Iterable[int] = ()) -> None:
        self._sizes = [_dimension(size) for size in shape]
        if len(self._sizes) > self.MAX_DIMS:
            raise ValueError(
                f"Input length {len(self._sizes)}. Max expected length is {self.MAX_DIMS}"
            )

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[int]:
        return iter(self._sizes)

    def __getitem__(self, index: Any) -> Any:
        return tuple(self._sizes[index]) if isinstance(index, slice) else self._sizes[index]

    def __setitem__(self, index: int, size: int) -> None:
        self._sizes[index] = _dimension(size)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, list | tuple | Dims):
            return NotImplemented
        return self._sizes == list(other)

    __hash__ = None  # type: ignore[assignment]  # mutable, as in TensorRT

    def __repr__(self) -> str:
        return repr(tuple(self._sizes))


def _dimension(size: Any) -> int:
    """Return a size as int; TensorRT's binding takes no floats, bools aside."""
    if not hasattr(size, "__index__"):
        raise TypeError(f"Incompatible function arguments: {size!r} is not an integer dimension.")
    return int(size)


def _dims(shape: Any) -> Dims:
    """Convert what a caller passed as a shape, as the binding would.

    Raises:
        TypeError: if it is not a sequence of integers.
    """
    if isinstance(shape, str | bytes) or not hasattr(shape, "__len__"):
        raise TypeError(
            f"Incompatible function arguments: a shape is a tuple of integers, not {shape!r}."
        )
    return Dims(shape)


class IHostMemory(bytes):
    """Serialized bytes that TensorRT hands out: write it to a file, or pass it on.

    The real one is an opaque buffer. It is `bytes` here because Python before 3.12 cannot give
    a class of its own the buffer protocol.
    """

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return len(self)

    @property
    def dtype(self) -> DataType:
        """Element type of the buffer."""
        return DataType.INT8


_NUMPY_TYPES: dict[DataType, Any] = {
    DataType.FLOAT: np.float32,
    DataType.HALF: np.float16,
    DataType.INT8: np.int8,
    DataType.INT32: np.int32,
    DataType.BOOL: np.bool_,
    DataType.UINT8: np.uint8,
}


def nptype(trt_type: DataType) -> Any:
    """Return the NumPy type of a DataType.

    Raises:
        TypeError: if NumPy has none.
    """
    try:
        return _NUMPY_TYPES[trt_type]
    except KeyError:
        raise TypeError(
            "Could not resolve TensorRT datatype to an equivalent numpy datatype."
        ) from None


def volume(iterable: Iterable[int]) -> int:
    """Return the product of the sizes: the number of elements of a shape."""
    return math.prod(iterable)
