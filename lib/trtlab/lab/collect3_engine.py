"""Evidence on the INT8 engine: the file and its cache, its answers, its speed and its size.

What the build function asks of TensorRT is watched on a second call that stops before the build.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from trtlab.backend import IS_EMULATED, trt
from trtlab.calibration_cache import CalibrationCache
from trtlab.checks.evidence import Attempt
from trtlab.checks.lab3_engine import Int8EngineEvidence, Int8SizeEvidence, Int8SpeedEvidence
from trtlab.errors import CacheError, TrtLabError
from trtlab.export import load_onnx
from trtlab.infer import TensorRTInference
from trtlab.inspect import EngineReport, inspect_engine
from trtlab.lab.artifacts import provided
from trtlab.lab.session import Names, attempt, collector, missing
from trtlab.lab.speed import speedup_over_pytorch
from trtlab.workloads import Workload, load_workload

ENGINE, CACHE = "resnet50_int8.engine", "resnet50_calib.cache"
ONNX = "resnet50_simplified.onnx"
ALGORITHM = "EntropyCalibration2"
IMAGES, IMAGES_PER_RUN, SEED = 32, 32, 3_000_003
SPEED_BATCH = 1


@collector("3.3")
def int8_engine(names: Names) -> Int8EngineEvidence:
    """Look at the engine and its cache, run it, and watch what the build function asks for."""
    what = "build_engine_int8"
    build, calibrator = names.get(what), names.get("calibrator")
    if not callable(build):
        return Int8EngineEvidence(attempt=missing(what))
    ran, config = attempt(what, lambda: _watch(build, _onnx_path(names), calibrator))
    if calibrator is None and ran.stage != "not started":
        ran, config = missing("calibrator"), None
    if config is None:
        return Int8EngineEvidence(attempt=ran)
    report, problem = _inspect()
    shown = getattr(calibrator, "images_shown", None)
    return Int8EngineEvidence(
        attempt=ran,
        **config,
        batch_size=_batch_size(names, calibrator),
        problem=problem,
        batches=_batches(report),
        precisions=report.precision_counts if report else {},
        images_shown=shown if isinstance(shown, int) else None,
        **_cache_facts(),
        **_answers(names, report, IMAGES_PER_RUN),
    )


def _batch_size(names: Names, calibrator: Any) -> int:
    """Return the size of the batches that the calibrator is given."""
    size = getattr(names.get("calib_loader"), "batch_size", None)
    return size if isinstance(size, int) else int(calibrator.get_batch_size())


@collector("3.4")
def int8_speedup(names: Names) -> Int8SpeedEvidence:
    """Time the engine in the current folder, where there is a GPU."""
    if not Path(ENGINE).is_file():
        return Int8SpeedEvidence(attempt=missing(ENGINE))
    report, problem = _inspect()
    answers = _answers(names, report, SPEED_BATCH)
    answers.pop("input_largest")
    speedup = None
    if report is not None and not problem:
        try:
            speedup = speedup_over_pytorch(ENGINE, SPEED_BATCH)
        except TrtLabError as error:
            problem = str(error)
    return Int8SpeedEvidence(
        attempt=Attempt(stage="done", what=ENGINE),
        emulated=IS_EMULATED,
        batch=SPEED_BATCH,
        problem=problem,
        precisions=report.precision_counts if report else {},
        speedup=speedup,
        **answers,
    )


@collector("3.5")
def int8_size(names: Names) -> Int8SizeEvidence:
    """Weigh the engine in the current folder and the course's FP32 engine."""
    if not Path(ENGINE).is_file():
        return Int8SizeEvidence(attempt=missing(ENGINE))
    report, problem = _inspect()
    model = load_onnx(_onnx_path(names))
    weights = sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)
    return Int8SizeEvidence(
        attempt=Attempt(stage="done", what=ENGINE),
        emulated=IS_EMULATED,
        problem=problem,
        int8_bytes=report.engine_bytes if report else None,
        fp32_bytes=provided("resnet50_fp32.engine").stat().st_size,
        weights=weights,
        weight_bytes=report.weights_bytes if report else None,
    )


