"""Formgrader, feedback and the class report in a real browser, on work graded by the commands.

Needs Chromium and bubblewrap and takes minutes: pytest -m browser grader/tests/browser. The
screenshots go to the folder that TRTLAB_SCREENSHOTS names.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nbgrader.api import Gradebook
from playwright.sync_api import Locator, Page, expect, sync_playwright

from browser.conftest import trtlab_grade
from browser.hostile import GLOBAL, payload
from labs.lab_in_browser import CHROMIUM, FLAGS, SCREEN
from trtlab_grader.course import Course

Picture = Callable[[Page, str], None]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(1200)]  # s: the first one grades the class

COMMENT = "Say *which* node the constant went into, & why 1 < 2."


def submission(course: Course, student: str, assignment: str) -> str:
    """Return the path of formgrader's page on a notebook."""
    with Gradebook(course.gradebook_url) as gradebook:
        found = gradebook.find_submission_notebook(assignment, assignment, student)
        return f"/formgrader/submissions/{found.id}/?index=0"


def opened(page: Page, url: str, course: Course, student: str, assignment: str) -> Page:
    """Open a submission and wait for its scores, which come after the page."""
    page.goto(url + submission(course, student, assignment))
    expect(page.locator("input.score").first).to_have_attribute("placeholder", "4")
    return page


def score(page: Page, grade_id: str) -> Locator:
    return page.locator(f"input.score#{grade_id}")


def bring(found: Locator) -> None:
    """Scroll to an element, so that it is near the top and not below formgrader's bar."""
    found.evaluate("e => { e.scrollIntoView({block: 'start'}); window.scrollBy(0, -120); }")


def ran(page: Page) -> object:
    """Return what a student's script has left, None if none ran."""
    page.wait_for_load_state("networkidle")  # an image that cannot be loaded says so late
    return page.evaluate(f"window.{GLOBAL} || null")


def test_the_labs_and_what_was_handed_in_are_listed(page: Page, url: str, picture: Picture) -> None:
    page.goto(f"{url}/formgrader/manage_assignments")
    rows = page.locator("table tbody tr")
    expect(rows).to_have_count(7)
    for lab, count in (("01-export", "3"), ("02-build", "2"), ("03-calibrate", "0")):
        row = rows.filter(has_text=lab)
        expect(row.locator("td.num-submissions")).to_have_text(count)
    picture(page, "manage-assignments")


def test_jupyterlab_has_the_menu_that_the_guide_names(page: Page, url: str) -> None:
    page.goto(f"{url}/lab")
    menu = page.get_by_role("menuitem", name="Nbgrader")
    menu.click(timeout=60_000)
    expect(page.get_by_role("menuitem", name="Formgrader", exact=True)).to_be_visible()


