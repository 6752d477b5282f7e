"""Real notebooks in real kernels, whose grader or worker is killed in the middle."""

from collections.abc import Callable
from pathlib import Path

import pytest

from classroom import points, submit
from faults import killed_run
from faults.lab_one import FULL, LAB, lab_one
from trtlab_grader import runs
from trtlab_grader.course import Course
from trtlab_grader.store import Store

KILLED = -9
STUDENTS = ["ada", "bob", "cyd"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("needs_sandbox"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Dask's sockets at its end
]


def hand_in(course: Course) -> None:
    for student in STUDENTS:
        submit(course, student, LAB, lab_one(course))


def assert_all_is_graded(course: Course, short_tmp: Path) -> None:
    kept = {record.student: record for record in Store(course.records).all_latest()}
    assert {student: points(record) for student, record in kept.items()} == dict.fromkeys(
        STUDENTS, FULL
    )
    folders = {path.name for path in course.records.iterdir()} - {"latest", "entered"}
    assert folders == {record.key for record in kept.values()}
    # The killed one's workspace, its kernel's sockets and its half of a record are gone.
    assert not list(short_tmp.glob("trtlab-*"))


def test_a_grader_that_is_killed_while_a_notebook_runs(
    room: Course, run_until_killed: Callable[..., int | None], workers: str, short_tmp: Path
) -> None:
    hand_in(room)
    command = ["autograde", "--jobs", "2", "--course", str(room.root)]
    assert run_until_killed(command, "while a notebook runs", real=True) == KILLED
    assert list(short_tmp.glob("trtlab-*"))  # it was in the middle of something
    kept = {record.student: record.started for record in Store(room.records).all_latest()}
    assert "bob" not in kept

    outcome = runs.autograde(room, scheduler=workers)
    assert not outcome.failed
    assert_all_is_graded(room, short_tmp)
    again = {submission.student: record.started for submission, record in outcome.records.items()}
    assert {student: again[student] for student in kept} == kept


def test_a_worker_that_is_killed_while_a_notebook_runs(
    room: Course, run_until_killed: Callable[..., int | None], workers: str, short_tmp: Path
) -> None:
    hand_in(room)
    command = ["autograde", "--jobs", "2", "--course", str(room.root)]
    # The grader lives, starts another worker, and ends as if nothing had been.
    assert run_until_killed(command, "while a notebook runs, the worker", real=True) == 0
    assert (room.root / killed_run.STRUCK).exists()
    kept = {record.student: record.started for record in Store(room.records).all_latest()}
    assert sorted(kept) == STUDENTS

    outcome = runs.autograde(room, scheduler=workers)
    assert_all_is_graded(room, short_tmp)
    assert {s.student: record.started for s, record in outcome.records.items()} == kept
