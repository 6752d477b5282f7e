"""What lab 2 shows of a build: its steps, the layers that came of it, the profile, the guesses.

All of it is read off the student's own function and engines. The roofline is pictures2_roofline's.
"""

import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from trtlab.backend import BADGE, IS_EMULATED
from trtlab.checks.evidence2 import Asked, Build
from trtlab.errors import EngineError
from trtlab.export import load_onnx
from trtlab.inspect import EngineReport, inspect_engine
from trtlab.lab.predictions import read_predictions, show_predictions
from trtlab.lab.recording import BuildFunction, call_build, small_model
from trtlab.plot_style import INK, MUTED, STYLE, say
from trtlab.results import PairedComparison

DONE, TO_DO = "#dff0bf", "#ededed"
INSIDE, OUTSIDE = "#76B900", "#d9534f"
COLOURS = {
    "Conv": "#76B900",
    "Relu": "#f2b134",
    "Add": "#7fa8dc",
    "FP32": "#9a9a9a",
    "TF32": "#bdbdbd",
    "FP16": "#76B900",
    "INT8": "#b9e066",
}
OTHER_COLOUR = "#d8d8d8"
LAB_BATCHES = (1, 2, 4, 8, 16, 32)
"""The batches that the labs run engines at."""
SPEED_GUESS = "FP16 speed-up"
_SHOWN_LAYERS = 9


def show_build(function: BuildFunction | None = None) -> Figure:
    """Draw the steps of a build, with what `function` asks for in each.

    The function is called on a small model with the course's input, in a temporary folder.

    Args:
        function: takes (onnx_path, engine_path); None draws the steps alone.
    """
    name = getattr(function, "__name__", "your function")
    build = _call(function, name) if function is not None else None
    done = _done(build) if build else {}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.5, 2.2), layout="constrained", facecolor="white")
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set_xlim(-0.02, len(_STEPS) - 0.14)
        axes.set_ylim(0, 1)
        for column, (title, (purpose, api)) in enumerate(_STEPS.items()):
            text = done.get(title, "") if build else api
            _draw_step(axes, column, title, purpose, text, DONE if title in done else TO_DO)
        if build is not None:
            axes.set_title(f"{name} on a small model: {_ending(build)}")
    return figure


_STEPS = {
    "network": ("an empty graph", "Builder\ncreate_network"),
    "parser": ("ONNX into the graph", "OnnxParser\nparse_from_file"),
    "profile": ("shapes to expect", "IOptimization-\nProfile\nset_shape"),
    "config": ("what is allowed", "IBuilderConfig\nflags, limits"),
    "build": ("fuse, time, choose", "Builder\nbuild_serialized_\nnetwork"),
    "file": ("the plan on disk", "bytes, for this\nGPU and this\nTensorRT"),
}
"""Step -> what it is for, and which class and method do it."""


def _call(function: BuildFunction, name: str) -> Build:
    with tempfile.TemporaryDirectory() as folder:
        model = small_model().SerializeToString()
        return call_build(function, name, model, Path(folder) / "small.engine")


def _done(build: Build) -> dict[str, str]:
    """Return what a function did in each step that it came to."""
    asked, done = build.asked, {}
    if asked.parsed is not None:
        done["network"] = f"{'' if asked.explicit_batch else 'NO '}explicit batch"
        done["parser"] = "parsed" if asked.parsed else "refused"
    if asked.shapes:
        added = "" if asked.profiles_added else "\nNOT added"
        done["profile"] = _profile_text(asked) + added
    elif asked.built:
        done["profile"] = "none"
    if asked.built:
        flags = [flag for flag in asked.flags if flag != "TF32"]  # that one is on by default
        limit = asked.workspace_bytes or 0
        size = f"{limit / 2**30:.3g} GiB" if limit >= 1 << 20 else f"{limit:,} bytes"
        done["parser"] = f"{asked.layers} layers"
        done["config"] = f"{', '.join(flags) or 'FP32 only'}\nworkspace {size}\n{asked.verbosity}"
        done["build"] = "a plan" if build.made_engine else "None"
        done["file"] = f"{build.file_size:,} bytes" if build.file_size else "not written"
    return done


