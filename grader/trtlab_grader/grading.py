"""Grades one lab of one student: repair, run, probe, judge, keep. See docs/grading.md.

Called on a Dask worker, or in the foreground by plain `nbgrader autograde`.
"""

import shutil
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from trtlab.checks.evidence import Evidence
from trtlab.checks.registry import judge
from trtlab.checks.tasks import tasks_of
from trtlab.errors import InputError
from trtlab.files import sha256
from trtlab.lab.artifacts import MADE_IN
from trtlab.lab.probe import probe_of
from trtlab.lab.probes.lab6 import chart_pictures
from trtlab.machine import machine_facts
from trtlab_grader.course import Course, open_course
from trtlab_grader.dispatch import Job, Progress, report_progress
from trtlab_grader.earlier import left_by, still_open, to_grade_before
from trtlab_grader.evidence import judge_probe, prepared, task_record, unfinished
from trtlab_grader.kernel import NotebookRun
from trtlab_grader.nbgrader_glue.lock import course_lock
from trtlab_grader.notebooks import Repaired, repair_file
from trtlab_grader.owned import owned_folder, sweep_scratch
from trtlab_grader.provisions import provide, timing_cache, visible
from trtlab_grader.receive import Received
from trtlab_grader.records import Flag, LabRecord, TaskRecord
from trtlab_grader.running import StudentKernel
from trtlab_grader.sandbox import Bubblewrap, Unconfined
from trtlab_grader.scan import scan
from trtlab_grader.stage import Stage, gpu_lease
from trtlab_grader.store import CHARTS, DELIVERABLES, NOTEBOOK, Store
from trtlab_grader.submissions import Submission, find_submissions, keys_of, released_notebook
from trtlab_grader.workspace import Workspace, workspace
from trtlab_grader.written import unwritten

_UNDISTURBED = ("4.3",)
"""Tasks whose probe reads how much memory of the GPU is free, which others would change."""
_NO_MEMORY = ("out of memory", "outofmemory", "too little memory")
"""How TensorRT, CUDA, PyTorch and trtlab say that a GPU's memory is full."""
_RUN_SHARE = 0.6
"""Of the work on a lab, about how much is running its notebook."""


def grade_job(job: Job) -> LabRecord:
    """Grade a submission, or what is still open of it, and keep the record.

    Raises:
        CourseError, InputError: if there is no such submission, its lab was not released, or an
            earlier lab that was handed in has not been graded.
        SandboxError, KernelError: if nothing can be run here.
        OSError: if the record cannot be kept.
    """
    course = open_course(job.course)
    submission, keys = _found(course, job.student, job.assignment)
    key = keys[submission]
    store = Store(course.records)
    known = None if job.regrade else store.get(key)
    tasks = [task.number for task in tasks_of(submission.lab)]
    if known is not None:
        tasks = still_open(known)
        if not tasks:
            store.make_latest(known)
            return known
    sweep_scratch()
    sandbox = Bubblewrap() if job.sandbox else Unconfined()
    released = nbformat.read(released_notebook(course, submission.assignment), as_version=4)
    repaired = repair_file(submission.path, released)
    started, start = datetime.now(timezone.utc), time.monotonic()
    with owned_folder(Path(tempfile.gettempdir())) as scratch:
        graded = _Lab(course, submission, repaired, released, scratch / "record")
        if repaired.problem is None:
            graded.tell("gets the course's engines", 0.0)  # minutes the first time
            provided = provide(submission.lab, gpu_lease("exclusive", graded.tell_waiting))
            seen = visible(submission.lab)
            stage = Stage(sandbox, course.settings, provided, seen, graded.tell_waiting)
            left = left_by(submission, keys, store)
            graded.flags += left.flags
            graded.run(stage, tasks, left.files)
        else:
            graded.leave(tasks, repaired.problem)
        record = LabRecord(
            key=key,
            student=submission.student,
            assignment=submission.assignment,
            lab=submission.lab,
            submission_sha256=submission.sha256,
            machine=machine_facts(),
            isolation="bubblewrap" if job.sandbox else "none",
            started=started.isoformat(timespec="microseconds"),
            seconds=round(time.monotonic() - start, 2),
            tasks=graded.tasks,
            cell_errors=graded.cell_errors,
            deliverables=graded.deliverables(),
            flags=graded.flags,
        )
        if known is not None:
            record = known.completed_by(record)
        store.put(record, graded.files)
    return record


