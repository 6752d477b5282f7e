"""A course without notebooks: collecting and exporting need none."""

import shutil
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

from trtlab_grader.course import Course, Settings, open_course, write_settings
from trtlab_grader.nbgrader_glue.config import configure


def new_course(root: Path) -> Course:
    root.mkdir()
    write_settings(root, Settings())
    return open_course(root)


@pytest.fixture(scope="session")
def empty_gradebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gradebook's file; making one takes seconds, for nbgrader runs alembic."""
    course = new_course(tmp_path_factory.mktemp("gradebooks") / "course")
    configure(course)
    Gradebook(course.gradebook_url).close()
    return course.root / "gradebook.db"


@pytest.fixture
def course(tmp_path: Path, empty_gradebook: Path) -> Course:
    course = new_course(tmp_path / "course")
    shutil.copy(empty_gradebook, course.root)
    return course
