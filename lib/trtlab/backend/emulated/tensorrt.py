"""The emulated `tensorrt` module: the names of TensorRT's Python API that the labs use.

Each exists with the same parameters in TensorRT 8.6 and 10.16; where the two behave differently,
the emulation is 8.6. What it lacks (plugins, refit, DLA, building networks by hand) is missing here
rather than present without effect.
"""

from typing import Any

from trtlab.backend.emulated.builder import Builder
from trtlab.backend.emulated.calibration import (
    IInt8Calibrator,
    IInt8EntropyCalibrator,
    IInt8EntropyCalibrator2,
    IInt8LegacyCalibrator,
    IInt8MinMaxCalibrator,
)
from trtlab.backend.emulated.config import IBuilderConfig
from trtlab.backend.emulated.context import IExecutionContext
from trtlab.backend.emulated.inspector import EngineInspector
from trtlab.backend.emulated.logger import ILogger, Logger
from trtlab.backend.emulated.network import ILayer, INetworkDefinition, ITensor
from trtlab.backend.emulated.parser import ErrorCode, OnnxParser, ParserError
from trtlab.backend.emulated.profile import IOptimizationProfile
from trtlab.backend.emulated.pybind import expect
from trtlab.backend.emulated.runtime import ICudaEngine, Runtime
from trtlab.backend.emulated.timing_cache import ITimingCache
from trtlab.backend.emulated.types import (
    BuilderFlag,
    CalibrationAlgoType,
    DataType,
    Dims,
    IHostMemory,
    LayerInformationFormat,
    LayerType,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    PreviewFeature,
    ProfilingVerbosity,
    TacticSource,
    TensorFormat,
    TensorIOMode,
    TensorLocation,
    nptype,
    volume,
)
from trtlab.backend.emulated.version import VERSION

__version__ = VERSION

float32 = DataType.FLOAT
float16 = DataType.HALF
int8 = DataType.INT8
int32 = DataType.INT32
uint8 = DataType.UINT8
bool = DataType.BOOL

__all__ = [
    "Builder",
    "BuilderFlag",
    "CalibrationAlgoType",
    "DataType",
    "Dims",
    "EngineInspector",
    "ErrorCode",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "IInt8Calibrator",
    "IInt8EntropyCalibrator",
    "IInt8EntropyCalibrator2",
    "IInt8LegacyCalibrator",
    "IInt8MinMaxCalibrator",
    "ILayer",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "ITensor",
    "ITimingCache",
    "LayerInformationFormat",
    "LayerType",
    "Logger",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "ParserError",
    "PreviewFeature",
    "ProfilingVerbosity",
    "Runtime",
    "TacticSource",
    "TensorFormat",
    "TensorIOMode",
    "TensorLocation",
    "bool",
    "float16",
    "float32",
    "init_libnvinfer_plugins",
    "int8",
    "int32",
    "nptype",
    "uint8",
    "volume",
]


def init_libnvinfer_plugins(logger: Any, namespace: str) -> Any:
    """Return True: the emulation has no plugins to register."""
    expect(namespace, str, "namespace")
    return True
