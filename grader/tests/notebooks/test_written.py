"""What counts as written: the reference for every task, the release for none."""

from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from trtlab.checks.tasks import TASKS, Task
from trtlab_grader.course import LABS
from trtlab_grader.written import _WRITTEN_FOR, unwritten

ROOT = Path(__file__).parents[3]
CODED = [task for task in TASKS.values() if task.category != "documentation"]


def notebook(folder: str, lab: int) -> NotebookNode:
    name = LABS[lab - 1]
    return nbformat.read(ROOT / folder / name / f"{name}.ipynb", as_version=4)


@pytest.mark.parametrize("task", CODED, ids=lambda task: task.number)
def test_the_reference_is_written_and_the_release_is_not(task: Task) -> None:
    released = notebook("labs", task.lab)
    assert unwritten(task.number, notebook("solutions", task.lab), released) is None
    left = unwritten(task.number, released, released)
    assert left is not None
    assert left.stage == "not started"


def test_what_is_written_by_hand_is_not_looked_for() -> None:
    assert set(_WRITTEN_FOR) == {task.number for task in CODED}
