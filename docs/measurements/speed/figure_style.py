"""What the figures of draw_speed.py share: head, colours, lines and bars with their intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from speed.records import Record
from trtlab.plot_style import INK, MUTED, Look, headed_figure, look_of
from trtlab.results import RunnerResult

TARGET = "#b3261e"
WIDTH = 9.5
"""Inches: at this width text stays legible in a README."""

ERROR_BAR: dict[str, Any] = {"ecolor": INK, "elinewidth": 1.2, "capsize": 2.5}

Interval = Mapping[str, float]
"""median, low and high, as intervals.py writes them."""


def canvas(
    record: Record, title: str, subtitle: str, height: float, width: float = WIDTH
) -> Figure:
    """Return a figure of `height` inches below a head that names the GPU and TensorRT."""
    where = f"{subtitle}; {record.gpu}, TensorRT {record.tensorrt}"
    badge = "TRIAL OF THE SCRIPTS: no figure here means anything" if record.trial else None
    return headed_figure(title, where, badge, width, height)


def look(precision: str) -> Look:
    """Return how a TensorRT engine of a precision is drawn, in every figure alike."""
    return look_of(RunnerResult(name=precision, kind="tensorrt", precision=precision))


def reach(value: float, low: float, high: float) -> tuple[list[float], list[float]]:
    """Return an interval as matplotlib wants it: what lies below the value, and above."""
    return [max(value - low, 0.0)], [max(high - value, 0.0)]


def curve(
    axes: Axes, x: Sequence[float], intervals: Sequence[Interval], scale: float = 1.0, **style: Any
) -> None:
    """Draw medians with their intervals against `x`, joined by a line."""
    medians = [scale * found["median"] for found in intervals]
    below = [scale * max(found["median"] - found["low"], 0.0) for found in intervals]
    above = [scale * max(found["high"] - found["median"], 0.0) for found in intervals]
    axes.errorbar(
        x, medians, yerr=(below, above), markersize=6, linewidth=1.8, **ERROR_BAR, **style
    )


def batch_axis(axes: Axes, values: Sequence[int], label: str) -> None:
    """Make the x axis one of powers of two, each of `values` written out."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(values, [str(value) for value in values])
    axes.minorticks_off()
    axes.set_xlabel(label)
    axes.grid(color=MUTED, alpha=0.25)


def log_axis(axis: Axis) -> None:
    """Write the ticks of a logarithmic axis as plain numbers: STYLE has no powers of ten."""
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def rows_axis(axes: Axes, names: Sequence[str]) -> None:
    """Make the y axis one of named rows, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=MUTED, alpha=0.25)


def target_line(axes: Axes, value: float, label: str) -> None:
    """Draw a figure to be reached, on the x axis, as a dashed line that is named at its top."""
    axes.axvline(value, color=TARGET, linewidth=1.2, linestyle="--")
    above = axes.get_xaxis_transform()
    axes.text(value, 1, f" {label}", color=TARGET, size=9, va="bottom", transform=above)
