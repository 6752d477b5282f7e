"""How the figures look: NVIDIA green is TensorRT, grey is PyTorch.

A precision shows in shade, marker and hatch, so that no figure relies on colour. Figures are plain
`Figure` objects without pyplot's global state: they draw the same in a notebook, a thread, or a
process without a display.
"""

from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trtlab.results import Results, RunnerResult

INK = "#1b1b1b"
MUTED = "#757575"
NOT_MEASURED = "not measured: emulated"

_SHADES = {
    "tensorrt": {"fp32": "#4a7500", "tf32": "#5f9600", "fp16": "#76B900", "int8": "#b9e066"},
    "pytorch": {"fp32": "#707070", "tf32": "#a6a6a6", "fp16": "#c4c4c4"},
}
_OTHER_SHADE = {"tensorrt": "#76B900", "pytorch": "#8c8c8c"}
_MARKERS = {"fp32": "o", "tf32": "s", "fp16": "^", "int8": "D"}
_HATCHES = {"tf32": "...", "fp16": "//", "int8": "xx"}

STYLE = {
    "font.size": 11,
    "font.family": "DejaVu Sans",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "hatch.linewidth": 0.8,
    # A runner's name is a file's name, and may hold a dollar sign.
    "text.parse_math": False,
    "svg.hashsalt": "trtlab",
}


@dataclass(frozen=True)
class Look:
    """How one runner is drawn, in every figure alike."""

    colour: str
    marker: str
    hatch: str

    def bar_style(self) -> dict[str, Any]:
        """Return the keyword arguments for a bar."""
        return {"color": self.colour, "hatch": self.hatch, "edgecolor": "white", "linewidth": 0}


def look_of(runner: RunnerResult) -> Look:
    """Return a runner's look; a precision that the course does not know gets a neutral one."""
    shade = _SHADES[runner.kind].get(runner.precision, _OTHER_SHADE[runner.kind])
    marker = _MARKERS.get(runner.precision, "P")
    return Look(shade, marker, _HATCHES.get(runner.precision, ""))


def canvas(results: Results, title: str, width: float, height: float) -> Figure:
    """Return a figure of `height` inches below a head of title, machine and, if emulated, badge."""
    return headed_figure(title, _subtitle(results), results.badge, width, height)


def headed_figure(
    title: str, subtitle: str, badge: str | None, width: float, height: float
) -> Figure:
    """Return a figure of `height` inches below a head of two lines and a badge, if there is one."""
    head = 1.05 if badge else 0.65
    total = height + head
    figure = Figure(figsize=(width, total), layout="constrained", facecolor="white")
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0.01, 0.01, 0.98, height / total), w_pad=0.08, h_pad=0.08)  # type: ignore[call-arg]
    figure.text(0.015, 1 - 0.12 / total, title, size=14, weight="bold", va="top")
    figure.text(0.015, 1 - 0.41 / total, subtitle, size=9, color=MUTED, va="top")
    if badge:
        figure.text(
            0.018,
            1 - 0.73 / total,
            badge,
            size=10,
            weight="bold",
            color="#332600",
            va="top",
            bbox={"facecolor": "#ffcf40", "edgecolor": "none", "boxstyle": "round,pad=0.3"},
        )
    return figure


def _subtitle(results: Results) -> str:
    machine = results.machine
    where = machine.gpu.name if machine.gpu and not results.emulated else machine.cpu
    return (
        f"{results.workload.model}, {where}, TensorRT {machine.versions.get('tensorrt')}, "
        f"{results.settings.stopwatch}"
    )


def say(figure: Figure, text: str) -> None:
    """Fill `figure` with a sentence instead of data."""
    axes = figure.add_subplot()
    axes.axis("off")
    axes.text(0.5, 0.5, text, ha="center", va="center", size=13, transform=axes.transAxes)


def compact(value: float) -> str:
    """Write a number of zero or more with three significant digits: 0.381, 2.91, 17.7, 77,900."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.{1 if value >= 10 else 2 if value >= 1 else 3}f}"


def bars(
    axes: Axes,
    runners: list[RunnerResult],
    values: list[float | None],
    tails: list[float | None],
    missing: str = "not measured",
) -> None:
    """Draw a horizontal bar per runner, its value, and a line on to its tail where it has one."""
    for position, (runner, value, tail) in enumerate(zip(runners, values, tails, strict=True)):
        if value is None:
            axes.text(0, position, f" {missing}", va="center", color=MUTED)
            continue
        axes.barh(position, value, height=0.66, **look_of(runner).bar_style())
        if tail is not None:
            axes.plot([value, tail], [position, position], color=INK, linewidth=1.2)
            axes.plot(tail, position, color=INK, marker="|", markersize=8)
        axes.text(tail or value, position, f"  {compact(value)}", va="center")
    axes.set_yticks(range(len(runners)), [runner.name for runner in runners])
    axes.set_ylim(len(runners) - 0.4, -0.6)  # the first runner on top
    reach = max((v for v in [*values, *tails] if v is not None), default=1.0)
    axes.set_xlim(0, reach * 1.3)
    axes.locator_params(axis="x", nbins=5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=MUTED, alpha=0.25)
