"""Grades read from a real nbgrader gradebook, against nbgrader's own sums."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

from reports import sample_class
from trtlab.checks.tasks import TASKS
from trtlab_grader.course import LABS
from trtlab_grader.reports.grades import grades_from_gradebook, grades_from_records

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gradebook of three labs' cells, with nothing but one new submission by ada."""
    path = tmp_path_factory.mktemp("gradebook") / "gradebook.db"
    with pytest.MonkeyPatch.context() as patch:
        # nbgrader runs alembic, which lies beside the interpreter.
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        with Gradebook(f"sqlite:///{path}") as book:
            fill(book)
    return path


def fill(book: Gradebook) -> None:
    book.add_student("ada")
    for name in LABS[:3]:
        book.add_assignment(name)
        book.add_notebook(name, name)
    for about in (task for task in TASKS.values() if task.lab <= 3):
        cell, lab = about.number.replace(".", "-"), LABS[about.lab - 1]
        by_hand = about.category == "documentation"
        name, kind = (f"task-{cell}", "markdown") if by_hand else (f"check-{cell}", "code")
        book.add_grade_cell(name, lab, lab, max_score=about.points, cell_type=kind)
        book.add_solution_cell(f"task-{cell}", lab, lab)
    book.add_solution_cell("challenge-profiles", LABS[1], LABS[1])
    book.add_submission(LABS[1], "ada")


@pytest.fixture
def gradebook(fresh: Path, tmp_path: Path) -> Iterator[Gradebook]:
    shutil.copy(fresh, tmp_path)
    with Gradebook(f"sqlite:///{tmp_path / fresh.name}") as book:
        yield book


def enter(book: Gradebook, cell: str, auto: float | None, manual: float | None, extra=None) -> None:
    grade = book.find_grade(cell, LABS[1], LABS[1], "ada")
    grade.auto_score, grade.manual_score, grade.extra_credit = auto, manual, extra
    grade.needs_manual_grade = auto is None and manual is None
    book.db.commit()


def test_points_are_nbgraders_own_with_manual_ones_before_automatic_ones(
    gradebook: Gradebook,
) -> None:
    enter(gradebook, "check-2-1", 4.0, None)
    enter(gradebook, "check-2-2", 5.0, 2.5)
    enter(gradebook, "check-2-3", None, None)
    enter(gradebook, "check-2-4", 3.0, None, 1.0)
    enter(gradebook, "task-2-5", None, 1.5)
    submission = gradebook.find_submission(LABS[1], "ada")
    submission.notebooks[0].late_submission_penalty = 0.75
    gradebook.db.commit()
    records = [sample_class.record("ada", 2, gpu=False)]
    grades = grades_from_gradebook(gradebook, "ada", records)
    assert grades.points == submission.score - submission.late_submission_penalty == 11.25
    assert grades.penalty == 0.75
    found = {number: grade.points for number, grade in grades.tasks.items()}
    assert found == {"2.1": 4.0, "2.2": 2.5, "2.3": 0.0, "2.4": 4.0, "2.5": 1.5}
    assert {n: g.max_points for n, g in grades.tasks.items()} == {
        "2.1": 5, "2.2": 5, "2.3": 12, "2.4": 3, "2.5": 2,
    }  # fmt: skip


def test_the_gradebook_and_the_record_together_say_what_a_task_waits_for(
    gradebook: Gradebook,
) -> None:
    enter(gradebook, "check-2-1", 4.0, None)
    enter(gradebook, "check-2-3", None, None)
    enter(gradebook, "check-2-4", None, 2.0)
    enter(gradebook, "task-2-5", None, None)
    grades = grades_from_gradebook(gradebook, "ada", [sample_class.record("ada", 2, gpu=False)])
    waits = {number: (grade.status, grade.open_points) for number, grade in grades.tasks.items()}
    assert waits == {
        "2.1": ("graded", 0.0),
        "2.2": ("needs a person", 5.0),  # the record has a verdict, and nobody has entered it
        "2.3": ("needs a GPU", 12.0),
        "2.4": ("graded", 0.0),
        "2.5": ("needs a person", 2.0),
    }


def test_an_answer_that_nbgrader_settled_as_no_response_waits_for_nobody(
    gradebook: Gradebook,
) -> None:
    enter(gradebook, "task-2-5", 0.0, None)
    grades = grades_from_gradebook(gradebook, "ada", [sample_class.record("ada", 2)])
    assert (grades.tasks["2.5"].status, grades.tasks["2.5"].open_points) == ("graded", 0.0)


def test_comments_of_people_go_to_their_task_and_those_of_machines_nowhere(
    gradebook: Gradebook,
) -> None:
    for cell, manual, auto in (
        ("task-2-1", "Good.", "No response."),
        ("task-2-2", None, "No response."),
        ("challenge-profiles", "Nice extra.", None),
    ):
        comment = gradebook.find_comment(cell, LABS[1], LABS[1], "ada")
        comment.manual_comment, comment.auto_comment = manual, auto
    gradebook.db.commit()
    grades = grades_from_gradebook(gradebook, "ada", [])
    said = {number: grade.comments for number, grade in grades.tasks.items() if grade.comments}
    assert said == {"2.1": ("Good.",)}
    assert grades.comments == ((LABS[1], "Nice extra."),)


def test_a_student_whom_the_gradebook_does_not_know_has_nothing(gradebook: Gradebook) -> None:
    grades = grades_from_gradebook(gradebook, "nobody", [])
    assert (grades.points, grades.open_points, dict(grades.tasks)) == (0, 0, {})


def test_a_lab_that_the_gradebook_does_not_have_counts_by_its_record(gradebook: Gradebook) -> None:
    enter(gradebook, "check-2-1", 4.0, None)
    records = [sample_class.record("ada", lab, 0.6) for lab in (1, 2)]
    grades = grades_from_gradebook(gradebook, "ada", records)
    assert grades.points_of_lab(1) == pytest.approx(records[0].points)
    assert records[0].points > 0
    assert grades.points_of_lab(2) == 4


def test_without_a_gradebook_the_checks_points_count() -> None:
    records = [sample_class.record("ada", lab, 0.6) for lab in range(1, 7)]
    grades = grades_from_records("ada", records)
    assert grades.points == pytest.approx(sum(record.points for record in records))
    assert grades.open_points == 15
