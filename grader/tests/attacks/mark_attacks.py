"""Attacks on the notebook as a document: cells, points, ids, outputs."""

import copy
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output

from attacks.table import Attack


def _checks(notebook: NotebookNode) -> list[NotebookNode]:
    return [
        cell
        for cell in notebook.cells
        if cell.id.startswith("check-") and "nbgrader" in cell.metadata
    ]


def _edit_points(notebook: NotebookNode) -> None:
    for cell in _checks(notebook):
        cell.metadata.nbgrader.points = 100


def _drop_marks(notebook: NotebookNode) -> None:
    for cell in notebook.cells:
        cell.metadata.pop("nbgrader", None)


def _edit_checks(notebook: NotebookNode) -> None:
    for cell in _checks(notebook):
        cell.source = "100.0"


def _double(notebook: NotebookNode) -> None:
    for cell in _checks(notebook):
        twin = copy.deepcopy(cell)
        twin.source = "100.0"
        notebook.cells.append(twin)


def _unlock(notebook: NotebookNode) -> None:
    for cell in _checks(notebook):
        cell.metadata.nbgrader |= {
            "solution": True,
            "locked": False,
            "points": cell.metadata.nbgrader.points,
        }
        cell.source = "4.0"


def _fill_outputs(notebook: NotebookNode) -> None:
    for cell in _checks(notebook):
        value: dict[str, Any] = {"text/plain": "4.0", "text/html": "<b>4 of 4 points</b>"}
        cell.outputs = [new_output("execute_result", value, execution_count=1)]


def _for_another_student(notebook: NotebookNode) -> None:
    notebook.metadata["nbgrader"] = {"student_id": "victim", "notebook": "01-export"}
    notebook.metadata["celltoolbar"] = "Create Assignment"


_CHANGED = frozenset({"locked-cell-edited"})

ATTACKS = (
    Attack(
        name="makes every task worth a hundred points",
        row="marks",
        lab="01-export",
        unwritten=True,
        tamper=_edit_points,
        attack=frozenset({"points-edited"}),
        quick=True,
    ),
    Attack(
        name="takes nbgrader's metadata from all cells",
        row="marks",
        lab="01-export",
        unwritten=True,
        tamper=_drop_marks,
    ),
    Attack(
        name="writes the points into the check cells",
        row="marks",
        lab="01-export",
        unwritten=True,
        tamper=_edit_checks,
        human=_CHANGED,
    ),
    Attack(
        name="puts a second check cell with the same id at the end",
        row="marks",
        lab="01-export",
        unwritten=True,
        tamper=_double,
    ),
    Attack(
        name="makes the check cells its own solutions",
        row="marks",
        lab="01-export",
        unwritten=True,
        tamper=_unlock,
        human=_CHANGED,
    ),
    Attack(
        name="hands the check cells' outputs in",
        row="marks",
        lab="01-export",
        unwritten=True,
        tamper=_fill_outputs,
    ),
    Attack(
        name="says that it is another student's",
        row="neighbours",
        lab="01-export",
        unwritten=True,
        tamper=_for_another_student,
    ),
)
