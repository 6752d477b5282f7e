"""Figures of a benchmark run: latency, throughput, speed-up, size and memory, accuracy.

Each is a function of the results alone, listed in FIGURES; how they look is in
`trtlab.plot_style`.
"""

import io
import os
import re
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from trtlab.files import atomic_path
from trtlab.plot_style import (
    INK,
    MUTED,
    NOT_MEASURED,
    STYLE,
    bars,
    canvas,
    compact,
    look_of,
    say,
)
from trtlab.progress import track
from trtlab.results import Results, RunnerResult
from trtlab.targets import judged_batch, target_for


def latency_figure(results: Results) -> Figure:
    """Draw median latency per runner, one panel per batch size, with a line on to p99."""
    sizes = _timed_batches(results)
    columns = min(3, max(len(sizes), 1))
    rows = -(-len(sizes) // columns) or 1
    height = rows * (0.4 * len(results.runners) + 1.0)
    figure = canvas(results, "Latency: median, with a line to p99", 2.6 * columns + 2.4, height)
    if not sizes:
        say(figure, "nothing was timed")
    for index, size in enumerate(sizes):
        axes = figure.add_subplot(rows, columns, index + 1)
        found = [runner.at(size) for runner in results.runners]
        medians = [entry.latency.median_ms if entry else None for entry in found]
        tails = [entry.latency.p99_ms if entry else None for entry in found]
        bars(axes, results.runners, medians, tails)
        axes.set_title(f"batch {size}")
        axes.set_xlabel("ms per call")
        axes.tick_params(labelleft=index % columns == 0)
    return figure


def throughput_figure(results: Results) -> Figure:
    """Draw images per second against the batch size, one line per runner, named at its end."""
    figure = canvas(results, "Throughput against batch size", 8.2, 4.2)
    sizes = _timed_batches(results)
    if not sizes:
        say(figure, "nothing was timed")
        return figure
    axes = figure.add_subplot()
    ends = []
    for runner in results.runners:
        if not runner.batches:
            continue
        look = look_of(runner)
        batches = sorted(runner.batches, key=lambda entry: entry.batch_size)
        sizes_here = [entry.batch_size for entry in batches]
        rates = [entry.throughput.images_per_s for entry in batches]
        axes.plot(
            sizes_here, rates, color=look.colour, marker=look.marker, markersize=8, linewidth=2
        )
        ends.append((rates[-1], sizes_here[-1], runner.name))
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    top = max(y for y, _, _ in ends) * 1.08
    axes.set_ylim(0, top)
    labels = _spread([y for y, _, _ in ends], gap=top / 16)
    for (y, x, name), height in zip(ends, labels, strict=True):
        axes.annotate(
            f"{name}  {compact(y)}",
            xy=(x, y),
            xytext=(1.03, height / top),
            textcoords="axes fraction",
            va="center",
            arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.6},
        )
    axes.set_xlabel("batch size (images per call)")
    axes.set_ylabel("images per second")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid(color=MUTED, alpha=0.25)
    return figure


def speedup_figure(results: Results) -> Figure:
    """Draw paired speed-ups with their intervals, one panel per PyTorch baseline.

    Emulated time is not GPU time, so an emulated run gets a sentence in place of bars.
    """
    title = "Speed-up over PyTorch, with 95 % intervals"
    baselines = list(dict.fromkeys(entry.baseline for entry in results.comparisons))
    if not baselines:
        figure = canvas(results, title, 8.2, 1.6)
        say(figure, NOT_MEASURED if results.emulated else "no speed-up was measured")
        return figure
    runners = [r for r in results.runners if any(c.runner == r.name for c in results.comparisons)]
    sizes = sorted({entry.batch_size for entry in results.comparisons})
    figure = canvas(results, title, max(8.2, 1.1 * len(runners) * len(sizes)), 3.2 * len(baselines))
    for index, baseline in enumerate(baselines):
        axes = figure.add_subplot(len(baselines), 1, index + 1)
        _speedup_panel(axes, results, runners, baseline, sizes)
        if index == 0:
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def _speedup_panel(
    axes: Axes, results: Results, runners: list[RunnerResult], baseline: str, sizes: list[int]
) -> None:
    width = 0.8 / len(runners)
    for index, runner in enumerate(runners):
        offset = (index - (len(runners) - 1) / 2) * width
        axes.bar(0, 0, label=runner.name, **look_of(runner).bar_style())  # the legend's entry
        for group, size in enumerate(sizes):
            found = results.speedup(runner.name, baseline, size)
            if found is None:
                continue
            x = group + offset
            axes.bar(x, found.speedup, width=width * 0.92, **look_of(runner).bar_style())
            axes.plot([x, x], [found.low, found.high], color=INK, linewidth=1.4)
            axes.text(x, found.high, f"{found.speedup:.2f}x", ha="center", va="bottom", size=10)
    axes.axhline(1, color=INK, linewidth=1, linestyle="--")
    axes.set_xticks(range(len(sizes)), [f"batch {size}" for size in sizes])
    axes.set_ylabel("times faster")
    axes.set_title(f"over {baseline}")
    axes.set_ylim(0, 1.15 * max(entry.speedup.high for entry in results.comparisons))
    axes.grid(axis="y", color=MUTED, alpha=0.25)


