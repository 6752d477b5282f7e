"""What lab 4 shows of the student's own class: answers, buffers, one call in time, memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec
from unittest import mock

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from trtlab.backend import BADGE, IS_EMULATED, cuda
from trtlab.benchmark import measure_latency
from trtlab.data import IMAGENET_MEAN, IMAGENET_STD
from trtlab.lab.trace import OWN_CODE, CallTrace, trace_call
from trtlab.lab.watching import Watch, discard, watch
from trtlab.plot_style import INK, MUTED, STYLE, compact, say

__all__ = [
    "input_buffer_mib",
    "show_answers",
    "show_buffers",
    "show_call",
    "show_memory",
    "show_pinned",
    "trace_call",
]

GREEN, GREY, YELLOW, BLUE = "#76B900", "#c4c4c4", "#ffd042", "#5b8db8"
RIGHT_COLOUR, WRONG_COLOUR = "#4a7500", "#c9302c"
_COLOURS = {
    "copy in": BLUE,
    "compute": GREEN,
    "copy out": "#b5651d",
    OWN_CODE: GREY,
    "TensorRT and CUDA calls": "#707070",
    "waiting": "#efefef",
    "allocating": "#d9534f",
}
_MIB = 2**20
P = ParamSpec("P")


def _styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


def _figure(width: float, height: float, *, times: bool) -> Figure:
    """Return an empty figure, with the badge above if it shows `times` of the emulation."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    if times and IS_EMULATED:
        badge = {"facecolor": "#ffcf40", "edgecolor": "none", "boxstyle": "round,pad=0.3"}
        figure.suptitle(
            BADGE, size=10, weight="bold", color="#332600", x=0.02, ha="left", bbox=badge
        )
    return figure


@_styled
def show_answers(
    images: NDArray[np.float32],
    labels: Sequence[int],
    answers: Mapping[str, NDArray[np.float32]],
    classes: Sequence[str],
) -> Figure:
    """Draw images with the likeliest class of each engine, green where it is right.

    Args:
        images: preprocessed, (N, 3, H, W).
        labels: of the images.
        answers: engine name -> logits (N, classes).
        classes: names of the classes.
    """
    figure = _figure(1.35 * len(images), 1.5 + 0.25 * len(answers), times=False)
    for axes, image, label, *rows in zip(
        figure.subplots(1, len(images)), images, labels, *answers.values(), strict=True
    ):
        pixels = image.transpose(1, 2, 0) * np.array(IMAGENET_STD) + np.array(IMAGENET_MEAN)
        axes.imshow(pixels.clip(0, 1))
        axes.axis("off")
        for line, (name, logits) in enumerate(zip(answers, rows, strict=True)):
            share = np.exp(logits - logits.max())
            share /= share.sum()
            best = int(logits.argmax())
            axes.text(
                0.5,
                -0.12 - 0.17 * line,
                f"{name}: {classes[best]} ({share[best]:.0%})",
                ha="center",
                size=9,
                color=RIGHT_COLOUR if best == label else WRONG_COLOUR,
                transform=axes.transAxes,
            )
    return figure


# Buffers


@dataclass(frozen=True)
class _Transfer:
    """A tensor's copy in one call, with the buffers at both ends; sizes in bytes."""

    tensor: str
    to_device: bool
    used: int
    host: int | None  # None: not pinned
    device: int


@_styled
def show_buffers(student: type, engine_path: str | Path, images: NDArray[np.float32]) -> Figure:
    """Draw the buffers that an object of the class has, and what a call with `images` uses of them.

    Args:
        student: the class; an object is made for this and discarded.
        engine_path: of the engine.
        images: one batch, (N, C, H, W).
    """
    transfers = _transfers(student, engine_path, images)
    figure = _figure(10, 0.7 + 1.25 * max(len(transfers), 1), times=False)
    if not transfers:
        say(figure, "infer made no copy")
        return figure
    axes = figure.add_subplot()
    axes.axis("off")
    axes.set_xlim(-2.1, 11)
    axes.set_ylim(len(transfers) - 0.1, -0.6)
    axes.text(0.1, -0.35, "host", weight="bold")
    axes.text(6.6, -0.35, "device", weight="bold")
    for row, transfer in enumerate(transfers):
        _draw_transfer(axes, row, transfer, len(images))
    return figure


