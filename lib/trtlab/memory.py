"""How much a model weighs: in its file, and on the GPU."""

import os
from pathlib import Path

import pynvml

from trtlab.errors import ModelError
from trtlab.machine import nvml_device

MIB = 1 << 20


def file_size_mib(path: str | os.PathLike[str]) -> float:
    """Return the size of a file in MiB. Raises: ModelError if there is none."""
    try:
        return Path(path).stat().st_size / MIB
    except OSError as error:
        raise ModelError(f"There is no file {path} to take the size of.") from error


def gpu_memory_mib() -> float | None:
    """Return the memory in use on the process's first GPU in MiB, or None without one.

    The figure is the whole GPU's: NVML cannot tell processes apart inside many containers. Take
    the difference of two readings, with nothing else on the GPU.
    """
    with nvml_device() as device:
        if device is None:
            return None
        try:
            return float(pynvml.nvmlDeviceGetMemoryInfo(device).used) / MIB
        except pynvml.NVMLError:  # unified-memory GPUs such as GB10 do not tell
            return None
