"""What calibration images cost and are worth: TensorRT's seconds with them, and the accuracy.

Every engine is built by itself, after the one before. `calibrating_seconds` are those from the
first batch that TensorRT asks for to the scales that it hands over. `build_seconds` are the whole
build's, of which a timing cache that knows no INT8 kernels yet makes the first one longer. Images
are drawn beforehand. What the deadline leaves no time for is listed.
"""

import time
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from speed.calibration import SEED, drawn, reference
from speed.rig import CALIBRATION_BATCH, STANDARD, Rig
from trtlab.accuracy import accuracy_stats
from trtlab.build import build_engine
from trtlab.calibrate import EntropyCalibrator
from trtlab.data import normalise
from trtlab.fast_infer import FastInference
from trtlab.progress import track
from trtlab.spec import BuildSpec, Precision

# What tells most comes first.
IMAGES = (2048, 8, 512, 128, 32, 1024, 256, 64, 16)
QUICK_IMAGES = (64, 32)
DEADLINE_S = 400.0  # no build begins after it


class TimedCalibrator(EntropyCalibrator):
    """An EntropyCalibrator that notes for how long TensorRT calibrates, in `seconds`."""

    begun = seconds = 0.0

    def get_batch(self, names: Sequence[str]) -> list[int] | None:
        """See BaseCalibrator."""
        self.begun = self.begun or time.perf_counter()
        return super().get_batch(names)

    def write_calibration_cache(self, cache: bytes | memoryview) -> None:
        """See BaseCalibrator."""
        self.seconds = time.perf_counter() - self.begun
        super().write_calibration_cache(cache)


def measure(rig: Rig) -> dict[str, Any]:
    """Return the seconds and the accuracy by number of images, as far as time allows."""
    deadline = time.monotonic() + DEADLINE_S
    plan = rig.count(IMAGES, QUICK_IMAGES)
    device = "cpu" if rig.emulated else "cuda"
    expected = reference(rig, device)
    measured: list[dict[str, Any]] = []
    for images in track(plan, "calibrations"):
        if time.monotonic() > deadline:
            break
        path = rig.folder / f"calibration-images-{images}.engine"
        spec = BuildSpec(precision=Precision.INT8, profiles=(STANDARD,))
        calibrator = TimedCalibrator(calibration_batches(images, device), CALIBRATION_BATCH)
        with calibrator:
            sidecar = build_engine(
                rig.onnx(), path, spec, calibrator=calibrator, timing_cache=rig.timing_cache
            )
        with FastInference(path, slots=1) as engine:
            measured.append(
                {
                    "images": images,
                    "images_consumed": calibrator.images_consumed,
                    "calibrating_seconds": calibrator.seconds,
                    "build_seconds": sidecar.build_seconds,
                    **expected.compare(engine.infer),
                }
            )
    return {
        "profile": str(STANDARD),
        "calibration_batch": CALIBRATION_BATCH,
        "deadline_s": DEADLINE_S,
        "validation_seed": SEED,
        "baseline": accuracy_stats(expected.hits).model_dump(),
        "measured": sorted(measured, key=lambda row: int(row["images"])),
        "not_measured": plan[len(measured) :],
    }


def calibration_batches(images: int, device: str) -> list[NDArray[Any]]:
    """Return preprocessed images in whole batches, (32, 3, 224, 224) float32.

    Fewer images than a batch holds are shown several times over, as in calibration.py.
    """
    inputs = normalise(drawn(images, device))
    whole = inputs.repeat(max(CALIBRATION_BATCH // images, 1), 1, 1, 1)
    return [batch.numpy() for batch in whole.split(CALIBRATION_BATCH)]
