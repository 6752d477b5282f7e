"""Engine files: the sidecar that says where an engine came from, and loading with a diagnosis.

An engine serves one version of TensorRT and one kind of GPU. TensorRT says so only in its log and
returns None; the sidecar, a JSON file beside the engine, lets `load_engine` say what is wrong.
Building is build.py's, running is infer.py's.
"""

import hashlib
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import trtlab
from trtlab.backend import IS_EMULATED, cuda, trt
from trtlab.errors import BuildError, EngineError
from trtlab.logger import LOGGER
from trtlab.spec import BuildSpec

EMULATED_MAGIC = b"TRTLAB-EMULATED-PLAN"
"""How the emulation's plan files begin."""

TENSORRT_MAGIC = b"ftrt"
"""How TensorRT's plan files begin."""


class CalibrationFacts(BaseModel):
    """What an INT8 engine was calibrated on; None where the calibrator does not count."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calibrator: str  # its class
    batches: int | None
    images: int | None
    seconds: float | None = None  # of the calibration, which are among the build's
    from_cache: bool
    cache_sha256: str | None


class EngineSidecar(BaseModel):
    """Where an engine came from: x.engine.json beside x.engine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    backend: str  # "tensorrt" or "emulated"
    tensorrt_version: str
    gpu: str | None  # None on the emulation
    compute_capability: str | None  # "9.0"
    onnx_sha256: str
    engine_sha256: str
    engine_bytes: int
    spec: BuildSpec
    build_seconds: float
    calibration: CalibrationFacts | None = None
    warnings: tuple[str, ...] = ()  # of the build
    trtlab_version: str = trtlab.__version__
    created: datetime = Field(default_factory=lambda: datetime.now(timezone.utc))


def sidecar_path(engine_path: str | Path) -> Path:
    """Return the path of an engine's sidecar: x.engine -> x.engine.json."""
    return Path(f"{engine_path}.json")


def read_sidecar(engine_path: str | Path) -> EngineSidecar | None:
    """Read an engine's sidecar; None if there is none.

    Raises:
        EngineError: if it is damaged or of another schema version.
    """
    path = sidecar_path(engine_path)
    if not path.is_file():
        return None
    try:
        return EngineSidecar.model_validate_json(path.read_bytes())
    except (ValidationError, BuildError) as error:
        raise EngineError(
            f"trtlab {trtlab.__version__} cannot read the sidecar {path}: {_first_line(error)}. "
            "Build the engine again, or delete the sidecar to load without checks."
        ) from error


def current_gpu() -> tuple[str | None, str | None]:
    """Return name and compute capability ("9.0") of the GPU in use; (None, None) on the emulation.

    That is the first visible one; CUDA_VISIBLE_DEVICES chooses another.
    """
    if IS_EMULATED:
        return None, None
    device = cuda.Device(0)
    return device.name(), "{}.{}".format(*device.compute_capability())


def load_engine(engine_path: str | Path) -> Any:
    """Deserialise an engine file and return the trt.ICudaEngine.

    Raises:
        EngineError: if the file is missing, empty, truncated or no engine, or was built by another
            version of TensorRT, on another GPU or by the other backend.
    """
    path = Path(engine_path)
    plan = _read_plan(path)
    _require_magic(path, plan)
    sidecar = read_sidecar(path)
    if sidecar is not None:
        _require_match(path, plan, sidecar)
    with LOGGER.listen() as messages:
        engine = trt.Runtime(LOGGER).deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineError(
            f"TensorRT {trt.__version__} cannot load {path} ({len(plan):,} bytes)"
            f"{messages.because()} Build the engine again on this machine."
        )
    return engine


def _first_line(error: ValidationError | BuildError) -> str:
    if isinstance(error, BuildError):
        return str(error).rstrip(".")
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"


def _read_plan(path: Path) -> bytes:
    if not path.is_file():
        others = sorted(file.name for file in path.parent.glob("*.engine"))
        raise EngineError(
            f"There is no engine file {path}. In that folder: {', '.join(others) or 'none'}."
        )
    plan = path.read_bytes()
    if not plan:
        raise EngineError(f"The engine file {path} is empty. Build it again.")
    return plan


def _require_magic(path: Path, plan: bytes) -> None:
    """Look at the first bytes, which tell the emulation's plans from TensorRT's."""
    if plan.startswith(EMULATED_MAGIC) and not IS_EMULATED:
        raise EngineError(
            f"{path} was built by the CPU emulation, and this is TensorRT {trt.__version__} on a "
            "GPU. Build it again here, or set TRTLAB_BACKEND=emulated."
        )
    if plan.startswith(TENSORRT_MAGIC) and IS_EMULATED:
        raise EngineError(
            f"{path} was built by TensorRT for a GPU, and this is the CPU emulation. Load it on "
            "that GPU, or build it again here."
        )
    # What TensorRT's own plans may look like in other versions is left to TensorRT to judge.
    if IS_EMULATED and not plan.startswith(EMULATED_MAGIC):
        hint = " It looks like an ONNX file: build an engine from it." if plan[0] == 0x08 else ""
        raise EngineError(f"{path} is not an engine: it begins with {plan[:16]!r}.{hint}")


def _require_match(path: Path, plan: bytes, sidecar: EngineSidecar) -> None:
    """Hold the file and this machine against what the sidecar says."""
    if len(plan) < sidecar.engine_bytes:
        raise EngineError(
            f"{path} is truncated: it has {len(plan):,} of {sidecar.engine_bytes:,} bytes. "
            "Copy or build it again."
        )
    if hashlib.sha256(plan).hexdigest() != sidecar.engine_sha256:
        raise EngineError(
            f"{path} is not the engine that {sidecar_path(path).name} describes: their SHA-256 "
            "differ. Build it again, or delete the sidecar if you replaced the engine yourself."
        )
    if sidecar.tensorrt_version != trt.__version__:
        raise EngineError(
            f"{path} was built by TensorRT {sidecar.tensorrt_version}, and this is "
            f"{trt.__version__}; an engine serves one version only. Build it again."
        )
    name, capability = current_gpu()
    if sidecar.compute_capability != capability:
        raise EngineError(
            f"{path} was built for {sidecar.gpu} (compute capability "
            f"{sidecar.compute_capability}), and this is {name} ({capability}). Build it again."
        )
