"""What tests that grade share: the course's provided artifacts, and a course directory."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from classroom import FEW_IMAGES
from trtlab_grader.course import Course, Settings, open_course
from trtlab_grader.nbgrader_glue.setup import init_course
from trtlab_grader.provisions import provide
from trtlab_grader.sandbox import Bubblewrap, SandboxMissing
from trtlab_grader.stage import gpu_lease


@pytest.fixture(scope="session")
def test_run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this test run, the same for all of pytest-xdist's workers."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def provisions(test_run_folder: Path) -> Iterator[None]:
    """TRTLAB_CACHE names a folder with all that the course provides."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRTLAB_CACHE", str(test_run_folder / "cache"))
        for lab in range(1, 7):
            provide(lab, gpu_lease("exclusive"))
        yield


@pytest.fixture(scope="session")
def classroom_template(test_run_folder: Path) -> Path:
    """A course directory that is copied, never used."""
    root = test_run_folder / "classroom"
    with FileLock(test_run_folder / "classroom.lock"):
        if not root.is_dir():
            made = test_run_folder / "classroom.part"
            init_course(made, Settings(name="Tests", accuracy_images=FEW_IMAGES, cell_seconds=120))
            made.rename(root)
    return root


@pytest.fixture
def classroom(classroom_template: Path, provisions: None, tmp_path: Path) -> Course:
    """A fresh course directory in which submissions can be graded."""
    shutil.copytree(classroom_template, tmp_path / "classroom")
    return open_course(tmp_path / "classroom")


@pytest.fixture(scope="session")
def needs_sandbox() -> None:
    """Skip where bubblewrap does not work."""
    try:
        Bubblewrap()
    except SandboxMissing as error:
        pytest.skip(str(error))
