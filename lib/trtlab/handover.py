"""Arrays of other libraries, on the host or on the GPU, without a copy.

NumPy arrays, PyTorch tensors, and whatever offers DLPack or `__cuda_array_interface__` (CuPy, JAX,
Numba, pycuda's GPUArray). Whether they fit an engine is tensors.py's.
"""

from typing import Any

import numpy as np
import torch

from trtlab.errors import InputError
from trtlab.tensors import Array

HostOrDevice = Array | torch.Tensor
"""A NumPy array on the host, or a PyTorch tensor on the GPU."""


def taken(x: Any, name: str) -> HostOrDevice:
    """Return an array that shares the memory of `x`: NumPy's on the host, PyTorch's on the GPU.

    Work on the GPU that `x` still waits for is waited for by PyTorch's current stream.

    Raises:
        InputError: if `x` is no array, of a dtype that NumPy lacks, or on a device of another kind.
    """
    if isinstance(x, np.ndarray):
        return x
    tensor = _tensor(x, name)
    if tensor.device.type == "cuda":
        return tensor
    try:
        return tensor.numpy()  # raises for bfloat16, and for a tensor on any other device
    except (TypeError, RuntimeError) as error:
        raise InputError(f"Input {name!r} is a tensor that NumPy cannot take: {error}") from error


def _tensor(x: Any, name: str) -> torch.Tensor:
    if isinstance(x, torch.Tensor):
        return x.detach()
    try:
        if hasattr(x, "__dlpack__"):
            return torch.from_dlpack(x)
        if hasattr(x, "__cuda_array_interface__"):
            _wait_for_stream_of(x)
            return torch.as_tensor(x, device="cuda")
    except (TypeError, RuntimeError, BufferError, ValueError) as error:
        raise InputError(f"Input {name!r} cannot be handed over: {error}") from error
    raise InputError(
        f"Input {name!r} is a {type(x).__name__}, expected an array: NumPy's, PyTorch's, or one "
        "with DLPack or __cuda_array_interface__."
    )


def _wait_for_stream_of(x: Any) -> None:
    """Let PyTorch's current stream wait for the one that an array says it is made on.

    Source: the CUDA array interface, version 3, which leaves this to whoever takes the array.
    """
    handle = x.__cuda_array_interface__.get("stream")
    if handle is not None:  # 1 and 2 are CUDA's own names of its default streams
        torch.cuda.current_stream().wait_stream(torch.cuda.ExternalStream(handle))


def dtype_of(x: HostOrDevice) -> np.dtype[Any]:
    """Return NumPy's name for the dtype of an array; object where NumPy has none."""
    if isinstance(x, np.ndarray):
        return x.dtype
    try:
        return torch.empty(0, dtype=x.dtype).numpy().dtype
    except TypeError:  # bfloat16, for one
        return np.dtype(object)


def stand_in(x: HostOrDevice) -> Array:
    """Return a NumPy array of the shape and dtype of `x`, to be looked at and not read."""
    if isinstance(x, np.ndarray):
        return x
    return np.broadcast_to(np.empty((), dtype_of(x)), tuple(x.shape))
