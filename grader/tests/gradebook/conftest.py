"""A course with two students' submissions, made once and copied for each test."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode
from nbgrader.api import Gradebook

from trtlab_grader.course import Course, open_course
from trtlab_grader.nbgrader_glue.setup import init_course

LAB = "02-build"


@pytest.fixture(scope="session")
def fresh_course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return init_course(tmp_path_factory.mktemp("courses") / "fresh").root


@pytest.fixture
def course(fresh_course: Path, tmp_path: Path) -> Course:
    root = tmp_path / "course"
    shutil.copytree(fresh_course, root)
    return open_course(root)


@pytest.fixture
def submit(course: Course) -> Callable[..., Path]:
    """Hand in a lab with every solution filled in; `change` may edit the notebook's JSON."""

    def hand_in(
        student: str, assignment: str = LAB, change: Callable[[Any], None] = lambda data: None
    ) -> Path:
        released = course.release / assignment / f"{assignment}.ipynb"
        data = json.loads(released.read_text(encoding="utf-8"))
        for cell in data["cells"]:
            if cell["metadata"].get("nbgrader", {}).get("solution"):
                cell["source"] = f"# solved by {student}"
        change(data)
        path = course.submitted / student / assignment / f"{assignment}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(data), encoding="utf-8")
        return path

    return hand_in


@pytest.fixture
def gradebook(course: Course) -> Iterator[Gradebook]:
    with Gradebook(course.gradebook_url) as opened:
        yield opened


def graded_cells(course: Course, student: str, assignment: str = LAB) -> dict[str, NotebookNode]:
    path = course.autograded / student / assignment / f"{assignment}.ipynb"
    return {cell.id: cell for cell in nbformat.read(path, as_version=4).cells}


def everything_in(course: Course) -> dict[str, Any]:
    """What a regrade must not change: each grade and comment, and the bytes of each notebook."""
    content: dict[str, Any] = {}
    with Gradebook(course.gradebook_url) as gradebook:
        for student in gradebook.students:
            for submission in student.submissions:
                for notebook in submission.notebooks:
                    for grade in notebook.grades:
                        content[f"{student.id}/{notebook.name}/{grade.name}"] = grade.to_dict()
                    for comment in notebook.comments:
                        name = f"{student.id}/{notebook.name}/{comment.name}/comment"
                        content[name] = comment.to_dict()
    for path in sorted(course.autograded.glob("*/*/*")):
        content[str(path.relative_to(course.root))] = path.read_bytes()
    return content
