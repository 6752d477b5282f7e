"""Figures of engines beside other ways to run them: latency, streaming, speed-ups."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from speed.figure_style import ERROR_BAR, TARGET, canvas, look, reach, rows_axis
from speed.records import Record
from trtlab.plot_style import INK, MUTED, compact

RUNNERS = {
    "polygraphy": ("Polygraphy TrtRunner", "#a6a6a6"),
    "plain": ("TensorRTInference", "#b9e066"),
    "fast": ("FastInference", "#76B900"),
    "slot": ("the same, slot filled in place", "#5f9600"),
    "floor": ("floor: graph and copies alone", "#d9d9d9"),
}
"""Of the section "latency", in the order of the rows: name and colour."""

STREAMS = {
    "polygraphy": "#a6a6a6",
    "stream": "#76B900",
    "stream, slots filled in place": "#5f9600",
    "engine alone": "#d9d9d9",
    "engine alone, again": "#d9d9d9",
}
"""Of the section "streaming": runner and colour."""

SPEEDUP_TARGETS = {"fp16": 2.0, "int8": 4.0}
PRECISIONS = ("fp32", "fp16", "int8")
BASELINES = {"pytorch-fp32": "strict FP32", "pytorch-tf32": "TF32"}
PLACES = {
    "host_to_host": ("host to host, FastInference", "fast"),
    "device_resident": ("on the GPU, CUDA graph", "graph"),
}


def latency_figure(record: Record, precision: str) -> Figure:
    """Draw each runner's median latency with a line to its p99, one panel per batch size."""
    rows = [row for row in record.data["rows"] if row["precision"] == precision]
    ratios = [row for row in record.data["ratios"] if row["precision"] == precision]
    batches = sorted({row["batch"] for row in rows})
    lines = -(-len(batches) // 2)
    figure = canvas(
        record,
        f"One call, {precision.upper()}: median, with a line to p99",
        "from a NumPy array to a NumPy array, all on one engine",
        2.1 * lines,
    )
    for index, batch in enumerate(batches):
        axes = figure.add_subplot(lines, 2, index + 1)
        here = {row["runner"]: row for row in rows if row["batch"] == batch}
        faster = {
            row["runner"]: row
            for row in ratios
            if row["batch"] == batch and row["baseline"] == "polygraphy"
        }
        _latency_panel(axes, here, faster)
        axes.set_title(f"batch {batch}")
        axes.tick_params(labelleft=index % 2 == 0)
    return figure


def _latency_panel(
    axes: Axes, rows: dict[str, dict[str, Any]], faster: dict[str, dict[str, Any]]
) -> None:
    runners = [runner for runner in RUNNERS if runner in rows]
    for position, runner in enumerate(runners):
        row, (_, colour) = rows[runner], RUNNERS[runner]
        median, p99 = row["median_ms"], row["p99_ms"]
        interval = reach(median, row["median_low_ms"], row["median_high_ms"])
        axes.barh(position, median, xerr=interval, height=0.66, color=colour, error_kw=ERROR_BAR)
        axes.plot([median, p99], [position, position], color=INK, linewidth=0.9)
        axes.plot(p99, position, color=INK, marker="|", markersize=8)
        ratio = f", {faster[runner]['speedup']:.2f}x" if runner in faster else ""
        axes.text(max(p99, median), position, f"  {compact(median)}{ratio}", va="center")
    rows_axis(axes, [RUNNERS[runner][0] for runner in runners])
    axes.set_xlim(0, 1.5 * max(row["p99_ms"] for row in rows.values()))
    axes.set_xlabel("ms per call")


def streaming_figure(record: Record, precision: str) -> Figure:
    """Draw images per second with several batches in flight, one panel per batch size."""
    rows = [row for row in record.data["rows"] if row["precision"] == precision]
    batches = sorted({row["batch"] for row in rows})
    figure = canvas(
        record,
        f"Streaming, {precision.upper()}: images per second",
        "host to host, but for the engine alone, whose images lie in GPU memory",
        0.36 * max(len(rows) // max(len(batches), 1), 4) + 1.0,
    )
    for index, batch in enumerate(batches):
        axes = figure.add_subplot(1, len(batches), index + 1)
        here = [row for row in rows if row["batch"] == batch]
        # As STREAMS has them, and by slots within one runner.
        here.sort(key=lambda row: (list(STREAMS).index(row["runner"]), row["slots"] or 0))
        for position, row in enumerate(here):
            rate = row["images_per_s"]
            axes.barh(
                position,
                rate,
                xerr=reach(rate, row["low"], row["high"]),
                height=0.66,
                color=STREAMS[row["runner"]],
                error_kw=ERROR_BAR,
            )
            axes.text(row["high"], position, f"  {compact(rate)}", va="center")
        rows_axis(axes, [_stream_name(row) for row in here])
        axes.set_xlim(0, 1.4 * max(row["high"] for row in here))
        axes.locator_params(axis="x", nbins=3)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_title(f"batch {batch}")
        axes.tick_params(labelleft=index == 0)
    return figure


def _stream_name(row: dict[str, Any]) -> str:
    if row["runner"] == "polygraphy":
        return "Polygraphy, in a loop"
    return f"{row['runner']}, {row['slots']} slots" if row["runner"] == "stream" else row["runner"]


def speedup_figure(record: Record) -> Figure:
    """Draw paired speed-ups over PyTorch with their intervals, for both baselines and places."""
    places = {place: record.part(place).get("speedup", []) for place in PLACES}
    figure = canvas(
        record,
        "Times faster than PyTorch FP32 eager",
        "medians of paired ratios, 95 % intervals",
        6.4,
    )
    grid = figure.subplots(len(BASELINES), len(PLACES), squeeze=False)
    for line, (baseline, name) in zip(grid, BASELINES.items(), strict=True):
        for axes, (place, (where, runner)) in zip(line, PLACES.items(), strict=True):
            rows = [row for row in places[place] if row["baseline"] == baseline]
            _speedup_panel(axes, {(row["runner"], row["batch"]): row for row in rows}, runner)
            axes.set_title(f"over {name}: {where}")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _speedup_panel(axes: Axes, rows: dict[tuple[str, int], dict[str, Any]], runner: str) -> None:
    batches = sorted({batch for _, batch in rows})
    for index, precision in enumerate(PRECISIONS):
        axes.bar(0, 0, label=precision.upper(), **look(precision).bar_style())
        for group, batch in enumerate(batches):
            found = rows.get((f"{runner}-{precision}", batch))
            if found is None:
                continue
            x, style = group + 0.27 * (index - 1), look(precision).bar_style()
            error = reach(found["speedup"], found["low"], found["high"])
            axes.bar(x, found["speedup"], 0.25, yerr=error, error_kw=ERROR_BAR, **style)
            label = f"{found['speedup']:.1f}"
            axes.text(x, found["high"], label, ha="center", va="bottom", size=9)
    asked = [f"{precision.upper()} {factor:g}x" for precision, factor in SPEEDUP_TARGETS.items()]
    for required in SPEEDUP_TARGETS.values():
        axes.axhline(required, color=TARGET, linewidth=1.2, linestyle="--", zorder=0)
    axes.plot([], [], color=TARGET, linestyle="--", label=f"asked for: {', '.join(asked)}")
    axes.axhline(1, color=INK, linewidth=0.8)
    axes.set_xticks(range(len(batches)), [f"batch {batch}" for batch in batches])
    axes.set_ylim(0, 1.15 * max([row["high"] for row in rows.values()] + [5.0]))
    axes.set_ylabel("times faster")
    axes.grid(axis="y", color=MUTED, alpha=0.25)
