"""The notebooks run from top to bottom in a real kernel: the instructor's and the students'."""

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from labs.conftest import Verdicts
from labs.harness import ROOT, labs_present, run_notebook
from mutants import shrink_of
from trtlab.checks.tasks import TASKS, tasks_of

MOST_SECONDS = 120  # of a notebook that has the machine to itself
BESIDE_ANOTHER = 2  # `make test` runs two tests at a time
CHECK = re.compile(r'check\("(\d\.\d)"\)')
WITHOUT_TASKS = 0
TAKES_MINUTES = 5  # it benchmarks for seconds on end
SAYING_WHAT_IS_MISSING = {
    "NotImplementedError",
    "NameError",
    "FileNotFoundError",
    "ModelError",
    "EngineError",
}

pytestmark = pytest.mark.usefixtures("provided_artifacts")


def execute(notebooks: Path, lab: int, folder: Path) -> NotebookNode:
    """Run a copy of a notebook in a kernel of its own, going on after errors."""
    (source,) = notebooks.glob(f"{lab:02}-*/*.ipynb")
    copy = folder / source.parent.name
    copy.mkdir()
    shutil.copy(source, copy)
    notebook = nbformat.read(source, as_version=4)
    resources = {"metadata": {"path": str(copy)}}
    NotebookClient(notebook, timeout=MOST_SECONDS, allow_errors=True, resources=resources).execute()
    return notebook


def check_cells(notebook: NotebookNode) -> dict[str, NotebookNode]:
    """Return the check cells by task."""
    found = {}
    for cell in notebook.cells:
        match = CHECK.fullmatch(cell.source)
        if match and cell.metadata.get("nbgrader", {}).get("grade"):
            found[match[1]] = cell
    return found


def errors_of(notebook: NotebookNode) -> dict[str, str]:
    """Return the names of the exceptions by the cells that raised them."""
    return {
        cell.id: output.ename
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "error"
    }


def points_of(cell: NotebookNode) -> float:
    """Return what nbgrader reads: the value of a check cell, which must be a float."""
    last = cell.outputs[-1]
    assert last.output_type == "execute_result"
    assert re.fullmatch(r"\d+\.\d+", last.data["text/plain"])
    return float(last.data["text/plain"])


def card_of(cell: NotebookNode) -> str:
    """Return the card as text, having made sure that it is all that the cell shows."""
    (card, _points) = cell.outputs
    assert card.output_type == "display_data"
    assert "text/html" in card.data
    return card.data["text/plain"]


@pytest.mark.parametrize(
    "lab",
    [
        pytest.param(lab, marks=pytest.mark.slow if lab == TAKES_MINUTES else ())
        for lab in (WITHOUT_TASKS, *labs_present())
    ],
)
def test_a_reference_notebook_runs_and_earns_what_it_can_show_here(
    lab: int, tmp_path: Path, reference: Callable[[int], Verdicts]
) -> None:
    verdicts = reference(lab) if lab else {}
    start = time.monotonic()
    notebook = execute(ROOT / "solutions", lab, tmp_path)
    assert time.monotonic() - start <= BESIDE_ANOTHER * MOST_SECONDS
    assert not errors_of(notebook)
    cells = check_cells(notebook)
    assert {task: points_of(cell) for task, cell in cells.items()} == {
        task: verdict.points
        for task, verdict in verdicts.items()
        if TASKS[task].category != "documentation"
    }
    for cell in cells.values():
        assert card_of(cell)


@pytest.mark.slow
@pytest.mark.parametrize("lab", [WITHOUT_TASKS, *labs_present()])
def test_a_reference_notebook_by_itself_takes_at_most_two_minutes(lab: int, tmp_path: Path) -> None:
    start = time.monotonic()
    notebook = execute(ROOT / "solutions", lab, tmp_path)
    assert time.monotonic() - start <= MOST_SECONDS
    assert not errors_of(notebook)


@pytest.mark.parametrize("lab", labs_present())
def test_the_reference_gets_full_marks_but_for_what_needs_a_gpu(
    lab: int, reference: Callable[[int], Verdicts]
) -> None:
    verdicts = reference(lab)
    by_check = {task.number for task in tasks_of(lab) if task.category != "documentation"}
    assert verdicts.keys() >= by_check  # lab 6 shows pre-checks of documentation as well
    for task, verdict in verdicts.items():
        for finding in verdict.findings:
            if finding.state != "needs a GPU":
                assert finding.points == finding.max_points, f"{task}: {finding}"


@pytest.mark.parametrize("lab", labs_present())
def test_a_released_lab_runs_to_its_end_and_says_what_to_do(lab: int, tmp_path: Path) -> None:
    notebook = execute(ROOT / "labs", lab, tmp_path)
    for task, cell in check_cells(notebook).items():
        assert points_of(cell) == 0, task
        card = card_of(cell)
        assert re.search("not started|not yet", card), card
        assert "next: " in card, card
    raised = errors_of(notebook)
    assert set(raised.values()) <= SAYING_WHAT_IS_MISSING, raised


@pytest.mark.slow  # twelve notebooks
@pytest.mark.timeout(1800)
def test_all_labs_in_a_row_use_what_the_student_made_and_may_be_run_again(
    tmp_path: Path, reference: Callable[[int], Verdicts]
) -> None:
    for lab in [*labs_present(), *labs_present()]:
        # Every cell: what no check looks at may be what the next lab takes.
        run = run_notebook(lab, shrink=shrink_of(lab), folder=tmp_path)
        assert not run.errors
        assert run.points == {task: verdict.points for task, verdict in reference(lab).items()}
        assert "Using a provided" not in "".join(run.output.values())
