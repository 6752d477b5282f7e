"""`trtlab demo`: the whole pipeline in one command."""

from pathlib import Path
from typing import Annotated

import typer

from trtlab.cli.console import JsonFlag, WorkloadOption, out, print_json, say


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for everything that is made.")
    ] = Path("runs/demo"),
    workload: WorkloadOption = "auto",
    images: Annotated[
        int | None, typer.Option(min=1, help="Validation images for the accuracies.")
    ] = None,
    timing_cache: Annotated[
        Path | None,
        typer.Option(help="TensorRT's timing cache. Default: kept in OUTPUT for the next run."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Take a real model from PyTorch through ONNX to three engines, and compare them.

    Without a GPU the engines are emulated: accuracies and file formats are real, times are not
    GPU times and are marked so everywhere.
    """
    from dataclasses import replace

    from trtlab.demo import default_plan, run_demo
    from trtlab.report import print_report

    plan = default_plan()
    if images is not None:
        plan = replace(plan, validation_images=images)
    results = run_demo(
        output,
        workload,
        plan,
        timing_cache or output / "timing.cache",
        say=(lambda line: None) if json else say,
    )
    if json:
        print_json(results.model_dump(mode="json"))
        return
    print_report(results, out)
    say(f"Results: {output / 'results.json'}")
    say(f"Figures: {output / 'figures'}")
    say(f"Report:  {output / 'report.html'}")


def register(app: typer.Typer) -> None:
    """Add this module's command to the application."""
    app.command()(demo)
