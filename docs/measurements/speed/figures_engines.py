"""Figures of what an engine can do: roofline, INT8 peak, and what its calibration is worth."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from speed.figure_style import (
    ERROR_BAR,
    batch_axis,
    canvas,
    log_axis,
    look,
    reach,
    rows_axis,
    target_line,
)
from speed.records import Record
from trtlab.plot_style import INK, MUTED

PEAK_ASKED, MLPERF = 83_000, 94_620
"""Images per second; the second is MLPerf Inference v4.1, ResNet-50 offline, per H200."""

PEAK_ROWS = 12
TERA = 1e12
STUDIED = (1, 8, 128)  # calibration images


def roofline_figure(record: Record) -> Figure:
    """Draw what the card reaches at most, and the engines below it at each batch size."""
    ceilings, points = record.part("ceilings"), record.data["points"]
    bandwidth = ceilings["bytes_per_second"] / TERA
    figure = canvas(
        record,
        "Roofline",
        "work counted from the ONNX graph and the engine's fusions, ceilings measured",
        4.6,
    )
    axes = figure.subplots()
    left = 0.5 * min(point["flops_per_byte"] for point in points)
    right = 4 * max(point["flops_per_byte"] for point in points)
    x = np.geomspace(left, right, 300)
    for precision in dict.fromkeys(point["precision"] for point in points):
        style, roof = look(precision), ceilings[f"{precision}_ops"] / TERA
        axes.plot(x, np.minimum(roof, x * bandwidth), color=style.colour, linewidth=1.5)
        label = f"{precision.upper()}: {roof:,.0f} "
        axes.text(right, roof * 1.06, label, ha="right", va="bottom", size=9)
        found = [point for point in points if point["precision"] == precision]
        shares = [point["share_of_roof"] for point in found]
        at = [(point["flops_per_byte"], point["flops_per_second"] / TERA) for point in found]
        axes.plot(
            *zip(*at, strict=True),
            color=style.colour,
            marker=style.marker,
            markersize=8,
            linestyle=":",
            markeredgecolor=INK,
            label=f"{precision.upper()} engine, {min(shares):.0%} to {max(shares):.0%} of its roof",
        )
        for point, place in zip(found, at, strict=True):
            # The largest batches lie close together: the last label goes to the other side.
            offset, side = ((-6, 5), "right") if point is found[-1] else ((6, -11), "left")
            label = str(point["batch"])
            axes.annotate(label, place, offset, textcoords="offset points", ha=side, size=9)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations per byte of memory traffic (the numbers are batch sizes)")
    axes.set_ylabel("tera-operations per second")
    log_axis(axes.xaxis)
    log_axis(axes.yaxis)
    axes.set_title(f"memory: {bandwidth:.2f} TB/s copying")
    axes.grid(color=MUTED, alpha=0.25)
    axes.legend(loc="lower right", frameon=False)
    return figure


def int8_peak_figure(record: Record) -> Figure:
    """Draw the images per second of the best INT8 configurations."""
    best: dict[tuple[Any, ...], dict[str, Any]] = {}
    for found in record.data["configurations"]:  # the best first
        engine = (found["input"], found["profile"], found["batch"], _level(found))
        best.setdefault(engine, found)
    rows = list(best.values())[:PEAK_ROWS]
    figure = canvas(
        record,
        "INT8 engine alone: the best configurations",
        "input, profile, batch, execution contexts; images in GPU memory",
        0.34 * len(rows) + 0.9,
    )
    axes = figure.subplots()
    for position, row in enumerate(rows):
        rate = row["images_per_s"]
        axes.errorbar(
            rate,
            position,
            xerr=reach(rate, row["low"], row["high"]),
            marker="D",
            color=look("fp16").colour,
            markersize=7,
            **ERROR_BAR,
        )
        at_the_edge = axes.get_yaxis_transform()
        axes.text(1, position, f"{rate:,.0f}", ha="right", va="center", transform=at_the_edge)
    rows_axis(axes, [_configuration(row) for row in rows])
    target_line(axes, PEAK_ASKED, "asked for")
    target_line(axes, MLPERF, "MLPerf v4.1")
    axes.set_xlim(min([PEAK_ASKED] + [row["low"] for row in rows]) * 0.97, MLPERF * 1.06)
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("images per second (the axis does not begin at zero)")
    return figure


def _configuration(row: dict[str, Any]) -> str:
    contexts = f"{row['contexts']} context{'s' * (row['contexts'] > 1)}"
    return f"{row['input']}, {row['profile']}{_level(row)}, batch {row['batch']}, {contexts}"


def _level(row: dict[str, Any]) -> str:
    """Return the builder's optimization level where it is not TensorRT's own."""
    level = row.get("optimization_level")
    return "" if level is None else f", level {level}"


def calibration_curve_figure(record: Record) -> Figure:
    """Draw accuracy and build time against the number of calibration images."""
    rows = sorted(
        (row for row in record.data["measured"] if _ordinary(row)), key=lambda row: row["images"]
    )
    figure = canvas(
        record,
        "Calibration images: what they cost and are worth",
        f"INT8, entropy; against PyTorch FP32 on {rows[0]['change']['images']:,} fresh images",
        3.3,
    )
    change, error, seconds = figure.subplots(1, 3)
    x = [row["images"] for row in rows]
    _changes(change, x, rows, vertical=True)
    style: dict[str, Any] = {"color": "#76B900", "marker": "o", "linewidth": 1.8}
    error.plot(x, [100 * row["logits_error"] for row in rows], **style)
    seconds.plot(x, [row["build_seconds"] for row in rows], **style)
    labels = (
        "top-1 change (points)",
        "error of the logits (%)",
        f"seconds, {record.data['side_by_side']} builds side by side",
    )
    for axes, label in zip((change, error, seconds), labels, strict=True):
        batch_axis(axes, x, "calibration images")
        axes.tick_params(axis="x", labelsize=8, labelrotation=60)
        axes.set_ylabel(label)
    error.set_ylim(bottom=0)
    seconds.set_ylim(bottom=0)
    return figure


def calibration_study_figure(record: Record) -> Figure:
    """Draw what became of the accuracy after right and wrong calibrations."""
    rows = [row for row in record.data["measured"] if row["images"] in STUDIED]
    rows.sort(key=lambda row: -row["images"])
    figure = canvas(
        record,
        "What a calibration is worth",
        f"INT8 against PyTorch FP32 on {rows[0]['change']['images']:,} fresh images",
        0.42 * len(rows) + 0.9,
    )
    change, error = figure.subplots(1, 2, sharey=True)
    _changes(change, range(len(rows)), rows, vertical=False)
    change.set_xlabel("top-1 change (points), 95 % interval")
    for position, row in enumerate(rows):
        value = 100 * row["logits_error"]
        error.barh(position, value, height=0.66, color="#b9e066")
        error.text(value, position, f"  {value:.1f}", va="center")
        change.annotate(
            f"{row['change']['points']:+.2f}",
            (row["change"]["points"], position),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            size=9,
        )
    error.set_xlim(0, 1.2 * max(100 * row["logits_error"] for row in rows))
    error.set_xlabel("error of the logits (%)")
    for axes in (error, change):  # shared rows: the names last, or they are lost
        rows_axis(axes, [_calibration(row) for row in rows])
    error.tick_params(labelleft=False)
    return figure


def _changes(
    axes: Axes, at: Sequence[float], rows: Sequence[dict[str, Any]], vertical: bool
) -> None:
    """Draw top-1 changes with their intervals, and the zero that they are held against."""
    for place, row in zip(at, rows, strict=True):
        change = row["change"]
        error = reach(change["points"], change["low"], change["high"])
        style: dict[str, Any] = {"marker": "D", "markersize": 6, "color": "#76B900", **ERROR_BAR}
        if vertical:
            axes.errorbar(place, change["points"], yerr=error, **style)
        else:
            axes.errorbar(change["points"], place, xerr=error, **style)
    (axes.axhline if vertical else axes.axvline)(0, color=MUTED, linewidth=1, linestyle="--")


def _ordinary(row: dict[str, Any]) -> bool:
    return (row["algorithm"], row["shown"]) == ("entropy", "images")


def _calibration(row: dict[str, Any]) -> str:
    plural = "s" * (row["images"] > 1)
    shown = f"image{plural}" if row["shown"] == "images" else f"image{plural}, {row['shown']}"
    if row["shown"] == "noise":
        shown = "pictures of noise"
    return f"{row['algorithm']}, {row['images']} {shown}"
