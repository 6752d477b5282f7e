"""The main job, `make demo`: one model from PyTorch through ONNX to three engines, compared.

Takes some minutes without a GPU, on the emulation, and about as long on a GPU, where TensorRT
times its tactics.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trtlab.backend import BADGE, IS_EMULATED, trt
from trtlab.build import BuildSpec, Precision, ShapeProfile, build_engine
from trtlab.inspect import inspect_engine
from trtlab.pipeline import convert_to_onnx, fresh_calibration, measure
from trtlab.plots import save_figures
from trtlab.report import write_html
from trtlab.results import BenchmarkSettings, Results, write_results
from trtlab.workloads import Workload, load_workload

PRECISIONS = (Precision.FP32, Precision.FP16, Precision.INT8)
CALIBRATION_BATCH = 32


@dataclass(frozen=True)
class DemoPlan:
    """How much the demo does: enough images for its accuracies, few enough for its minutes."""

    calibration_images: int
    validation_images: int
    settings: BenchmarkSettings


def default_plan() -> DemoPlan:
    """Return what suits the backend at hand."""
    if IS_EMULATED:
        # Emulated time is no result, so a few calls are enough to show how it is taken.
        settings = BenchmarkSettings(
            batch_sizes=(1, 8), iterations=20, warmup=3, throughput_s=1.0, max_seconds=5.0
        )
        return DemoPlan(calibration_images=96, validation_images=1000, settings=settings)
    settings = BenchmarkSettings(
        batch_sizes=(1, 8, 32, 128), iterations=300, pairs=100, throughput_s=2.0, max_seconds=5.0
    )
    # About 3,900 images without a difference are what it takes to say "within 0.1 point".
    return DemoPlan(calibration_images=512, validation_images=5000, settings=settings)


def run_demo(
    folder: Path,
    workload: str,
    plan: DemoPlan,
    timing_cache: Path,
    say: Callable[[str], object],
) -> Results:
    """Run the whole pipeline; leave model, engines, results, figures and report in `folder`.

    Args:
        folder: created if it is missing; files of an earlier run are replaced.
        workload: as for `load_workload`.
        plan: how much to do.
        timing_cache: TensorRT's measured tactics, which make the next build several times faster.
        say: called with a line of text at every step.

    Raises:
        TrtLabError: whatever a step raises.
    """
    say(f"Backend: TensorRT {trt.__version__}" + (f". {BADGE}" if IS_EMULATED else ""))
    torch.manual_seed(0)
    chosen = load_workload(workload)
    model = chosen.load_model()
    say(f"1/5 Model: {chosen.arch} for {chosen.name}, {len(chosen.classes)} classes")

    onnx = folder / "resnet50_simplified.onnx"
    conversion = convert_to_onnx(model, onnx, input_shape=chosen.input_shape)
    worst = max(conversion.max_abs_error.values())
    if conversion.simplified:
        nodes = f"{conversion.simplified.nodes_before} nodes, {conversion.simplified.nodes_after}"
        say(f"2/5 ONNX: {nodes} after simplification; {worst:.0e} from PyTorch at most")

    engines = [
        _build(precision, onnx, folder, chosen, plan, timing_cache, say) for precision in PRECISIONS
    ]
    say(f"4/5 Measuring, with accuracy on {plan.validation_images:,} fresh validation images")
    results_path = folder / "results.json"
    results = measure(
        chosen,
        model,
        engines,
        plan.settings,
        images=plan.validation_images,
        onnx=onnx,
        save=lambda partial: write_results(results_path, partial),
    )
    save_figures(results, folder / "figures")
    write_html(results, folder / "report.html")
    say("5/5 Report and figures drawn")
    return results


def _build(
    precision: Precision,
    onnx: Path,
    folder: Path,
    workload: Workload,
    plan: DemoPlan,
    timing_cache: Path,
    say: Callable[[str], object],
) -> Path:
    """Build one engine, calibrated if it is INT8, and tell what became of the layers."""
    engine = folder / f"resnet50_{precision.value}.engine"
    largest = max(plan.settings.batch_sizes)
    spec = BuildSpec(
        precision=precision,
        profiles=(ShapeProfile(min=1, opt=min(8, largest), max=largest),),
    )
    with _calibration(precision, folder, workload, plan) as calibrator:
        sidecar = build_engine(onnx, engine, spec, calibrator=calibrator, timing_cache=timing_cache)
    report = inspect_engine(engine)
    layers = ", ".join(f"{count} {name}" for name, count in report.precision_counts.items())
    say(
        f"3/5 {precision.name} engine: {sidecar.engine_bytes / 1e6:.1f} MB, "
        f"{len(report.layers)} layers ({layers}), built in {sidecar.build_seconds:.1f} s"
    )
    return engine


def _calibration(
    precision: Precision, folder: Path, workload: Workload, plan: DemoPlan
) -> AbstractContextManager[Any]:
    if precision is not Precision.INT8:
        return nullcontext()
    images = workload.dataset("calibration", size=plan.calibration_images)
    return fresh_calibration("entropy", images, CALIBRATION_BATCH, folder / "resnet50_calib.cache")
