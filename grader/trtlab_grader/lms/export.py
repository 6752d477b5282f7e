"""Grades from nbgrader's gradebook as CSV: plain, or as Canvas and Moodle import them.

A cell of text that a spreadsheet would take for a formula gets an apostrophe before it.
"""

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from nbgrader.api import Gradebook, MissingEntry, Student

from trtlab.errors import InputError
from trtlab.files import write_text
from trtlab_grader.course import Course
from trtlab_grader.nbgrader_glue.gradebook import open_gradebook

Cell = str | float | None
Row = list[Cell]

_STARTS_A_FORMULA = ("=", "+", "-", "@")


@dataclass(frozen=True)
class _Grades:
    """What is exported.

    Attributes:
        most: assignment -> points that it is worth, in order; without those that have none.
        students: in the order of their ids.
        scores: (student, assignment) -> score, late penalty taken off; not there if not graded.
        open: the same keys, where some of it is not graded yet.
    """

    most: dict[str, float]
    students: list[Student]
    scores: dict[tuple[str, str], float]
    open: set[tuple[str, str]]


def export(course: Course, output: Path, layout: str = "csv") -> Path:
    """Write all scores; return the path.

    A lab that a student has not handed in is an empty cell, which an import leaves as it is.

    Args:
        course: whose gradebook.
        output: the file.
        layout: "csv", "canvas" or "moodle".

    Raises:
        CourseError: if the gradebook cannot be opened.
        InputError: if there is no such layout.
        OutputError: if the file cannot be written.
    """
    if layout not in _LAYOUTS:
        raise InputError(f"There is no layout {layout!r}; there are {', '.join(_LAYOUTS)}.")
    with open_gradebook(course) as gradebook:
        rows = _LAYOUTS[layout](_read(gradebook))
        text = io.StringIO(newline="")
        csv.writer(text).writerows([_safe(cell) for cell in row] for row in rows)
    return write_text(output, text.getvalue())


def _read(gradebook: Gradebook) -> _Grades:
    most = {a.name: float(a.max_score) for a in gradebook.assignments if a.max_score}
    grades = _Grades(dict(sorted(most.items())), [], {}, set())
    for student in sorted(gradebook.students, key=lambda student: student.id):
        grades.students.append(student)
        for assignment in grades.most:
            try:
                submission = gradebook.find_submission(assignment, student.id)
            except MissingEntry:
                continue
            penalty = submission.late_submission_penalty or 0.0
            score = max(0.0, submission.score - penalty)
            grades.scores[student.id, assignment] = round(score, 2)
            if submission.needs_manual_grade:
                grades.open.add((student.id, assignment))
    return grades


def _plain(grades: _Grades) -> Iterable[Row]:
    yield ["student", "last name", "first name", "email", *grades.most, "total", "not yet graded"]
    for student in grades.students:
        scores = _scores(grades, student)
        waiting = [name for name in grades.most if (student.id, name) in grades.open]
        yield [
            *(student.id, student.last_name, student.first_name, student.email),
            *(*scores, _total(scores), ", ".join(waiting)),
        ]


def _canvas(grades: _Grades) -> Iterable[Row]:
    yield ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *grades.most]
    yield ["    Points Possible", None, None, None, None, *grades.most.values()]
    for student in grades.students:
        name = ", ".join(filter(None, [student.last_name, student.first_name])) or student.id
        number = student.lms_user_id or (student.id if student.id.isdecimal() else None)
        yield [name, number, None, student.id, None, *_scores(grades, student)]


def _moodle(grades: _Grades) -> Iterable[Row]:
    columns = [f"Assignment: {name} (Real)" for name in grades.most]
    yield ["First name", "Last name", "ID number", "Email address", *columns]
    for student in grades.students:
        yield [
            *(student.first_name, student.last_name, student.id, student.email),
            *_scores(grades, student),
        ]


_LAYOUTS: dict[str, Callable[[_Grades], Iterable[Row]]] = {
    "csv": _plain,
    "canvas": _canvas,
    "moodle": _moodle,
}


def _scores(grades: _Grades, student: Student) -> list[Cell]:
    return [grades.scores.get((student.id, name)) for name in grades.most]


def _total(scores: Iterable[Cell]) -> float:
    return round(sum(score for score in scores if isinstance(score, float)), 2)


def _safe(cell: Cell) -> str:
    if isinstance(cell, float):
        return f"{cell:g}"
    text = cell or ""
    return f"'{text}" if text.lstrip().startswith(_STARTS_A_FORMULA) else text
