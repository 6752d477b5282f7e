"""What a student's earlier labs left for a later one: as they stand now, and where it serves."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from trtlab.backend import IS_EMULATED, NAME
from trtlab.machine import machine_facts
from trtlab_grader.course import CourseError
from trtlab_grader.records import Flag, LabRecord
from trtlab_grader.store import DELIVERABLES, Store
from trtlab_grader.submissions import Submission

_ONNX, _ONNX_TASKS = "resnet50_simplified.onnx", ("1.1", "1.2")
"""The file that all later labs start from, and the tasks that make it.

Engines are another matter: what later labs grade about them, such as what INT8 cost in accuracy, is
about the student's own, good or bad.
"""


class Left(NamedTuple):
    """What earlier labs left: assignment -> files that serve; and what there is to say about it."""

    files: dict[str, list[Path]]
    flags: list[Flag]


def still_open(record: LabRecord) -> list[str]:
    """Return the tasks of a record that could be judged on this machine and have not been."""
    return [] if IS_EMULATED else record.waiting_for_gpu


def to_grade_before(
    submission: Submission, keys: Mapping[Submission, str], store: Store
) -> list[Submission]:
    """Return the student's earlier labs that have not been graded as they were handed in last."""
    records = {other: store.get(keys[other]) for other in _before(submission, keys)}
    return [other for other, record in records.items() if record is None or still_open(record)]


def left_by(submission: Submission, keys: Mapping[Submission, str], store: Store) -> Left:
    """Return what a student's earlier labs left for a lab.

    An engine is of one machine: where it was built elsewhere, a provided one stands in.

    Raises:
        CourseError: if an earlier lab that was handed in has no record. With a provided file in
            its place the grade would be another one.
    """
    left = Left({}, [])
    for other in _before(submission, keys):
        record = store.get(keys[other])
        if record is None:
            raise CourseError(
                f"{other.assignment} of {other.student} has to be graded first, as it was handed "
                f"in last: {submission.assignment} goes on from what it leaves."
            )
        if _built_on(record) != _here():
            continue
        files = sorted((store.folder(record.key) / DELIVERABLES).iterdir())
        if lost := [task for task in _ONNX_TASKS if _lost_points(record, task)]:
            if any(path.name == _ONNX for path in files):
                text = f"{_ONNX} lost points in task {lost[0]}: a provided one is used here."
                left.flags.append(Flag(kind="note", code="provided-in-its-place", text=text))
            files = [path for path in files if path.name != _ONNX]
        left.files[other.assignment] = files
    return left


def _before(submission: Submission, keys: Mapping[Submission, str]) -> list[Submission]:
    """Return the earlier labs that the student has handed in, in their order."""
    own = [other for other in keys if other.student == submission.student]
    return sorted((o for o in own if o.lab < submission.lab), key=lambda other: other.lab)


def _lost_points(record: LabRecord, task: str) -> bool:
    verdict = record.tasks[task].verdict if task in record.tasks else None
    return verdict is not None and verdict.points < verdict.max_points


def _built_on(record: LabRecord) -> tuple[str, str | None]:
    """Return the backend and the GPU that a record's engines are of."""
    gpu = record.machine.gpu
    return record.machine.backend, gpu.name if gpu else None


def _here() -> tuple[str, str | None]:
    gpu = machine_facts().gpu
    return NAME, gpu.name if gpu else None
