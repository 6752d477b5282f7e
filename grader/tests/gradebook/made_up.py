"""Records as the grader would make them, without grading anything."""

from pathlib import Path
from typing import Any

from made_up_records import MACHINE
from trtlab.checks.tasks import tasks_of
from trtlab.checks.verdict import Finding, State, Verdict
from trtlab_grader.records import LabRecord, Status, TaskRecord


def verdict(task: str, points: float, most: float, **more: Any) -> Verdict:
    state: State = "pass" if points == most else "fail"
    facts = {"measured": f"measured in {task}", "required": "something", **more}
    finding = Finding(
        criterion="works", points=points, max_points=most, **{"state": state, **facts}
    )
    return Verdict(task=task, title=f"Title of {task}", findings=(finding,))


def record(
    student: str, assignment: str, share: float = 1.0, gpu: bool = True, **more: Any
) -> LabRecord:
    """A record of a lab in which every check gave `share` of its points.

    Without `gpu`, tasks on performance wait for one. Documentation waits for a person.
    """
    tasks = {}
    for task in tasks_of(int(assignment[:2])):
        status: Status = "graded"
        made: Verdict | None = verdict(task.number, share * task.points, task.points)
        if task.category == "documentation":
            status = "needs a person"
            made = verdict(task.number, 1, 2) if assignment == "06-report" else None
        elif task.category == "performance" and not gpu:
            status = "needs a GPU"
            made = verdict(task.number, 0, task.points, state="needs a GPU")
        tasks[task.number] = TaskRecord(task=task.number, status=status, verdict=made)
    facts = {
        "key": "k" * 40,
        "lab": int(assignment[:2]),
        "submission_sha256": "0" * 64,
        "machine": MACHINE,
        "isolation": "none",
        "started": "2025-01-01T00:00:00+00:00",
        "seconds": 1.0,
        "tasks": tasks,
    }
    return LabRecord(student=student, assignment=assignment, **{**facts, **more})


def full_marks(student: str, assignment: str, path: Path) -> LabRecord:
    """A RecordFor that nbgrader can be given by its dotted name."""
    assert path.parts[-3:-1] == (student, assignment)
    return record(student, assignment)
