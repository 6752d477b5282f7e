"""A course directory, and the same with two labs graded, without running anything."""

import shutil
from pathlib import Path

import pytest

from gradebook.made_up import record
from trtlab.files import write_text
from trtlab_grader.course import Course, open_course
from trtlab_grader.nbgrader_glue.writer import write_grades
from trtlab_grader.records import Flag, LabRecord
from trtlab_grader.store import NOTEBOOK, Store


@pytest.fixture
def course(classroom_template: Path, tmp_path: Path) -> Course:
    """A fresh course directory in which nothing was handed in."""
    shutil.copytree(classroom_template, tmp_path / "course")
    return open_course(tmp_path / "course")


def hand_in(course: Course, student: str, assignment: str) -> Path:
    """Hand in a lab as it was released."""
    target = course.submitted / student / assignment / f"{assignment}.ipynb"
    target.parent.mkdir(parents=True)
    shutil.copy(course.release / assignment / target.name, target)
    return target


def graded_record(student: str, assignment: str) -> LabRecord:
    """A made-up record: full marks, no GPU, and for one student an attack."""
    flag = Flag(kind="attack", code="symlink-deliverable", text="a link")
    flags = [flag] if student == "mallory" else []
    key = f"{student}{assignment}".encode().hex()[:40].ljust(40, "0")
    return record(student, assignment, gpu=False, flags=flags).model_copy(update={"key": key})


@pytest.fixture
def graded(course: Course) -> Course:
    """A course with two submissions that have records and are in the gradebook."""
    records = []
    for student in ("ada", "mallory"):
        hand_in(course, student, "02-build")
        made = graded_record(student, "02-build")
        files = course.root / f"files-{student}"
        write_text(files / NOTEBOOK, "{}")
        Store(course.records).put(made, files)
        records.append(made)
    assert write_grades(course, records).failed == {}
    return course
