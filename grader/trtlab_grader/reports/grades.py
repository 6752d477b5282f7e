"""What a student has in the gradebook, as plain data: points of checks, of people, comments.

Filled from nbgrader's gradebook where there is one, else from the records alone. Points follow
nbgrader's rule: a person's stand in place of the check's, and extra credit is added.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbgrader.api import Gradebook, MissingEntry

from trtlab.checks.tasks import TASKS, Category
from trtlab_grader.course import LABS
from trtlab_grader.notebooks.matching import task_of
from trtlab_grader.records import LabRecord, Status, TaskRecord


@dataclass(frozen=True)
class TaskGrade:
    """One task of one student.

    Attributes:
        task: its number, "2.2".
        max_points: what it is worth.
        automatic: what its check gave; None where it gave nothing yet, or there is none.
        manual: what a person gave, which then counts instead.
        extra: extra credit by a person.
        status: see records.Status; as the gradebook has it, where there is one.
        open_points: what may still be added once it has been graded on a GPU or by a person.
        comments: by whoever graded it.
    """

    task: str
    max_points: float
    automatic: float | None = None
    manual: float | None = None
    extra: float = 0.0
    status: Status = "graded"
    open_points: float = 0.0
    comments: tuple[str, ...] = ()

    @property
    def points(self) -> float:
        """Points that count."""
        given = self.automatic if self.manual is None else self.manual
        return (given or 0.0) + self.extra

    @property
    def category(self) -> Category:
        """The criterion that the task belongs to."""
        return TASKS[self.task].category


@dataclass(frozen=True)
class StudentGrades:
    """All that a student has been given so far.

    Attributes:
        student: nbgrader's id.
        tasks: by number. A task of a lab that was not handed in is not there and has no points.
        late_penalties: assignment -> points taken off, zero or more; a lab never falls below zero.
        comments: (assignment, text) of comments on cells that belong to no task.
    """

    student: str
    tasks: Mapping[str, TaskGrade]
    late_penalties: Mapping[str, float] = field(default_factory=dict)
    comments: tuple[tuple[str, str], ...] = ()

    @property
    def points(self) -> float:
        """Points in all, late penalties taken off."""
        return sum(self.points_of_lab(lab) for lab in range(1, len(LABS) + 1))

    @property
    def penalty(self) -> float:
        """What late penalties took off."""
        return sum(grade.points for grade in self.tasks.values()) - self.points

    @property
    def open_points(self) -> float:
        """Points that may still be added."""
        return sum(grade.open_points for grade in self.tasks.values())

    def points_of_lab(self, lab: int) -> float:
        """Return a lab's points, its late penalty taken off."""
        raw = sum(g.points for g in self.tasks.values() if TASKS[g.task].lab == lab)
        return max(0.0, raw - self.late_penalties.get(LABS[lab - 1], 0.0))

    def of(self, category: Category) -> list[TaskGrade]:
        """Return the tasks of one criterion that were handed in."""
        return [grade for grade in self.tasks.values() if grade.category == category]


def grades_from_records(student: str, records: Sequence[LabRecord]) -> StudentGrades:
    """Return what the checks gave a student, where no gradebook has been written yet."""
    return StudentGrades(
        student=student,
        tasks={
            number: _grade(number, float(TASKS[number].points), task)
            for record in records
            for number, task in record.tasks.items()
        },
    )


def grades_from_gradebook(
    gradebook: Gradebook, student: str, records: Sequence[LabRecord]
) -> StudentGrades:
    """Read a student's points and comments from nbgrader's gradebook.

    Args:
        gradebook: open.
        student: nbgrader's id.
        records: the student's; they tell why a task is not graded yet. One of a submission that
            is not in the gradebook counts by itself.
    """
    recorded = {number: task for record in records for number, task in record.tasks.items()}
    tasks: dict[str, TaskGrade] = {}
    penalties: dict[str, float] = {}
    general: list[tuple[str, str]] = []
    for assignment in LABS:
        try:
            submission = gradebook.find_submission(assignment, student)
        except MissingEntry:
            own = [record for record in records if record.assignment == assignment]
            tasks.update(grades_from_records(student, own).tasks)
            continue
        penalties[assignment] = submission.late_submission_penalty or 0.0
        said, others = _comments(submission)
        general += [(assignment, text) for text in others]
        for notebook in submission.notebooks:
            for entry in notebook.grades:
                number = task_of(entry.name)
                if number is None:
                    continue
                tasks[number] = _grade(
                    number, entry.max_score, recorded.get(number), entry, said.get(number, ())
                )
    return StudentGrades(
        student=student,
        tasks=dict(sorted(tasks.items())),
        late_penalties=penalties,
        comments=tuple(general),
    )


def _comments(submission: Any) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Return a person's comments on an nbgrader submission: by task, and on everything else."""
    said: dict[str, tuple[str, ...]] = {}
    others: list[str] = []
    for notebook in submission.notebooks:
        for comment in notebook.comments:
            text = (comment.manual_comment or "").strip()
            number = task_of(comment.name)
            if text and number:
                said[number] = (*said.get(number, ()), text)
            elif text:
                others.append(text)
    return said, others


def _grade(
    number: str,
    max_points: float,
    task: TaskRecord | None,
    entry: Any = None,
    comments: tuple[str, ...] = (),
) -> TaskGrade:
    """Combine the record of a task with its entry in the gradebook, of which one may be missing."""
    verdict = task.verdict if task else None
    automatic, manual, extra = verdict.points if verdict else None, None, None
    status: Status = task.status if task else "graded"
    if entry is not None:
        automatic, manual, extra = entry.auto_score, entry.manual_score, entry.extra_credit
        if not entry.needs_manual_grade:
            status = "graded"
        elif manual is not None or status == "graded":
            status = "needs a person"
    reachable = 0.0
    if manual is None and status == "needs a person":
        reachable = max_points
    elif manual is None and status == "needs a GPU" and verdict:
        waiting = (f.max_points for f in verdict.findings if f.state == "needs a GPU")
        reachable = verdict.points + sum(waiting)
    return TaskGrade(
        task=number,
        max_points=max_points,
        automatic=automatic,
        manual=manual,
        extra=extra or 0.0,
        status=status,
        open_points=max(0.0, reachable - (automatic or 0.0)),
        comments=comments,
    )
