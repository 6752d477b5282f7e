"""Figures of the section "growth": what a larger batch, one more slot or context costs or gives."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from speed.figure_style import (
    ERROR_BAR,
    batch_axis,
    canvas,
    curve,
    log_axis,
    look,
    reach,
    rows_axis,
)
from speed.records import Record
from trtlab.memory import MIB
from trtlab.plot_style import MUTED, compact

SHADES = ("#b9e066", "#76B900", "#4a7500")  # of the batches, from small to large
WHERE = {"device_resident": ("on the GPU", "-"), "host_to_host": ("host to host", ":")}


def batch_figure(record: Record) -> Figure:
    """Draw latency and images per second against the batch size."""
    data = record.part("batch")
    points = data["points"]
    figure = canvas(
        record,
        "A larger batch",
        f"one engine per precision, profile {data['profile']}, median and 95 % interval",
        3.9,
    )
    latency, rate = figure.subplots(1, 2)
    for precision in dict.fromkeys(point["precision"] for point in points):
        for where, (name, line) in WHERE.items():
            found = [p for p in points if (p["precision"], p["where"]) == (precision, where)]
            if not found:
                continue
            x = [point["batch"] for point in found]
            style: dict[str, Any] = {
                "color": look(precision).colour,
                "marker": look(precision).marker,
                "linestyle": line,
                "label": f"{precision.upper()}, {name}",
            }
            curve(latency, x, [point["latency_ms"] for point in found], **style)
            curve(rate, x, [point["images_per_s"] for point in found], scale=1e-3, **style)
    for axes, label in ((latency, "ms per call"), (rate, "thousand images per second")):
        batch_axis(axes, sorted({point["batch"] for point in points}), "batch size")
        axes.set_ylabel(label)
    latency.set_yscale("log")
    log_axis(latency.yaxis)
    rate.set_ylim(bottom=0)
    handles, labels = latency.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def slots_figure(record: Record) -> Figure:
    """Draw the images per second of a stream against the number of slots."""
    data = record.part("slots")
    subtitle = f"FastInference.stream, FP16, host to host, {data['cpu_threads']} CPU threads"
    figure = canvas(record, "One more slot", subtitle, 3.3, width=7.5)
    _side_by_side(figure.subplots(), data["points"], "slots", "slots: batches in flight")
    return figure


def contexts_figure(record: Record) -> Figure:
    """Draw the images per second of one engine against the number of execution contexts."""
    data = record.part("contexts")
    memory = data["context_memory_bytes"] / MIB
    subtitle = f"FP16, images in GPU memory, {memory:.0f} MiB per context"
    figure = canvas(record, "One more execution context", subtitle, 3.3, width=7.5)
    label = "execution contexts, each with a stream of its own"
    _side_by_side(figure.subplots(), data["points"], "contexts", label)
    return figure


def _side_by_side(axes: Axes, points: Sequence[dict[str, Any]], count: str, label: str) -> None:
    """Draw images per second against `count`, one line per batch size."""
    batches = sorted({point["batch"] for point in points})
    for batch, colour in zip(batches, SHADES, strict=False):
        found = [point for point in points if point["batch"] == batch]
        x = [point[count] for point in found]
        rates = [point["images_per_s"] for point in found]
        curve(axes, x, rates, scale=1e-3, color=colour, marker="o", label=f"batch {batch}")
    axes.set_xticks(sorted({point[count] for point in points}))
    axes.set_xlabel(label)
    axes.set_ylabel("thousand images per second")
    axes.set_ylim(bottom=0)
    axes.grid(color=MUTED, alpha=0.25)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def profile_figure(record: Record) -> Figure:
    """Draw what engines of several profile widths take: time, memory, bytes, time to build."""
    data = record.part("profile")
    engines = data["engines"]
    names = [engine["profile"] for engine in engines]
    figure = canvas(
        record,
        "A wider profile",
        "FP16, tuned for batch 8: profile min/opt/max; latency on the GPU, 95 % interval",
        2.9,
    )
    grid = figure.add_gridspec(1, 4, width_ratios=(2, 1, 1, 1))
    latency = figure.add_subplot(grid[0])
    _latency_bars(latency, data["points"], names)
    weights = {
        "context, MiB": [engine["context_memory_bytes"] / MIB for engine in engines],
        "engine, MiB": [engine["engine_bytes"] / MIB for engine in engines],
        "warm build, s": [engine["warm_build_seconds"] for engine in engines],
    }
    for column, (label, values) in enumerate(weights.items(), start=1):
        axes = figure.add_subplot(grid[column])
        axes.barh(range(len(values)), values, height=0.66, color="#76B900")
        for position, value in enumerate(values):
            axes.text(value, position, f" {compact(value)}", va="center")
        rows_axis(axes, names)
        axes.tick_params(labelleft=False)
        axes.set_xlim(0, 1.5 * max(values))
        axes.locator_params(axis="x", nbins=3)
        axes.set_xlabel(label)
    return figure


def _latency_bars(axes: Axes, points: Sequence[dict[str, Any]], profiles: Sequence[str]) -> None:
    batches = sorted({point["batch"] for point in points})
    for index, (batch, colour) in enumerate(zip(batches, SHADES, strict=False)):
        for point in points:
            if point["batch"] != batch:
                continue
            position = profiles.index(point["profile"]) + 0.27 * (index - 1)
            found = point["latency_ms"]
            error = reach(found["median"], found["low"], found["high"])
            axes.barh(position, found["median"], 0.25, xerr=error, color=colour, error_kw=ERROR_BAR)
            label = f"  {compact(found['median'])} at batch {batch}"
            axes.text(found["high"], position, label, va="center", size=9)
    rows_axis(axes, profiles)
    if points:
        axes.set_xlim(0, 1.7 * max(point["latency_ms"]["high"] for point in points))
    axes.set_xlabel("ms per call")
