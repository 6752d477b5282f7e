"""The figure of layers.py: what every layer of an engine took, and what it could have."""

from typing import Any

from matplotlib.figure import Figure

from speed.figure_style import canvas, look
from speed.records import Record
from trtlab.plot_style import INK, MUTED


def layers_figure(record: Record, precision: str) -> Figure:
    """Draw each layer's time in the order of the engine, and within it the least that it takes."""
    (engine,) = (e for e in record.data["engines"] if e["precision"] == precision)
    rows = [row for row in engine["layers"] if row["seconds"]]
    whole = sum(row["seconds"] for row in rows)
    generations = ", ".join(
        f"{share:.0%} in {name or 'other'} kernels"
        for name, share in sorted(engine["share_by_generation"].items(), key=lambda x: -x[1])
    )
    figure = canvas(
        record,
        f"{precision.upper()} engine, layer by layer at batch {record.data['batch']}",
        f"TensorRT's profiler, {1e3 * whole:.2f} ms in all, {generations}",
        3.2,
    )
    axes = figure.subplots()
    micros = [1e6 * row["seconds"] for row in rows]
    roofs = [1e6 * roof_seconds(row) for row in rows]
    places = range(len(rows))
    axes.bar(places, micros, width=1.0, color=look(precision).colour, alpha=0.45, label="taken")
    axes.bar(places, roofs, width=1.0, color=look(precision).colour, label="least, by the roofline")
    axes.set_xlabel("layers in the order of the engine")
    axes.set_ylabel("microseconds")
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=MUTED, alpha=0.25)
    axes.tick_params(colors=INK)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)
    return figure


def roof_seconds(row: dict[str, Any]) -> float:
    """Return the least time of a layer; none of one that computes nothing, as a conversion."""
    return float(row["seconds"] * row.get("share_of_roof", 0.0))
