"""Made-up records for tests."""

from datetime import datetime, timezone

from trtlab.checks.tasks import TASKS, tasks_of
from trtlab.checks.verdict import Finding, Verdict
from trtlab.machine import MachineFacts
from trtlab_grader.course import LABS
from trtlab_grader.records import LabRecord, TaskRecord

MACHINE = MachineFacts(
    time=datetime(2026, 1, 1, tzinfo=timezone.utc),
    cpu="a CPU",
    cpu_cores=2,
    system="Linux",
    backend="emulated",
    emulated=True,
    tf32_convolutions=True,
    tf32_matmuls=False,
    versions={},
)


def verdict_of(task: str, points: float) -> Verdict:
    most = float(TASKS[task].points)
    finding = Finding(
        criterion="it works",
        state="pass" if points == most else "fail",
        points=points,
        max_points=most,
        measured="something",
        required="something else",
        next_step="" if points == most else "try again",
    )
    return Verdict(task=task, title=TASKS[task].title, findings=(finding,))


def make_record(student: str, lab: int, share: float = 1.0, **changes: object) -> LabRecord:
    """Return a record in which every checked task has the given share of its points."""
    tasks = {
        task.number: TaskRecord(
            task=task.number,
            status="needs a person" if task.category == "documentation" else "graded",
            verdict=None
            if task.category == "documentation"
            else verdict_of(task.number, share * task.points),
            seconds=1.5,
        )
        for task in tasks_of(lab)
    }
    given: dict[str, object] = {
        "key": f"{student}-{lab}-{share}",
        "student": student,
        "assignment": LABS[lab - 1],
        "lab": lab,
        "submission_sha256": "0" * 64,
        "machine": MACHINE,
        "isolation": "bubblewrap",
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 12.0,
        "tasks": tasks,
    }
    return LabRecord.model_validate(given | changes)
