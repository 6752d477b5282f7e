"""What the text of a notebook tells: code that reaches for the machinery, work never begun."""

from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from trtlab_grader.scan import scan
from trtlab_grader.written import unwritten

ROOT = Path(__file__).parents[3]
NOTEBOOKS = sorted(path.name for path in (ROOT / "labs").glob("0[1-6]*"))


def read(kind: str, lab: str) -> NotebookNode:
    return nbformat.read(ROOT / kind / lab / f"{lab}.ipynb", as_version=4)


def found(*sources: str, lab: str = "01-export") -> set[tuple[str, str]]:
    """Return kind and words of each flag on a notebook of these cells."""
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    flags = scan(notebook, read("labs", lab))
    return {(flag.kind, flag.text.split(" reaches for ")[1].rstrip(".")) for flag in flags}


@pytest.mark.parametrize(
    "source",
    [
        "import trtlab.lab.session as s\ns.check = print",
        "from trtlab.checks import registry\nr = registry\nr.judge = print",
        "import trtlab\ntrtlab.lab.probe.run_probe = print",
        "import trtlab.lab\nsetattr(trtlab.lab, 'check', print)",
        "%%time\nimport trtlab.checks.registry as r\nr.judge = print",
        "open('made/observed.json', 'w')",
    ],
)
def test_who_replaces_what_judges_attacks(source: str) -> None:
    assert "attack" in {kind for kind, _ in found(source)}


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import sys as s\ns.modules['x'] = 1", "other modules"),
        ("from sys import modules", "other modules"),
        ("import importlib", "modules by name"),
        ("import threading", "threads"),
        ("import atexit", "what runs when the process ends"),
        ("check.__globals__", "__globals__, the inside of the process"),
        ("().__class__.__base__.__subclasses__()", "__subclasses__, the inside of the process"),
        ("globals()['check'] = 1", "globals()"),
        ("x = !ls", "a shell"),
        ("if True:\n    !ls", "a shell"),
        ("%run other.py", "code in a file"),
        ("import written_by_this_notebook", "code in a file"),
        ("from pathlib import Path\nPath('a').symlink_to('b')", "links"),
        ("import urllib.request", "the network"),
        ("get_ipython().ast_transformers.append(x)", "IPython's own hooks"),
        ("shell = get_ipython()\nshell.display_formatter", "IPython's own hooks"),
        ("import os\nos.environ['TRTLAB_CACHE']", "the path 'TRTLAB_'"),
        ("from trtlab.build import build_engine", "the library's own builds"),
        ("from trtlab.pipeline import convert_to_onnx", "the library's own pipeline"),
        ("import trtlab.infer as i\ni.TensorRTInference", "the library's own inference class"),
        ("from trtlab.lab import artifact", "what the course provides"),
    ],
)
def test_a_person_is_shown_what_reaches_for_more_than_a_task_needs(source: str, what: str) -> None:
    assert ("human", what) in found(source)


def test_an_alias_of_another_cell_is_known() -> None:
    assert ("attack", "an attribute of trtlab") in found(
        "import trtlab.checks.registry as r", "r.judge = print"
    )


def test_what_the_release_imports_itself_is_no_news() -> None:
    assert found("from trtlab.build import build_engine", lab="05-benchmark") == set()
    assert found("from trtlab.export import verify_onnx") == set()
    assert found("from trtlab.export import export_onnx") != set()


@pytest.mark.parametrize("lab", NOTEBOOKS)
def test_the_reference_solutions_are_not_flagged(lab: str) -> None:
    assert scan(read("solutions", lab), read("labs", lab)) == []


TASKS = ["1.1", "1.2", "2.1", "2.2", "2.3", "2.4", "3.1", "3.2", "3.3", "3.4", "3.5"]
TASKS += ["4.1", "4.2", "4.3", "5.1", "5.2", "5.3", "5.4", "5.5"]


@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_unwritten_as_it_was_released_and_no_more_once_solved(task: str) -> None:
    (lab,) = (name for name in NOTEBOOKS if name.startswith(f"0{task[0]}"))
    released = read("labs", lab)
    untouched = unwritten(task, released, released)
    assert untouched is not None
    assert untouched.stage == "not started"
    assert unwritten(task, read("solutions", lab), released) is None


@pytest.mark.parametrize(
    "source",
    [
        "def export_model(*_):\n    pass",
        "export_model = print",
        "from own import f as export_model",
        "%%time\ndef export_model(*_):\n    pass",
        "if True:\n    export_model = 1",
    ],
)
def test_whoever_binds_the_name_anywhere_has_written_something(source: str) -> None:
    released = read("labs", "01-export")
    notebook = read("labs", "01-export")
    notebook.cells.append(new_code_cell(source))
    assert unwritten("1.1", notebook, released) is None
    assert unwritten("1.2", notebook, released) is not None


def test_comments_and_a_call_are_no_work() -> None:
    released = read("labs", "01-export")
    notebook = read("labs", "01-export")
    notebook.cells.append(new_code_cell("# export_model = done\nexport_model(1, 2)"))
    assert unwritten("1.1", notebook, released) is not None


def test_a_cell_that_is_no_python_leaves_its_task_missing() -> None:
    released = read("labs", "01-export")
    notebook = read("solutions", "01-export")
    for cell in notebook.cells:
        if cell.id == "task-1-1":
            cell.source = "def export_model(:"
    untouched = unwritten("1.1", notebook, released)
    assert untouched is not None
    assert (untouched.stage, untouched.what) == ("missing", "export_model")
