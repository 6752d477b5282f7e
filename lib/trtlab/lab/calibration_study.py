"""What a calibration is worth: one network quantised after five different calibrations.

The INT8 network is simulated with ONNX Runtime on the CPU, on every machine: five engines would
take minutes on a GPU. Its rounding is TensorRT's, its choice of ranges is the published algorithm.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trtlab.backend.emulated.fusion import fuse
from trtlab.backend.emulated.lower import lower, make_session
from trtlab.backend.emulated.quantize import collect_ranges
from trtlab.data import IMAGENET_MEAN, IMAGENET_STD
from trtlab.export import load_onnx
from trtlab.plot_style import MUTED
from trtlab.workloads import Workload

SEED = 4_000_004
Batch = NDArray[np.float32]


@dataclass(frozen=True)
class Calibrated:
    """What came of one calibration.

    Attributes:
        name: what was shown, and the algorithm.
        logits_error: the norm of the logits' difference from FP32 over the norm of those.
        right, fp32_right: images classified rightly, of `images`, after it and in FP32.
    """

    name: str
    logits_error: float
    right: int
    fp32_right: int
    images: int


def calibration_study(
    onnx_path: str | Path, workload: Workload, calibration_images: Batch, evaluated: int
) -> list[Calibrated]:
    """Calibrate a network in five ways and compare its answers with FP32's.

    Args:
        onnx_path: the network.
        workload: gives the validation images, which no calibration sees.
        calibration_images: (N, 3, H, W) float32, preprocessed.
        evaluated: number of validation images.
    """
    model = load_onnx(onnx_path)
    loader = workload.loader("validation", size=evaluated, seed=SEED, batch_size=evaluated)
    images, labels = (tensor.numpy() for tensor in next(iter(loader)))
    expected = _run(model, images)
    fp32_right = int((expected.argmax(axis=1) == labels).sum())
    rows = []
    for name, algorithm, shown in _calibrations(calibration_images):
        ranges = collect_ranges(model, [{model.graph.input[0].name: shown}], algorithm)
        found = _run(_in_int8(model, ranges), images)
        error = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
        right = int((found.argmax(axis=1) == labels).sum())
        rows.append(Calibrated(name, error, right, fp32_right, len(images)))
    return rows


def _calibrations(images: Batch) -> Iterator[tuple[str, str, Batch]]:
    """Yield name, algorithm, and what is shown to it."""
    mean, std = (np.array(v, np.float32).reshape(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    noise = np.random.default_rng(0).standard_normal(images.shape).astype(np.float32)
    count = len(images)
    yield f"entropy, {count} images", "entropy", images
    yield f"min-max, {count} images", "minmax", images
    yield "entropy, 1 image", "entropy", images[:1]
    yield f"entropy, {count} images, not normalised", "entropy", images * std + mean
    yield f"entropy, {count} x noise", "entropy", noise


def _in_int8(model: onnx.ModelProto, ranges: Mapping[str, float]) -> onnx.ModelProto:
    """Return the network with every layer in INT8 whose inputs have a range."""
    layers = [
        replace(layer, precision="INT8") if all(name in ranges for name in layer.inputs) else layer
        for layer in fuse(model)
    ]
    return lower(model, layers, ranges)


def _run(model: onnx.ModelProto, images: Batch) -> Batch:
    """Return the logits (N, classes)."""
    session = make_session(model.SerializeToString())
    logits: Batch = session.run(None, {session.get_inputs()[0].name: images})[0]
    return logits


def show_study(rows: list[Calibrated]) -> Figure:
    """Draw the error of each calibration, and how many images are still classified rightly."""
    figure = Figure(figsize=(10, 0.9 + 0.55 * len(rows)), layout="constrained", facecolor="white")
    axes = figure.subplots()
    for row, result in enumerate(rows):
        axes.barh(row, 100 * result.logits_error, height=0.66, color="#b9e066")
        label = f"  {result.logits_error:.1%}, {result.right} of {result.images} right"
        axes.text(100 * result.logits_error, row, label, va="center")
    axes.set_yticks(range(len(rows)), [result.name for result in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)  # the first on top
    axes.set_xlim(0, 140 * max(result.logits_error for result in rows))
    axes.set_xlabel(
        f"difference of the logits from FP32 (%), which has {rows[0].fp32_right} of "
        f"{rows[0].images} right"
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=MUTED, alpha=0.25)
    axes.set_axisbelow(True)
    return figure
