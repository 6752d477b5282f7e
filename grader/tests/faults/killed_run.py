"""A grading run that kills itself, or a worker of its own, at a chosen point.

It is what `trtlab-grade autograde` does, in a process of its own, on workers of its own. Notebooks
are not run: a lab's verdicts are made up, and each grading is noted in the course's folder.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import nbformat

from made_up_records import make_record
from trtlab import files
from trtlab_grader import grading, provisions, returns, runs, store
from trtlab_grader.cli import app
from trtlab_grader.dispatch import Job
from trtlab_grader.nbgrader_glue import config, grades, writer
from trtlab_grader.records import LabRecord
from trtlab_grader.store import NOTEBOOK

SHARES = {"ada": 1.0, "bob": 0.5, "cyd": 0.25, "dan": 0.75}
"""Student -> share of all points that they get."""
POINT, GRADER = "TRTLAB_TEST_POINT", "TRTLAB_TEST_GRADER"
"""Environment of the workers: where to strike, and the process that started the run."""
LOG, STRUCK = "graded.log", "struck"
"""Files in the course's folder: who was graded, and whether a worker has been killed."""


def kill_oneself(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_all(*_: object, **__: object) -> None:
    """On a worker: kill the grader, then the worker."""
    with suppress(ProcessLookupError):
        os.kill(int(os.environ[GRADER]), signal.SIGKILL)
    kill_oneself()


def before(
    place: Any, name: str, turn: int = 1, strike: Callable[..., None] = kill_oneself
) -> None:
    """Strike in place of a function when its turn has come."""
    function, calls = getattr(place, name), []

    def counted(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == turn:
            strike()
        return function(*arguments, **named)

    setattr(place, name, counted)


def before_file(name: str, strike: Callable[..., None] = kill_oneself) -> None:
    """Strike when a file is complete under its temporary name, and not yet under its own."""
    replace = os.replace

    def replaced(source: Path, target: Path) -> None:
        if Path(target).name == name:
            strike()
        replace(source, target)

    files.os = _Other(os, replace=replaced)  # type: ignore[attr-defined]


class _Other:
    """A module in which some names are others."""

    def __init__(self, module: Any, **names: Any) -> None:
        self._module = module
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


# Points in the grader's process. At a second call, one grade is in the gradebook already.
IN_GRADER: Mapping[str, Callable[[], None]] = {
    "before anything": lambda: before(runs, "course_lock"),
    "with the lock taken": lambda: before(runs, "find_submissions"),
    "before the gradebook is written": lambda: before(runs, "_enter", 2),
    "within the gradebook's transaction": lambda: before(grades, "_comment_on_solutions", 2),
    "after the gradebook, before the graded notebook": lambda: before(
        config.AssignLatePenalties, "preprocess", 2
    ),
    "after the graded notebook": lambda: before(writer._AutogradeOne, "set_permissions", 2),
    "before the note that it is entered": lambda: before(runs, "write_text", 2),
    "while the note is written": lambda: before_file("01-export"),
    "while feedback is written": lambda: before_file("feedback.html"),
    "while the report is written": lambda: before_file(returns.REPORT),
}


# Points on a worker, which dies with the grader.
ON_WORKER: Mapping[str, Callable[[], None]] = {
    "while provisions are made": lambda: before_file("resnet50_fp32.engine", kill_all),
    "while a notebook runs": lambda: before(grading._Lab, "_tell_cells", 2, kill_all),
    "while a notebook runs, the worker": lambda: before(grading._Lab, "_tell_cells", 2),
    "between the two renames of a record": lambda: setattr(
        store, "os", _Other(os, replace=_retire_and_strike)
    ),
    "after the record, before the pointer to it": lambda: before(
        store.Store, "make_latest", 1, kill_all
    ),
}


def _retire_and_strike(source: Path, target: Path) -> None:
    os.replace(source, target)
    if Path(target).name == "retired":
        kill_all()


def grade(job: Job) -> LabRecord:
    """What workers do: `grade_job`, with verdicts out of thin air."""
    strike_here(job)
    # For this job alone: other tests grade for real on the same workers.
    with mock.patch.object(grading._Lab, "run", _made_up):
        return grading.grade_job(job)


def grade_for_real(job: Job) -> LabRecord:
    """What workers do: `grade_job`, to the point where they are killed."""
    strike_here(job)
    return grading.grade_job(job)


def strike_here(job: Job) -> None:
    """Prepare to be killed, if it is bob's turn; once in a course."""
    point = os.environ.get(POINT, "")
    mark = Path(job.course) / STRUCK
    if point and job.student == "bob" and not mark.exists():
        mark.touch()
        ON_WORKER[point]()


def _made_up(lab: grading._Lab, stage: Any, tasks: Any, earlier: Any) -> None:
    student = lab._submission.student
    # One alone: whoever comes second finds the engines made.
    if student == "bob" and (lab._course.root / "needs-engines").exists():
        provisions.provide(2, nullcontext())
    with open(lab._course.root / LOG, "a") as log:
        log.write(f"{student}\n")
    lab.tasks = make_record(student, lab._submission.lab, SHARES[student]).tasks
    nbformat.write(lab._notebook, lab.files / NOTEBOOK)


def main(command: list[str], point: str, environment: Mapping[str, str], real: bool) -> None:
    """Run a command of `trtlab-grade` in this process, until it is killed at a point."""
    os.environ.update(environment)
    os.environ[GRADER] = str(os.getpid())
    tempfile.tempdir = None
    runs.grade_job = grade_for_real if real else grade  # type: ignore[attr-defined]
    if point in IN_GRADER:
        IN_GRADER[point]()
    else:
        os.environ[POINT] = point
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    app(command)
