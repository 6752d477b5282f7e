"""The most images per second that an INT8 engine reaches alone, on images that lie in GPU memory.

Searched over the input's type and layout, how hard the builder looks, the batch, and how many
execution contexts run side by side, each with its own stream and CUDA graph. A figure counts only
if every context's output, over a poisoned buffer, agrees with PyTorch, and if the card could do as
much arithmetic at all.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import onnx
import torch

from speed import io_formats
from speed.ceilings import int8_ops
from speed.device import DeviceEngine, eager, require_agreement, require_finite
from speed.io_formats import InputFormat, build_int8
from speed.rig import LARGE, NEEDS_GPU, STANDARD, Rig
from speed.throughput import throughput
from trtlab.calibration_cache import CalibrationCache
from trtlab.errors import InferenceError, TrtLabError
from trtlab.roofline import count_nodes
from trtlab.spec import Precision, ShapeProfile
from trtlab.stats import bootstrap_median

P1024 = ShapeProfile(min=1, opt=512, max=1024)
P512 = ShapeProfile(min=512, opt=512, max=512)


@dataclass(frozen=True)
class Variant:
    """An engine to try: its input, its batches, and how hard the builder is to look (None: 3)."""

    form: InputFormat
    profile: ShapeProfile
    batches: tuple[int, ...]
    level: int | None = None


# The plain build first, to compare with; then by promise. MLPerf's submissions use INT8 CHW4.
PLAN = (
    Variant(io_formats.FP32, P1024, (512, 1024)),
    Variant(io_formats.FP32, P1024, (512, 1024), level=5),
    Variant(io_formats.INT8_CHW4, P1024, (512, 1024)),
    Variant(io_formats.INT8_CHW32, P1024, (512, 1024)),
    Variant(io_formats.FP32, P512, (512,), level=5),
    Variant(io_formats.INT8, P1024, (512, 1024)),
    Variant(io_formats.FP16_HWC8, P1024, (512, 1024)),
    Variant(io_formats.FP16, P1024, (512, 1024)),
    Variant(io_formats.INT8_CHW4, LARGE, (256, 512)),
)
CONTEXTS = (2, 1, 3)
SECONDS = (2.5, 0.3)  # of one measurement, at full length and where only the scripts are tried
DEADLINE_S = 420.0


def measure(rig: Rig) -> dict[str, Any]:
    """Return every configuration that was measured, best first, and what failed or had no time."""
    if rig.emulated:
        return NEEDS_GPU
    deadline = time.monotonic() + DEADLINE_S
    rig.engine(Precision.INT8, STANDARD)  # leaves the scales of a calibration
    flops = sum(node.flops for node in count_nodes(onnx.load(rig.onnx()), 1))
    ceiling = int8_ops() / flops
    measured: list[dict[str, Any]] = []
    failed, not_tried = [], []
    for variant in PLAN[: rig.count(len(PLAN), 1)]:
        build: dict[str, Any] = {
            "input": str(variant.form),
            "profile": str(variant.profile),
            "optimization_level": variant.level,
        }
        if time.monotonic() > deadline:
            not_tried.append(build)
            continue
        try:
            start = time.perf_counter()
            engine, scale = build_variant(rig, variant)
            build["build_seconds"] = time.perf_counter() - start
            for batch in variant.batches:
                for found in search(rig, engine, variant.form, batch, scale, ceiling):
                    measured.append(build | found)
        except (TrtLabError, RuntimeError) as error:  # PyTorch's, of a capture or of memory
            failed.append(build | {"error": f"{type(error).__name__}: {error}"})
        engine = None  # its memory is the next one's
        torch.cuda.empty_cache()
    return {
        "configurations": sorted(measured, key=lambda found: -found["images_per_s"]),
        "failed": failed,
        "not_tried": not_tried,
        "int8_matmul_images_per_s": ceiling,
        "flops_per_image": flops,
    }


def build_variant(rig: Rig, variant: Variant) -> tuple[Any, float]:
    """Return the engine, and the scale of its input's INT8 step."""
    scale = CalibrationCache.read(rig.calibration_cache()).scales[rig.workload.input_name]
    with rig.calibrator() as calibrator:
        engine = build_int8(
            rig.onnx(),
            variant.form,
            variant.profile,
            calibrator,
            scale,
            rig.timing_cache,
            variant.level,
        )
    return engine, scale


def search(
    rig: Rig, engine: Any, form: InputFormat, batch: int, scale: float, ceiling: float
) -> Iterator[dict[str, Any]]:
    """Measure one engine at one batch with several numbers of contexts; yield each at once."""
    images = rig.images(batch)
    expected = eager(rig.model(), images, tf32=False)()
    packed = form.pack(images, scale)
    # Each reads memory of its own, as it would in service.
    contexts = [DeviceEngine(engine, packed.clone(), batch) for _ in range(max(CONTEXTS))]
    errors = [require_agreement(context.fresh_output(), expected) for context in contexts]
    for count in CONTEXTS:
        used = contexts[:count]
        for context in used:
            context.output.fill_(torch.nan)
        rates, elapsed, overall = throughput(used, batch, rig.count(*SECONDS))
        for context in used:
            require_finite(context.output)
        median, low, high = bootstrap_median(rates)
        if overall > ceiling:
            raise InferenceError(
                f"{overall:,.0f} images/s take more arithmetic than this card has: it does "
                f"{ceiling:,.0f} images/s in a plain INT8 matrix product."
            )
        yield {
            "batch": batch,
            "contexts": count,
            "images_per_s": median,
            "low": low,
            "high": high,
            "windows": rates.tolist(),
            "seconds": elapsed,
            "wall_clock_images_per_s": overall,
            "share_of_int8_matmul": median / ceiling,
            "logits_error": max(errors),
        }
