"""What a later `autograde` enters: the gradebook, due dates or rules have changed meanwhile."""

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from nbgrader.api import Gradebook, MissingEntry

from cli.runner import refused, trtlab_grade
from gradebook.made_up import record
from trtlab.files import write_text
from trtlab_grader.course import Course, open_course
from trtlab_grader.dispatch import Job
from trtlab_grader.records import LabRecord
from trtlab_grader.store import NOTEBOOK, Store
from trtlab_grader.submissions import find_submissions, keys_of

pytestmark = pytest.mark.filterwarnings("ignore:Object of type <Submitted")

LAB = "01-export"
HALF = """
from nbgrader.plugins import BasePlugin


class Half(BasePlugin):
    def late_submission_penalty(self, student_id, score, total_seconds_late):
        return score / 2 if total_seconds_late < 4 * 24 * 3600 else score
"""
RULE = HALF + "\n\nc.AssignLatePenalties.plugin_class = Half\n"


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for Dask: full marks, kept as a worker keeps them. Returns who was graded."""
    students: list[str] = []
    monkeypatch.setattr(sys, "path", [*sys.path])  # courses are put on it

    def dispatch(
        jobs: Sequence[Job], grade: object, **_: Any
    ) -> Iterator[tuple[Job, LabRecord | Exception]]:
        for job in jobs:
            course = open_course(job.course)
            keys = keys_of(course, find_submissions(course))
            (key,) = (keys[s] for s in keys if (s.student, s.assignment) == (job.student, LAB))
            made = record(job.student, LAB, key=key)
            write_text(course.root / "files" / NOTEBOOK, "{}")
            Store(course.records).put(made, course.root / "files")
            students.append(job.student)
            yield job, made

    monkeypatch.setattr("trtlab_grader.runs.dispatch", dispatch)
    return students


def hand_in(course: Course, student: str, day: int = 1, text: str = "answered") -> Path:
    """Hand in lab 1 on a day of January, its questions answered."""
    path = course.submitted / student / LAB / f"{LAB}.ipynb"
    released = (course.release / LAB / path.name).read_text(encoding="utf-8")
    write_text(path, released.replace("YOUR ANSWER HERE", text))
    write_text(path.parent / "timestamp.txt", f"2025-01-{day:02} 12:00:00 UTC\n")
    return path


def due(course: Course, day: int | None) -> None:
    """Set the due date, as formgrader does."""
    with Gradebook(course.gradebook_url) as gradebook:
        gradebook.update_or_create_assignment(LAB, duedate=day and datetime(2025, 1, day))


def by_hand(course: Course, student: str, points: float) -> None:
    """Grade task 1.3, as formgrader does."""
    with Gradebook(course.gradebook_url) as gradebook:
        grade = gradebook.find_grade("task-1-3", LAB, LAB, student)
        grade.manual_score, grade.needs_manual_grade = points, False
        gradebook.db.commit()


def add_to_config(course: Course, text: str) -> None:
    path = course.root / "nbgrader_config.py"
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def autograde(course: Course, *arguments: str) -> dict[str, list[str]]:
    """Return the words of each student's row."""
    ended = trtlab_grade("autograde", *arguments, "--course", course.root)
    assert ended.status == 0, ended
    rows = [line.split() for line in ended.out.splitlines()]
    return {row[0]: row[2:] for row in rows if LAB in row}


def exported(course: Course) -> dict[str, str]:
    path = course.root / "grades.csv"
    assert trtlab_grade("export", "-o", path, "--course", course.root).status == 0
    with path.open(newline="", encoding="utf-8") as file:
        return {row["student"]: row[LAB] for row in csv.DictReader(file)}


def removed_from_gradebook(course: Course, student: str) -> None:
    """What `nbgrader db student remove STUDENT --force` does."""
    with Gradebook(course.gradebook_url) as gradebook:
        gradebook.remove_student(student)


# --- late penalties


