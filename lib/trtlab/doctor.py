"""What `trtlab doctor` looks at: is everything here that the labs need, and how to get it."""

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel

from trtlab.errors import BackendError
from trtlab.machine import GpuFacts, gpu_facts

REINSTALL = "pip install -r requirements.lock"
GPU_INSTALL = "pip install -r requirements-gpu.lock (needs the CUDA toolkit and NVIDIA's index)"
PACKAGES = (
    "torch",
    "torchvision",
    "onnx",
    "onnxsim",
    "onnxruntime",
    "scikit-learn",
    "matplotlib",
    "jupyterlab",
    "nbgrader",
)
MIN_FREE_GIB = 2
_CANNOT_BE_IMPORTED = (ImportError, OSError)  # not installed; or without one of its libraries


class Finding(BaseModel):
    """One line of the doctor's report."""

    what: str
    state: Literal["ok", "missing", "optional"]
    found: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Examine this machine; findings with state 'missing' keep the labs from running."""
    gpu = gpu_facts()
    return [
        _python(),
        *_packages(),
        _alembic(),
        *_gpu(gpu),
        _backend(gpu),
        _weights(),
        _disk(),
    ]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 10) <= sys.version_info[:2] <= (3, 13):
        return Finding(what="Python", state="ok", found=version)
    return Finding(
        what="Python", state="missing", found=version, remedy="install Python 3.10 to 3.13"
    )


def _packages() -> Iterator[Finding]:
    for name in PACKAGES:
        try:
            version = importlib.metadata.version(name)
            yield Finding(what=name, state="ok", found=version)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(what=name, state="missing", found="not installed", remedy=REINSTALL)


def _alembic() -> Finding:
    # nbgrader runs `alembic` by name when it makes a gradebook.
    path = shutil.which("alembic")
    if path:
        return Finding(what="alembic on PATH", state="ok", found=path)
    return Finding(
        what="alembic on PATH",
        state="optional",
        found="not on PATH",
        remedy="put the environment's bin folder on PATH (nbgrader's gradebook needs it)",
    )


def _gpu(gpu: GpuFacts | None) -> Iterator[Finding]:
    if gpu is None:
        yield Finding(
            what="NVIDIA GPU",
            state="optional",
            found="none answered",
            remedy="the labs run on the emulation; speed is graded on a GPU",
        )
    else:
        found = f"{gpu.name}, driver {gpu.driver}"
        yield Finding(what="NVIDIA GPU", state="ok", found=found)
    for name in ("tensorrt", "pycuda"):
        if importlib.util.find_spec(name) is None:
            remedy = GPU_INSTALL if gpu else "only of use on a machine with a GPU"
            yield Finding(what=name, state="optional", found="not installed", remedy=remedy)
            continue
        try:
            yield Finding(what=name, state="ok", found=importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:  # unpacked by hand, or by the system
            yield Finding(what=name, state="ok", found="here, of a version that pip does not know")


def _backend(gpu: GpuFacts | None) -> Finding:
    try:
        from trtlab.backend import IS_EMULATED, WHY_NOT_REAL, trt
    except BackendError as error:
        return Finding(what="backend", state="missing", found="none usable", remedy=str(error))
    except _CANNOT_BE_IMPORTED as error:
        return Finding(what="backend", state="missing", found=str(error), remedy=REINSTALL)
    kind = "the CPU emulation" if IS_EMULATED else "TensorRT on the GPU"
    found = f"{kind} ({trt.__version__})"
    if IS_EMULATED and WHY_NOT_REAL is None:
        found += ", as TRTLAB_BACKEND asks"
    elif IS_EMULATED and gpu:
        found += f", for TensorRT cannot be used: {WHY_NOT_REAL}"
        return Finding(what="backend", state="optional", found=found, remedy=GPU_INSTALL)
    return Finding(what="backend", state="ok", found=found)


def _weights() -> Finding:
    try:
        from trtlab.models import shipped_weights
    except _CANNOT_BE_IMPORTED as error:
        return Finding(what="digits weights", state="missing", found=str(error), remedy=REINSTALL)
    path = shipped_weights("digits/resnet50-slim.safetensors")
    if path.is_file():
        return Finding(
            what="digits weights", state="ok", found=f"{path.stat().st_size / 1e6:.1f} MB"
        )
    return Finding(
        what="digits weights",
        state="missing",
        found=f"no {path.name}",
        remedy="restore datasets/ from the repository",
    )


def _disk() -> Finding:
    free = shutil.disk_usage(os.getcwd()).free / 2**30
    state: Literal["ok", "optional"] = "ok" if free >= MIN_FREE_GIB else "optional"
    remedy = "" if state == "ok" else f"free at least {MIN_FREE_GIB} GiB: engines are large"
    return Finding(what="free disk space", state=state, found=f"{free:.0f} GiB", remedy=remedy)
