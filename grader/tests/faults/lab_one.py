"""Lab 1 cut down to what task 1.1 needs, with a fault in it: graded in seconds."""

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from classroom import solved
from trtlab_grader.course import Course, open_course, write_settings

LAB = "01-export"
FULL = {"1.1": 4.0, "1.2": 0.0, "1.3": 1.0}
"""What the cut-down notebook earns: task 1.2 is not in it, and 1.3 is pre-checked out of 2."""
WRITTEN_ONLY = {"1.1": 0.0, "1.2": 0.0, "1.3": 1.0}
"""What is left if no code of it can be used: the written answer is read, not run."""
_NEEDED = ("setup", "model", "task-1-1", "export")


def lab_one(course: Course, fault: str = "", after: str = "export") -> NotebookNode:
    """Return the notebook, with a cell of the id `fault` after one of the needed ones."""
    notebook = solved(course, LAB, unwritten=["task-1-2"])
    notebook.cells = [
        cell
        for cell in notebook.cells
        if cell.id in _NEEDED or cell.metadata.get("nbgrader", {}).get("grade_id")
    ]
    if fault:
        place = 0 if not after else [cell.id for cell in notebook.cells].index(after) + 1
        notebook.cells.insert(place, new_code_cell(fault, id="fault"))
    return nbformat.from_dict(notebook)


def limited(course: Course, **settings: float) -> Course:
    """Change a course's settings, in its course.toml as an instructor would."""
    (course.root / "course.toml").unlink()
    write_settings(course.root, course.settings.model_copy(update=settings))
    return open_course(course.root)
