"""The instructor's picture of a class: one HTML file from all records of a course.

Who did how well, what most failed and why, whom to look at, what is still open, what was graded
where. It names students: it is for whoever grades, not for the class.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import mean, median
from typing import get_args

from markupsafe import Markup

from trtlab.backend import BADGE
from trtlab.checks.misconceptions import Misconception
from trtlab.checks.tasks import TASKS, Category
from trtlab.files import write_text
from trtlab_grader.course import LABS
from trtlab_grader.records import LabRecord
from trtlab_grader.reports import statistics
from trtlab_grader.reports.charts import histogram, spread, stacked_bar
from trtlab_grader.reports.grades import StudentGrades, grades_from_records
from trtlab_grader.reports.page import render
from trtlab_grader.reports.similarity import Pair
from trtlab_grader.reports.text import points, visible
from trtlab_grader.reports.words import STATE_WORDS, known_misconception, lab_title

_MOST_PAIRS, _MOST_PAIRS_WITH_CODE = 100, 25
_MOST_SLOW, _MOST_INCONCLUSIVE, _MOST_CRITERIA = 10, 100, 40


@dataclass(frozen=True)
class _Student:
    """A row of the list of students; `anchor` is made here, an id may hold anything."""

    anchor: str
    grades: StudentGrades
    labs: tuple[float | None, ...]
    bar: Markup


@dataclass(frozen=True)
class _Criterion:
    name: str
    max_points: float
    mean: float
    median: float
    chart: Markup


@dataclass(frozen=True)
class _Seen:
    """A misconception and the students in whose work it was seen."""

    key: str
    about: Misconception
    students: list[str]
    bar: Markup


def write_class_report(
    path: Path,
    course: str,
    records: Sequence[LabRecord],
    grades: Sequence[StudentGrades],
    similar: Sequence[Pair],
) -> Path:
    """Write the report to `path` and return it; the other arguments are `class_report`'s.

    Raises:
        OutputError: if it cannot be written.
    """
    return write_text(path, class_report(course, records, grades, similar))


def class_report(
    course: str,
    records: Sequence[LabRecord],
    grades: Sequence[StudentGrades],
    similar: Sequence[Pair],
    today: date | None = None,
) -> str:
    """Return the report.

    Args:
        course: its name.
        records: the latest one for each student and lab.
        grades: of the students in the gradebook. A student with records who is not there counts
            by the records alone; one without records has handed in nothing.
        similar: pairs of similarity.similar_pairs.
        today: the date of the report; None for this day.
    """
    everybody = _with_records(records, grades)
    students = _students(everybody)
    anchors = {row.grades.student: row.anchor for row in students}
    handed_in = [g for g in everybody if g.tasks]
    totals = [g.points for g in handed_in]
    most = float(sum(task.points for task in TASKS.values()))
    return render(
        "class_report.html.j2",
        visible,
        course=course,
        date=(today or date.today()).isoformat(),
        students=students,
        anchor=_anchor(anchors),
        labs=[lab_title(number) for number in range(1, len(LABS) + 1)],
        handed_in=len(handed_in),
        submissions=len(records),
        totals=totals,
        mean=mean(totals) if totals else None,
        median=median(totals) if totals else None,
        max_points=most,
        histogram=histogram(totals, most),
        criteria=[_criterion(category, handed_in) for category in get_args(Category)],
        rates=[(rate, _rate_bar(rate)) for rate in statistics.task_rates(records)],
        criterion_rates=[
            (rate, _rate_bar(rate))
            for rate in statistics.criterion_rates(records)[:_MOST_CRITERIA]
            if rate.failing
        ],
        misconceptions=_misconceptions(records),
        attention=statistics.attention(records),
        waiting={
            status: statistics.waiting(everybody, status)
            for status in ("needs a GPU", "needs a person")
        },
        tasks=TASKS,
        similar=similar[:_MOST_PAIRS],
        similar_left_out=max(0, len(similar) - _MOST_PAIRS),
        with_code=_MOST_PAIRS_WITH_CODE,
        slowest=statistics.slowest(records, _MOST_SLOW),
        inconclusive=statistics.inconclusive(records)[:_MOST_INCONCLUSIVE],
        inconclusive_left_out=max(0, len(statistics.inconclusive(records)) - _MOST_INCONCLUSIVE),
        machines=statistics.machines(records),
        not_isolated=sum(record.isolation == "none" for record in records),
        emulated=sum(record.machine.emulated for record in records),
        badge=BADGE,
        states=STATE_WORDS,
    )


def _with_records(
    records: Sequence[LabRecord], grades: Sequence[StudentGrades]
) -> list[StudentGrades]:
    found = {entry.student: entry for entry in grades}
    for student in dict.fromkeys(record.student for record in records):
        if student not in found:
            own = [record for record in records if record.student == student]
            found[student] = grades_from_records(student, own)
    return sorted(found.values(), key=lambda entry: entry.student)


def _students(everybody: Sequence[StudentGrades]) -> list[_Student]:
    most = float(sum(task.points for task in TASKS.values()))
    rows = []
    for index, grades in enumerate(everybody):
        labs_there = {TASKS[number].lab for number in grades.tasks}
        label = f"{points(grades.points)} of {points(most)} points"
        rows.append(
            _Student(
                anchor=f"student-{index}",
                grades=grades,
                labs=tuple(
                    grades.points_of_lab(lab) if lab in labs_there else None
                    for lab in range(1, len(LABS) + 1)
                ),
                bar=stacked_bar(
                    [("earned", grades.points), ("open", grades.open_points)], most, label
                ),
            )
        )
    return rows


def _anchor(anchors: Mapping[str, str]) -> Callable[[str], str]:
    # A pair may name somebody whose notebook could not be graded.
    return lambda student: anchors.get(student, "students")


def _criterion(category: Category, handed_in: Sequence[StudentGrades]) -> _Criterion:
    most = float(sum(t.points for t in TASKS.values() if t.category == category))
    values = [sum(grade.points for grade in grades.of(category)) for grades in handed_in]
    label = f"{category}: no submissions"
    if values:
        label = (
            f"{category}: median {points(median(values))}, from {points(min(values))} to "
            f"{points(max(values))} of {points(most)}"
        )
    return _Criterion(
        name=category.capitalize(),
        max_points=most,
        mean=mean(values) if values else 0.0,
        median=median(values) if values else 0.0,
        chart=spread(values, most, label),
    )


def _rate_bar(rate: statistics.Rate) -> Markup:
    parts = [
        ("s-" + state.replace(" ", "-").lower(), float(rate.states[state]))
        for state in STATE_WORDS
        if rate.states[state]
    ]
    label = ", ".join(
        f"{STATE_WORDS[state]}: {rate.states[state]}" for state in STATE_WORDS if rate.states[state]
    )
    return stacked_bar(parts, rate.submissions, label)


def _misconceptions(records: Sequence[LabRecord]) -> list[_Seen]:
    found = statistics.misconceptions(records)
    largest = max((len(students) for _, students in found), default=1)
    return [
        _Seen(
            key,
            known_misconception(key),
            students,
            stacked_bar([("count", len(students))], largest, f"{len(students)} students"),
        )
        for key, students in found
    ]
