"""An instructor gets a course directory that nbgrader's own commands work in."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook

from gradebook.conftest import LAB, graded_cells
from trtlab.checks.tasks import TASKS
from trtlab_grader.course import LABS, SECRET_FILE, Course, CourseError, Settings
from trtlab_grader.nbgrader_glue.setup import init_course, release_course, solutions

ROOT = Path(__file__).parents[3]


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".grader")
    }


def test_a_new_course_releases_what_the_repository_releases(course: Course) -> None:
    assert solutions() == ROOT / "solutions"
    committed = files(ROOT / "labs")
    released = files(course.release)
    assert {name: released[name] for name in committed} == committed
    assert released.keys() == committed.keys()


def test_the_gradebook_has_every_task_with_its_points_and_no_due_dates(
    gradebook: Gradebook,
) -> None:
    points = {lab: gradebook.find_assignment(lab).max_score for lab in LABS}
    expected = {lab: sum(t.points for t in TASKS.values() if t.lab == int(lab[:2])) for lab in LABS}
    assert points == expected
    assert sum(points.values()) == 100
    assert [assignment.duedate for assignment in gradebook.assignments] == [None] * 7


def test_the_secret_is_for_its_owner_only(course: Course) -> None:
    assert stat.S_IMODE((course.root / SECRET_FILE).stat().st_mode) == 0o600


def test_init_again_changes_nothing_that_the_instructor_has_edited(course: Course) -> None:
    edited = course.source / LAB / f"{LAB}.ipynb"
    notebook = nbformat.read(edited, as_version=4)
    notebook.cells[0].source += "\n\nA remark."
    nbformat.write(notebook, edited)
    for name in ("course.toml", "nbgrader_config.py"):
        path = course.root / name
        path.write_text(path.read_text() + "# mine\n")
    (course.source / "01-export" / "pipeline.svg").unlink()
    before = files(course.root)
    init_course(course.root)
    after = files(course.root)
    new = {name for name in after if before.get(name) != after[name]}
    assert new - {"gradebook.db"} == {"source/01-export/pipeline.svg"}


def test_init_again_releases_only_what_is_missing(course: Course) -> None:
    for lab in (LAB, "01-export"):
        path = course.source / lab / f"{lab}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        notebook.cells[0].source += "\n\nA remark."
        nbformat.write(notebook, path)
    before = files(course.release)
    shutil.rmtree(course.release / LAB)
    init_course(course.root)
    after = files(course.release)
    assert b"A remark." in after[f"{LAB}/{LAB}.ipynb"]
    assert {name for name in before if before[name] != after[name]} == {f"{LAB}/{LAB}.ipynb"}


def test_init_again_fills_a_new_gradebook_and_leaves_the_release(course: Course) -> None:
    released = {path: path.stat().st_mtime_ns for path in course.release.rglob("*")}
    (course.root / "gradebook.db").unlink()
    init_course(course.root)
    with Gradebook(course.gradebook_url) as fresh:
        assert sum(assignment.max_score for assignment in fresh.assignments) == 100
    assert {path: path.stat().st_mtime_ns for path in course.release.rglob("*")} == released


@pytest.mark.parametrize(
    "asked", [Settings(name="Another"), Settings(gradebook="postgresql://me:hunter2@host/x")]
)
def test_init_again_with_another_setting_is_refused(course: Course, asked: Settings) -> None:
    (name,) = asked.model_fields_set
    (course.root / "nbgrader_config.py").unlink()
    before = files(course.root)
    with pytest.raises(CourseError, match=rf"course\.toml .* another {name}.* edit") as refused:
        init_course(course.root, asked)
    assert "hunter2" not in str(refused.value)
    assert files(course.root) == before
    init_course(course.root, course.settings)


def test_a_source_that_nbgrader_refuses_leaves_the_earlier_release(course: Course) -> None:
    path = course.source / LAB / f"{LAB}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    (check,) = (cell for cell in notebook.cells if cell.id == "check-2-1")
    check.metadata.nbgrader.grade_id = "check-2-2"
    nbformat.write(notebook, path)
    before = files(course.release)
    with pytest.raises(CourseError, match=rf"source/{LAB}: .*Duplicate grade id: check-2-2"):
        release_course(course)
    assert files(course.release) == before


def nbgrader(course: Course, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Without the environment's programs on PATH: the configuration sees to that.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.defpath}
    return subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=course.root,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_nbgraders_own_commands_release_grade_and_give_feedback(
    course: Course, submit: Callable[..., Path], gradebook: Gradebook
) -> None:
    (course.root / "gradebook.db").unlink()
    config = course.root / "nbgrader_config.py"
    config.write_text(
        config.read_text() + 'c.GradeFromRecord.record_for = "gradebook.made_up.full_marks"\n'
    )
    released = files(course.release)
    submit("ada")
    submit("bob").write_bytes(b"not JSON")
    for command in ("generate_assignment", "autograde", "generate_feedback"):
        done = nbgrader(course, command, LAB, "--force")
        assert done.returncode == 0, done.stderr
    assert files(course.release) == released
    with Gradebook(course.gradebook_url) as fresh:
        assert [fresh.find_submission(LAB, s).score for s in ("ada", "bob")] == [25, 25]
    assert graded_cells(course, "ada")["check-2-1"].outputs
    page = (course.feedback / "ada" / LAB / f"{LAB}.html").read_text()
    assert "measured in 2.1" in page
