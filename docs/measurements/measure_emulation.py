"""Measures how fast the emulation itself is: its builds, and its inference beside ONNX Runtime.

    TRTLAB_BACKEND=emulated python docs/measurements/measure_emulation.py OUT

Writes OUT/emulation.json: machine, versions, commit, figures, limits and whether they are held; the
exit status is 1 if one is missed for certain. Three minutes on 2 CPU cores. Leave OMP_NUM_THREADS
unset. Others on the machine weigh on both sides of a ratio, but on the milliseconds as they stand.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import psutil
from numpy.typing import NDArray
from provenance import provenance

from trtlab.backend import IS_EMULATED
from trtlab.backend.emulated import plan
from trtlab.backend.emulated.lower import make_session
from trtlab.benchmark import compare_paired, random_inputs, rotating
from trtlab.build import build_engine
from trtlab.files import sha256, write_text
from trtlab.infer import TensorRTInference
from trtlab.pipeline import convert_to_onnx, fresh_calibration
from trtlab.spec import BuildSpec, Precision, ShapeProfile
from trtlab.workloads import Workload, load_workload

ABOUT = (
    "CPU times of the emulation itself, which computes with ONNX Runtime. They are not times of "
    "TensorRT, and their ratios say nothing about a GPU."
)
COMMAND = "TRTLAB_BACKEND=emulated python docs/measurements/measure_emulation.py OUT"
BUILD_LIMIT_S = 20.0
INFERENCE_LIMIT = 1.3
"""Time of a call over that of bare ONNX Runtime, at most."""

PRECISIONS = (Precision.FP32, Precision.FP16, Precision.INT8)
BATCH_SIZES = (1, 8, 32)
PROFILE = ShapeProfile(min=1, opt=8, max=32)
BUILDS = 3
CALIBRATION_IMAGES, CALIBRATION_BATCH = 64, 32
PAIRS, WARMUP = 200, 10
MAX_SECONDS = 20.0  # of the pairs at one batch size
MAX_ABS_ERROR = 1e-4
"""Between the logits of the two that are compared: two graphs in FP32, else one and the same."""

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    if not IS_EMULATED:
        sys.exit(
            "This would measure TensorRT; set TRTLAB_BACKEND=emulated to measure the emulation."
        )
    workload = load_workload("digits", arch="resnet50-slim")
    where = provenance()  # asked now: the checkout may have moved on by the end
    start, others_before = time.perf_counter(), cpu_seconds_of_others()
    with tempfile.TemporaryDirectory(prefix="trtlab-emulation-") as folder:
        onnx = Path(folder) / "resnet50-slim.onnx"
        convert_to_onnx(workload.load_model(), onnx)
        builds, inference = [], []
        for precision in PRECISIONS:
            engine = onnx.with_name(f"{precision.value}.engine")
            builds.append(measure_builds(workload, onnx, engine, precision))
            print(json.dumps(builds[-1]), flush=True)
            for found in measure_inference(workload, onnx, engine, precision):
                inference.append(found)
                print(json.dumps(found), flush=True)
        model = {"name": workload.arch, "onnx_sha256": sha256(onnx)}
    others = (cpu_seconds_of_others() - others_before) / (time.perf_counter() - start)
    verdicts = {figure["verdict"] for figure in [*builds, *inference]}
    record = {
        "about": ABOUT,
        "command": COMMAND,
        **where,
        "cores_that_others_used": round(others, 2),
        "model": model,
        "builds": builds,
        "inference": inference,
        "all_pass": verdicts == {"pass"},
    }
    out.mkdir(parents=True, exist_ok=True)
    target = out / "emulation.json"
    write_text(target, json.dumps(record, indent=1) + "\n")
    print(target, *sorted(verdicts), f"others used {others:.2f} cores")
    sys.exit("fail" in verdicts)


def cpu_seconds_of_others() -> float:
    """Return the CPU time since boot that went to other processes and other virtual machines."""
    times = psutil.cpu_times()
    everyone = times.user + times.nice + times.system + getattr(times, "steal", 0.0)
    own = psutil.Process().cpu_times()
    return everyone - own.user - own.system


def measure_builds(
    workload: Workload, onnx: Path, engine: Path, precision: Precision
) -> dict[str, Any]:
    """Build the same engine several times; INT8 draws and runs its calibration images each time."""
    spec = BuildSpec(precision=precision, profiles=(PROFILE,))
    images = CALIBRATION_IMAGES if precision is Precision.INT8 else 0

    def build() -> float:
        if not images:
            return build_engine(onnx, engine, spec).build_seconds
        dataset = workload.dataset("calibration", size=images)
        cache = engine.with_suffix(".cache")
        with fresh_calibration("entropy", dataset, CALIBRATION_BATCH, cache) as calibrator:
            return build_engine(onnx, engine, spec, calibrator=calibrator).build_seconds

    seconds = [build() for _ in range(BUILDS)]
    median = statistics.median(seconds)
    return {
        "precision": precision.value,
        "calibration_images": images,
        "seconds": seconds,
        "median_s": median,
        "limit_s": BUILD_LIMIT_S,
        "verdict": verdict(median, median, BUILD_LIMIT_S),
    }


def measure_inference(
    workload: Workload, onnx: Path, engine: Path, precision: Precision
) -> list[dict[str, Any]]:
    """Time calls from array to array, by turns with bare ONNX Runtime, at each batch size."""
    session, what = bare_session(onnx, engine, precision)

    def bare(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return session.run(None, {workload.input_name: images})[0]

    with TensorRTInference(engine) as model:
        return [
            {"precision": precision.value, "baseline": what, **decide(model.infer, bare, inputs)}
            for inputs in (random_inputs(workload.input_shape, size, 0) for size in BATCH_SIZES)
        ]


def bare_session(
    onnx: Path, engine: Path, precision: Precision
) -> tuple[onnxruntime.InferenceSession, str]:
    """Return what an engine is held against, and what that is, in words.

    ONNX Runtime has no FP16 or INT8 that means the same, so there the engine's own graph is run:
    the difference is what the emulated context, stream and copies cost.
    """
    if precision is Precision.FP32:
        session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
        return session, "the ONNX file, with ONNX Runtime's default options"
    return make_session(plan.parse(engine.read_bytes()).model), "the graph that the engine runs"


def decide(ours: Predict, bare: Predict, inputs: list[NDArray[np.float32]]) -> dict[str, Any]:
    """Compare; where the interval straddles the limit, again and longer, and keep both."""
    first = compare(ours, bare, inputs)
    if first["verdict"] != "inconclusive":
        return first
    return {**compare(ours, bare, inputs, longer=3), "measured_before": first}


def compare(
    ours: Predict, bare: Predict, inputs: list[NDArray[np.float32]], longer: int = 1
) -> dict[str, Any]:
    """Time both on the same inputs, by turns, once they have agreed on the outputs.

    `longer` multiplies the number of pairs, and the seconds that they may take.
    """
    error = max(float(np.abs(ours(images) - bare(images)).max()) for images in inputs)
    if error > MAX_ABS_ERROR:
        sys.exit(f"The outputs differ by {error}: these are not the same model.")
    ours_s: list[float] = []
    bare_s: list[float] = []
    # What it calls the speed-up of the second is how much longer the first takes.
    times = compare_paired(
        recorded(rotating(ours, inputs), ours_s),
        recorded(rotating(bare, inputs), bare_s),
        pairs=longer * PAIRS,
        warmup=WARMUP,
        max_seconds=longer * MAX_SECONDS,
    )
    return {
        "batch_size": len(inputs[0]),
        "max_abs_error": error,
        "emulation_ms": statistics.median(ours_s[WARMUP:]) * 1e3,
        "onnxruntime_ms": statistics.median(bare_s[WARMUP:]) * 1e3,
        "times_the_baseline": times.speedup,
        "low": times.low,
        "high": times.high,
        "pairs": times.pairs,
        "limit": INFERENCE_LIMIT,
        "verdict": verdict(times.low, times.high, INFERENCE_LIMIT),
    }


def recorded(call: Callable[[], object], seconds: list[float]) -> Callable[[], None]:
    """Return `call`, which appends what it took to `seconds`."""

    def run() -> None:
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)

    return run


def verdict(low: float, high: float, limit: float) -> str:
    """Say whether a figure with the interval [low, high] is at most `limit`."""
    if high <= limit:
        return "pass"
    return "fail" if low > limit else "inconclusive"


if __name__ == "__main__":
    main()
