"""Pictures of lab 3: the calibration inputs, one tensor's clip threshold, and the speed-up.

The comparison of ways to calibrate is calibration_study.py's.
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import ipywidgets as widgets  # type: ignore[import-untyped]
import numpy as np
import onnx
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trtlab.backend.emulated.lower import make_session
from trtlab.backend.emulated.quantize import Histogram, clip_candidates, histogram, kl_curve
from trtlab.calibration_cache import INT8_MAX, CalibrationCache
from trtlab.data import IMAGENET_MEAN, IMAGENET_STD
from trtlab.errors import InputError
from trtlab.export import load_onnx
from trtlab.lab.pictures2 import add_badge
from trtlab.lab.predictions import read_predictions, show_predictions
from trtlab.plot_style import INK, say
from trtlab.results import PairedComparison

GREEN, CLIPPED = "#76B900", "#d9534f"
_CHANNELS = {"red": "#c9302c", "green": "#3d7f3d", "blue": "#2f5fa8"}
SPEED_GUESS = "INT8 speed-up"
_SHOWN = 8
_BARS = 256  # of the 2048 bins, enough to see the shape


class Images(Protocol):
    """A dataset of preprocessed images (3, H, W)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def first_images(dataset: Images, count: int) -> NDArray[np.float32]:
    """Return up to `count` images of a dataset as (N, 3, H, W)."""
    chosen = [np.asarray(dataset[index], np.float32) for index in range(min(count, len(dataset)))]
    return np.stack(chosen)


def show_inputs(dataset: Images) -> Figure:
    """Draw some images as the network gets them, the normalisation undone, and their values.

    If the colours look wrong here, the dataset does not do what inference does.
    """
    images = torch.from_numpy(first_images(dataset, 4 * _SHOWN))  # (N, 3, H, W)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    figure, grid = _figure((10, 3.4), rows=2, columns=_SHOWN)
    positions = np.linspace(0, len(images) - 1, min(_SHOWN, len(images))).astype(int)
    for column, index in enumerate(positions):
        axes = figure.add_subplot(grid[0, column])
        axes.imshow((images[index] * std + mean).clamp(0, 1).permute(1, 2, 0).numpy())  # (H, W, 3)
        axes.set_axis_off()
    axes = figure.add_subplot(grid[1, :])
    for channel, (name, colour) in enumerate(_CHANNELS.items()):
        values = images[:, channel].flatten().numpy()[::17]
        axes.hist(values, bins=120, histtype="step", color=colour, label=name, density=True)
    axes.set_xlabel("value that the network gets")
    axes.set_yticks([])
    _tidy(axes)
    return figure


@dataclass(frozen=True)
class TensorView:
    """One tensor's magnitudes over some images, and the range that calibration gave it."""

    name: str
    histogram: Histogram
    calibrated: float

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """The clip thresholds that entropy calibration tries, ascending."""
        return np.asarray(clip_candidates(self.histogram) * self.histogram.bin_width, np.float64)


def view_tensor(
    onnx_path: str | Path,
    cache_path: str | Path,
    images: NDArray[np.float32],
    tensor: str | None = None,
) -> TensorView:
    """Run the FP32 network on images and return the magnitudes of one tensor.

    Args:
        onnx_path: the network.
        cache_path: the calibration cache of its engine.
        images: (N, 3, H, W).
        tensor: its name; None takes the one whose largest value is clipped most.

    Raises:
        CacheError: if there is no cache, or it is damaged.
        InputError: if the cache has no such tensor, or none of the network's.
    """
    ranges = CalibrationCache.read(cache_path).ranges()
    model = load_onnx(onnx_path)
    outputs = {name for node in model.graph.node for name in node.output}
    known = [name for name in ranges if name in outputs]
    if tensor is not None and tensor not in known:
        raise InputError(f"{cache_path} has no tensor {tensor!r}; it has {', '.join(known)}.")
    if not known:
        raise InputError(f"{cache_path} has no tensor of {onnx_path}: is it another network's?")
    if tensor is None:
        few = _activations(model, known, images[:4])
        tensor = max(known, key=lambda name: float(np.abs(few[name]).max()) / ranges[name])
    values = _activations(model, [tensor], images)[tensor]
    return TensorView(tensor, histogram(values), ranges[tensor])


