"""Hands notebooks in and grades them as the grader does: in this process, without a cluster."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from trtlab.files import write_text
from trtlab_grader.course import Course
from trtlab_grader.dispatch import Job
from trtlab_grader.grading import grade_job
from trtlab_grader.records import LabRecord
from trtlab_grader.samples import Sample, hand_in

FEW_IMAGES = 64
"""That accuracy is measured on in tests."""


def solved(
    course: Course,
    assignment: str,
    patches: Iterable[tuple[str, str]] = (),
    unwritten: Iterable[str] = (),
    extra: str = "",
    without: Iterable[str] = (),
) -> NotebookNode:
    """Return the reference solution as a student hands it in.

    Args:
        course: whose source it is of.
        assignment: "02-build".
        patches: (old, new) texts; each old one occurs exactly once in the notebook.
        unwritten: grade ids of solutions left as they were released.
        extra: source of a cell put in front.
        without: ids of cells taken out, so that the notebook runs faster.
    """
    path = course.source / assignment / f"{assignment}.ipynb"
    extras: Mapping[str, str] = {assignment: extra} if extra else {}
    sample = Sample(
        "student", "", {assignment: tuple(patches)}, unwritten=tuple(unwritten), extra=extras
    )
    notebook = hand_in(nbformat.read(path, as_version=4), sample, assignment)
    unneeded = set(without)
    notebook.cells = [cell for cell in notebook.cells if cell.id not in unneeded]
    return notebook


def submit(course: Course, student: str, assignment: str, notebook: NotebookNode | bytes) -> Path:
    """Put a notebook, or a file that is none, where nbgrader looks for it; return its path."""
    path = course.submitted / student / assignment / f"{assignment}.ipynb"
    if isinstance(notebook, bytes):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(notebook)
    else:
        write_text(path, json.dumps(notebook))  # nbformat would mend what a student left broken
    return path


def grade(course: Course, student: str, assignment: str, sandbox: bool = True) -> LabRecord:
    """Grade what a student has handed in, whether or not it was graded before."""
    return grade_job(
        Job(
            course=str(course.root),
            student=student,
            assignment=assignment,
            submission_sha256="",
            sandbox=sandbox,
            regrade=True,
        )
    )


def points(record: LabRecord) -> dict[str, float]:
    """Return the points of each task that has a verdict."""
    return {number: task.verdict.points for number, task in record.tasks.items() if task.verdict}


def codes(record: LabRecord, kind: str = "") -> set[str]:
    """Return the codes of a record's flags, of one kind or all."""
    return {flag.code for flag in record.flags if not kind or flag.kind == kind}
