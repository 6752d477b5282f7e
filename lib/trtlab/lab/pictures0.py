"""What 00-start shows: the backend in use, the map of the course, and what the model sees."""

from html import escape

import torch
from IPython.display import HTML, Markdown
from matplotlib.figure import Figure
from torch import nn

from trtlab.backend import BADGE, IS_EMULATED, trt
from trtlab.checks.tasks import TASKS, Category, tasks_of
from trtlab.data import IMAGENET_MEAN, IMAGENET_STD
from trtlab.lab.pipeline_picture import STEPS
from trtlab.machine import machine_facts
from trtlab.thresholds import THRESHOLDS
from trtlab.workloads import Workload

CATEGORIES: tuple[Category, ...] = ("correctness", "performance", "accuracy", "documentation")
SAMPLES = 8
RIGHT_COLOUR, WRONG_COLOUR = "#4a7500", "#c9302c"


def which_backend() -> HTML:
    """Say which TensorRT the notebooks use here, with the badge if it is the emulation."""
    facts = machine_facts()
    if IS_EMULATED:
        return HTML(
            f'<div style="display:inline-block;background:#ffd042;color:#222;border-radius:3px;'
            f'padding:.2em .6em">{escape(BADGE)}</div> TensorRT {escape(trt.__version__)}'
        )
    gpu = facts.gpu.name if facts.gpu else "a GPU"
    return HTML(
        f'<div style="display:inline-block;background:#76B900;color:#111;border-radius:3px;'
        f'padding:.2em .6em">TensorRT {escape(trt.__version__)} on {escape(gpu)}</div>'
    )


def course_map() -> HTML:
    """Return the table of notebooks with their time and their points by category."""
    heads = ["notebook", "time", *CATEGORIES, "points"]
    rows = [
        [
            escape(step.title),
            f"{step.minutes} min",
            *(_points(number, category) for category in CATEGORIES),
            str(sum(task.points for task in tasks_of(number)) or ""),
        ]
        for number, step in enumerate(STEPS)
    ]
    rows.append(
        [
            "<b>all</b>",
            f"{sum(step.minutes for step in STEPS)} min",
            *(str(_weight(category)) for category in CATEGORIES),
            str(sum(task.points for task in TASKS.values())),
        ]
    )
    return HTML(
        "<table>"
        + "".join(f"<th>{head}</th>" for head in heads)
        + "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
        + "</table>"
    )


def what_earns_points() -> Markdown:
    """Return what each category is for, its weight, what it asks for, and who judges it."""
    needs = THRESHOLDS
    rows = {
        "correctness": ("engines build, run and give the right answers", "the checks"),
        "performance": (
            f"FP16 at least {needs.fp16_speedup:g}× and INT8 at least {needs.int8_speedup:g}× as "
            f"fast as PyTorch in FP32; engines {needs.fp16_size_ratio:g}× and "
            f"{needs.int8_size_ratio:g}× smaller",
            "the checks, on a GPU",
        ),
        "accuracy": (
            f"FP16 loses at most {needs.fp16_accuracy_loss:g} and INT8 at most "
            f"{needs.int8_accuracy_loss:g} percentage points of top-1",
            "the checks",
        ),
        "documentation": ("explanations, report and analysis", "a person, with a mark scheme"),
    }
    lines = [
        f"| {category} | {_weight(category)} % | {what} | {who} |"
        for category, (what, who) in rows.items()
    ]
    head = ["| points for | weight | what is asked | judged by |", "| --- | --- | --- | --- |"]
    return Markdown("\n".join([*head, *lines]))


def _weight(category: str) -> int:
    return sum(task.points for task in TASKS.values() if task.category == category)


def _points(lab: int, category: Category) -> str:
    return str(sum(t.points for t in tasks_of(lab) if t.category == category) or "")


def draw_samples(workload: Workload, model: nn.Module) -> Figure:
    """Draw some validation images, each with the class that the model gives it.

    Args:
        workload: where the images are from; preprocessed as float32 (3, H, W).
        model: a module on the CPU, in eval mode.
    """
    dataset = workload.dataset("validation", size=SAMPLES)
    images = torch.stack([dataset[index][0] for index in range(SAMPLES)])  # (N, 3, H, W)
    labels = [int(dataset[index][1]) for index in range(SAMPLES)]
    with torch.inference_mode():
        guesses = model(images).argmax(dim=1).tolist()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))

    figure = Figure(figsize=(10, 1.7), layout="constrained", facecolor="white")
    for axes, image, label, guess in zip(
        figure.subplots(1, SAMPLES), images, labels, guesses, strict=True
    ):
        axes.imshow((image * std + mean).clamp(0, 1).permute(1, 2, 0))  # (H, W, 3)
        right = guess == label
        title = workload.classes[guess] + ("" if right else f", but {workload.classes[label]}")
        axes.set_title(title, fontsize=10, color=RIGHT_COLOUR if right else WRONG_COLOUR)
        axes.set_axis_off()
    return figure
