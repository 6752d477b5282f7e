"""The table at the end of a grading run, and the same as JSON."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trtlab.checks.tasks import TASKS
from trtlab_grader.course import Course
from trtlab_grader.nbgrader_glue.gradebook import open_gradebook
from trtlab_grader.records import LabRecord
from trtlab_grader.reports.grades import StudentGrades, grades_from_gradebook
from trtlab_grader.runs import Outcome
from trtlab_grader.samples import Sample

Facts = dict[str, Any]


def summary(course: Course, outcome: Outcome) -> dict[str, Any]:
    """Return what a run came to as JSON-able data; points are those of the gradebook."""
    return {
        "graded": _facts(course, outcome),
        "failed": [
            {"student": s.student, "assignment": s.assignment, "why": why}
            for s, why in outcome.failed.items()
        ],
    }


def print_summary(course: Course, outcome: Outcome, console: Console) -> None:
    """Print a row for each lab of each student, and what is open."""
    if not outcome.records and not outcome.failed:
        console.print("Nothing has been handed in yet: `trtlab-grade collect` takes submissions.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("student", "lab", "points", "open tasks", "flags"):
        table.add_column(column, justify="right" if column == "points" else "left")
    graded = _facts(course, outcome)
    for facts in sorted(graded, key=lambda facts: (facts["student"], facts["assignment"])):
        table.add_row(
            Text(facts["student"]),
            Text(facts["assignment"]),
            f"{facts['points']:g} of {facts['max_points']:g}",
            Text(", ".join(facts["needs_gpu"] + facts["needs_person"])),
            Text(_flag_words(facts)),
        )
    console.print(table)
    _print_remarks(graded, outcome, console)


def _print_remarks(graded: Sequence[Facts], outcome: Outcome, console: Console) -> None:
    if any(facts["isolation"] == "none" for facts in graded):
        console.print("Graded without a sandbox: students' code ran with your rights.")
    if any(facts["needs_gpu"] for facts in graded):
        console.print("Tasks on speed are open until this runs on a machine with an NVIDIA GPU.")
    if any(facts["needs_person"] for facts in graded):
        console.print("Documentation is graded by a person: `jupyter lab`, Nbgrader, Formgrader.")
    if any(_flag_words(facts) for facts in graded):
        console.print("What the flags are about: `trtlab-grade report`, under To look at.")
    for submission, why in outcome.failed.items():
        console.print(
            f"Not graded: {submission.student} {submission.assignment}: {why}", markup=False
        )


def print_class(
    course: Course, samples: Sequence[Sample], outcome: Outcome, console: Console
) -> None:
    """Print a row for each made-up student: what is wrong with the work, and what it got."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("student", "what was handed in", "points", "flags"):
        table.add_column(column, justify="right" if column == "points" else "left")
    graded = _facts(course, outcome)
    for sample in samples:
        own = [facts for facts in graded if facts["student"] == sample.student]
        got, most = (sum(facts[key] for facts in own) for key in ("points", "max_points"))
        flags = ", ".join(dict.fromkeys(filter(None, map(_flag_words, own))))
        table.add_row(Text(sample.student), Text(sample.what), f"{got:g} of {most:g}", Text(flags))
    console.print(table)
    _print_remarks(graded, outcome, console)


def _facts(course: Course, outcome: Outcome) -> list[Facts]:
    """Return what the gradebook has of each lab: people change points, and due dates do."""
    by_student: dict[str, list[LabRecord]] = {}
    for record in outcome.records.values():
        by_student.setdefault(record.student, []).append(record)
    with open_gradebook(course) as gradebook:
        grades = {
            student: grades_from_gradebook(gradebook, student, records)
            for student, records in by_student.items()
        }
    return [_facts_of(record, grades[record.student]) for record in outcome.records.values()]


def _facts_of(record: LabRecord, grades: StudentGrades) -> Facts:
    tasks = [grade for grade in grades.tasks.values() if TASKS[grade.task].lab == record.lab]
    return {
        "student": record.student,
        "assignment": record.assignment,
        "points": grades.points_of_lab(record.lab),
        "max_points": sum(grade.max_points for grade in tasks),
        "needs_gpu": [grade.task for grade in tasks if grade.status == "needs a GPU"],
        "needs_person": [grade.task for grade in tasks if grade.status == "needs a person"],
        "isolation": record.isolation,
        "seconds": record.seconds,
        "flags": [flag.model_dump() for flag in record.flags],
    }


def _flag_words(facts: Facts) -> str:
    counted: dict[str, int] = {}
    for flag in facts["flags"]:
        if flag["kind"] != "note":
            counted[flag["code"]] = counted.get(flag["code"], 0) + 1
    return ", ".join(f"{code} x{n}" if n > 1 else code for code, n in counted.items())