def _activations(
    model: onnx.ModelProto, tensors: list[str], images: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """Run a network in FP32 and return inner tensors, each (N, ...)."""
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    del probed.graph.output[:]
    probed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    session = make_session(probed.SerializeToString())
    feed = {model.graph.input[0].name: images}
    return dict(zip(tensors, session.run(tensors, feed), strict=True))


def show_clip(view: TensorView, threshold: float | None = None) -> Figure:
    """Draw a tensor's magnitudes with a clip threshold, and the divergence of all thresholds.

    Args:
        view: see `view_tensor`.
        threshold: where to clip; None takes the calibrated range.
    """
    threshold = view.calibrated if threshold is None else threshold
    divergence = kl_curve(view.histogram)
    figure, grid = _figure((10, 3.6), columns=2)
    left, right = (figure.add_subplot(grid[0, column]) for column in range(2))
    _draw_magnitudes(left, view, threshold)
    right.plot(view.thresholds, divergence, color=INK, linewidth=1.2)
    best = int(np.argmin(divergence))
    right.plot(view.thresholds[best], divergence[best], "v", color=GREEN, label="least divergence")
    nearest = int(np.argmin(np.abs(view.thresholds - threshold)))
    right.plot(view.thresholds[nearest], divergence[nearest], "o", color=CLIPPED, label="this clip")
    right.axvline(view.calibrated, color=GREEN, linestyle="--", label="calibrated")
    right.set_yscale("log")
    right.set_xlabel("clip threshold")
    right.set_ylabel("KL divergence (nats)")
    _tidy(right)
    figure.suptitle(f"{view.name}\n{describe_clip(view, threshold)}", size=10, x=0.01, ha="left")
    return figure


def describe_clip(view: TensorView, threshold: float) -> str:
    """Say what a clip threshold costs: the step between two INT8 values, and what is cut off."""
    counts = view.histogram.counts
    kept = round(threshold / view.histogram.bin_width)
    return (
        f"clip at {threshold:.3g}: a step of {threshold / INT8_MAX:.3g} between INT8 values, "
        f"{counts[kept:].sum():,} of {counts.sum():,} values clipped"
    )


def _draw_magnitudes(axes: Axes, view: TensorView, threshold: float) -> None:
    counts = view.histogram.counts.reshape(_BARS, -1).sum(axis=1)
    width = view.histogram.bin_width * len(view.histogram.counts) / _BARS
    edges = np.arange(_BARS + 1) * width
    used = int(np.flatnonzero(counts)[-1]) + 1
    axes.stairs(counts[:used], edges[: used + 1], fill=True, color="#c4c4c4")
    axes.axvspan(threshold, max(edges[used], threshold), color=CLIPPED, alpha=0.15, linewidth=0)
    axes.axvline(threshold, color=CLIPPED, label="this clip")
    axes.axvline(view.calibrated, color=GREEN, linestyle="--", label="calibrated")
    axes.set_yscale("log")
    axes.set_xlabel("magnitude of the activation")
    axes.set_ylabel("values")
    _tidy(axes)


def show_clip_slider(view: TensorView) -> widgets.VBox:
    """Return the picture of `show_clip` with a slider that moves the clip threshold."""
    low, high = float(view.thresholds[0]), float(view.thresholds[-1])
    slider = widgets.FloatSlider(
        value=min(max(view.calibrated, low), high),
        min=low,
        max=high,
        step=(high - low) / 200,
        description="clip at",
        readout_format=".3g",
        layout=widgets.Layout(width="60%"),
    )
    picture = widgets.Image(format="png", layout=widgets.Layout(width="100%", max_width="900px"))

    def redraw(_: Any = None) -> None:
        picture.value = _png(show_clip(view, slider.value))

    slider.observe(redraw, names="value")
    redraw()
    return widgets.VBox([slider, picture])


def show_int8_speedup(speedup: PairedComparison | None) -> Figure:
    """Draw the speed-up over PyTorch beside the guess; without a GPU, the guess alone."""
    if speedup is not None:
        return show_predictions({SPEED_GUESS: speedup.speedup})
    guess = read_predictions().get(SPEED_GUESS)
    figure, _ = _figure((9, 1.2))
    kept = f"your guess of {guess:g}x is kept" if guess else "you have made no guess yet"
    say(figure, f"The speed-up needs a GPU to be measured; {kept}.")
    add_badge(figure)
    return figure


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()


def _figure(size: tuple[float, float], rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    """Return a white figure, readable on a dark page too, and its grid."""
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    return figure, figure.add_gridspec(rows, columns)


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
