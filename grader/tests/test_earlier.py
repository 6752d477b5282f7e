"""What earlier labs leave for a later one: as handed in last, and fit to go on from."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from classroom import submit
from made_up_records import make_record, verdict_of
from trtlab.machine import machine_facts
from trtlab_grader import runs
from trtlab_grader.course import LABS, Course, CourseError, open_course
from trtlab_grader.dispatch import Job
from trtlab_grader.earlier import left_by, to_grade_before
from trtlab_grader.records import LabRecord
from trtlab_grader.store import DELIVERABLES, NOTEBOOK, Store
from trtlab_grader.submissions import Submission, find_submissions, keys_of

ONNX = "resnet50_simplified.onnx"
Keys = dict[Submission, str]


@pytest.fixture
def room(classroom_template: Path, tmp_path: Path) -> Course:
    shutil.copytree(classroom_template, tmp_path / "room")
    return open_course(tmp_path / "room")


def hand_in(course: Course, lab: int, text: str = "", student: str = "ada") -> None:
    released = course.release / LABS[lab - 1] / f"{LABS[lab - 1]}.ipynb"
    submit(course, student, LABS[lab - 1], released.read_bytes() + text.encode())


def keys_in(course: Course) -> Keys:
    return keys_of(course, find_submissions(course))


def lab_of(keys: Keys, lab: int, student: str = "ada") -> Submission:
    (found,) = (s for s in keys if (s.student, s.lab) == (student, lab))
    return found


def keep(course: Course, record: LabRecord) -> None:
    files = course.root / "made"
    (files / DELIVERABLES).mkdir(parents=True)
    (files / DELIVERABLES / ONNX).write_text("a model")
    (files / DELIVERABLES / "other").write_text("a file")
    (files / NOTEBOOK).write_text("{}")
    Store(course.records).put(record, files)


def graded(course: Course, lab: int, key: str, share: float = 1.0, **changes: Any) -> LabRecord:
    record = make_record("ada", lab, share, key=key, machine=machine_facts(), **changes)
    keep(course, record)
    return record


def names(files: list[Path]) -> list[str]:
    return [path.name for path in files]


def test_a_lab_goes_on_from_what_was_handed_in_last(room: Course) -> None:
    hand_in(room, 1)
    hand_in(room, 2)
    graded(room, 1, keys_in(room)[lab_of(keys_in(room), 1)])
    keys, store = keys_in(room), Store(room.records)
    assert to_grade_before(lab_of(keys, 2), keys, store) == []
    left = left_by(lab_of(keys, 2), keys, store)
    assert names(left.files["01-export"]) == ["other", ONNX]
    assert left.flags == []

    hand_in(room, 1, " ")  # again, and another
    keys = keys_in(room)
    assert to_grade_before(lab_of(keys, 2), keys, store) == [lab_of(keys, 1)]
    with pytest.raises(CourseError, match="01-export of ada has to be graded first"):
        left_by(lab_of(keys, 2), keys, store)


def test_labs_of_others_and_later_labs_do_not_matter(room: Course) -> None:
    hand_in(room, 1, student="bob")
    hand_in(room, 2)
    hand_in(room, 3)
    keys, store = keys_in(room), Store(room.records)
    assert to_grade_before(lab_of(keys, 2), keys, store) == []
    assert left_by(lab_of(keys, 2), keys, store).files == {}


@pytest.mark.parametrize("task", ["1.1", "1.2"])
def test_a_model_that_lost_points_is_not_built_on(room: Course, task: str) -> None:
    hand_in(room, 1)
    hand_in(room, 2)
    keys = keys_in(room)
    record = make_record("ada", 1)
    record.tasks[task].verdict = verdict_of(task, 2.5)
    graded(room, 1, keys[lab_of(keys, 1)], tasks=record.tasks)
    left = left_by(lab_of(keys, 2), keys, Store(room.records))
    assert names(left.files["01-export"]) == ["other"]
    assert [(flag.kind, flag.code) for flag in left.flags] == [("note", "provided-in-its-place")]
    assert f"task {task}" in left.flags[0].text


def test_what_was_built_elsewhere_does_not_serve(room: Course) -> None:
    hand_in(room, 1)
    hand_in(room, 2)
    keys = keys_in(room)
    elsewhere = machine_facts().model_copy(update={"backend": "tensorrt of another machine"})
    keep(room, make_record("ada", 1, key=keys[lab_of(keys, 1)], machine=elsewhere))
    assert left_by(lab_of(keys, 2), keys, Store(room.records)).files == {}


def test_one_lab_is_graded_after_those_that_it_goes_on_from(
    room: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lab alone is asked for, when the one before was handed in again."""
    for lab in (1, 2, 3):
        hand_in(room, lab)
    hand_in(room, 1, student="bob")
    old = keys_in(room)
    graded(room, 1, old[lab_of(old, 1)])
    hand_in(room, 1, " ")
    asked: list[str] = []

    def dispatch(jobs: list[Job], *_: Any, **__: Any) -> Iterator[tuple[Job, LabRecord]]:
        keys = keys_in(room)
        for job in jobs:
            asked.append(f"{job.student} {job.assignment}")
            lab = LABS.index(job.assignment) + 1
            yield job, graded(room, lab, keys[lab_of(keys, lab)])

    monkeypatch.setattr(runs, "dispatch", dispatch)
    outcome = runs.autograde(room, ["ada"], ["02-build"])
    assert asked == ["ada 01-export", "ada 02-build"]
    assert {submission.assignment for submission in outcome.records} == {"01-export", "02-build"}
    asked.clear()
    runs.autograde(room, ["ada"], ["02-build"])
    assert asked == []
