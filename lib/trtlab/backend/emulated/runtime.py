"""Runtime and ICudaEngine: from a plan file to an engine that makes execution contexts."""

import threading
import weakref
from typing import Any

import onnx
import onnxruntime

from trtlab.backend.emulated import cuda, graph, plan
from trtlab.backend.emulated.context import IExecutionContext
from trtlab.backend.emulated.inspector import EngineInspector
from trtlab.backend.emulated.logger import Log
from trtlab.backend.emulated.lower import make_session
from trtlab.backend.emulated.plan import Plan, PlanError, TensorFacts
from trtlab.backend.emulated.pybind import Managed, buffer, expect
from trtlab.backend.emulated.types import (
    DataType,
    Dims,
    IHostMemory,
    ProfilingVerbosity,
    TensorFormat,
    TensorIOMode,
    TensorLocation,
)
from trtlab.backend.emulated.version import VERSION

_FORMATS = {
    DataType.FLOAT: "Row major linear FP32",
    DataType.HALF: "Row major linear FP16 format",
    DataType.INT8: "Row major linear INT8 format",
    DataType.INT32: "Row major linear INT32 format",
    DataType.BOOL: "Row major linear BOOL format",
    DataType.UINT8: "Row major linear UINT8 format",
}


class Runtime(Managed):
    """Makes engines from plan files."""

    def __init__(self, logger: Any) -> None:
        self._log = Log(logger)
        self.max_threads = 1

    @property
    def logger(self) -> Any:
        """The logger it was made with."""
        return self._log.logger

    @property
    def num_DLA_cores(self) -> int:
        """Number of deep learning accelerators: none."""
        return 0

    def deserialize_cuda_engine(self, serialized_engine: Any) -> "ICudaEngine | None":
        """Return the engine of a plan file's bytes; None on failure, with the reason in the log."""
        data = buffer(serialized_engine, "serialized_engine")
        try:
            content = plan.parse(data)
            if content.metadata.tensorrt_version != VERSION:
                raise PlanError(
                    f"it was built by TensorRT {content.metadata.tensorrt_version}, this is "
                    f"{VERSION}; build it again"
                )
        except PlanError as error:
            self._log.error(
                1,
                "runtime.cpp::parsePlan",
                "Serialization assertion plan->header.magicTag == rt::kPLAN_MAGIC_TAG failed.",
                f"The engine cannot be used: {error}.",
            )
            return None
        self._log.info(f"Loaded engine size: {len(data) >> 20} MiB")
        return ICudaEngine(content, data, self._log)


