"""One page for each student: points by criterion, a card for every check, what is still open.

Made from the student's own records and gradebook entries and nothing else, so it cannot tell of
another student. Flags are for whoever grades; a page says at most that a person will look.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from markupsafe import Markup

from trtlab.backend import BADGE
from trtlab.checks.tasks import TASKS, Category, Task, tasks_of
from trtlab.checks.verdict import Finding, Verdict
from trtlab.files import write_text
from trtlab_grader.course import LABS
from trtlab_grader.records import LabRecord
from trtlab_grader.reports.charts import stacked_bar
from trtlab_grader.reports.grades import StudentGrades, TaskGrade
from trtlab_grader.reports.page import render
from trtlab_grader.reports.pictures import pictures
from trtlab_grader.reports.text import for_students, points
from trtlab_grader.reports.words import STATE_WORDS, known_misconception, lab_title, machine_line

FILE = "feedback.html"
_MOST_ERRORS = 20  # of a notebook's cells; behind a broken import, all of them raise


@dataclass(frozen=True)
class _Criterion:
    """A line of the overview: a criterion, or a lab."""

    name: str
    points: float
    open_points: float
    max_points: float
    bar: Markup


@dataclass(frozen=True)
class _TaskCard:
    about: Task
    grade: TaskGrade | None
    verdict: Verdict | None
    state: str
    word: str


@dataclass(frozen=True)
class _Lab:
    title: str
    handed_in: bool
    total: _Criterion
    penalty: float
    facts: str
    emulated: bool
    errors: tuple[tuple[str, str], ...]
    errors_left_out: int
    looked_at: bool
    cards: list[_TaskCard]
    comments: list[str]


def write_feedback(
    folder: Path,
    course: str,
    records: Sequence[LabRecord],
    grades: StudentGrades,
    charts: Iterable[tuple[str, bytes]] = (),
) -> Path:
    """Write a student's page as {folder}/feedback.html and return its path.

    Raises:
        OutputError: if it cannot be written.
    """
    return write_text(folder / FILE, feedback_page(course, records, grades, charts))


def feedback_page(
    course: str,
    records: Sequence[LabRecord],
    grades: StudentGrades,
    charts: Iterable[tuple[str, bytes]] = (),
) -> str:
    """Return a student's page.

    Args:
        course: its name.
        records: of this student, at most one for each lab.
        grades: of this student.
        charts: (title, PNG file) of pictures that the student made.

    Raises:
        ValueError: if a record is another student's.
    """
    for record in records:
        if record.student != grades.student:
            raise ValueError(f"a record of {record.student!r} on the page of {grades.student!r}")
    by_lab = {record.lab: record for record in records}
    labs = [_lab(number, by_lab.get(number), grades) for number in range(1, len(LABS) + 1)]
    most = _most(TASKS, grades)
    return render(
        "feedback.html.j2",
        for_students,
        course=course,
        student=grades.student,
        total=_line("Total", grades.points, grades.open_points, most),
        penalty=grades.penalty,
        criteria=[_criterion(category, grades) for category in get_args(Category)],
        labs=labs,
        waiting=_waiting(grades),
        badge=BADGE if any(record.machine.emulated for record in records) else None,
        pictures=pictures(charts),
        states=STATE_WORDS,
        misconception=_misconception,
    )


def _line(name: str, earned: float, still_open: float, most: float) -> _Criterion:
    label = f"{name}: {points(earned)} of {points(most)} points"
    if still_open:
        label += f", {points(still_open)} still open"
    bar = stacked_bar([("earned", earned), ("open", still_open)], most, label)
    return _Criterion(name, earned, still_open, most, bar)


def _most(numbers: Iterable[str], grades: StudentGrades) -> float:
    """Return what tasks are worth, by the gradebook where it has them."""
    return sum(
        grades.tasks[n].max_points if n in grades.tasks else TASKS[n].points for n in numbers
    )


def _criterion(category: Category, grades: StudentGrades) -> _Criterion:
    found = grades.of(category)
    most = _most((n for n, task in TASKS.items() if task.category == category), grades)
    earned = sum(grade.points for grade in found)
    return _line(category.capitalize(), earned, sum(g.open_points for g in found), most)


def _lab(number: int, record: LabRecord | None, grades: StudentGrades) -> _Lab:
    tasks = tasks_of(number)
    found = [grades.tasks[task.number] for task in tasks if task.number in grades.tasks]
    earned = grades.points_of_lab(number)
    most = _most((task.number for task in tasks), grades)
    title = lab_title(number)
    errors = tuple(record.cell_errors.items()) if record else ()
    return _Lab(
        title=title,
        handed_in=record is not None or bool(found),
        total=_line(title, earned, sum(grade.open_points for grade in found), most),
        penalty=sum(grade.points for grade in found) - earned,
        facts=machine_line(record) if record else "",
        emulated=record is not None and record.machine.emulated,
        errors=errors[:_MOST_ERRORS],
        errors_left_out=max(0, len(errors) - _MOST_ERRORS),
        looked_at=record is not None and any(f.kind != "note" for f in record.flags),
        cards=[_card(task, record, grades) for task in tasks],
        comments=[text for assignment, text in grades.comments if assignment == LABS[number - 1]],
    )


def _card(about: Task, record: LabRecord | None, grades: StudentGrades) -> _TaskCard:
    task = record.tasks.get(about.number) if record else None
    grade, verdict = grades.tasks.get(about.number), task.verdict if task else None
    if grade is None:
        state, word = "not-started", "not handed in"
    elif grade.manual is not None:
        full = grade.points >= grade.max_points
        state, word = "pass" if full else "partly", "graded by a person"
    elif grade.status == "needs a person":
        state, word = "open", "a person grades this"
    elif verdict is None:
        state, word = "pass" if grade.points >= grade.max_points else "fail", "graded"
    else:
        partly = verdict.state == "fail" and grade.points > 0
        state = "partly" if partly else verdict.state.replace(" ", "-").lower()
        word = "partly met" if partly else STATE_WORDS[verdict.state]
    return _TaskCard(about, grade, verdict, state, word)


def _waiting(grades: StudentGrades) -> Mapping[str, list[tuple[Task, TaskGrade]]]:
    """Return what is still open, by what it waits for.

    A person may also take away what a pre-check gave, so all that waits for one is open.
    """
    return {
        status: [
            (TASKS[number], grade)
            for number, grade in grades.tasks.items()
            if grade.status == status and (grade.open_points or status == "needs a person")
        ]
        for status in ("needs a GPU", "needs a person")
    }


def _misconception(finding: Finding) -> object:
    return known_misconception(finding.misconception) if finding.misconception else None
