"""The facts of the machine that a figure was measured on: GPU, clocks, CPU and versions.

Reads NVML and the installed packages. It does not judge what is missing; `trtlab doctor` does.
"""

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import pynvml
from pydantic import BaseModel, ConfigDict, Field

import trtlab

T = TypeVar("T")


class GpuFacts(BaseModel):
    """One GPU at one moment, as NVML tells it; None where this GPU or driver does not tell."""

    model_config = ConfigDict(extra="forbid")

    name: str
    compute_capability: str | None = None  # "9.0"
    driver: str | None = None
    cuda_driver: str | None = None  # the newest CUDA that the driver serves, "13.0"
    memory_mib: int | None = None
    sm_clock_mhz: int | None = None
    sm_clock_max_mhz: int | None = None
    memory_clock_mhz: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None


class MachineFacts(BaseModel):
    """Where and with what a measurement ran. Names no host, no user and no serial number."""

    model_config = ConfigDict(extra="forbid")

    time: datetime = Field(default_factory=lambda: datetime.now(timezone.utc))
    gpu: GpuFacts | None = None
    cpu: str
    cpu_cores: int
    system: str
    backend: str  # "tensorrt" or "emulated"
    emulated: bool
    tf32_convolutions: bool  # torch.backends.cudnn.allow_tf32, on by default
    tf32_matmuls: bool  # torch.backends.cuda.matmul.allow_tf32, off by default
    versions: dict[str, str | None]  # package -> version, None where it is not installed


@contextmanager
def nvml_device() -> Iterator[Any]:
    """Yield the NVML handle of the process's first CUDA device, or None where there is none.

    NVML numbers the GPUs of the machine and ignores CUDA_VISIBLE_DEVICES, so that is read here.
    Among GPUs of different models the two agree only under CUDA_DEVICE_ORDER=PCI_BUS_ID.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        handle = None
        try:
            if visible.isdigit():
                handle = pynvml.nvmlDeviceGetHandleByIndex(int(visible))
            elif visible.startswith(("GPU-", "MIG-")):
                handle = pynvml.nvmlDeviceGetHandleByUUID(visible)
        except pynvml.NVMLError:
            pass  # a number or name of no GPU: CUDA sees none either
        yield handle
    finally:
        pynvml.nvmlShutdown()


def gpu_facts() -> GpuFacts | None:
    """Describe the process's first CUDA device now, None where there is none. Asks only NVML."""
    with nvml_device() as device:
        return None if device is None else _gpu_facts(device)


def machine_facts() -> MachineFacts:
    """Describe this machine now. Without a GPU or its driver, `gpu` is None.

    Raises:
        BackendError: if the installed TensorRT is not one that the course supports.
    """
    import torch

    from trtlab import backend

    return MachineFacts(
        gpu=gpu_facts(),
        cpu=_cpu_model(),
        cpu_cores=_cpu_cores(),
        system=f"{platform.system()} {platform.machine()}",
        backend=backend.NAME,
        emulated=backend.IS_EMULATED,
        tf32_convolutions=torch.backends.cudnn.allow_tf32,
        tf32_matmuls=torch.backends.cuda.matmul.allow_tf32,
        versions={
            "trtlab": trtlab.__version__,
            "python": platform.python_version(),
            "tensorrt": backend.trt.__version__,
            "torch": torch.__version__,
            "cuda (torch)": torch.version.cuda,
            **{name: _installed(name) for name in ("onnx", "onnxruntime", "numpy", "pycuda")},
        },
    )


def _gpu_facts(device: Any) -> GpuFacts:
    def ask(query: Callable[..., T], *arguments: Any) -> T | None:
        try:
            return query(*arguments)
        except pynvml.NVMLError:  # not supported on this GPU, or no permission in a container
            return None

    capability = ask(pynvml.nvmlDeviceGetCudaComputeCapability, device)
    cuda = ask(pynvml.nvmlSystemGetCudaDriverVersion)
    memory = ask(pynvml.nvmlDeviceGetMemoryInfo, device)
    power = ask(pynvml.nvmlDeviceGetPowerUsage, device)
    limit = ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, device)
    return GpuFacts(
        name=ask(pynvml.nvmlDeviceGetName, device) or "unknown",
        compute_capability=capability and "{}.{}".format(*capability),
        driver=ask(pynvml.nvmlSystemGetDriverVersion),
        cuda_driver=cuda and f"{cuda // 1000}.{cuda % 1000 // 10}",
        memory_mib=memory and int(memory.total) >> 20,
        sm_clock_mhz=ask(pynvml.nvmlDeviceGetClockInfo, device, pynvml.NVML_CLOCK_SM),
        sm_clock_max_mhz=ask(pynvml.nvmlDeviceGetMaxClockInfo, device, pynvml.NVML_CLOCK_SM),
        memory_clock_mhz=ask(pynvml.nvmlDeviceGetClockInfo, device, pynvml.NVML_CLOCK_MEM),
        temperature_c=ask(pynvml.nvmlDeviceGetTemperature, device, pynvml.NVML_TEMPERATURE_GPU),
        power_w=power and power / 1000,
        power_limit_w=limit and limit / 1000,
    )


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cpu_cores() -> int:
    """Count the cores that this process may use, which a container can make fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