def record_for(student: str, assignment: str, notebook: Path) -> LabRecord:
    """Grade one submission in the foreground, or find its record; for nbgrader's own commands.

    Raises: as `grade_job`; CourseError also if another grader is at work.
    """
    course = open_course(notebook.parent)
    # Rather told now than when it has been graded and its grades are to be saved.
    with course_lock(course):
        submission, keys = _found(course, student, assignment)
        for wanted in (*to_grade_before(submission, keys, Store(course.records)), submission):
            record = grade_job(
                Job(
                    course=str(course.root),
                    student=student,
                    assignment=wanted.assignment,
                    submission_sha256=wanted.sha256,
                )
            )
        return record


class _Lab:
    """One lab of one student while it is graded.

    Attributes:
        files: the folder of what is kept beside the record.
        tasks, flags, cell_errors: see LabRecord.
    """

    def __init__(
        self,
        course: Course,
        submission: Submission,
        repaired: Repaired,
        released: NotebookNode,
        files: Path,
    ) -> None:
        self._course, self._submission = course, submission
        self._notebook, self._released = repaired.notebook, released
        self.files = files
        self.tasks: dict[str, TaskRecord] = {}
        self.flags = [*repaired.flags, *scan(repaired.notebook, released)]
        self.cell_errors: dict[str, str] = {}
        self._told = ("starting", 0.0)
        for folder in (files, files / DELIVERABLES, files / CHARTS):
            folder.mkdir()

    def run(
        self, stage: Stage, tasks: Collection[str], earlier: Mapping[str, Sequence[Path]]
    ) -> None:
        """Run the notebook and judge tasks; `earlier`: assignment -> what that lab left."""
        with (
            workspace(self._submission.assignment, self._notebook, earlier) as space,
            stage.bench(space) as bench,
            stage.kernel(space, self._notebook, timing_cache()) as kernel,
        ):
            run = kernel.run_notebook(self._tell_cells)
            self.cell_errors = {
                cell: space.without_folders(text) for cell, text in kernel.cell_errors.items()
            }
            received = space.take_work(self._notebook)
            self.flags += [*_of_run(run), *_of_files(received)]
            for done, task in enumerate(tasks):
                self.tell(f"task {task}", _RUN_SHARE + (1 - _RUN_SHARE) * done / len(tasks))
                start = time.monotonic()
                if untouched := unwritten(task, self._notebook, self._released):
                    verdict = judge(task, Evidence(attempt=untouched))
                elif _is_judged(task):
                    problem = self._probe(task, stage, kernel, space)
                    seed = self._course.seed(self._submission.student, task)
                    images = self._course.settings.accuracy_images
                    verdict, flags = judge_probe(task, problem, space, seed, bench, images)
                    self.flags += flags
                else:
                    verdict = None
                self.tasks[task] = task_record(task, verdict, time.monotonic() - start)
            self.flags += _of_memory(self._notebook, self.tasks)
            self._keep(space)

    def tell_waiting(self, waits: bool) -> None:
        """Report that the GPU is waited for, or again what is done once it is had."""
        text, share = self._told
        self._report("waits for the GPU" if waits else text, share)

    def tell(self, text: str, share: float) -> None:
        """Report what is done, and how much of the lab's grading that makes, from 0 to 1."""
        self._told = text, share
        self._report(text, share)

    def leave(self, tasks: Collection[str], problem: str) -> None:
        """Judge tasks of a notebook that could not be read."""
        for task in tasks:
            verdict = (
                unfinished(task, f"The notebook is {problem.replace('-', ' ')}.")
                if _is_judged(task)
                else None
            )
            self.tasks[task] = task_record(task, verdict, 0.0)
        nbformat.write(self._notebook, self.files / NOTEBOOK)

    def deliverables(self) -> dict[str, str]:
        """Return the name and the hash of each file that is kept."""
        return {path.name: sha256(path) for path in sorted((self.files / DELIVERABLES).iterdir())}

    def _probe(self, task: str, stage: Stage, kernel: StudentKernel, space: Workspace) -> str:
        """Run a probe in the kernel; return why it did not come to its end, or "" if it did."""
        probe, seed = probe_of(task), self._course.seed(self._submission.student, task)
        given = space.give(task)
        prepared(probe.give, given, seed)
        hold = stage.exclusive if task in _UNDISTURBED else stage.shared
        with probe.attend(given, seed):
            return kernel.probe(task, given, space.made, hold)

    def _keep(self, space: Workspace) -> None:
        """Keep deliverables, charts and the executed notebook."""
        for name in _deliverables_of(self._submission.assignment):
            if (space.lab / name).is_file():
                shutil.copyfile(space.lab / name, self.files / DELIVERABLES / name)
        for name, picture in chart_pictures(space.evidence / "made" / "6.1").items():
            (self.files / CHARTS / f"{name}.png").write_bytes(picture)
        nbformat.write(self._notebook, self.files / NOTEBOOK)

    def _tell_cells(self, done: int, total: int) -> None:
        self.tell(f"cell {done} of {total}", _RUN_SHARE * done / max(total, 1))

    def _report(self, text: str, share: float) -> None:
        report_progress(
            Progress(self._submission.student, self._submission.assignment, text, share)
        )


