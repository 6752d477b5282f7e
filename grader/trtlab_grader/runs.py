"""A grading run: what has to be graded is graded, and entered into the gradebook as it comes.

A run may be killed at any moment. Records are kept by content, entering one again changes nothing,
and a note says which record of a lab is in the gradebook; so the next run does what is left.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from trtlab.files import write_text
from trtlab_grader.course import Course
from trtlab_grader.dispatch import Job, Progress, dispatch
from trtlab_grader.earlier import still_open, to_grade_before
from trtlab_grader.grading import grade_job
from trtlab_grader.nbgrader_glue.config import settings_of
from trtlab_grader.nbgrader_glue.entered import entered_text
from trtlab_grader.nbgrader_glue.gradebook import open_gradebook
from trtlab_grader.nbgrader_glue.lock import course_lock
from trtlab_grader.nbgrader_glue.writer import write_grades
from trtlab_grader.owned import sweep_scratch
from trtlab_grader.records import LabRecord
from trtlab_grader.store import Store
from trtlab_grader.submissions import Submission, find_submissions, keys_of

State = Literal["waiting", "running", "graded", "already graded", "failed"]


@dataclass(frozen=True)
class Event:
    """One lab of one student has got somewhere.

    Attributes:
        state: see State.
        text: what is being done, or why it failed.
        share: how much of it is done, from 0 to 1.
        record: once it is graded.
    """

    submission: Submission
    state: State
    text: str = ""
    share: float = 0.0
    record: LabRecord | None = None


@dataclass
class Outcome:
    """What a run came to: records by submission, and why there is none where there is none."""

    records: dict[Submission, LabRecord] = field(default_factory=dict)
    failed: dict[Submission, str] = field(default_factory=dict)


def autograde(
    course: Course,
    students: Collection[str] = (),
    assignments: Collection[str] = (),
    *,
    sandbox: bool = True,
    regrade: bool = False,
    scheduler: str | None = None,
    jobs: int | None = None,
    on_event: Callable[[Event], object] = lambda event: None,
) -> Outcome:
    """Grade what has been handed in and not been graded as it stands.

    Args:
        course: no other grader may be at work in it.
        students, assignments: only these; everything by default. A student's earlier labs are
            graded before, if they were handed in again since.
        sandbox: whether submissions must run in a sandbox.
        regrade: grade again what has been graded.
        scheduler, jobs: see dispatch.
        on_event: told of every step, from any thread.

    Raises:
        CourseError: if another grader is at work, a lab was not released, or the gradebook cannot
            be opened, or nbgrader_config.py not be run.
        InputError: if a student or a lab that was named does not exist.
        DispatchError, SandboxError: if nothing can be graded here.
    """
    outcome = Outcome()
    with course_lock(course):
        # Rather told now than after hours of grading.
        settings_of(course)
        with open_gradebook(course):
            pass
        everything = find_submissions(course)
        keys = keys_of(course, everything)
        store = Store(course.records)
        store.sweep()
        sweep_scratch()
        wanted = set(find_submissions(course, students, assignments))
        # What they leave for the later labs is part of those labs' grades.
        wanted |= {other for lab in wanted for other in to_grade_before(lab, keys, store)}
        pending = []
        for submission in (lab for lab in everything if lab in wanted):
            known = None if regrade else store.get(keys[submission])
            if known is None or still_open(known):
                pending.append(submission)
                on_event(Event(submission, "waiting"))
            else:
                store.make_latest(known)  # it is not, if the submission before it is back
                _enter(course, submission, known, outcome)
                on_event(Event(submission, "already graded", share=1.0, record=known))
        for submission, result in _graded(
            course, pending, sandbox, regrade, scheduler, jobs, on_event
        ):
            if isinstance(result, LabRecord):
                _enter(course, submission, result, outcome)
            else:
                outcome.failed[submission] = str(result)
            why = outcome.failed.get(submission)
            on_event(
                Event(submission, "graded", share=1.0, record=outcome.records[submission])
                if why is None
                else Event(submission, "failed", why, 1.0)
            )
    return outcome


def _graded(
    course: Course,
    pending: Iterable[Submission],
    sandbox: bool,
    regrade: bool,
    scheduler: str | None,
    jobs: int | None,
    on_event: Callable[[Event], object],
) -> Iterator[tuple[Submission, LabRecord | Exception]]:
    by_name = {(submission.student, submission.assignment): submission for submission in pending}
    if not by_name:
        return

    def tell(progress: Progress) -> None:
        submission = by_name.get((progress.student, progress.assignment))
        if submission is not None:
            on_event(Event(submission, "running", progress.text, progress.share))

    work = [
        Job(
            course=str(course.root),
            student=submission.student,
            assignment=submission.assignment,
            submission_sha256=submission.sha256,
            sandbox=sandbox,
            regrade=regrade,
        )
        for submission in by_name.values()
    ]
    for job, result in dispatch(
        work, grade_job, scheduler=scheduler, workers=jobs, on_progress=tell
    ):
        yield by_name[job.student, job.assignment], result


def _enter(course: Course, submission: Submission, record: LabRecord, outcome: Outcome) -> None:
    """Enter a record into the gradebook, unless it is there as it was entered."""
    note = Store(course.records).entered(record.student, record.assignment)
    there = entered_text(course, record)
    if not there or not note.is_file() or note.read_text(encoding="utf-8") != there:
        written = write_grades(course, [record])
        problem = written.failed.get((record.student, record.assignment))
        if problem is not None:
            outcome.failed[submission] = f"it was graded, but not entered: {problem}"
            return
        write_text(note, entered_text(course, record))
    outcome.records[submission] = record
