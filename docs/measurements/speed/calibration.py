"""What calibration costs and is worth: by number of images, by algorithm, by what is shown.

Every engine here is a whole INT8 build at the standard profile, with the timing cache that the
first one leaves, so that the same kernels are chosen and the engines differ in their ranges. A
build at optimization level 0 would be quicker, but takes the first tactic that works, which may be
none of INT8: its accuracy would say nothing. What the deadline leaves no time for is listed.

Each takes minutes, so all builds run side by side: their seconds say how the cost grows with the
images, and not what one costs by itself. TensorRT calibrates on one core of the processor, while
the GPU waits: 2,048 images were not through after 220 s, though nothing else was being built.

The images are drawn beforehand, so that the seconds are TensorRT's. A calibration of fewer images
than a batch holds shows them several times over: that leaves the shape of every histogram, and so
the ranges, and saves building a calibration engine of another batch.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.pool import AsyncResult
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import TensorDataset

from speed.accuracy import drawn_batches
from speed.rig import CALIBRATION_BATCH, STANDARD, Rig
from trtlab.accuracy import Hits, Predict, accuracy_change, accuracy_stats, count_hits
from trtlab.data import normalise
from trtlab.digits import DigitsDataset
from trtlab.engines import read_sidecar
from trtlab.errors import TrtLabError
from trtlab.fast_infer import FastInference
from trtlab.progress import track
from trtlab.spec import Precision
from trtlab.torch_infer import torch_predictor

VALIDATION_IMAGES = (10_000, 64)  # at full length, and where only the scripts are tried
SEED = 6  # of nothing that was trained, calibrated or tuned on, nor of the accuracy section
DEADLINE_S = 1200.0  # 560 were too few for 2,048 images
DRAWN_AT_ONCE = 256

SHOWN: dict[str, Callable[[Tensor], Tensor]] = {
    "images": normalise,
    "not normalised": lambda pictures: pictures.float() / 255,
    "blue and red swapped": lambda pictures: normalise(pictures.flip(1)),
    "noise": lambda pictures: torch.randn(
        pictures.shape, generator=torch.Generator().manual_seed(0)
    ),
}
"""What a calibration is shown: (N, 3, 224, 224) uint8 -> float32. Validation is always right."""

Batches = list[tuple[NDArray[np.float32], NDArray[np.int64]]]


@dataclass(frozen=True)
class Calibration:
    """One calibration: how many images, of which of SHOWN, and the algorithm."""

    images: int
    shown: str = "images"
    algorithm: str = "entropy"

    def __str__(self) -> str:
        return f"{self.algorithm}-{self.images}-{self.shown}".replace(" ", "-")


STUDIED = 128  # images, of each kind

# The longest first: they decide when all are done.
PLAN = (
    Calibration(2048),
    Calibration(1024),
    Calibration(512),
    Calibration(256),
    Calibration(STUDIED),
    Calibration(STUDIED, algorithm="minmax"),
    Calibration(STUDIED, "not normalised"),
    Calibration(STUDIED, "noise"),
    Calibration(STUDIED, "blue and red swapped"),
    Calibration(64),
    Calibration(32),
    Calibration(16),
    Calibration(8),
    Calibration(1),
)


@dataclass(frozen=True)
class Reference:
    """The validation images, and what PyTorch answers on them in strict FP32."""

    batches: Batches
    logits: NDArray[np.float32]  # (N, classes)
    hits: Hits

    def compare(self, predict: Predict) -> dict[str, Any]:
        """Return a runner's accuracy, its change in points, and its logits' relative error."""
        logits = logits_of(predict, self.batches)
        hits = hits_of(logits, self.batches)
        error = np.linalg.norm(logits - self.logits) / np.linalg.norm(self.logits)
        return {
            "accuracy": accuracy_stats(hits).model_dump(),
            "change": accuracy_change(self.hits, hits).model_dump(),
            "logits_error": float(error),
        }


def measure(rig: Rig) -> dict[str, Any]:
    """Return each calibration's seconds and what became of the accuracy, as far as time allows."""
    deadline = time.monotonic() + DEADLINE_S
    plan = PLAN[:: rig.count(1, len(PLAN) // 2)]
    rig.engine(Precision.INT8, STANDARD)  # leaves the kernels' times, and the ONNX file
    workers = min(len(plan), max((os.cpu_count() or 1) - 2, 1))
    measured: dict[Calibration, dict[str, Any]] = {}
    failed: dict[Calibration, dict[str, Any]] = {}
    # In processes of their own, which share nothing but files.
    with get_context("spawn").Pool(workers) as pool:
        builds = [
            pool.apply_async(build, (rig.folder, rig.timing_cache, rig.quick, calibration))
            for calibration in plan
        ]
        expected = reference(rig, "cpu" if rig.emulated else "cuda")
        for calibration, build_of_it in track(
            finished(dict(zip(plan, builds, strict=True)), deadline), "calibrations", len(plan)
        ):
            record = asdict(calibration)
            try:
                path, facts = build_of_it.get()
                with FastInference(path, slots=1) as engine:
                    measured[calibration] = record | facts | expected.compare(engine.infer)
            except TrtLabError as error:
                failed[calibration] = record | {"error": f"{type(error).__name__}: {error}"}
    return {
        "profile": str(STANDARD),
        "calibration_batch": CALIBRATION_BATCH,
        "side_by_side": workers,
        "validation_seed": SEED,
        "baseline": accuracy_stats(expected.hits).model_dump(),
        "measured": [measured[calibration] for calibration in plan if calibration in measured],
        "failed": list(failed.values()),
        "not_measured": [asdict(left) for left in plan if left not in measured | failed],
    }


def finished(
    builds: dict[Calibration, "AsyncResult[Any]"], deadline: float
) -> Iterator[tuple[Calibration, "AsyncResult[Any]"]]:
    """Yield builds as they come to an end, whatever their order, until there is no time left."""
    waiting = dict(builds)
    while waiting and time.monotonic() < deadline:
        for calibration in [known for known, pending in waiting.items() if pending.ready()]:
            yield calibration, waiting.pop(calibration)
        time.sleep(0.1)


def reference(rig: Rig, device: str) -> Reference:
    """Draw the validation images on `device` and run PyTorch on them."""
    images = rig.validation(rig.count(*VALIDATION_IMAGES), SEED)
    batches: Batches = list(drawn_batches(images, STANDARD.max, device))
    with torch_predictor(rig.model(), device) as predict:
        logits = logits_of(predict, batches)
    return Reference(batches, logits, hits_of(logits, batches))


def build(
    folder: Path, timing_cache: Path, quick: bool, calibration: Calibration
) -> tuple[Path, dict[str, Any]]:
    """Build the engine of a calibration; return it, and the seconds and the images it was shown.

    In a process of its own: the arguments are those of its Rig, whose ONNX file is there already.
    """
    own_cache = folder / f"calibrated-{calibration}.timing"
    shutil.copyfile(timing_cache, own_cache)
    rig = Rig(folder, own_cache, quick)
    pictures = drawn(size_of(calibration, rig), "cpu" if rig.emulated else "cuda")
    inputs = SHOWN[calibration.shown](pictures)
    repeats = max(CALIBRATION_BATCH // len(inputs), 1)
    path = rig.engine(
        Precision.INT8,
        STANDARD,
        algorithm=calibration.algorithm,
        dataset=TensorDataset(inputs.repeat(repeats, 1, 1, 1)),
        name=f"calibrated-{calibration}",
    )
    sidecar = read_sidecar(path)
    assert sidecar is not None
    assert sidecar.calibration is not None
    return path, {
        "build_seconds": sidecar.build_seconds,
        "calibrating_seconds": sidecar.calibration.seconds,
        "images_consumed": sidecar.calibration.images,
    }


def drawn(count: int, device: str) -> Tensor:
    """Return calibration pictures before the preprocessing, (count, 3, 224, 224) uint8."""
    dataset = DigitsDataset("calibration", count)
    parts = [
        dataset.draw(range(start, min(start + DRAWN_AT_ONCE, count)), device)[0].cpu()
        for start in range(0, count, DRAWN_AT_ONCE)
    ]
    return torch.cat(parts)


def logits_of(predict: Predict, batches: Batches) -> NDArray[np.float32]:
    """Return the logits of all images, (N, classes)."""
    return np.concatenate([predict(images) for images, _ in batches])


def hits_of(logits: NDArray[np.float32], batches: Batches) -> Hits:
    """Return which images these logits classify rightly."""
    labels = np.concatenate([labels for _, labels in batches])
    return count_hits({"known": lambda known: known}, [(logits, labels)])["known"]


def size_of(calibration: Calibration, rig: Rig) -> int:
    """Return how many different images are shown."""
    return rig.count(calibration.images, min(calibration.images, CALIBRATION_BATCH))
