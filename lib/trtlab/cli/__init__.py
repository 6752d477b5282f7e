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
    rich_markup_mode="markdown",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def trtlab() -> None:
    """Take a PyTorch model to ONNX and on to TensorRT, and measure what it bought.

    A first walk through the pipeline, in order:

    1. `trtlab doctor`: what is installed, what is missing, how to get it
    2. `trtlab prepare`: the model's weights and a folder of sample images
    3. `trtlab convert-to-onnx`: PyTorch to ONNX, simplified and verified
    4. `trtlab convert-to-tensorrt`: ONNX to an engine in FP32, FP16 or INT8
    5. `trtlab infer`: classify images with an engine
    6. `trtlab benchmark`: latency, throughput and accuracy against PyTorch
    7. `trtlab visualize`: figures and a report from the results

    Or all of it at once: `trtlab demo`.

    Without an NVIDIA GPU everything runs on an emulation of TensorRT that says so wherever it
    reports a time. TRTLAB_BACKEND=tensorrt or =emulated overrides the choice.
    """


for module in (environment, convert, measure, demo):
    module.register(app)


def main() -> None:
    """Entry point of the `trtlab` console script."""
    app()
