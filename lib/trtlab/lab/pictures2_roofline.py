"""The roofline of the student's GPU, with the student's engine on it at several batches."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trtlab.backend import IS_EMULATED
from trtlab.export import load_onnx
from trtlab.inspect import inspect_engine
from trtlab.lab.pictures2 import add_badge
from trtlab.plot_style import INK, MUTED, STYLE
from trtlab.roofline import (
    Ceilings,
    Kernel,
    as_kernels,
    count_nodes,
    engine_seconds,
    measure_ceilings,
    total,
)

BATCHES = (1, 8, 32)
ENGINE, APART = "#4a7500", "#707070"
_FP32_BYTES, _FP16_BYTES = 4, 2


def show_roofline(onnx_path: str | Path, engine_path: str | Path) -> Figure:
    """Draw FLOPs per second against FLOPs per byte: the card's ceilings, and the engine below.

    FLOPs and bytes are counted from the ONNX graph, with the fusions of the engine. Ceilings and
    times are measured on the GPU; without one, what needs it is left out and said so.

    Args:
        onnx_path: the model.
        engine_path: an FP16 engine of it, whose profile takes batches 1 to 32.

    Raises:
        EngineError: if there is no usable engine.
        InferenceError: if it does not run at these batches.
    """
    layers = inspect_engine(engine_path).layers
    groups = [layer.onnx_nodes for layer in layers]
    counts = {batch: count_nodes(load_onnx(onnx_path), batch) for batch in BATCHES}
    fused = [
        total(as_kernels(nodes, groups, bytes_per_element=_FP16_BYTES)) for nodes in counts.values()
    ]
    apart = [total(as_kernels(nodes, bytes_per_element=_FP32_BYTES)) for nodes in counts.values()]
    kernels = as_kernels(counts[BATCHES[-1]], groups, bytes_per_element=_FP16_BYTES)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 6), layout="constrained", facecolor="white")
        top, strip = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
        _draw_strip(strip, apart, fused, kernels)
        if IS_EMULATED:
            _say_needs_gpu(top)
            add_badge(figure)
        else:
            seconds = [engine_seconds(engine_path, batch) for batch in BATCHES]
            _draw_roof(top, measure_ceilings(), fused, seconds)
    return figure


def _draw_strip(
    axes: Axes, apart: Sequence[Kernel], fused: Sequence[Kernel], kernels: Sequence[Kernel]
) -> None:
    """Draw arithmetic intensities, which are counted and need no GPU."""
    rows = (
        ("FP32, node by node", apart, APART),
        ("your engine: FP16, fused", fused, ENGINE),
    )
    for row, (_, works, colour) in enumerate(rows):
        intensities = [work.intensity for work in works]
        axes.plot(intensities, [row] * len(works), "o-", color=colour, markersize=8)
        axes.text(intensities[0] / 1.12, row, str(BATCHES[0]), ha="right", va="center")
        axes.text(intensities[-1] * 1.12, row, str(BATCHES[-1]), ha="left", va="center")
    intensities = [kernel.intensity for kernel in kernels if kernel.intensity > 0]
    axes.plot(intensities, [2] * len(intensities), "|", color=ENGINE, markersize=14)
    axes.set_yticks(
        range(3), [*(label for label, *_ in rows), f"its layers at batch {BATCHES[-1]}"]
    )
    axes.set_ylim(2.6, -0.8)
    axes.set_xscale("log")
    axes.set_xlabel("arithmetic intensity: FLOPs per byte moved (1, 32: the batch)")
    axes.grid(axis="x", color=MUTED, alpha=0.25)
    axes.tick_params(axis="y", length=0)


def _say_needs_gpu(axes: Axes) -> None:
    axes.set_facecolor("#f6f6f6")
    axes.set_yticks([])
    axes.set_ylabel("FLOPs per second")
    axes.set_title("Roofline: needs a GPU")
    text = (
        "The ceilings (memory bandwidth, FP16 arithmetic) and the engine's\n"
        "speed are measured on the card, and this machine emulates TensorRT.\n"
        "Below: what is counted from your graph and your engine's fusions."
    )
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, linespacing=1.5)


def _draw_roof(
    axes: Axes, ceilings: Ceilings, fused: Sequence[Kernel], seconds: Sequence[float]
) -> None:
    intensities = np.geomspace(1, 20 * ceilings.ridge, 200)
    axes.plot(intensities, [ceilings.roof(x) for x in intensities], color=INK, linewidth=2)
    for batch, work, time in zip(BATCHES, fused, seconds, strict=True):
        reached = work.flops / time
        axes.plot(work.intensity, reached, "o", color=ENGINE, markersize=9)
        share = 100 * reached / ceilings.roof(work.intensity)
        label = f"  batch {batch}: {reached / 1e12:.3g} TFLOP/s, {share:.0f} % of the roof"
        axes.text(work.intensity, reached, label, va="center")
    axes.set_yscale("log")
    axes.set_ylabel("FLOPs per second")
    axes.set_title(
        f"{ceilings.gpu}: {ceilings.bytes_per_second / 1e12:.2f} TB/s copying, "
        f"{ceilings.fp16_flops / 1e12:.0f} TFLOP/s in FP16"
    )
    axes.grid(color=MUTED, alpha=0.25)
