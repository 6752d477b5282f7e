"""Probes of the INT8 engine: the file and its cache, its answers, its speed and its size.

What the build function asks of TensorRT is watched on a second call that stops before the build.
All else is measured on the files, against the course's own model on secret images.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
from numpy.typing import NDArray
from pydantic import NonNegativeInt

from trtlab.backend import IS_EMULATED, trt
from trtlab.backend.emulated.quantize import collect_ranges
from trtlab.calibration_cache import CalibrationCache
from trtlab.checks.evidence import Attempt
from trtlab.checks.lab3_engine import Int8EngineEvidence, Int8SizeEvidence, Int8SpeedEvidence
from trtlab.errors import CacheError, TrtLabError, of_the_course
from trtlab.export import load_onnx
from trtlab.inspect import EngineReport
from trtlab.lab.artifacts import provided, reference_model
from trtlab.lab.attempts import attempt, missing
from trtlab.lab.exchange import ExchangeError, is_regular, read_bytes
from trtlab.lab.onnx_facts import facts_of, torch_runner
from trtlab.lab.probe import Names, Observed, Probe, Scene, probe
from trtlab.lab.probes.lab3_calibrator import MOST_CACHE_BYTES, shown_by
from trtlab.lab.recording import small_model
from trtlab.lab.scratch import scratch_folder
from trtlab.workloads import Workload, load_workload

ENGINE, CACHE = "resnet50_int8.engine", "resnet50_calib.cache"
ONNX, FP32_ENGINE = "resnet50_simplified.onnx", "resnet50_fp32.engine"
ALGORITHM = "EntropyCalibration2"
IMAGES, SPEED_BATCH = 32, 1
GIVEN_ONNX = "small.onnx"
MOST_TEXT = 300

Images = NDArray[np.float32]


class Int8Observed(Observed):
    """What the build function had configured, and what the notebook's calibrator says.

    Attributes are as in Int8EngineEvidence.
    """

    observed: bool = False
    fp16: bool = False
    calibration_batch: NonNegativeInt | None = None
    batch_size: NonNegativeInt = 0
    images_shown: int | None = None


@probe("3.3")
class Int8Engine(Probe[Int8Observed]):
    """Watches what the build function asks for; looks at the engine and its cache, and runs it."""

    observed = Int8Observed

    def give(self, given: Path, seed: int) -> None:
        """Write a small network; only what is asked for it matters, so it holds no secret."""
        onnx.save(small_model(), given / GIVEN_ONNX)

    def run(self, names: Names, given: Path, made: Path) -> Int8Observed:
        """Call the build function up to the build."""
        what = "build_engine_int8"
        build, calibrator = names.get(what), names.get("calibrator")
        if not callable(build):
            return Int8Observed(attempt=missing(what))

        def look() -> dict[str, Any]:
            return _watch(build, given / GIVEN_ONNX, calibrator) | {
                "batch_size": _batch_size(names, calibrator),
                "images_shown": shown_by(calibrator),
            }

        ran, facts = attempt(what, look)
        if calibrator is None and ran.stage != "not started":
            return Int8Observed(attempt=missing("calibrator"))
        return Int8Observed(attempt=ran, **(facts or {}))

    def evidence(self, observed: Int8Observed, scene: Scene) -> Int8EngineEvidence:
        """Inspect the engine, run it on secret images, and compare ranges and answers."""
        if observed.attempt.stage != "done":
            return Int8EngineEvidence(attempt=observed.attempt)
        images = _secret_images(scene.seed)
        report, problem = _inspect(scene)
        return Int8EngineEvidence(
            **observed.model_dump(),
            problem=problem,
            batches=_batches(report),
            precisions=report.precision_counts if report else {},
            input_largest=float(np.abs(images).max()),
            **_cache_facts(scene.folder / CACHE, images),
            **_answers(scene, report, images, batch=IMAGES),
        )


class _OnFiles(Probe[Observed]):
    """A task of which nothing is asked in the student's kernel."""

    observed = Observed

    def run(self, names: Names, given: Path, made: Path) -> Observed:
        """Call nothing: the engine's file is all that counts."""
        return Observed(attempt=Attempt(stage="done", what=ENGINE))


@probe("3.4")
class Int8Speedup(_OnFiles):
    """Times the engine, where there is a GPU."""

    def evidence(self, observed: Observed, scene: Scene) -> Int8SpeedEvidence:
        """Inspect the engine, run it on secret images, and let the bench time it."""
        if not is_regular(scene.folder / ENGINE):
            return Int8SpeedEvidence(attempt=missing(ENGINE))
        report, problem = _inspect(scene)
        speedup = None
        if report is not None:
            try:
                speedup = scene.bench.speedup(scene.folder / ENGINE, SPEED_BATCH)
            except TrtLabError as error:
                problem = str(error)[:MOST_TEXT]
        return Int8SpeedEvidence(
            attempt=observed.attempt,
            emulated=IS_EMULATED,
            batch=SPEED_BATCH,
            problem=problem,
            precisions=report.precision_counts if report else {},
            speedup=speedup,
            **_answers(scene, report, _secret_images(scene.seed), batch=SPEED_BATCH),
        )


