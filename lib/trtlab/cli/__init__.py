"""The command line `trtlab`: one module for each group of commands.

PyTorch, TensorRT and ONNX Runtime take seconds to import, so every command imports what it needs
inside its function: `trtlab --help` and a mistyped option answer at once.
"""

import typer

from trtlab.cli import convert, demo, environment, measure
from trtlab.cli.console import ErrorReportingGroup

app = typer.Typer(
    name="trtlab",
    cls=ErrorReportingGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def trtlab() -> None:
    """Take a PyTorch model to ONNX and on to TensorRT, and measure what it bought.

    A first walk through the pipeline, in order:

    [bold]trtlab doctor[/bold]                what is installed, what is missing, how to get it

    [bold]trtlab prepare[/bold]               the model's weights and a folder of sample images

    [bold]trtlab convert-to-onnx[/bold]       PyTorch to ONNX, simplified and verified

    [bold]trtlab convert-to-tensorrt[/bold]   ONNX to an engine: FP32, FP16 or INT8

    [bold]trtlab infer[/bold]                 classify images with an engine

    [bold]trtlab benchmark[/bold]             latency, throughput, accuracy against PyTorch

    [bold]trtlab visualize[/bold]             figures and a report from the results

    Or all of it at once: [bold]trtlab demo[/bold].

    Without an NVIDIA GPU everything runs on an emulation of TensorRT that says so wherever it
    reports a time. TRTLAB_BACKEND=tensorrt or =emulated overrides the choice.
    """


for module in (environment, convert, measure, demo):
    module.register(app)


def main() -> None:
    """Entry point of the `trtlab` console script."""
    app()