def _transfers(
    student: type, engine_path: str | Path, images: NDArray[np.float32]
) -> list[_Transfer]:
    with watch() as seen:
        model = student(str(engine_path))
        try:
            model.infer(images)
            return _found_transfers(seen)
        finally:
            discard(model)


def _found_transfers(seen: Watch) -> list[_Transfer]:
    names = {address: name for name, address in seen.bindings.items()}
    return [
        _Transfer(
            tensor=names.get(step.device, "?"),
            to_device=step.kind == "copy in",
            used=step.nbytes,
            host=seen.pinned_bytes(step.host),
            device=seen.device_bytes(step.device) or step.nbytes,
        )
        for step in seen.steps
        if step.kind in ("copy in", "copy out")
    ]


def _draw_transfer(axes: Axes, row: int, transfer: _Transfer, batch: int) -> None:
    axes.text(-0.2, row + 0.25, transfer.tensor, ha="right", va="center", weight="bold")
    pinned = transfer.host is not None
    for left, kind, size in (
        (0, "pinned" if pinned else "pageable", transfer.host or transfer.used),
        (6.5, "mem_alloc", transfer.device),
    ):
        colour = GREEN if kind != "pageable" else YELLOW
        axes.add_patch(Rectangle((left, row), 4.4, 0.5, facecolor="white", edgecolor=MUTED))
        axes.add_patch(
            Rectangle((left, row), 4.4 * min(transfer.used / size, 1), 0.5, facecolor=colour)
        )
        text = f"{kind}, {_bytes(size)}: this call uses {transfer.used / size:.0%}"
        axes.text(left + 0.1, row + 0.68, text, size=9, va="center")
    ends = ((6.4, 4.5), (4.5, 6.4))[not transfer.to_device]
    arrow = {"arrowstyle": "->", "color": INK, "linewidth": 1.5}
    axes.annotate("", xy=(ends[0], row + 0.25), xytext=(ends[1], row + 0.25), arrowprops=arrow)
    images = "1 image" if batch == 1 else f"{batch} images"
    label = f"{images}, {_bytes(transfer.used)}"
    axes.text(5.45, row + 0.1, label, ha="center", va="bottom", size=8.5)


def _bytes(size: float) -> str:
    if size >= _MIB:
        return f"{size / _MIB:.1f} MiB"
    return f"{size / 1024:.1f} KiB" if size >= 1024 else f"{size:.0f} B"


def input_buffer_mib(student: type, engine_path: str | Path) -> float:
    """Return the size in MiB of the largest device buffer that an object of the class allocates."""
    with watch() as seen:
        discard(student(str(engine_path)))
    return (seen.largest_allocation or 0) / _MIB


# Time