class ICudaEngine(Managed):
    """A built network; its execution contexts run it. Contexts keep their engine alive."""

    def __init__(self, content: Plan, data: bytes, log: Log) -> None:
        self._plan = content
        self._data = data
        self._log = log
        self._tensors = {tensor.name: tensor for tensor in content.metadata.tensors}
        self._skeleton = onnx.ModelProto.FromString(content.skeleton)
        self._contexts: weakref.WeakSet[IExecutionContext] = weakref.WeakSet()
        self._session_lock = threading.Lock()
        self._ready: onnxruntime.InferenceSession | None = None

    def _session(self) -> onnxruntime.InferenceSession:
        """Return the session that all contexts share; ONNX Runtime's run() is thread-safe."""
        with self._session_lock:
            if self._ready is None:
                self._ready = make_session(self._plan.model)
            return self._ready

    def _find(self, name: str, where: str) -> TensorFacts | None:
        """Return a tensor, or log that there is none of that name."""
        tensor = self._tensors.get(expect(name, str, "name"))
        if tensor is None:
            self._log.error(
                3,
                f"engine.cpp::{where}",
                f"Given invalid tensor name: {name}. Get valid tensor names with getIOTensorName()",
                f"This engine has: {', '.join(self._tensors)}.",
            )
        return tensor

    @property
    def name(self) -> str:
        """Name of the network it was built from."""
        return self._plan.metadata.name

    @property
    def num_io_tensors(self) -> int:
        """Number of inputs and outputs together."""
        return len(self._tensors)

    @property
    def num_layers(self) -> int:
        """Number of layers after fusion."""
        return len(self._plan.metadata.layers)

    @property
    def num_optimization_profiles(self) -> int:
        """Number of optimization profiles, at least 1."""
        return len(self._plan.metadata.profiles)

    @property
    def device_memory_size(self) -> int:
        """Bytes for the tensors between layers, at the largest shapes of any profile."""
        return self._plan.metadata.device_memory_bytes

    @property
    def profiling_verbosity(self) -> ProfilingVerbosity:
        """The verbosity it was built with."""
        return ProfilingVerbosity[self._plan.metadata.verbosity]

    @property
    def tactic_sources(self) -> int:
        """The kernel libraries it was allowed, as a bit mask."""
        return self._plan.metadata.tactic_sources

    @property
    def refittable(self) -> bool:
        """Whether its weights can be replaced: False."""
        return False

    @property
    def has_implicit_batch_dimension(self) -> bool:
        """Whether the batch is not part of the shapes: False."""
        return False

    def get_tensor_name(self, index: int) -> str | None:
        """Return the name of an input or output, inputs first; None if there is no such index."""
        if 0 <= index < len(self._tensors):
            return list(self._tensors)[index]
        self._log.error(
            3,
            "engine.cpp::getIOTensorName",
            f"Parameter check failed, condition: 0 <= index < {len(self._tensors)}, got {index}",
        )
        return None

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        """Return whether a tensor is an input or an output; NONE for an unknown name."""
        tensor = self._find(name, "getTensorIOMode")
        if tensor is None:
            return TensorIOMode.NONE
        return TensorIOMode.INPUT if tensor.is_input else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> Dims:
        """Return the shape of a tensor, -1 where it is dynamic."""
        tensor = self._find(name, "getTensorShape")
        return Dims(tensor.shape if tensor else ())

    def get_tensor_dtype(self, name: str) -> DataType:
        """Return the element type of a tensor; FLOAT for an unknown name."""
        tensor = self._find(name, "getTensorDataType")
        return DataType[tensor.dtype] if tensor else DataType.FLOAT

    def get_tensor_location(self, name: str) -> TensorLocation:
        """Return where a tensor must lie: on the device."""
        self._find(name, "getTensorLocation")
        return TensorLocation.DEVICE

    def get_tensor_format(self, name: str) -> TensorFormat:
        """Return the memory layout of a tensor: always linear."""
        self._find(name, "getTensorFormat")
        return TensorFormat.LINEAR

    def get_tensor_format_desc(self, name: str) -> str:
        """Return the memory layout of a tensor in words."""
        tensor = self._find(name, "getTensorFormatDesc")
        return f"{_FORMATS[DataType[tensor.dtype]]} (kLINEAR)" if tensor else ""

    def is_shape_inference_io(self, name: str) -> bool:
        """Whether a tensor's values are needed to infer shapes: never here."""
        self._find(name, "isShapeInferenceIO")
        return False

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]:
        """Return [min, opt, max] of an input in a profile; empty shapes if there is no such."""
        tensor = self._find(name, "getProfileShape")
        profiles = self._plan.metadata.profiles
        if tensor is None or not tensor.is_input or not 0 <= profile_index < len(profiles):
            if tensor is not None:
                self._log.error(
                    3,
                    "engine.cpp::getProfileShape",
                    f"Parameter check failed: {name} must be an input and the profile index "
                    f"between 0 and {len(profiles) - 1}, got {profile_index}",
                )
            return [Dims(), Dims(), Dims()]
        return [Dims(shape) for shape in profiles[profile_index][name]]

    def create_execution_context(self) -> IExecutionContext | None:
        """Return a new context; None if the device memory does not suffice."""
        free = cuda.mem_get_info()[0]
        if self.device_memory_size > free:
            self._log.error(
                2,
                "virtualMemoryBuffer.cpp::resizePhysical",
                f"OutOfMemory: {self.device_memory_size} bytes were requested, {free} are free.",
                "Free device memory, or build for a smaller maximum batch.",
            )
            return None
        self._session()  # made here, so that the first inference is not the slow one
        return IExecutionContext(self)

    def create_engine_inspector(self) -> EngineInspector:
        """Return an inspector of the layers."""
        return EngineInspector(self)

    def serialize(self) -> IHostMemory:
        """Return the plan file."""
        return IHostMemory(self._data)

    def __len__(self) -> int:
        return len(self._tensors)

    def __getitem__(self, index: int) -> str:
        return list(self._tensors)[index]

    def _free_profile(self) -> int:
        """Return the profile that a new context starts with, -1 if all are taken.

        On 8.6 the first context gets profile 0 and no other context does, unless the network is
        static or was built with PROFILE_SHARING_0806.
        """
        return 0 if self._profile_is_free(0) else -1

    def _profile_is_free(self, index: int) -> bool:
        if self._plan.metadata.shares_profiles or not self._is_dynamic():
            return True
        return all(context.active_optimization_profile != index for context in self._contexts)

    def _is_dynamic(self) -> bool:
        return any(-1 in tensor.shape for tensor in self._tensors.values() if tensor.is_input)

    def _shapes(self, inputs: dict[str, graph.Shape]) -> dict[str, graph.Shape]:
        return graph.infer_shapes(self._skeleton, inputs)