def _inspect() -> tuple[EngineReport | None, str]:
    """Return the report on the engine in the current folder, or why there is none."""
    if not Path(ENGINE).is_file():
        return None, f"there is no {ENGINE}"
    try:
        return inspect_engine(ENGINE), ""
    except TrtLabError as error:
        return None, str(error)


def _batches(report: EngineReport | None) -> tuple[int, int, int] | None:
    if report is None or not report.profiles:
        return None
    shapes = report.profiles[0]
    return shapes.min[0], shapes.opt[0], shapes.max[0]


def _cache_facts() -> dict[str, Any]:
    """Return what the cache in the current folder says, as fields of Int8EngineEvidence."""
    if not Path(CACHE).is_file():
        return {"cache_problem": f"there is no {CACHE}"}
    try:
        cache = CalibrationCache.read(CACHE)
        cache.check(trt.__version__, ALGORITHM)
    except CacheError as error:
        return {"cache_problem": str(error)}
    return {
        "cache_tensors": len(cache.scales),
        "input_range": cache.ranges().get(Workload.input_name),
    }


def _answers(names: Names, report: EngineReport | None, batch: int) -> dict[str, Any]:
    """Return how the engine's answers on fresh images differ from those of the network in FP32."""
    workload = names.get("workload")
    if not isinstance(workload, Workload):
        workload = load_workload()
    loader = workload.loader("validation", size=IMAGES, seed=SEED, batch_size=IMAGES)
    images = next(iter(loader))[0].numpy()  # (N, 3, 224, 224)
    facts: dict[str, Any] = {"input_largest": float(np.abs(images).max())}
    if report is None:
        return facts
    expected = _fp32_logits(_onnx_path(names), images)
    try:
        with TensorRTInference(ENGINE) as engine:
            found = _run(engine, images, batch)
    except TrtLabError:
        return facts
    if not np.isfinite(found).all():
        return facts
    return facts | {
        "images": len(images),
        "logits_error": float(np.linalg.norm(found - expected) / np.linalg.norm(expected)),
        "same_class": int((found.argmax(axis=1) == expected.argmax(axis=1)).sum()),
    }


def _onnx_path(names: Names) -> str:
    """Return the path of the ONNX file that the notebook builds from."""
    path = Path(str(names.get("ONNX", ONNX)))
    return str(path if path.is_file() else provided(ONNX))


def _fp32_logits(onnx_path: str, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run the network that the engine was built from, with ONNX Runtime."""
    session = onnxruntime.InferenceSession(onnx_path, providers=["CPUExecutionProvider"])
    logits: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: images})[0]
    return logits


def _run(
    predict: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    images: NDArray[np.float32],
    batch: int,
) -> NDArray[np.float32]:
    return np.concatenate([predict(images[i : i + batch]) for i in range(0, len(images), batch)])


class _Stopped(BaseException):
    """Ends the student's function where the build would begin, past any `except Exception`."""


def _watch(build: Callable[..., Any], onnx_path: str, calibrator: Any) -> dict[str, Any]:
    """Return what the build function has configured, as fields of Int8EngineEvidence."""
    facts: dict[str, Any] = {"observed": False}
    # Another path, because the function may open the file before it builds.
    with tempfile.TemporaryDirectory() as folder, _stopping(facts):
        try:
            build(onnx_path, str(Path(folder) / ENGINE), calibrator)
        except _Stopped:
            facts["observed"] = True
    return facts


@contextmanager
def _stopping(facts: dict[str, Any]) -> Iterator[None]:
    """Have build_serialized_network note the config in `facts` and raise."""

    def build_serialized_network(builder: Any, network: Any, config: Any) -> Any:
        facts["fp16"] = bool(config.get_flag(trt.BuilderFlag.FP16))
        facts["calibration_batch"] = _calibration_batch(network, config)
        raise _Stopped

    with mock.patch.object(trt.Builder, "build_serialized_network", build_serialized_network):
        yield


def _calibration_batch(network: Any, config: Any) -> int | None:
    """Return the batch that calibration runs at; None where TensorRT would take profile 0's OPT.

    The config does not give its optimization profiles back.
    """
    profile = config.get_calibration_profile()
    if profile is None or not network.num_inputs:
        return None
    shapes = profile.get_shape(network.get_input(0).name)
    return int(shapes[1][0]) if shapes else None
