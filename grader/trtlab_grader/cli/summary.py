"""The table at the end of a grading run, and the same as JSON."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trtlab_grader.records import LabRecord, TaskRecord
from trtlab_grader.runs import Outcome
from trtlab_grader.samples import Sample


def summary(outcome: Outcome) -> dict[str, Any]:
    """Return what a run came to as JSON-able data."""
    return {
        "graded": [_facts(record) for record in outcome.records.values()],
        "failed": [
            {"student": s.student, "assignment": s.assignment, "why": why}
            for s, why in outcome.failed.items()
        ],
    }


def print_summary(outcome: Outcome, console: Console) -> None:
    """Print a row for each lab of each student, and what is open."""
    if not outcome.records and not outcome.failed:
        console.print("Nothing has been handed in yet: `trtlab-grade collect` takes submissions.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("student", "lab", "points", "open tasks", "flags"):
        table.add_column(column, justify="right" if column == "points" else "left")
    for record in sorted(outcome.records.values(), key=lambda r: (r.student, r.assignment)):
        facts = _facts(record)
        table.add_row(
            Text(record.student),
            Text(record.assignment),
            f"{facts['points']:g} of {facts['max_points']:g}",
            Text(", ".join(facts["needs_gpu"] + facts["needs_person"])),
            Text(_flag_words(record)),
        )
    console.print(table)
    _print_remarks(outcome, console)


def _print_remarks(outcome: Outcome, console: Console) -> None:
    if any(record.isolation == "none" for record in outcome.records.values()):
        console.print("Graded without a sandbox: students' code ran with your rights.")
    if any(task for record in outcome.records.values() for task in _facts(record)["needs_gpu"]):
        console.print("Tasks on speed are open until this runs on a machine with an NVIDIA GPU.")
    if any(task for record in outcome.records.values() for task in _facts(record)["needs_person"]):
        console.print("Documentation is graded by a person: `jupyter lab`, Nbgrader, Formgrader.")
    if any(flag.kind != "note" for record in outcome.records.values() for flag in record.flags):
        console.print("What the flags are about: `trtlab-grade report`, under To look at.")
    for submission, why in outcome.failed.items():
        console.print(
            f"Not graded: {submission.student} {submission.assignment}: {why}", markup=False
        )


def print_class(samples: Sequence[Sample], outcome: Outcome, console: Console) -> None:
    """Print a row for each made-up student: what is wrong with the work, and what it got."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("student", "what was handed in", "points", "flags"):
        table.add_column(column, justify="right" if column == "points" else "left")
    for sample in samples:
        records = [r for r in outcome.records.values() if r.student == sample.student]
        facts = [_facts(record) for record in records]
        got, most = (sum(fact[key] for fact in facts) for key in ("points", "max_points"))
        flags = ", ".join(dict.fromkeys(filter(None, map(_flag_words, records))))
        table.add_row(Text(sample.student), Text(sample.what), f"{got:g} of {most:g}", Text(flags))
    console.print(table)
    _print_remarks(outcome, console)


def _facts(record: LabRecord) -> dict[str, Any]:
    tasks = record.tasks.values()
    return {
        "student": record.student,
        "assignment": record.assignment,
        "points": record.points,
        "max_points": sum(task.verdict.max_points for task in tasks if task.verdict),
        "needs_gpu": [task.task for task in tasks if task.status == "needs a GPU"],
        "needs_person": [task.task for task in tasks if _waits_for_a_person(task)],
        "isolation": record.isolation,
        "seconds": record.seconds,
        "flags": [flag.model_dump() for flag in record.flags],
    }


def _waits_for_a_person(task: TaskRecord) -> bool:
    """Whether there is something to read; the gradebook gives 0 where nothing was written."""
    written = task.verdict is None or task.verdict.state != "not started"
    return task.status == "needs a person" and written


def _flag_words(record: LabRecord) -> str:
    counted: dict[str, int] = {}
    for flag in record.flags:
        if flag.kind != "note":
            counted[flag.code] = counted.get(flag.code, 0) + 1
    return ", ".join(f"{code} x{n}" if n > 1 else code for code, n in counted.items())