def test_the_gradebook_marks_what_a_person_must_grade(
    page: Page, url: str, picture: Picture
) -> None:
    page.goto(f"{url}/formgrader/gradebook/01-export/01-export")
    rows = page.locator("table tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.locator("td.needs-manual-grade .glyphicon-ok")).to_have_count(3)
    expect(rows.locator("td.tests-failed .glyphicon-ok")).to_have_count(1)  # the frozen batch
    picture(page, "gradebook")


def test_a_check_shows_its_card_and_its_points(
    page: Page, url: str, course: Course, picture: Picture
) -> None:
    opened(page, url, course, "ada", "01-export")
    expect(page.get_by_text("passed, 4 of 4 points")).to_be_visible()
    expect(score(page, "check-1-1")).to_have_attribute("placeholder", "4")
    expect(score(page, "check-1-2")).to_have_attribute("placeholder", "3")
    expect(page.get_by_text("Notes of the grader")).to_have_count(0)
    expect(page.locator("table").first).to_have_css("border-collapse", "collapse")
    expect(page.locator(".rendered_html img").first).to_have_css("border-top-width", "0px")
    expect(page.get_by_text("task-list-item-checkbox")).to_have_count(0)
    bring(score(page, "check-1-1"))
    picture(page, "submission")


def test_a_card_names_the_misconception(
    page: Page, url: str, course: Course, picture: Picture
) -> None:
    page.goto(url + submission(course, "cleo", "01-export"))
    expect(score(page, "check-1-1")).to_have_attribute("placeholder", "3")
    idea = page.get_by_text("The batch size of the example input was frozen")
    expect(idea).to_be_visible()
    bring(score(page, "check-1-1"))
    picture(page, "misconception")


def test_a_task_that_needs_a_gpu_has_no_points_yet(
    page: Page, url: str, course: Course, picture: Picture
) -> None:
    page.goto(url + submission(course, "ada", "02-build"))
    expect(score(page, "check-2-2")).to_have_attribute("placeholder", "5")
    for check in ("check-2-3", "check-2-4"):
        box = score(page, check)
        expect(box).to_have_class("score tabbable needs_manual_grade")
        expect(box).not_to_have_attribute("placeholder", re.compile(r"\d"))
    waiting = page.get_by_text("needs a GPU: not all of this task could be measured")
    expect(waiting.first).to_be_visible()
    first_comment = page.locator("textarea.comment").first
    expect(first_comment).to_have_attribute(
        "placeholder", re.compile("Tasks 2.3, 2.4: needs a GPU")
    )
    bring(score(page, "check-2-3"))
    picture(page, "needs-a-gpu")


def test_an_attack_is_noted_above_the_notebook(
    page: Page, url: str, course: Course, picture: Picture
) -> None:
    page.goto(url + submission(course, "ivy", "02-build"))
    notes = page.locator("div", has=page.get_by_text("Notes of the grader")).last
    expect(notes).to_contain_text("attack, symlink-deliverable: resnet50_fp16.engine")
    expect(score(page, "check-2-1")).to_have_attribute("placeholder", "2")  # its code is right
    picture(page, "attack")


def test_a_persons_grade_is_entered_and_survives_a_regrade(
    page: Page, url: str, course: Course, picture: Picture
) -> None:
    opened(page, url, course, "ada", "01-export")
    box = score(page, "task-1-3")
    expect(box).to_have_class("score tabbable needs_manual_grade")
    expect(page.locator("#task-1-3-comment")).to_have_attribute(
        "placeholder", re.compile("every question has an answer: passed")
    )
    with page.expect_response("**/api/grade/*") as saved:
        box.fill("1.5")
        box.press("Tab")
    assert saved.value.ok
    with page.expect_response("**/api/comment/*") as saved:
        page.locator("#task-1-3-comment").fill(COMMENT)
        page.locator("#task-1-3-comment").press("Tab")
    assert saved.value.ok
    box.scroll_into_view_if_needed()
    picture(page, "by-hand")

    trtlab_grade(course, "autograde", "ada", "--lab", "01-export", "--regrade")
    opened(page, url, course, "ada", "01-export")
    expect(score(page, "task-1-3")).to_have_value("1.5")
    expect(score(page, "task-1-3")).to_have_class("score tabbable")
    expect(page.locator("#task-1-3-comment")).to_have_value(COMMENT)
    with Gradebook(course.gradebook_url) as gradebook:
        graded = gradebook.find_submission("01-export", "ada")
        assert (graded.score, graded.needs_manual_grade) == (8.5, False)

    trtlab_grade(course, "feedback", "ada")
    page.goto((course.feedback / "ada" / "feedback.html").as_uri())
    task = page.locator("article", has_text="1.3 Explain the export")
    expect(task).to_contain_text("graded by a person")
    expect(task).to_contain_text("1.5 of 2 points")
    expect(task).to_contain_text(f"Comment: {COMMENT}")
    picture(page, "feedback")


def test_formgraders_own_button_for_autograding_gives_the_same_grade(
    page: Page, url: str, course: Course
) -> None:
    page.goto(f"{url}/formgrader/manage_submissions/01-export")
    row = page.locator("table tbody tr").filter(has_text="cleo")
    expect(row.locator("td.score")).to_have_text("7 / 9")
    row.locator("td.autograde a").click()
    done = page.get_by_text("Successfully autograded '01-export' for student 'cleo'.")
    expect(done).to_be_visible(timeout=120_000)
    with Gradebook(course.gradebook_url) as gradebook:
        assert gradebook.find_submission("01-export", "cleo").score == 7


# --- what a student wrote does not run


def test_the_payload_runs_where_nothing_is_done_about_it(page: Page) -> None:
    page.set_content(payload("here"))
    assert ran(page) == "here"


def test_nothing_of_a_hostile_submission_runs_in_formgrader(
    page: Page, url: str, course: Course, picture: Picture
) -> None:
    opened(page, url, course, "mal", "01-export")
    words = page.locator("body").inner_text()
    for place in ("answer", "markdown", "exception"):
        assert f"<script>window.{GLOBAL} = '{place}'</script>" in words, place
    assert "saved output" not in words
    assert ran(page) is None
    page.get_by_text("Notes").last.scroll_into_view_if_needed()
    picture(page, "hostile")


@pytest.mark.parametrize("kind", ["trtlab's", "nbgrader's", "report"])
def test_nothing_of_a_hostile_submission_runs_on_a_page(
    page: Page, course: Course, kind: str
) -> None:
    if kind == "nbgrader's":
        trtlab_nbgrader(course, "generate_feedback", "01-export", "--student", "mal", "--force")
        path = course.feedback / "mal" / "01-export" / "01-export.html"
    elif kind == "report":
        trtlab_grade(course, "report")
        path = course.root / "report.html"
    else:
        trtlab_grade(course, "feedback", "mal")
        path = course.feedback / "mal" / "feedback.html"
    page.goto(path.as_uri())
    if kind != "report":
        assert (
            f"<script>window.{GLOBAL} = 'exception'</script>" in page.locator("body").inner_text()
        )
    assert ran(page) is None


def trtlab_nbgrader(course: Course, *arguments: str) -> None:
    """Run one of nbgrader's own commands in the course directory."""
    command = [sys.executable, "-m", "nbgrader", *arguments]
    ended = subprocess.run(command, cwd=course.root, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


# --- the class report


@pytest.fixture(params=["light", "dark"])
def themed(request: pytest.FixtureRequest) -> Iterator[tuple[Page, str]]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser.new_page(viewport=SCREEN, color_scheme=request.param), request.param
        browser.close()


@pytest.mark.parametrize("width", [1200, 400])
def test_the_class_report_in_light_and_dark_wide_and_narrow(
    themed: tuple[Page, str], width: int, course: Course, picture: Picture, tmp_path: Path
) -> None:
    page, theme = themed
    trtlab_grade(course, "report", "--output", str(tmp_path / "report.html"))
    page.set_viewport_size({"width": width, "height": 900})
    page.goto((tmp_path / "report.html").as_uri())
    ground = {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 23, 20)"}[theme]
    expect(page.locator("body")).to_have_css("background-color", ground)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    expect(page.get_by_text("resnet50_fp16.engine is a symbolic link")).to_be_visible()
    expect(page.get_by_text("The batch size of the example input was frozen")).to_be_visible()
    unsure = page.locator("section", has=page.locator("#measurements"))
    expect(unsure).not_to_contain_text("not judged by machine")
    picture(page, f"report-{theme}-{width}")
