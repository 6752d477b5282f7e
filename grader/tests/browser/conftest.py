"""A small class graded by the real commands, and formgrader on it, for a real browser."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page

from browser.hostile import hostile_notebook
from classroom import solved, submit
from labs.lab_in_browser import CHROMIUM, chromium_page, jupyterlab
from trtlab_grader.course import Course, open_course

FROZEN_BATCH = (
    '        dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},\n',
    "",
)
LINKED_ENGINE = (
    "    return serialized_engine\n",
    '    Path("resnet50_fp16.engine").unlink(missing_ok=True)\n'
    '    Path("resnet50_fp16.engine").symlink_to("/etc/passwd")\n'
    "    return serialized_engine\n",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what needs a browser where there is none."""
    missing = pytest.mark.skip(reason=f"there is no {CHROMIUM}")
    for item in items:
        if item.get_closest_marker("browser") and not Path(CHROMIUM).is_file():
            item.add_marker(missing)


def trtlab_grade(course: Course, *arguments: str) -> None:
    """Run the command in a process of its own, in the course directory, as an instructor does."""
    program = Path(sys.executable).parent / "trtlab-grade"
    ended = subprocess.run(
        [program, *arguments], cwd=course.root, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def cache(test_run_folder: Path) -> Iterator[None]:
    """TRTLAB_CACHE names this test run's folder, in which graders make what a lab is given."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRTLAB_CACHE", str(test_run_folder / "cache"))
        yield


@pytest.fixture(scope="module")
def course(
    classroom_template: Path, cache: None, needs_sandbox: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Course:  # fmt: skip
    """Good work, a mistake, a link for an engine and scripts wherever one can write them."""
    root = tmp_path_factory.mktemp("class") / "course"
    shutil.copytree(classroom_template, root)
    course = open_course(root)
    submit(course, "ada", "01-export", solved(course, "01-export"))
    submit(course, "ada", "02-build", solved(course, "02-build"))
    submit(course, "cleo", "01-export", solved(course, "01-export", patches=[FROZEN_BATCH]))
    submit(course, "ivy", "02-build", solved(course, "02-build", patches=[LINKED_ENGINE]))
    submit(course, "mal", "01-export", hostile_notebook(solved(course, "01-export")))
    trtlab_grade(course, "autograde")
    return course


@pytest.fixture(scope="module")
def url(course: Course, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """JupyterLab, started in the course directory: nbgrader reads its settings there."""
    home = tmp_path_factory.mktemp("home")
    before = Path.cwd()
    os.chdir(course.root)
    try:
        with jupyterlab(course.root, home, "light") as served:
            yield served
    finally:
        os.chdir(before)


@pytest.fixture
def page() -> Iterator[Page]:
    with chromium_page() as page:
        yield page


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Page, str], None]:
    """Save what a page shows, in the folder that TRTLAB_SCREENSHOTS names, or a temporary one."""
    folder = Path(os.environ.get("TRTLAB_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()

    def save(page: Page, name: str) -> None:
        path = folder / f"{name}.png"
        page.screenshot(path=path)
        with Image.open(path) as image:
            image.convert("RGB").quantize(256).save(path, optimize=True)

    return save