def _found(
    course: Course, student: str, assignment: str
) -> tuple[Submission, dict[Submission, str]]:
    """Return a submission, and the keys of all that its student has handed in."""
    keys = keys_of(course, find_submissions(course, [student]))
    for submission in keys:
        if submission.assignment == assignment:
            return submission, keys
    raise InputError(f"{student} has not handed in {assignment}.")


def _deliverables_of(assignment: str) -> list[str]:
    return [name for name, made_in in MADE_IN.items() if made_in == assignment]


def _is_judged(task: str) -> bool:
    """Whether anything of a task can be judged by machine."""
    try:
        probe_of(task)
    except InputError:
        return False
    return True


def _of_run(run: NotebookRun) -> Iterator[Flag]:
    if run.stopped_at is not None:
        text = f"The notebook was not run to its end: at cell {run.stopped_at + 1}, {run.reason}."
        yield Flag(kind="human", code="notebook-stopped", text=text)
    slow = [index + 1 for index, result in run.cells.items() if result.status == "timeout"]
    if slow and run.stopped_at is None:
        text = f"Cells {', '.join(map(str, slow))} ran too long and were interrupted."
        yield Flag(kind="human", code="cell-interrupted", text=text)


def _of_memory(notebook: NotebookNode, tasks: Mapping[str, TaskRecord]) -> Iterator[Flag]:
    """Flag what may be the doing of whoever else was on the GPU."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    # TensorRT tells its reasons in its log, CUDA in an exception.
    said = [f"{output.get('text', '')} {output.get('evalue', '')}" for output in outputs]
    for record in tasks.values():
        said += [finding.measured for finding in record.verdict.findings] if record.verdict else []
    if any(words in text.lower() for text in said for words in _NO_MEMORY):
        text = "The GPU ran out of memory. If others were using it, grade this again: --regrade."
        yield Flag(kind="human", code="gpu-out-of-memory", text=text)


def _of_files(received: Received) -> Iterator[Flag]:
    for path in received.links:
        is_deliverable = path in MADE_IN
        yield Flag(
            kind="attack" if is_deliverable else "human",
            code="symlink-deliverable" if is_deliverable else "symlink",
            text=f"{path} is a symbolic link; it was not followed",
        )
    for path, why in received.refused.items():
        if path not in received.links:
            yield Flag(kind="note", code="file-refused", text=f"{path} was not taken: {why}")