def _profile_text(asked: Asked) -> str:
    shapes = asked.shapes[-1]
    batches = "/".join(
        str(dims[0]) if dims else "?" for dims in (shapes.min, shapes.opt, shapes.max)
    )
    return f"{shapes.tensor}\n{batches}"


def _draw_step(axes: Axes, column: int, title: str, purpose: str, text: str, colour: str) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (column, 0.04),
            0.84,
            0.9,
            boxstyle="round,pad=0,rounding_size=0.05",
            mutation_aspect=0.5,
            facecolor=colour,
            edgecolor=MUTED,
        )
    )
    middle = column + 0.42
    axes.text(middle, 0.82, title, ha="center", va="center", weight="bold", size=13)
    axes.text(middle, 0.66, purpose, ha="center", va="center", size=10, color="#444444")
    axes.text(middle, 0.32, text, ha="center", va="center", linespacing=1.3)
    if column:
        arrow = {"arrowstyle": "->", "color": MUTED}
        axes.annotate("", (column, 0.5), (column - 0.16, 0.5), arrowprops=arrow)


def _ending(build: Build) -> str:
    return {
        "missing": "not defined yet",
        "not started": "not written yet",
        "raised": build.attempt.error,
        "done": "it makes an engine" if build.made_engine else "no engine",
    }[build.attempt.stage]


def show_layers(onnx_path: str | Path, engine_path: str | Path) -> Figure:
    """Draw which ONNX nodes became which layers of the engine, and the layers' precisions.

    Raises:
        EngineError: if there is no usable engine.
    """
    report = inspect_engine(engine_path)
    operators = {node.name: node.op_type for node in load_onnx(onnx_path).graph.node}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.5, 5.4), layout="constrained", facecolor="white")
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        _draw_first_layers(left, report, operators)
        _draw_counts(right, report, operators)
        add_badge(figure)
    return figure


def _draw_first_layers(axes: Axes, report: EngineReport, operators: Mapping[str, str]) -> None:
    """Draw the nodes of the first layers in a column, and brackets around each layer's."""
    layers = [layer for layer in report.layers if not layer.is_reformat][:_SHOWN_LAYERS]
    row = 0.0
    for layer in layers:
        nodes = [name for name in layer.onnx_nodes if name in operators] or [layer.name]
        top = row
        for name in nodes:
            operator = operators.get(name, "")
            colour = COLOURS.get(operator, OTHER_COLOUR)
            axes.add_patch(Rectangle((0, row), 0.56, 0.9, facecolor=colour, edgecolor="white"))
            axes.text(0.02, row + 0.45, _short(name), va="center", size=9.5)
            row += 1
        axes.plot(
            [0.58, 0.6, 0.6, 0.58], [top, top, row - 0.1, row - 0.1], color=INK, linewidth=1.2
        )
        label = f"{' + '.join(operators.get(name, '?') for name in nodes)}, {layer.precision}"
        axes.text(0.62, (top + row - 0.1) / 2, label, va="center", size=9.5)
        row += 0.35
    axes.set_xlim(0, 1)
    axes.set_ylim(row, -0.2)
    axes.set_axis_off()
    axes.set_title("ONNX nodes  →  layers of your engine (the first ones)")


def _short(node: str) -> str:
    """Return the end of a node's name: "layer1.0/conv2/Conv" of "/layer1/layer1.0/conv2/Conv"."""
    return "/".join(node.split("/")[-3:]).strip("/")