@probe("3.5")
class Int8Size(_OnFiles):
    """Weighs the engine against the course's FP32 engine."""

    def evidence(self, observed: Observed, scene: Scene) -> Int8SizeEvidence:
        """Take the sizes of the files, and the bytes of the weights from the inspector."""
        path = scene.folder / ENGINE
        if not is_regular(path):
            return Int8SizeEvidence(attempt=missing(ENGINE))
        report, problem = _inspect(scene)
        return Int8SizeEvidence(
            attempt=observed.attempt,
            emulated=IS_EMULATED,
            problem=problem,
            int8_bytes=path.lstat().st_size if report else None,
            fp32_bytes=provided(FP32_ENGINE).stat().st_size,
            weights=facts_of(_provided_model()).weights,
            weight_bytes=report.weights_bytes if report else None,
        )


# In the student's kernel


class _Stopped(BaseException):
    """Ends the student's function where the build would begin, past any `except Exception`."""


def _watch(build: Callable[..., Any], onnx_path: Path, calibrator: Any) -> dict[str, Any]:
    """Return what the build function has configured, as fields of Int8Observed."""
    facts: dict[str, Any] = {"observed": False}
    # Another path, because the function may open the file before it builds.
    with scratch_folder() as folder, _stopping(facts):
        try:
            build(str(onnx_path), str(folder / ENGINE), calibrator)
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


def _batch_size(names: Names, calibrator: Any) -> int:
    """Return the size of the batches that the calibrator is given; 0 if nothing says it."""
    size = getattr(names.get("calib_loader"), "batch_size", None)
    if not isinstance(size, int) and calibrator is not None:
        size = calibrator.get_batch_size()
    return size if isinstance(size, int) and 0 <= size < 2**31 else 0


# Outside of it


def _inspect(scene: Scene) -> tuple[EngineReport | None, str]:
    """Return the report on the student's engine, or why there is none."""
    if not is_regular(scene.folder / ENGINE):
        return None, f"there is no {ENGINE}"
    try:
        return scene.bench.inspect(scene.folder / ENGINE), ""
    except TrtLabError as error:
        return None, str(error)[:MOST_TEXT]


def _batches(report: EngineReport | None) -> tuple[int, int, int] | None:
    """Return min, opt and max of the batch; None if the engine has no profile of one."""
    if report is None or not report.profiles:
        return None
    shapes = report.profiles[0]
    return (shapes.min[0], shapes.opt[0], shapes.max[0]) if shapes.opt else None


def _secret_images(seed: int) -> Images:
    """Return validation images (32, 3, 224, 224) that no student has met."""
    loader = load_workload().loader("validation", size=IMAGES, seed=seed, batch_size=IMAGES)
    images: Images = next(iter(loader))[0].numpy()
    return images


def _cache_facts(path: Path, images: Images) -> dict[str, Any]:
    """Return what a calibration cache says, as fields of Int8EngineEvidence."""
    if not is_regular(path):
        return {"cache_problem": f"there is no {path.name}"}
    try:
        cache = CalibrationCache.parse(read_bytes(path, MOST_CACHE_BYTES))
        cache.check(trt.__version__, ALGORITHM)
    except (CacheError, ExchangeError) as error:
        return {"cache_problem": str(error)[:MOST_TEXT]}
    ranges = cache.ranges()
    return {
        "cache_tensors": len(ranges),
        "input_range": ranges.get(Workload.input_name),
        "activation_ratio": _activation_ratio(ranges, images),
    }


def _activation_ratio(ranges: dict[str, float], images: Images) -> float | None:
    """Return the median, over activations, of a range to the largest value on these images.

    None if the cache shares no tensor with the course's own export: names are the exporter's.
    """
    model = _provided_model()
    with of_the_course(f"The provided {ONNX}"):
        largest = collect_ranges(model, [{Workload.input_name: images}], "minmax")
    ratios = [
        ranges[name] / value
        for name, value in largest.items()
        if name in ranges and name != Workload.input_name
    ]
    return float(np.median(ratios)) if ratios else None


def _provided_model() -> onnx.ModelProto:
    with of_the_course(f"The provided {ONNX}"):
        return load_onnx(provided(ONNX))


def _answers(
    scene: Scene, report: EngineReport | None, images: Images, batch: int
) -> dict[str, Any]:
    """Return how the engine's answers differ from those of the course's model in FP32."""
    if report is None:
        return {}
    _, model = reference_model()
    expected = torch_runner(model)(images)
    try:
        found = scene.bench.run_engine(scene.folder / ENGINE, images, batch)
    except TrtLabError:
        return {}
    if found.shape != expected.shape or not np.isfinite(found).all():
        return {}
    difference = np.linalg.norm(found.astype(np.float64) - expected)
    return {
        "images": len(images),
        "logits_error": float(difference / np.linalg.norm(expected)),
        "same_class": int((found.argmax(axis=1) == expected.argmax(axis=1)).sum()),
    }
