"""Files that are no notebooks, and notebooks that were tampered with: from file to grade."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from classroom import codes, grade, points, submit
from faults.lab_one import FULL, LAB, lab_one
from trtlab_grader.course import Course

pytestmark = pytest.mark.usefixtures("needs_sandbox", "nothing_is_left")

NOTHING = {"1.1": 0.0, "1.2": 0.0, "1.3": 0.0}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"this is my homework", "not-json"),
        (b'{"cells": [', "not-json"),
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"[1, 2, 3]", "not-a-notebook"),
        (b'{"nbformat": 3, "worksheets": []}', "not-a-notebook"),
        (b" " * (50 << 20), "too-large"),
        (b"\xff\xfe\x00", "not-json"),
    ],
)
def test_a_file_that_is_no_notebook(room: Course, content: bytes, problem: str) -> None:
    submit(room, "ada", LAB, content)
    record = grade(room, "ada", LAB)
    assert points(record) == NOTHING
    assert codes(record, "human") == {f"notebook-{problem}"} == codes(record)


def a_folder(path: Path, other: Path) -> None:
    path.mkdir()


def nothing(path: Path, other: Path) -> None:
    assert not path.exists()


def a_link_to_another_submission(path: Path, other: Path) -> None:
    path.symlink_to(other)


@pytest.mark.parametrize("put", [a_folder, nothing, a_link_to_another_submission])
def test_a_notebook_that_is_not_there(room: Course, put: Callable[[Path, Path], None]) -> None:
    other = submit(room, "bob", LAB, lab_one(room))
    folder = room.submitted / "ada" / LAB
    folder.mkdir(parents=True)
    put(folder / f"{LAB}.ipynb", other)
    record = grade(room, "ada", LAB)
    assert points(record) == NOTHING
    assert codes(record) == {"notebook-missing"}


def test_a_notebook_without_cells(room: Course) -> None:
    notebook = lab_one(room)
    notebook.cells = []
    submit(room, "ada", LAB, notebook)
    record = grade(room, "ada", LAB)
    assert points(record) == NOTHING
    assert codes(record) == {"cell-deleted"}


def cell_of(notebook: NotebookNode, grade_id: str) -> NotebookNode:
    (cell,) = [
        cell
        for cell in notebook.cells
        if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id
    ]
    return cell


def delete_checks(notebook: NotebookNode) -> None:
    notebook.cells = [
        cell for cell in notebook.cells if not cell.metadata.get("nbgrader", {}).get("grade")
    ] + [cell_of(notebook, "task-1-3")]


def duplicate_a_solution(notebook: NotebookNode) -> None:
    copy = json.loads(json.dumps(cell_of(notebook, "task-1-1")))
    notebook.cells.append(NotebookNode({**copy, "id": "copy"}))
    notebook.cells[-1].metadata = NotebookNode(copy["metadata"])


def reorder(notebook: NotebookNode) -> None:
    check = cell_of(notebook, "check-1-1")
    notebook.cells.remove(check)
    notebook.cells.insert(0, check)


def edit_a_check(notebook: NotebookNode) -> None:
    cell_of(notebook, "check-1-1").source = "100.0"


def edit_points(notebook: NotebookNode) -> None:
    cell_of(notebook, "check-1-1").metadata.nbgrader.points = 1000


def break_metadata(notebook: NotebookNode) -> None:
    for cell in notebook.cells:
        cell.metadata = NotebookNode()


def name_another_kernel(notebook: NotebookNode) -> None:
    notebook.metadata.kernelspec = {"name": "julia-1.9", "display_name": "Julia"}


def raise_in_an_own_cell(notebook: NotebookNode) -> None:
    notebook.cells.insert(0, new_code_cell("raise ValueError('what now')", id="own"))


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        pytest.param([delete_checks], {"cell-deleted"}, marks=pytest.mark.slow),
        pytest.param([duplicate_a_solution], {"cell-duplicated"}, marks=pytest.mark.slow),
        pytest.param([reorder], {"cells-reordered"}, marks=pytest.mark.slow),
        pytest.param([edit_a_check], {"locked-cell-edited"}, marks=pytest.mark.slow),
        pytest.param([edit_points], {"points-edited"}, marks=pytest.mark.slow),
        pytest.param([break_metadata], {"metadata-restored"}, marks=pytest.mark.slow),
        pytest.param([name_another_kernel], {"kernel-replaced"}, marks=pytest.mark.slow),
        pytest.param([raise_in_an_own_cell], set(), marks=pytest.mark.slow),
        pytest.param(
            [edit_a_check, edit_points, duplicate_a_solution, reorder, name_another_kernel],
            {
                "locked-cell-edited",
                "points-edited",
                "cell-duplicated",
                "cells-reordered",
                "kernel-replaced",
            },
            id="all at once",
        ),
    ],
)
def test_honest_work_in_a_frame_that_was_changed(
    room: Course, tamper: list[Callable[[NotebookNode], None]], expected: set[str]
) -> None:
    notebook = lab_one(room)
    for change in tamper:
        change(notebook)
    submit(room, "ada", LAB, notebook)
    record = grade(room, "ada", LAB)
    assert points(record) == FULL
    assert codes(record) == expected
    # More points than the release gives are never had by asking for them.
    assert record.points == sum(FULL.values())


def test_a_submission_folder_of_a_student_who_left_is_no_submission(room: Course) -> None:
    submit(room, "ada", LAB, b"")
    shutil.rmtree(room.submitted / "ada" / LAB)
    (room.submitted / "ada" / "notes").mkdir()
    from trtlab_grader.submissions import find_submissions

    assert find_submissions(room) == []
