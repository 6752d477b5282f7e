"""What lab 1 shows of the student's own ONNX files: their facts, what was folded, what vanished."""

import textwrap
from collections.abc import Callable
from functools import wraps
from html import escape
from pathlib import Path
from typing import ParamSpec

import numpy as np
import torch
from IPython.display import HTML
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from trtlab.errors import ModelError, TrtLabError
from trtlab.export import load_onnx
from trtlab.lab.onnx_facts import graph_facts
from trtlab.plot_style import INK, MUTED, STYLE, say

BEFORE, AFTER, FOLDED = "#8c8c8c", "#76B900", "#ffd042"
P = ParamSpec("P")


def _or_say_why_not(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Make a drawing function say what is missing instead of raising."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with rc_context(STYLE):
            try:
                return draw(*args, **kwargs)
            except TrtLabError as error:
                figure = Figure(figsize=(10, 1), layout="constrained", facecolor="white")
                say(figure, textwrap.fill(f"Nothing to draw yet. {error}", width=88))
                return figure

    return drawn


def graph_table(*paths: str | Path) -> HTML:
    """Return a table of what ONNX files take, give and hold, a column for each file."""
    rows = ("inputs", "outputs", "opset", "nodes", "weights", "file")
    columns = [_column(Path(path)) for path in paths]
    head = "".join(f"<th>{escape(Path(path).name)}</th>" for path in paths)
    body = "".join(
        f'<tr><th style="text-align:left">{row}</th>'
        + "".join(f'<td style="text-align:left">{escape(column[row])}</td>' for column in columns)
        + "</tr>"
        for row in rows
    )
    return HTML(f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>")


def _column(path: Path) -> dict[str, str]:
    graph = graph_facts(path)
    if graph.problem:
        return dict.fromkeys(("inputs", "outputs", "opset", "nodes", "weights"), "") | {
            "file": graph.problem
        }
    return {
        "inputs": _tensors(graph.inputs),
        "outputs": _tensors(graph.outputs),
        "opset": str(graph.opset),
        "nodes": str(graph.nodes),
        "weights": f"{graph.weights:,} values",
        "file": f"{path.stat().st_size / 1e6:.1f} MB",
    }


def _tensors(tensors: dict[str, list[int | str]]) -> str:
    first = [f"{name} ({', '.join(map(str, shape))})" for name, shape in tensors.items()][:2]
    more = f" and {len(tensors) - 2} more" if len(tensors) > 2 else ""
    return ", ".join(first) + more


@_or_say_why_not
def draw_simplification(*pairs: tuple[str | Path, str | Path]) -> Figure:
    """Draw the number of nodes of each type before and after, a panel for each pair of files."""
    counts = [tuple(_operators(Path(path)) for path in pair) for pair in pairs]
    types = max(len(before.keys() | after.keys()) for before, after in counts)
    figure = Figure(
        figsize=(5.4 * len(pairs), 1.3 + 0.3 * types), layout="constrained", facecolor="white"
    )
    panels = figure.subplots(1, len(pairs), squeeze=False)[0]
    for axes, (path, _), (before, after) in zip(panels, pairs, counts, strict=True):
        _draw_counts(axes, before, after)
        total = f"{sum(before.values())} -> {sum(after.values())} nodes"
        axes.set_title(f"{Path(path).name}: {total}", weight="bold")
        axes.set_ylim(types - 0.4, -0.6)  # the same height of bars in each panel
    panels[0].legend(loc="lower right", frameon=False)
    return figure


def _operators(path: Path) -> dict[str, int]:
    load_onnx(path)  # raises what graph_facts would only note
    return graph_facts(path).ops


def _draw_counts(axes: Axes, before: dict[str, int], after: dict[str, int]) -> None:
    ops = sorted(before.keys() | after.keys(), key=lambda op: (-before.get(op, 0), op))
    for row, op in enumerate(ops):
        had, has = before.get(op, 0), after.get(op, 0)
        axes.barh(row - 0.19, had, height=0.36, color=BEFORE, label="" if row else "before")
        axes.barh(row + 0.19, has, height=0.36, color=AFTER, label="" if row else "after")
        text = f"{had} -> {has}" if had != has else f"{had}"
        weight = "bold" if had != has else "normal"
        axes.text(max(had, has), row, f"  {text}", va="center", size=9, weight=weight)
    axes.set_yticks(range(len(ops)), ops)
    axes.set_xlim(0, 1.25 * max([*before.values(), *after.values()]))
    axes.set_xlabel("nodes")
    axes.tick_params(axis="y", length=0)


@_or_say_why_not
def draw_folding(model: nn.Module, path: str | Path) -> Figure:
    """Draw how a batch normalisation goes into a convolution, and whether it did in a file.

    Args:
        model: with a convolution `conv1` and the batch normalisation `bn1` behind it.
        path: its export.
    """
    figure = Figure(figsize=(11, 3.6), layout="constrained", facecolor="white")
    drawing, factors, shifts = figure.subplots(1, 3, width_ratios=[1.5, 1, 1])
    _draw_boxes(drawing)
    weight, factor, shift = _first_convolution(model)
    found_weight, found_bias = _first_onnx_convolution(Path(path))
    # Least squares over each channel's kernel: the factor between PyTorch's and the file's.
    found = (found_weight * weight).sum(axis=(1, 2, 3)) / (weight * weight).sum(axis=(1, 2, 3))
    _draw_diagonal(factors, factor, found, "factor of each kernel", "γ/σ in PyTorch")
    _draw_diagonal(shifts, shift, found_bias, "bias of each channel", "β − μ·γ/σ in PyTorch")
    return figure


def _first_convolution(model: nn.Module) -> tuple[NDArray, NDArray, NDArray]:
    """Return the kernels (C, 3, H, W) of conv1, and by channel factor and shift of bn1."""
    conv, norm = model.get_submodule("conv1"), model.get_submodule("bn1")
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)  # (C,)
        shift = norm.bias - norm.running_mean * factor  # (C,)
        return tuple(tensor.cpu().numpy() for tensor in (conv.weight, factor, shift))  # type: ignore[return-value]


def _first_onnx_convolution(path: Path) -> tuple[NDArray, NDArray]:
    """Return weight and bias of a file's first convolution; zeros where it has no bias."""
    graph = load_onnx(path).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    conv = next((node for node in graph.node if node.op_type == "Conv"), None)
    if conv is None or not constants.keys() >= set(conv.input[1:]):
        raise ModelError(f"{path} does not hold the weights of a convolution.")
    weight, *bias = (numpy_helper.to_array(constants[name]) for name in conv.input[1:])
    return weight, bias[0] if bias else np.zeros(len(weight), np.float32)


def _draw_diagonal(axes: Axes, expected: NDArray, found: NDArray, title: str, label: str) -> None:
    low, high = min(expected.min(), found.min()), max(expected.max(), found.max())
    axes.plot([low, high], [low, high], color=MUTED, linewidth=1)
    axes.scatter(expected, found, color=AFTER, edgecolor=INK, linewidth=0.5, zorder=2)
    gap = float(np.abs(expected - found).max())
    axes.set_title(f"{title}\nlargest difference {gap:.1g}")
    axes.set_xlabel(label)
    axes.set_ylabel("in your file")


def _draw_boxes(axes: Axes) -> None:
    """Draw Conv, BatchNormalization, Relu, and what becomes of them."""
    axes.set_axis_off()
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 6)
    _box(axes, 0.1, 4, 2.7, "Conv\nw", BEFORE)
    _box(axes, 3.4, 4, 3.3, "BatchNorm\nγ, β, μ, σ", FOLDED)
    _box(axes, 7.3, 4, 2.5, "Relu", BEFORE)
    _box(axes, 0.1, 1, 6.6, "Conv\nw·γ/σ,  bias β − μ·γ/σ", AFTER)
    _box(axes, 7.3, 1, 2.5, "Relu", BEFORE)
    across, down = (0.6, 0.0), (0.0, -1.6)
    arrows = (((2.8, 4.7), across), ((6.7, 4.7), across), ((6.7, 1.7), across),
              ((1.4, 4.0), down), ((5.0, 4.0), down))  # fmt: skip
    for (x, y), (dx, dy) in arrows:
        axes.annotate("", (x + dx, y + dy), (x, y), arrowprops={"arrowstyle": "->", "color": INK})
    axes.text(0.1, 5.75, "as written", color=MUTED)
    axes.text(0.1, 0.35, "folded: one node less, the same function", color=MUTED)


def _box(axes: Axes, x: float, y: float, width: float, text: str, colour: str) -> None:
    style = "round,pad=0,rounding_size=0.15"
    axes.add_patch(FancyBboxPatch((x, y), width, 1.4, boxstyle=style, fc=colour, ec=INK))
    axes.text(x + width / 2, y + 0.7, text, ha="center", va="center")