def test_a_rule_of_the_course_takes_off_what_nbgrader_itself_takes_off(course: Course) -> None:
    due(course, 5)
    for student, day in (("ada", 4), ("grace", 6)):
        hand_in(course, student, day)
    add_to_config(course, RULE)
    rows = autograde(course)
    assert rows == {"ada": ["7", "of", "9", "1.3"], "grace": ["3.5", "of", "9", "1.3"]}
    ours = exported(course)
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", "autograde", LAB, "--force"],
        cwd=course.root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert exported(course) == ours == {"ada": "7", "grace": "3.5"}
    assert autograde(course, "grace", "--regrade")["grace"][0] == "3.5"
    assert exported(course) == ours


def test_what_decides_a_penalty_is_looked_at_again(course: Course, asked: list[str]) -> None:
    hand_in(course, "grace", 6)
    assert autograde(course)["grace"][0] == "7"
    write_text(course.root / "my_late_rule.py", HALF)
    add_to_config(course, "c.AssignLatePenalties.plugin_class = 'my_late_rule.Half'\n")
    due(course, 5)
    assert autograde(course)["grace"][0] == "3.5"
    due(course, 7)
    assert autograde(course)["grace"][0] == "7"
    hand_in(course, "grace", 8)  # the same notebook, later
    assert autograde(course)["grace"][0] == "3.5"
    by_hand(course, "grace", 2)
    assert autograde(course)["grace"] == ["4.5", "of", "9"]
    due(course, 3)
    assert autograde(course)["grace"][0] == "0"
    with Gradebook(course.gradebook_url) as gradebook:
        gradebook.grant_extension(LAB, "grace", days=3)
    assert autograde(course)["grace"][0] == "4.5"
    due(course, 7)
    assert autograde(course)["grace"][0] == "9"
    due(course, 4)
    assert autograde(course)["grace"][0] == "4.5"
    add_to_config(course, "del c.AssignLatePenalties.plugin_class\n")
    assert autograde(course)["grace"][0] == "9"
    assert asked == ["grace"], "nothing was graded twice"


def test_what_is_in_the_gradebook_is_not_entered_again(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    for student in ("ada", "grace"):
        hand_in(course, student, 6)
    add_to_config(course, RULE)
    due(course, 5)
    before = autograde(course)
    monkeypatch.setattr("trtlab_grader.runs.write_grades", None)
    assert autograde(course) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("c.X = = 1\n", "SyntaxError: invalid syntax"),
        ("\n1 / 0\n", "ZeroDivisionError: division by zero (nbgrader_config.py, line 14)"),
        ("import no_such_module\n", "No module named 'no_such_module'"),
        ("raise SystemExit('stop')\n", "SystemExit: stop"),
    ],
)
def test_a_broken_configuration_is_one_line_that_names_it(
    course: Course, text: str, words: str
) -> None:
    hand_in(course, "ada")
    add_to_config(course, text)
    for command in ("autograde", "release"):
        line = refused(command, "--course", course.root)
        assert str(course.root / "nbgrader_config.py") in line
        assert words in line


def test_a_rule_that_raises_is_named_where_it_raises(course: Course) -> None:
    hand_in(course, "grace", 6)
    due(course, 5)
    add_to_config(course, RULE.replace("score / 2 ", "score / 0 "))
    ended = trtlab_grade("autograde", "--course", course.root)
    assert ended.status == 1
    words = "not entered: ZeroDivisionError: float division by zero (nbgrader_config.py, line "
    assert words in " ".join(ended.out.split())


def test_the_gradebook_is_the_one_in_the_settings_whatever_the_configuration_says(
    course: Course,
) -> None:
    hand_in(course, "ada")
    add_to_config(course, "c.CourseDirectory.db_url = 'sqlite:///elsewhere.db'\n")
    assert autograde(course)["ada"][0] == "7"
    assert not list(course.root.rglob("elsewhere.db"))