def size_figure(results: Results) -> Figure:
    """Draw the size of each model as it is deployed, and the GPU memory that it takes."""
    figure = canvas(results, "Size and GPU memory", 9.6, 0.4 * len(results.runners) + 1.0)
    sizes = [deployed_bytes(runner) for runner in results.runners]
    panels = {
        "engine file, or PyTorch weights (MiB)": [s / 2**20 if s else None for s in sizes],
        "GPU memory at the largest batch (MiB)": [r.gpu_memory_mib for r in results.runners],
    }
    for index, (label, values) in enumerate(panels.items()):
        axes = figure.add_subplot(1, 2, index + 1)
        missing = NOT_MEASURED if results.emulated and index else "not measured"
        bars(axes, results.runners, values, [None] * len(values), missing)
        axes.set_xlabel(label)
        axes.tick_params(labelleft=index == 0)
        if not any(values):
            axes.tick_params(labelbottom=False, bottom=False)
    return figure


def pareto_figure(results: Results) -> Figure:
    """Draw the change in top-1 against latency, with the region that passes each target shaded."""
    size = judged_batch(results)
    baseline = results.settings.baseline
    figure = canvas(results, f"Accuracy against latency, batch {size}", 8.2, 4.4)
    points = []
    for runner in results.runners:
        entry, change = runner.at(size), runner.accuracy_change
        if entry and change:
            points.append((entry.latency.median_ms, change.points, change.low, change.high, runner))
        elif entry and runner.name == baseline and runner.accuracy:
            points.append((entry.latency.median_ms, 0.0, 0.0, 0.0, runner))
    if not points:
        say(figure, "accuracy was not measured")
        return figure
    axes = figure.add_subplot()
    axes.set_xlim(0, max(latency for latency, *_ in points) * 1.15)
    low = min(-1.25, *(low for _, _, low, _, _ in points)) * 1.1
    axes.set_ylim(low, max(0.4, *(high for _, _, _, high, _ in points)) * 1.25)
    for latency, change_points, low, high, runner in points:
        look = look_of(runner)
        axes.plot([latency, latency], [low, high], color=look.colour, linewidth=2)
        axes.plot(
            latency,
            change_points,
            look.marker,
            color=look.colour,
            markersize=11,
            markeredgecolor=INK,
            label=f"{runner.name}  {compact(latency)} ms, {change_points:+.2f}",
        )
    _shade_targets(axes, results, size)
    axes.axhline(0, color=MUTED, linewidth=1, linestyle="--")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, numpoints=1)
    axes.set_xlabel("median latency (ms per call)")
    axes.set_ylabel(f"top-1 against {baseline} (points)")
    return figure


def _shade_targets(axes: Axes, results: Results, batch_size: int) -> None:
    """Shade where FP16 and INT8 meet their targets: loss alone where time is emulated."""
    baseline = results.runner(results.settings.baseline)
    entry = baseline.at(batch_size) if baseline else None
    (left, right), top = axes.get_xlim(), axes.get_ylim()[1]
    engines = {r.precision: look_of(r) for r in results.runners if r.kind == "tensorrt"}
    for precision, look in engines.items():
        loss = target_for(precision, "accuracy loss")
        speedup = target_for(precision, "speed-up")
        if loss is None or speedup is None or entry is None:
            continue
        if not results.emulated:
            right = entry.latency.median_ms / speedup.required
        region = Rectangle(
            (left, -loss.required),
            right - left,
            top + loss.required,
            facecolor=look.colour,
            hatch=look.hatch,
            edgecolor="white",
            alpha=0.35,
            zorder=0,
            label=f"{precision.upper()} target" + (" (loss only)" if results.emulated else ""),
        )
        axes.add_patch(region)


def deployed_bytes(runner: RunnerResult) -> int | None:
    """Return the bytes of what is deployed: the engine file, or PyTorch's weights."""
    return runner.sizes.engine if runner.kind == "tensorrt" else runner.sizes.weights


def _timed_batches(results: Results) -> list[int]:
    return sorted({entry.batch_size for runner in results.runners for entry in runner.batches})


def _spread(heights: list[float], gap: float) -> list[float]:
    """Push heights apart until neighbours are at least `gap` apart, keeping their order."""
    order = np.argsort(heights)
    placed = np.array(heights)[order]
    for index in range(1, len(placed)):
        placed[index] = max(placed[index], placed[index - 1] + gap)
    spread = np.empty_like(placed)
    spread[order] = placed
    return [float(height) for height in spread]


FIGURES: dict[str, Callable[[Results], Figure]] = {
    "latency": latency_figure,
    "throughput": throughput_figure,
    "speedup": speedup_figure,
    "size_and_memory": size_figure,
    "accuracy_latency": pareto_figure,
}
"""Every figure by its file name. Add a function here and it is saved and put into the report."""


def draw(name: str, results: Results) -> Figure:
    """Draw one of FIGURES in the project's style."""
    with matplotlib.rc_context(STYLE):
        return FIGURES[name](results)


def save_figures(results: Results, folder: str | os.PathLike[str]) -> list[Path]:
    """Write every figure as PNG and SVG into `folder`; return their paths. Raises: OutputError."""
    written = []
    for name in track(FIGURES, "drawing"):
        figure = draw(name, results)
        for suffix in ("png", "svg"):
            path = Path(folder) / f"{name}.{suffix}"
            with atomic_path(path) as temporary:
                temporary.write_bytes(_render(figure, suffix))
            written.append(path)
    return written


def inline_svg(name: str, results: Results) -> str:
    """Return one of FIGURES as an <svg> element for an HTML page of any background.

    The ink becomes the page's text colour and the ground transparent, and ids get the figure's
    name in front, since several figures share one page.
    """
    figure = draw(name, results)
    figure.set_facecolor("none")
    for axes in figure.axes:
        axes.set_facecolor("none")
    svg = _render(figure, "svg").decode()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)


def _render(figure: Figure, suffix: str) -> bytes:
    buffer = io.BytesIO()
    # Without a date, the same results give the same file.
    metadata = {"Date": None} if suffix == "svg" else {}
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format=suffix, dpi=160, metadata=metadata)
    return buffer.getvalue()
