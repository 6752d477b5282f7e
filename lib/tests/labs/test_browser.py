"""A student's session in JupyterLab: check, fail, take a hint, solve, pass; and move a slider.

Needs Chromium and takes minutes: `make browser`, which keeps the screenshots in docs/screenshots.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, expect

from labs.harness import ROOT, solution_path
from labs.lab_in_browser import CHROMIUM, THEMES, NotebookPage, chromium_page, jupyterlab

STEPS = 30  # of the slider's 200

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).is_file(), reason=f"there is no {CHROMIUM}"),
    pytest.mark.usefixtures("provided_artifacts"),
]


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: the folder that TRTLAB_SCREENSHOTS names, or a temporary one."""
    folder = Path(os.environ.get("TRTLAB_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


@pytest.fixture(params=THEMES)
def theme(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """The released labs, and beside them the instructor's."""
    for name in ("labs", "solutions"):
        ignored = shutil.ignore_patterns("*.onnx", "*.engine*", "*.cache", ".ipynb_checkpoints")
        shutil.copytree(ROOT / name, tmp_path / "course" / name, ignore=ignored)
    return tmp_path / "course"


@pytest.fixture
def lab_url(course: Path, tmp_path: Path, theme: str) -> Iterator[str]:
    (tmp_path / "home").mkdir()
    with jupyterlab(course, tmp_path / "home", theme) as url:
        yield url


@pytest.fixture
def page() -> Iterator[Page]:
    with chromium_page() as page:
        yield page


def solution(lab: int, cell_id: str) -> str:
    """Return the source of a solution cell as a student would write it."""
    (cell,) = [c for c in nbformat.read(solution_path(lab), 4).cells if c.id == cell_id]
    return re.sub(r"\n? *### (BEGIN|END) SOLUTION", "", cell.source)


def test_a_student_fails_a_check_takes_a_hint_solves_the_task_and_passes(
    page: Page, lab_url: str, course: Path, screenshots: Path, theme: str
) -> None:
    path = course / "labs" / "01-export" / "01-export.ipynb"
    lab = NotebookPage(page, lab_url, path, course)
    lab.screenshot(screenshots / f"01-top-{theme}.png", at="title")
    lab.run_through("check-1-1")
    expect(lab.output("check-1-1")).to_contain_text("not started")
    expect(lab.output("check-1-1")).to_contain_text("0.0")

    lab.insert_below("check-1-1", "my-hint")
    lab.write("my-hint", 'hint("1.1")')
    lab.run("my-hint")
    expect(lab.output("my-hint")).to_contain_text("Hint 1 for task 1.1")
    lab.screenshot(screenshots / f"01-check-and-hint-{theme}.png", at="check-1-1")

    lab.write("task-1-1", solution(1, "task-1-1"))
    lab.run_through("check-1-1")
    expect(lab.output("check-1-1")).to_contain_text("4 of 4 points")
    lab.screenshot(screenshots / f"01-passed-{theme}.png", at="check-1-1")


def test_the_slider_of_the_calibration_lab_moves_its_picture(
    page: Page, lab_url: str, course: Path, screenshots: Path, theme: str
) -> None:
    path = course / "labs" / "03-calibrate" / "03-calibrate.ipynb"
    lab = NotebookPage(page, lab_url, path, course)
    for task in ("task-3-1-images", "task-3-1"):
        lab.write(task, solution(3, task))
    for cell_id in ("setup", "task-3-1-images", "call-3-1-images", "task-3-1", "cache"):
        lab.run(cell_id)
    lab.run("clip-slider")
    output = lab.output("clip-slider")
    picture = output.locator("img")
    before = picture.get_attribute("src") or ""
    lab.screenshot(screenshots / f"03-slider-{theme}.png", at="clip-slider")
    output.locator(".noUi-handle").focus()
    for _ in range(STEPS):
        page.keyboard.press("ArrowLeft")
    expect(picture).not_to_have_attribute("src", before)
    lab.wait_until_idle()
    lab.screenshot(screenshots / f"03-slider-moved-{theme}.png", at="clip-slider")