@_styled
def show_call(trace: CallTrace) -> Figure:
    """Draw one call: what the host did above, what the device did below."""
    figure = _figure(10, 2.9, times=True)
    axes = figure.add_subplot()
    shown: dict[str, float] = {}
    for row, spans in enumerate((trace.host, trace.device)):
        for span in spans:
            shown.setdefault(span.what, trace.time_in(span.what))
            axes.barh(
                row,
                span.end - span.start,
                left=span.start,
                height=0.6,
                color=_COLOURS[span.what],
                edgecolor=MUTED,
                linewidth=0.4,
            )
    handles = [Rectangle((0, 0), 1, 1, facecolor=_COLOURS[what]) for what in shown]
    texts = [f"{what}: {compact(ms)} ms" for what, ms in shown.items()]
    axes.legend(handles, texts, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    axes.set_yticks([0, 1], ["host", "device"])
    axes.set_ylim(1.5, -0.5)
    axes.set_xlim(0, trace.total_ms * 1.01)
    axes.set_xlabel("ms since infer was called")
    images = "1 image" if trace.batch == 1 else f"{trace.batch} images"
    axes.set_title(f"One call with {images}: {compact(trace.total_ms)} ms", weight="bold")
    return figure


@_styled
def show_pinned(
    student: type,
    engine_path: str | Path,
    images: NDArray[np.float32],
    batches: Sequence[int] = (1, 8, 32),
) -> Figure:
    """Draw the class's latency with its pinned buffers, and with ordinary memory in their place.

    Args:
        student: the class; objects are made for this and discarded.
        engine_path: of the engine.
        images: at least as many as the largest of `batches`.
        batches: the batches to time.
    """
    if IS_EMULATED:
        figure = _figure(10, 0.8, times=False)
        say(figure, "Needs a GPU: to the emulation, all memory is host memory.")
        return figure
    figure = _figure(10, 0.6 + 0.8 * len(batches), times=False)
    timed = {"pinned": _latencies(student, engine_path, images, batches)}
    with mock.patch.object(cuda, "pagelocked_empty", _pageable_empty):
        timed["pageable"] = _latencies(student, engine_path, images, batches)
    axes = figure.add_subplot()
    for shift, (kind, times) in zip((-0.2, 0.2), timed.items(), strict=True):
        places = np.arange(len(batches)) + shift
        colour = GREEN if kind == "pinned" else YELLOW
        bars = axes.barh(places, times, height=0.36, color=colour, label=kind)
        axes.bar_label(bars, [f" {compact(ms)} ms" for ms in times])
    axes.set_yticks(range(len(batches)), [f"batch {batch}" for batch in batches])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("median latency of infer in ms")
    axes.legend(loc="lower right", frameon=False)
    return figure


def _pageable_empty(shape: Any, dtype: Any, *_args: Any, **_kwargs: Any) -> NDArray[Any]:
    return np.empty(shape, dtype)


def _latencies(
    student: type, engine_path: str | Path, images: NDArray[np.float32], batches: Sequence[int]
) -> list[float]:
    model = student(str(engine_path))
    try:
        return [
            measure_latency(lambda n=n: model.infer(images[:n]), 100, 10).median_ms  # type: ignore[misc]
            for n in batches
        ]
    finally:
        discard(model)


# Memory


@_styled
def show_memory(student: type, engine_path: str | Path, images: NDArray[np.float32]) -> Figure:
    """Draw the device memory in use through the lives of two objects of the class.

    Args:
        student: the class.
        engine_path: of the engine.
        images: one batch, (N, C, H, W).
    """
    discard(student(str(engine_path)))  # the first use of a GPU takes memory that stays
    start = _used()
    stages = [("before", 0.0)]
    kept = []
    for which in ("first", "second"):
        model = student(str(engine_path))
        kept.append(model)
        stages.append((f"{which} made", _used() - start))
        model.infer(images)
        stages.append((f"{which} has run", _used() - start))
        model.close()
        stages.append((f"{which} closed", _used() - start))
    discard(*kept)
    figure = _figure(10, 2.8, times=False)
    axes = figure.add_subplot()
    values = [used for _, used in stages]
    closed = [name == "before" or "closed" in name for name, _ in stages]
    colours = [GREY if back else GREEN for back in closed]
    bars = axes.bar([name for name, _ in stages], values, color=colours, width=0.6)
    axes.bar_label(bars, [f"{value:.1f} MiB" for value in values])
    axes.set_ylabel("MiB more than before")
    axes.set_ylim(0, max(*values, 1) * 1.15)
    if IS_EMULATED:
        axes.set_title("what mem_alloc gave; on a GPU, engine and context count too", size=9)
    return figure


def _used() -> float:
    """Return the device memory in use in MiB."""
    cuda.Context.synchronize()
    free, total = cuda.mem_get_info()
    return float(total - free) / _MIB
