"""What is flagged for a person, and what is not."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from trtlab_grader.scan import scan

ROOT = Path(__file__).parents[2]


def reaches_for(source: str) -> list[str]:
    notebook = new_notebook(cells=[new_code_cell(source)])
    return [flag.text.split(" reaches for ")[1].rstrip(".") for flag in scan(notebook)]


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import trtlab.lab.watching", "the watch on TensorRT's methods"),
        ("from trtlab.lab import recording", "the recorder of builds"),
        ("from trtlab.checks import registry", "the checks"),
        ("from trtlab.checks.registry import judge", "the checks"),
        ("from unittest import mock", "patching"),
        ("import gc\ngc.get_objects()", "other objects in the process"),
        ("import sys\nsys.modules['x']", "other modules"),
        ("import sys\nsys._getframe(1)", "other frames"),
        ("import os\nos._exit(0)", "ending the process"),
        ("trt.Builder.build_serialized_network = lambda *a: None", "an attribute of trt"),
        ("setattr(cuda, 'mem_alloc', fake)", "an attribute of cuda"),
        ("time.perf_counter = lambda: 0.0", "an attribute of time"),
        ("get_ipython().ast_transformers.append(t)", "IPython's own hooks"),
        ("eval('1')", "eval()"),
        ("open('/proc/self/maps')", "the path '/proc/'"),
        ("!cat secret", "a shell"),
        ("%%bash\nls", "a shell"),
    ],
)
def test_reaching_for_the_machinery_is_flagged(source: str, what: str) -> None:
    assert what in reaches_for(source)


@pytest.mark.parametrize(
    "source",
    [
        "torch.backends.cudnn.allow_tf32 = False",
        "config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED",
        "import time\nstart = time.perf_counter()",
        "self.stream = cuda.Stream()",
        "def broken(:",
        "",
    ],
)
def test_ordinary_code_is_not_flagged(source: str) -> None:
    assert reaches_for(source) == []


def test_each_thing_is_said_once_per_cell() -> None:
    assert len(reaches_for("import gc\nimport gc\ngc.collect()")) == 1


@pytest.mark.parametrize("path", sorted((ROOT / "solutions").glob("0[1-9]*/*.ipynb")), ids=str)
def test_the_reference_solutions_are_not_flagged(path: Path) -> None:
    assert scan(nbformat.read(path, as_version=4)) == []