def test_a_release_heeds_the_configuration_too(course: Course) -> None:
    add_to_config(course, "c.ClearSolutions.code_stub = {'python': '# write it here'}\n")
    assert trtlab_grade("release", "--course", course.root).status == 0
    assert "# write it here" in (course.release / LAB / f"{LAB}.ipynb").read_text(encoding="utf-8")


# --- a gradebook that is not what it was


def test_a_student_who_is_no_longer_in_the_gradebook_is_entered_again(
    course: Course, asked: list[str]
) -> None:
    for student in ("ada", "alan"):
        hand_in(course, student)
    autograde(course)
    by_hand(course, "ada", 2)
    removed_from_gradebook(course, "alan")
    assert autograde(course) == {"ada": ["9", "of", "9"], "alan": ["7", "of", "9", "1.3"]}
    assert exported(course) == {"ada": "9", "alan": "7"}
    assert sorted(asked) == ["ada", "alan"]


def test_a_gradebook_from_a_backup_gets_what_came_after_it(course: Course) -> None:
    hand_in(course, "alan", text="first")
    autograde(course)
    by_hand(course, "alan", 1)
    backup = (course.root / "gradebook.db").read_bytes()
    hand_in(course, "alan", text="second")
    hand_in(course, "ada")
    autograde(course)
    (course.root / "gradebook.db").write_bytes(backup)
    # The person who gave alan 1 point has not read the second answer.
    assert autograde(course) == {
        "ada": ["7", "of", "9", "1.3"],
        "alan": ["8", "of", "9", "1.3"],
    }
    assert exported(course) == {"ada": "7", "alan": "8"}


def test_feedback_names_who_is_not_in_the_gradebook_and_gives_nobody_zeros(course: Course) -> None:
    for student in ("ada", "alan", "grace"):
        hand_in(course, student)
    autograde(course)
    removed_from_gradebook(course, "alan")
    line = refused("feedback", "--course", course.root)
    assert f"alan {LAB}: graded, but not in the gradebook" in line
    assert "trtlab-grade autograde" in line
    pages = {path.parent.name for path in course.feedback.glob("*/*.html")}
    assert pages == {"ada", "grace"}
    autograde(course)
    assert trtlab_grade("feedback", "alan", "--course", course.root).status == 0


# --- students who left


def test_a_student_who_was_removed_is_on_no_page(course: Course) -> None:
    for student in ("ada", "mal"):
        hand_in(course, student)
    autograde(course)
    shutil.rmtree(course.submitted / "mal")
    removed_from_gradebook(course, "mal")
    pages = trtlab_grade("feedback", "--course", course.root).out.splitlines()
    assert pages == [str(course.feedback / "ada" / "feedback.html")]
    assert "Nothing of mal has been graded" in refused("feedback", "mal", "--course", course.root)
    assert trtlab_grade("report", "--course", course.root).status == 0
    report = (course.root / "report.html").read_text(encoding="utf-8")
    assert ">ada<" in report
    assert "mal<" not in report
    assert "<b>1</b><span>graded notebook</span>" in report
    with Gradebook(course.gradebook_url) as gradebook, pytest.raises(MissingEntry):
        gradebook.find_student("mal")


# --- the table says what the gradebook says


def test_the_table_has_the_points_that_a_person_gave(course: Course) -> None:
    hand_in(course, "ada")
    assert autograde(course)["ada"] == ["7", "of", "9", "1.3"]
    by_hand(course, "ada", 1.5)
    assert autograde(course)["ada"] == ["8.5", "of", "9"]
    assert exported(course) == {"ada": "8.5"}


@pytest.mark.parametrize("content", [None, b"not JSON"])
def test_nothing_is_open_where_there_is_nothing_to_read(
    course: Course, content: bytes | None
) -> None:
    path = hand_in(course, "ada")
    path.unlink() if content is None else path.write_bytes(content)
    row = autograde(course)["ada"]
    assert row == ["7", "of", "9"]  # the made-up record's
    ended = trtlab_grade("autograde", "--json", "--course", course.root)
    assert '"needs_person": []' in ended.out
