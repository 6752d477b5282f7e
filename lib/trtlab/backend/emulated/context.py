"""IExecutionContext: the state of one use of an engine - its shapes, addresses and profile."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from trtlab.backend.emulated import cuda, graph, profile
from trtlab.backend.emulated.plan import TensorFacts
from trtlab.backend.emulated.pybind import Managed, address
from trtlab.backend.emulated.types import DataType, Dims, _dims, nptype

if TYPE_CHECKING:
    from trtlab.backend.emulated.runtime import ICudaEngine


class IExecutionContext(Managed):
    """Runs an engine at shapes within one optimization profile.

    A context serves one thread at a time; several contexts of one engine may run at once.
    """

    def __init__(self, engine: "ICudaEngine") -> None:
        self._engine = engine
        self._log = engine._log
        self._profile = engine._free_profile()
        self._inputs: dict[str, graph.Shape] = {}
        self._addresses: dict[str, int] = {}
        self._inferred: dict[tuple[graph.Shape, ...], dict[str, graph.Shape]] = {}
        self.name = ""
        self._forget_shapes()
        engine._contexts.add(self)

    def _forget_shapes(self) -> None:
        tensors = self._engine._tensors.values()
        self._inputs = {tensor.name: tensor.shape for tensor in tensors if tensor.is_input}

    def _missing_shapes(self) -> list[str]:
        return [name for name, shape in self._inputs.items() if -1 in shape]

    @property
    def engine(self) -> "ICudaEngine":
        """The engine it was made from."""
        return self._engine

    @property
    def active_optimization_profile(self) -> int:
        """Index of the profile in use, -1 if none is."""
        return self._profile

    @property
    def all_shape_inputs_specified(self) -> bool:
        """Whether the values of shape inputs are known: there are none."""
        return True

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        """Switch to another profile; the shapes of the inputs must be set again afterwards.

        Raises:
            RuntimeError: if there is no such profile, or another context holds it.
        """
        address(stream_handle, "stream_handle")
        if not 0 <= profile_index < self._engine.num_optimization_profiles:
            problem = f"Optimization profile index {profile_index} is out of range"
        elif profile_index != self._profile and not self._engine._profile_is_free(profile_index):
            problem = (
                f"Profile {profile_index} has been chosen by another IExecutionContext. Use "
                "another profileIndex or destroy the IExecutionContext that use this profile"
            )
        else:
            if profile_index != self._profile:
                self._profile = profile_index
                self._forget_shapes()
            return True
        self._log.error(3, "executionContext.cpp::setOptimizationProfileAsync", problem)
        raise RuntimeError("Error in set optimization profile async.")

    def set_input_shape(self, name: str, shape: Any) -> bool:
        """Set the shape of an input. Returns False if it does not fit, with a line in the log."""
        wanted = tuple(_dims(shape))
        where = "executionContext.cpp::setInputShape"
        tensor = self._engine._find(name, "setInputShape")
        if tensor is None:
            return False
        if not tensor.is_input:
            problem = f"Given tensor {name} is not an input"
        elif len(wanted) != len(tensor.shape):
            problem = (
                f"condition: engineDims.nbDims == dims.nbDims. {name} has {len(tensor.shape)} "
                f"dimensions {tensor.shape}, {wanted} was given"
            )
        elif any(size not in (-1, new) for size, new in zip(tensor.shape, wanted, strict=True)):
            problem = (
                "condition: engineDims.d[i] == dims.d[i]. Static dimension mismatch while setting "
                f"input shape: {name} is {tensor.shape}, {wanted} was given"
            )
        elif self._profile < 0:
            problem = "No optimization profile has been set for this context"
        elif not profile.contains(bounds := self._bounds(name), wanted):
            problem = (
                "condition: satisfyProfile. Runtime dimension does not satisfy any optimization "
                f"profile: {wanted} was given for {name}, profile {self._profile} reaches from "
                f"{bounds[0]} to {bounds[2]}"
            )
        else:
            self._inputs[name] = wanted
            return True
        self._log.error(3, where, f"Parameter check failed, {problem}.")
        return False

    def _bounds(self, name: str) -> profile.Range:
        return self._engine._plan.metadata.profiles[self._profile][name]

    def get_tensor_shape(self, name: str) -> Dims:
        """Return the shape of a tensor at the input shapes that are set; -1 where it is open."""
        tensor = self._engine._find(name, "getTensorShape")
        return Dims(self._shape(tensor)) if tensor else Dims()

    def _shape(self, tensor: TensorFacts) -> graph.Shape:
        if tensor.is_input:
            return self._inputs[tensor.name]
        if self._missing_shapes():
            return tensor.shape
        try:
            return self._inferred_shapes()[tensor.name]
        except graph.ShapeError as error:
            self._log.error(3, "executionContext.cpp::getTensorShape", str(error))
            return tensor.shape

    def _inferred_shapes(self) -> dict[str, graph.Shape]:
        """Return the shapes of all tensors at the current input shapes, computed once for each.

        Raises:
            ShapeError: if the network cannot run at them.
        """
        key = tuple(self._inputs.values())
        if key not in self._inferred:
            self._inferred[key] = self._engine._shapes(self._inputs)
        return self._inferred[key]

    def get_tensor_strides(self, name: str) -> Dims:
        """Return the strides of a tensor in elements, -1 where its shape is open."""
        shape = tuple(self.get_tensor_shape(name))
        if -1 in shape:
            return Dims([-1] * len(shape))
        return Dims([math.prod(shape[axis + 1 :]) for axis in range(len(shape))])

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Set where a tensor lies on the device. Returns False for an unknown name."""
        where = address(memory, "memory")
        if self._engine._find(name, "setTensorAddress") is None:
            return False
        self._addresses[name] = where
        return True

    def get_tensor_address(self, name: str) -> int:
        """Return the address of a tensor, 0 if it is not set."""
        self._engine._find(name, "getTensorAddress")
        return self._addresses.get(name, 0)

    def infer_shapes(self) -> list[str]:
        """Return the inputs whose shape is still missing; [] if all output shapes are known."""
        return self._missing_shapes()

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Enqueue inference on a stream, 0 being the default one.

        Shapes and addresses are those at the time of the call; data are read and written when the
        work runs. Returns False if something is not set, with a line in the log.
        """
        stream = address(stream_handle, "stream_handle")
        problem = self._not_ready(self._addresses)
        if problem:
            self._log.error(
                3, "executionContext.cpp::enqueueV3", f"Parameter check failed, {problem}"
            )
            return False
        self._launch(stream, dict(self._addresses))
        return True

    def execute_v2(self, bindings: list[int]) -> bool:
        """Run inference and wait for it; `bindings` are addresses in the engine's order."""
        names = list(self._engine._tensors)
        addresses = {
            name: address(where, "binding") for name, where in zip(names, bindings, strict=False)
        }
        problem = self._not_ready(addresses)
        if problem:
            self._log.error(
                3, "executionContext.cpp::executeV2", f"Parameter check failed, {problem}"
            )
            return False
        self._launch(0, addresses)
        cuda.Context.synchronize()
        return True

    def _not_ready(self, addresses: dict[str, int]) -> str:
        """Return what keeps the context from running, in words; '' if nothing does."""
        if self._profile < 0:
            return (
                "condition: mOptimizationProfile >= 0. This context has no optimization profile: "
                "on 8.6 each context of a dynamic engine needs a profile of its own, or build with "
                "PreviewFeature.PROFILE_SHARING_0806."
            )
        for name, shape in self._inputs.items():
            if -1 in shape:
                return f"The shape of dynamic input {name} is not set: call set_input_shape."
        try:
            self._inferred_shapes()
        except graph.ShapeError as error:
            return str(error)
        for name, tensor in self._engine._tensors.items():
            if not addresses.get(name):
                role = "input" if tensor.is_input else "output"
                return (
                    f"Address is not set for {role} tensor {name}. Call setTensorAddress before "
                    "enqueue/execute."
                )
        return ""

    def _launch(self, stream: int, addresses: dict[str, int]) -> None:
        session = self._engine._session()
        inputs = dict(self._inputs)
        tensors = self._engine._tensors
        outputs = [name for name, tensor in tensors.items() if not tensor.is_input]

        def run() -> None:
            feeds = {
                name: _read(addresses[name], shape, nptype(DataType[tensors[name].dtype]))
                for name, shape in inputs.items()
            }
            for name, result in zip(outputs, session.run(outputs, feeds), strict=True):
                target = cuda.view(addresses[name], result.nbytes)
                target[:] = np.ascontiguousarray(result).reshape(-1).view(np.uint8)

        cuda.launch(stream, run)


def _read(where: int, shape: graph.Shape, dtype: Any) -> np.ndarray:
    """Return the array at a device address, without a copy."""
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    return np.asarray(cuda.view(where, nbytes)).view(dtype).reshape(shape)