def _draw_counts(axes: Axes, report: EngineReport, operators: Mapping[str, str]) -> None:
    """Draw how many nodes there were, by operator, and how many layers, by precision."""
    layers = sum(report.precision_counts.values())
    rows = (
        (f"{len(operators)} ONNX nodes", Counter(operators.values())),
        (f"{layers} engine layers", Counter(report.precision_counts)),
    )
    for row, (label, counts) in enumerate(rows):
        left, others = 0, 0
        for name, count in counts.most_common():
            if name not in COLOURS:
                others += count
                continue
            _draw_part(axes, row, left, count, f"{name}\n{count}", COLOURS[name])
            left += count
        if others:
            _draw_part(axes, row, left, others, str(others), OTHER_COLOUR)
        axes.text(0, row - 0.42, label, weight="bold")
    fused = len(report.fusions)
    notes = [f"{fused} layers hold two or more nodes"]
    if report.reformats:
        notes.append(f"{report.reformats} more only convert layout or type")
    axes.text(0, 1.55, "\n".join(notes), va="top", color=MUTED)
    axes.set_ylim(2.1, -0.7)
    axes.set_xlim(0, max(len(operators), layers))
    axes.set_axis_off()


def _draw_part(axes: Axes, row: int, left: int, count: int, label: str, colour: str) -> None:
    axes.barh(row, count, left=left, height=0.6, color=colour, edgecolor="white")
    axes.text(left + count / 2, row, label, ha="center", va="center", size=9.5)


def show_profile(engine_path: str | Path) -> Figure:
    """Draw the batches that an engine takes, and those that the labs will give it.

    Raises:
        EngineError: if there is no usable engine, or its batch is fixed.
    """
    profiles = inspect_engine(engine_path).profiles
    if not profiles:
        raise EngineError(f"The batch of {engine_path} is fixed; it has no optimization profile.")
    low, best, high = profiles[0].min[0], profiles[0].opt[0], profiles[0].max[0]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 1.7), layout="constrained", facecolor="white")
        axes = figure.subplots()
        axes.plot([low, high], [0, 0], color=DONE, linewidth=22, solid_capstyle="round")
        axes.plot(best, 0.5, "v", color=INK, markersize=8)
        axes.text(best * 1.08, 0.5, f"tuned for {best}", va="center")
        for batch in LAB_BATCHES:
            inside = low <= batch <= high
            axes.plot(batch, 0, "o" if inside else "x", color=INSIDE if inside else OUTSIDE)
            axes.text(batch, -0.75, str(batch), ha="center", color=INK if inside else OUTSIDE)
        axes.set_title(
            f"{Path(engine_path).name} takes batches {low} to {high}; the labs' are marked"
        )
        axes.set_xscale("log", base=2)
        axes.set_xlim(0.7, 2 * max(high, *LAB_BATCHES))
        axes.set_ylim(-1.1, 0.9)
        axes.set_axis_off()
    return figure


def show_speedups(speedups: Mapping[int, PairedComparison | None]) -> Figure:
    """Draw speed-ups over PyTorch by batch, the smallest one's beside the guess.

    Without a GPU, the guess alone.
    """
    measured = {batch: result for batch, result in speedups.items() if result is not None}
    if not measured:
        guess = read_predictions().get(SPEED_GUESS)
        figure = Figure(figsize=(9, 1.2), layout="constrained", facecolor="white")
        kept = f"your guess of {guess:g}x is kept" if guess else "you have made no guess yet"
        say(figure, f"The speed-up needs a GPU to be measured; {kept}.")
        add_badge(figure)
        return figure
    guessed = min(measured)
    values = {
        SPEED_GUESS if batch == guessed else f"at batch {batch}": result.speedup
        for batch, result in measured.items()
    }
    return show_predictions(values)


def add_badge(figure: Figure) -> None:
    """Write the badge of emulated results below a figure, if this is the emulation."""
    if IS_EMULATED:
        figure.supxlabel(
            BADGE,
            size=9.5,
            color="#332600",
            bbox={"facecolor": "#ffcf40", "edgecolor": "none", "boxstyle": "round,pad=0.3"},
        )
