"""Pictures of lab 5: what asynchrony looks like, and the student's own measurements.

Everything that shows a time carries the badge on the emulation.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib
import numpy as np
from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trtlab.backend import BADGE, IS_EMULATED
from trtlab.lab.fake_model import AsynchronousModel
from trtlab.lab.predictions import show_predictions
from trtlab.plot_style import INK, MUTED, STYLE, Look, look_of
from trtlab.results import AccuracyChange, AccuracyStats, Results, RunnerResult
from trtlab.stats import wilson_interval
from trtlab.targets import target_for

WARM_UP_COLOUR = "#d9730d"
_BADGE_STYLE = "background:#ffd042;color:#222;border-radius:3px;padding:0 .4em;font-size:85%"
Statistics = Mapping[str, float]


class Watched:
    """A model that notes how long each of its calls takes, for the picture of the distribution.

    Attributes:
        milliseconds: of every call so far, warm-up included.
    """

    def __init__(self, model: Callable[..., Any]) -> None:
        self.model = model
        self.milliseconds: list[float] = []

    def __call__(self, inputs: Any) -> Any:
        """Call the model."""
        start = time.perf_counter()
        output = self.model(inputs)
        self.milliseconds.append(1e3 * (time.perf_counter() - start))
        return output


class TimesTable:
    """Figures in rows and columns under the badge, displayable as HTML and as text."""

    def __init__(self, rows: Mapping[str, Mapping[Any, float]], corner: str) -> None:
        columns = list(next(iter(rows.values())))
        self.head = [corner, *map(str, columns)]
        self.body = [
            [name, *(f"{values[column]:,.4g}" for column in columns)]
            for name, values in rows.items()
        ]

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        badge = f'<div><b style="{_BADGE_STYLE}">{escape(BADGE)}</b></div>' * IS_EMULATED
        rows = _table_row(self.head, "th") + "".join(_table_row(line, "td") for line in self.body)
        text = "\n".join(
            f"{line[0]:30}" + "".join(f"{c:>14}" for c in line[1:])
            for line in (self.head, *self.body)
        )
        return {
            "text/html": f"{badge}<table>{rows}</table>",
            "text/plain": f"[{BADGE}]\n" * IS_EMULATED + text,
        }


def _table_row(cells: list[str], tag: str) -> str:
    return (
        "<tr>"
        + "".join(f'<{tag} style="text-align:right">{escape(c)}</{tag}>' for c in cells)
        + "</tr>"
    )


def times_table(rows: Mapping[str, Mapping[Any, float]], corner: str) -> TimesTable:
    """Return a table of measured times or rates, with the badge where they are emulated.

    Args:
        rows: figures by column, by the name of the row.
        corner: what stands above the names; says the unit.
    """
    return TimesTable(rows, corner)


@contextmanager
def _canvas(title: str, width: float, height: float, *, times: bool) -> Iterator[Figure]:
    """Yield a figure with a title, and with the badge where it shows emulated times."""
    badge = times and IS_EMULATED
    head = 0.75 if badge else 0.4
    total = height + head
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, total), layout="constrained", facecolor="white")
        engine = figure.get_layout_engine()
        assert engine is not None
        engine.set(rect=(0.01, 0.01, 0.98, height / total))  # type: ignore[call-arg]
        figure.text(0.015, 1 - 0.1 / total, title, size=13, weight="bold", va="top")
        if badge:
            figure.text(
                0.018,
                1 - 0.45 / total,
                BADGE,
                size=10,
                weight="bold",
                color="#332600",
                va="top",
                bbox={"facecolor": "#ffcf40", "edgecolor": "none", "boxstyle": "round,pad=0.3"},
            )
        yield figure


def _look(name: str) -> Look:
    """Return the look of a model by its name, "PyTorch FP32" or "tensorrt-int8"."""
    kind, _, precision = name.lower().replace(" ", "-").partition("-")
    known: Any = "pytorch" if kind == "pytorch" else "tensorrt"
    return look_of(RunnerResult(name=name, kind=known, precision=precision))


def timeline_figure(model: AsynchronousModel) -> Figure:
    """Draw when the calls of an asynchronous model returned, and when their work was done."""
    device = model.device
    zero = device.calls[0].entered
    with _canvas("When a call returns, and when its work is done", 9, 1.9, times=False) as figure:
        axes = figure.add_subplot()
        for number, call in enumerate(device.calls, 1):
            started = 1e3 * (call.started - zero)
            axes.plot(1e3 * (call.entered - zero), 1, "|", color=WARM_UP_COLOUR, markersize=24)
            axes.barh(
                0, 1e3 * call.work_s, left=started, height=0.5, color="#76B900", edgecolor="white"
            )
            axes.text(started + 500 * call.work_s, 0, f"call {number}", ha="center", va="center")
        for moment in device.synchronized_at:
            axes.axvline(1e3 * (moment - zero), color=INK, linestyle="--", linewidth=1)
            axes.text(1e3 * (moment - zero), 1, " synchronize() returns", va="center")
        returned = 1e3 * (device.calls[-1].entered - zero)
        axes.text(returned, 1, f"   {len(device.calls)} calls have returned", va="center")
        last = max([*device.synchronized_at, *(call.done for call in device.calls)]) - zero
        axes.set_xlim(-0.01 * 1e3 * last, 1.35e3 * last)
        axes.set_yticks([0, 1], ["device: works", "host: calls"])
        axes.set_ylim(-0.5, 1.5)
        axes.set_xlabel("ms since the first call")
    return figure


def latency_figure(
    latency: Mapping[str, Statistics], watched: Mapping[str, Watched], warmup: int
) -> Figure:
    """Draw the calls that a benchmark made, one by one and as a distribution.

    Args:
        latency: what `benchmark_latency` returned, by model.
        watched: the models that it called.
        warmup: how many of the calls were warm-up.
    """
    rows = len(latency)
    with _canvas("Your latency measurements", 12, 2.3 * rows, times=True) as figure:
        panels = figure.subplots(rows, 2, squeeze=False, width_ratios=[1.1, 1])
        for (name, statistics), (calls, distribution) in zip(latency.items(), panels, strict=True):
            milliseconds = np.array(watched[name].milliseconds)
            _draw_calls(calls, name, milliseconds, warmup)
            _draw_distribution(distribution, name, milliseconds[warmup:], statistics)
        panels[-1][0].set_xlabel("call, in the order made")
        panels[-1][1].set_xlabel("ms")
    return figure


def _draw_calls(axes: Axes, name: str, milliseconds: np.ndarray, warmup: int) -> None:
    colour = _look(name).colour
    numbers = np.arange(1, len(milliseconds) + 1)
    axes.plot(numbers[warmup:], milliseconds[warmup:], ".", color=colour, markersize=5)
    axes.plot(
        numbers[:warmup],
        milliseconds[:warmup],
        "x",
        color=WARM_UP_COLOUR,
        label="warm-up, left out",
    )
    axes.set_title(name)
    axes.set_ylabel("ms")
    axes.set_ylim(0, 1.15 * milliseconds.max())
    axes.legend(loc="upper right", frameon=False, fontsize=9)
    axes.grid(color=MUTED, alpha=0.25)


def _draw_distribution(
    axes: Axes, name: str, milliseconds: np.ndarray, statistics: Statistics
) -> None:
    """Draw the share of calls that took at most so long, with the reported figures on it."""
    ordered = np.sort(milliseconds)
    shares = 100 * np.arange(1, len(ordered) + 1) / len(ordered)
    axes.step(ordered, shares, where="post", color=_look(name).colour, linewidth=2)
    for key, height, style in (("median", 50, "-"), ("p95", 95, "--"), ("p99", 99, ":")):
        value = statistics[f"{key}_ms"]
        axes.axvline(value, color=INK, linestyle=style, linewidth=1, label=f"{key} {value:.3g} ms")
        axes.axhline(height, color=MUTED, linewidth=0.4)
    axes.axvline(
        statistics["mean_ms"],
        color=MUTED,
        linestyle="-.",
        linewidth=1,
        label=f"mean {statistics['mean_ms']:.3g} ms",
    )
    axes.set_title("share of calls that took at most so long")
    axes.set_ylabel("% of calls")
    axes.set_ylim(0, 103)
    axes.set_xlim(0.9 * ordered[0], 1.05 * max(ordered[-1], statistics["p99_ms"]))
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=9)


def throughput_figure(throughput: Mapping[str, Mapping[int, float]]) -> Figure:
    """Draw images per second against the batch size, one line per model.

    Args:
        throughput: images per second by batch size, by model.
    """
    with _canvas("Your throughput measurements", 8.2, 3.6, times=True) as figure:
        axes = figure.add_subplot()
        for name, rates in throughput.items():
            look = _look(name)
            axes.plot(
                list(rates),
                list(rates.values()),
                color=look.colour,
                marker=look.marker,
                markersize=8,
                linewidth=2,
                label=name,
            )
        sizes = sorted({size for rates in throughput.values() for size in rates})
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_xlabel("batch size (images per call)")
        axes.set_ylabel("images per second")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.grid(color=MUTED, alpha=0.25)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def accuracy_figure(accuracy: Mapping[str, tuple[float, float]], images: int) -> Figure:
    """Draw top-1 of each model with its 95 % Wilson interval, and top-5 beside it.

    Args:
        accuracy: (top1, top5) in percent, by model.
        images: how many they were measured on.
    """
    title = f"Your accuracy measurements, on {images:,} images"
    with _canvas(title, 9, 0.55 * len(accuracy) + 0.8, times=False) as figure:
        axes = figure.add_subplot()
        for row, (name, (top1, top5)) in enumerate(accuracy.items()):
            look = _look(name)
            low, high = (100 * b for b in wilson_interval(round(top1 * images / 100), images))
            axes.plot([low, high], [row, row], color=look.colour, linewidth=3)
            axes.plot(top1, row, look.marker, color=look.colour, markeredgecolor=INK, markersize=10)
            axes.plot(top5, row, "|", color=INK, markersize=14)
            said = f"top-1 {top1:.2f} ({low:.1f} to {high:.1f}), top-5 {top5:.2f}"
            axes.text(1.02, row, said, va="center", transform=axes.get_yaxis_transform())
        axes.set_yticks(range(len(accuracy)), list(accuracy))
        axes.set_ylim(len(accuracy) - 0.5, -0.5)
        axes.set_xlabel("percent: top-1 with its 95 % interval, and | top-5")
        axes.grid(axis="x", color=MUTED, alpha=0.25)
    return figure


def loss_figure(fresh: Mapping[str, tuple[AccuracyStats, AccuracyChange | None]]) -> Figure:
    """Draw the points of top-1 that each engine loses, with interval and limit.

    Args:
        fresh: what `fresh_accuracy` returned.
    """
    changes = {name: change for name, (_, change) in fresh.items() if change is not None}
    images = next(iter(changes.values())).images
    title = f"Top-1 lost against PyTorch FP32, on {images:,} fresh images"
    with _canvas(title, 9, 0.75 * len(changes) + 0.8, times=False) as figure:
        axes = figure.add_subplot()
        for row, (name, change) in enumerate(changes.items()):
            look = _look(name)
            axes.plot([-change.high, -change.low], [row, row], color=look.colour, linewidth=4)
            axes.plot(-change.points, row, look.marker, color=look.colour, markeredgecolor=INK)
            target = target_for(name.rpartition("-")[2], "accuracy loss")
            if target is not None and name.startswith("tensorrt"):
                x = target.required
                axes.plot([x, x], [row - 0.35, row + 0.35], color=WARM_UP_COLOUR, linewidth=2)
                axes.text(x, row - 0.37, f"limit {x:g}", color=WARM_UP_COLOUR, ha="center", size=9)
            said = f"{change.lost} images lost, {change.gained} gained"
            axes.text(1.02, row, said, va="center", transform=axes.get_yaxis_transform())
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.set_yticks(range(len(changes)), list(changes))
        axes.set_ylim(len(changes) - 0.4, -0.65)
        axes.set_xlabel("percentage points lost, with the 95 % interval of paired proportions")
        axes.grid(axis="x", color=MUTED, alpha=0.25)
    return figure


def speedup_view(
    results: Results, batch_size: int, others: Mapping[str, float]
) -> Figure | Markdown:
    """Return the guesses beside the measured speed-ups; on the emulation, why there are none.

    Args:
        results: of the library's measurement.
        batch_size: which speed-ups over PyTorch in strict FP32 are shown.
        others: further factors that were guessed and measured.
    """
    if results.emulated:
        return Markdown(
            "**This needs a GPU.** The times above are a CPU's, so there is no speed-up to hold "
            "your guess against. On a GPU, this cell draws your guess beside the measured one."
        )
    pairs = {
        precision: results.speedup(f"tensorrt-{precision.lower()}", "pytorch-fp32", batch_size)
        for precision in ("FP16", "INT8")
    }
    speedups = {f"{name} speed-up": pair.speedup for name, pair in pairs.items() if pair}
    return show_predictions(speedups | dict(others))
