"""What grading one lab of one student leaves behind: a versioned record, as JSON.

Gradebook, feedback, exports and the class report are all made from these; nothing is graded twice.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from trtlab.checks.verdict import Verdict
from trtlab.machine import MachineFacts

SCHEMA_VERSION = 1

FlagKind = Literal["attack", "human", "note"]
"""attack: plainly an attempt on the grade. human: somebody must look. note: good to know."""

Status = Literal["graded", "needs a GPU", "needs a person"]
"""Needs a GPU: judged but for findings of that state. Needs a person: documentation."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Flag(_Record):
    """Something that whoever reads the grade should know.

    Attributes:
        kind: see FlagKind.
        code: a key to count by, such as "symlink-deliverable".
        text: in words; it may quote what a student wrote, so escape it before showing it as HTML.
        task: where it belongs to one task.
    """

    kind: FlagKind
    code: str
    text: str
    task: str | None = None


class TaskRecord(_Record):
    """One task's verdict.

    Attributes:
        task: its number, "2.2".
        status: see Status.
        verdict: what the checks said; None for documentation that nothing can be said about.
        seconds: what the probe and the measurements took.
    """

    task: str
    status: Status
    verdict: Verdict | None
    seconds: float = 0.0


class LabRecord(_Record):
    """One lab of one student, graded.

    Attributes:
        key: hash of everything that the grade follows from; see store.py.
        student: nbgrader's id.
        assignment: nbgrader's name, "02-build".
        lab: its number.
        submission_sha256: of the submitted notebook.
        machine: where it was graded.
        isolation: "bubblewrap", or "none" where the instructor said --no-sandbox.
        started: ISO 8601, UTC.
        seconds: in all.
        tasks: by number, in the order of the lab.
        cell_errors: cell id -> "ValueError: ..." of the cells that raised.
        deliverables: name -> SHA-256 of the files that the tasks were judged on.
        flags: what is noteworthy.
    """

    schema_version: int = SCHEMA_VERSION
    key: str
    student: str
    assignment: str
    lab: int
    submission_sha256: str
    machine: MachineFacts
    isolation: Literal["bubblewrap", "none"]
    started: str
    seconds: float
    tasks: dict[str, TaskRecord]
    cell_errors: dict[str, str] = Field(default_factory=dict)
    deliverables: dict[str, str] = Field(default_factory=dict)
    flags: list[Flag] = Field(default_factory=list)

    @property
    def points(self) -> float:
        """Points that the checks gave."""
        return sum(task.verdict.points for task in self.tasks.values() if task.verdict)

    @property
    def waiting_for_gpu(self) -> list[str]:
        """Tasks that are not judged in full without a GPU, in the order of the lab."""
        return [number for number, task in self.tasks.items() if task.status == "needs a GPU"]

    def completed_by(self, later: "LabRecord") -> "LabRecord":
        """Return this record with the tasks that a later run, of the same submission, judged."""
        if later.key != self.key:
            raise ValueError("the two records are not of the same submission")
        flag = Flag(
            kind="note",
            code="graded-in-two-runs",
            text=f"{', '.join(later.tasks)} were judged later, on a machine with a GPU.",
        )
        return later.model_copy(
            update={
                "tasks": self.tasks | later.tasks,
                "flags": [*later.flags, flag],
                "seconds": round(self.seconds + later.seconds, 2),
            }
        )
