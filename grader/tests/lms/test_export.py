"""Grades leave nbgrader's gradebook as an LMS takes them, and no spreadsheet runs them."""

import csv
from datetime import datetime
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

from trtlab.errors import InputError
from trtlab_grader.course import Course
from trtlab_grader.lms.export import export

# nbgrader relies on a cascade of SQLAlchemy's that is to be dropped one day.
pytestmark = pytest.mark.filterwarnings("ignore:Object of type <Submitted")


@pytest.fixture
def graded(course: Course) -> Course:
    """Two labs of which Ada has done both, Grace one, and one that is worth nothing."""
    with Gradebook(course.gradebook_url) as gradebook:
        for lab, points in (("02-build", 25), ("01-export", 7), ("00-start", 0)):
            gradebook.add_assignment(lab)
            gradebook.add_notebook(lab, lab)
            if points:
                gradebook.add_grade_cell("check", lab, lab, max_score=points, cell_type="code")
        gradebook.add_student(
            "ada", first_name="Ada", last_name="Lovelace", email="a@x.org", lms_user_id="101"
        )
        gradebook.add_student("42", first_name="=cmd|' /C calc'!A0", last_name="@SUM(1)")
        for student, lab, auto, manual, extra in (
            ("ada", "01-export", 7.0, None, None),
            ("ada", "02-build", 20.0, 22.5, 1.0),
            ("42", "01-export", None, None, None),
        ):
            submission = gradebook.add_submission(lab, student, timestamp=datetime(2025, 1, 1))
            (grade,) = submission.notebooks[0].grades
            grade.auto_score, grade.manual_score, grade.extra_credit = auto, manual, extra
            grade.needs_manual_grade = auto is None
            gradebook.db.commit()
    return course


def rows(course: Course, tmp_path: Path, layout: str) -> list[list[str]]:
    path = export(course, tmp_path / "out" / "grades.csv", layout)
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_plain_csv_has_every_score_the_total_and_what_is_open(
    graded: Course, tmp_path: Path
) -> None:
    labs = ["01-export", "02-build"]
    assert rows(graded, tmp_path, "csv") == [
        ["student", "last name", "first name", "email", *labs, "total", "not yet graded"],
        ["42", "'@SUM(1)", "'=cmd|' /C calc'!A0", "", "0", "", "0", "01-export"],
        ["ada", "Lovelace", "Ada", "a@x.org", "7", "23.5", "30.5", ""],
    ]


def test_canvas_gets_its_columns_and_the_row_of_points_possible(
    graded: Course, tmp_path: Path
) -> None:
    assert rows(graded, tmp_path, "canvas") == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "01-export", "02-build"],
        ["    Points Possible", "", "", "", "", "7", "25"],
        ["'@SUM(1), =cmd|' /C calc'!A0", "42", "", "42", "", "0", ""],
        ["Lovelace, Ada", "101", "", "ada", "", "7", "23.5"],
    ]


def test_moodle_gets_the_columns_of_its_own_export(graded: Course, tmp_path: Path) -> None:
    columns = ["Assignment: 01-export (Real)", "Assignment: 02-build (Real)"]
    assert rows(graded, tmp_path, "moodle") == [
        ["First name", "Last name", "ID number", "Email address", *columns],
        ["'=cmd|' /C calc'!A0", "'@SUM(1)", "42", "", "0", ""],
        ["Ada", "Lovelace", "ada", "a@x.org", "7", "23.5"],
    ]


def test_a_late_penalty_is_taken_off_and_never_below_nothing(
    graded: Course, tmp_path: Path
) -> None:
    with Gradebook(graded.gradebook_url) as gradebook:
        for lab, penalty in (("01-export", 100.0), ("02-build", 3.5)):
            notebook = gradebook.find_submission_notebook(lab, lab, "ada")
            notebook.late_submission_penalty = penalty
        gradebook.db.commit()
    assert rows(graded, tmp_path, "moodle")[2][4:] == ["0", "20"]


@pytest.mark.parametrize("name", ["=1", "+1", "-1", "@x", "\t=1", " =1", "\r\n@x"])
def test_a_name_that_a_spreadsheet_would_run_is_text(
    graded: Course, tmp_path: Path, name: str
) -> None:
    with Gradebook(graded.gradebook_url) as gradebook:
        gradebook.update_or_create_student("ada", last_name=name)
    assert rows(graded, tmp_path, "csv")[2][1] == f"'{name}"


def test_an_unknown_layout_is_refused(graded: Course, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no layout 'excel'; there are csv, canvas, moodle"):
        export(graded, tmp_path / "grades.csv", "excel")
