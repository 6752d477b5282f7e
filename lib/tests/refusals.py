"""What tests of bad input on the command line share."""

from collections.abc import Callable
from pathlib import Path

from cli_runner import trtlab

Make = Callable[[Path], list[object]]


def refused(*arguments: object) -> str:
    """Return the one line with which `trtlab` refuses the arguments."""
    outcome = trtlab(*arguments)
    assert outcome.status == 1, outcome
    assert outcome.err.startswith("Error: ")
    assert outcome.err.count("\n") == 1, "more than one line"
    assert "Traceback" not in outcome.err + outcome.out
    return outcome.err


def build(onnx_path: Path, output: Path, *more: object) -> tuple[object, ...]:
    return ("convert-to-tensorrt", "--onnx", onnx_path, "--output", output, *more)


def is_empty(folder: Path) -> bool:
    return not folder.exists() or not any(folder.iterdir())
