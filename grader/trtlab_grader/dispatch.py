"""Hands jobs to Dask workers and gives their records back, on a laptop and on a cluster alike.

Workers are ours: they start sandboxes and judge, and never import what a student wrote. A job may
run twice when a worker dies; records are stored by content, so that this makes one grade.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import pynvml
from distributed import Client, Nanny, Scheduler, SpecCluster, as_completed, get_worker
from pydantic import BaseModel, ConfigDict

from trtlab.errors import TrtLabError
from trtlab_grader.course import LABS
from trtlab_grader.records import LabRecord

TOPIC = "trtlab-progress"
GIB_PER_JOB = 8
"""Of a GPU's memory, what is allowed for a notebook and what judges it: an estimate.

As many share a GPU outside the exclusive sections (see lease.py) as it holds."""
_CONNECT_SECONDS = 15


class DispatchError(TrtLabError):
    """There are no workers, or a job failed on the grader's own account."""


class Job(BaseModel):
    """One lab of one student, to be graded.

    Attributes:
        course: path of the course directory, which all workers can reach under that name.
        student, assignment: nbgrader's names.
        submission_sha256: of the submitted notebook.
        sandbox: whether it must run in a sandbox.
        regrade: whether to grade it although there is a record.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    course: str
    student: str
    assignment: str
    submission_sha256: str
    sandbox: bool = True
    regrade: bool = False

    @property
    def name(self) -> str:
        """Return the job's name, unique for what it grades."""
        return f"{self.student}/{self.assignment}/{self.submission_sha256[:16]}"


@dataclass(frozen=True)
class Progress:
    """How far a job is: `text` says what it does, `share` from 0 to 1 how much of it is done."""

    student: str
    assignment: str
    text: str
    share: float


Grade = Callable[[Job], LabRecord]


class _Outcome(BaseModel):
    """What a job came to, as it travels: a record, or why there is none."""

    record: LabRecord | None = None
    error: str = ""


def report_progress(progress: Progress) -> None:
    """Tell whoever started the run how far a job is; called on a worker."""
    with suppress(ValueError):  # not on a worker: somebody grades in the foreground
        get_worker().log_event(TOPIC, {"progress": vars(progress)})


class Gpu(NamedTuple):
    """A GPU by its UUID, and its memory in GiB."""

    uuid: str
    memory_gib: float


def visible_gpus() -> list[Gpu]:
    """Return this machine's GPUs, of those that CUDA_VISIBLE_DEVICES leaves."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        count = pynvml.nvmlDeviceGetCount()
        gpus = [_gpu(pynvml.nvmlDeviceGetHandleByIndex(index)) for index in range(count)]
    finally:
        pynvml.nvmlShutdown()
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return gpus
    names = [name.strip() for name in wanted.split(",")]
    return [gpu for index, gpu in enumerate(gpus) if gpu.uuid in names or str(index) in names]


def _gpu(handle: Any) -> Gpu:
    memory = 0.0
    with suppress(pynvml.NVMLError):  # those that share the processor's memory do not tell
        memory = float(pynvml.nvmlDeviceGetMemoryInfo(handle).total) / 2**30
    return Gpu(str(pynvml.nvmlDeviceGetUUID(handle)), memory)


def worker_environments(jobs: int | None, gpus: Sequence[Gpu]) -> list[dict[str, str]]:
    """Return the environment of each local worker: which GPU it sees, how many threads it takes.

    Args:
        jobs: how many workers; None for as many as suit this machine.
        gpus: they are dealt out in turn.
    """
    cores = os.cpu_count() or 1
    if jobs is None and gpus:
        smallest = min(gpu.memory_gib for gpu in gpus)
        jobs = min(len(gpus) * max(int(smallest // GIB_PER_JOB), 1), max(cores // 2, 1))
    jobs = jobs or cores
    threads = str(max(cores // jobs, 1))
    return [
        {"OMP_NUM_THREADS": threads}
        | ({"CUDA_VISIBLE_DEVICES": gpus[index % len(gpus)].uuid} if gpus else {})
        for index in range(jobs)
    ]


@contextmanager
def local_cluster(environments: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Start a scheduler and one worker process per environment; yield the scheduler's address.

    Everything listens on this machine only.
    """
    workers = {
        index: {
            "cls": Nanny,
            "options": {
                "nthreads": 1,
                "env": dict(environment),
                "host": "127.0.0.1",
                "silence_logs": logging.CRITICAL,
            },
        }
        for index, environment in enumerate(environments)
    }
    scheduler = {
        "cls": Scheduler,
        "options": {
            "host": "127.0.0.1",
            "port": 0,
            "dashboard": False,
            # It serves HTTP all the same, on a port that another run may have.
            "dashboard_address": "127.0.0.1:0",
        },
    }
    with SpecCluster(
        workers=workers, scheduler=scheduler, silence_logs=logging.CRITICAL
    ) as cluster:
        yield cluster.scheduler_address


def dispatch(
    jobs: Sequence[Job],
    grade: Grade,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    on_progress: Callable[[Progress], object] = lambda progress: None,
) -> Iterator[tuple[Job, LabRecord | Exception]]:
    """Grade jobs side by side; yield each with its record, or with what went wrong, as it ends.

    The labs of one student go one after the other, because a lab uses what earlier ones made.

    Args:
        jobs: what to grade.
        grade: importable by the workers.
        scheduler: address of a Dask scheduler that is there already; None starts one here.
        workers: how many local workers; None for as many as suit this machine.
        on_progress: called with what workers report.

    Raises:
        DispatchError: if the scheduler does not answer or has no workers.
    """
    with ExitStack() as stack:
        if scheduler is None:
            environments = worker_environments(workers, visible_gpus())
            scheduler = stack.enter_context(local_cluster(environments[: max(len(jobs), 1)]))
        client = stack.enter_context(_connect(scheduler))
        client.subscribe_topic(TOPIC, lambda event: on_progress(Progress(**event[1]["progress"])))
        futures = _submit(client, jobs, grade)
        stack.callback(client.cancel, list(futures))
        for future in as_completed(futures):
            job = futures[future]
            try:
                outcome = _Outcome.model_validate_json(future.result())
            except Exception as error:  # Dask's own: the job has killed several workers
                outcome = _Outcome(error=_describe(error))
            yield job, outcome.record or DispatchError(outcome.error)


def _connect(address: str) -> Any:
    try:
        client = Client(address, timeout=_CONNECT_SECONDS)
        client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
    except (OSError, TimeoutError) as error:
        raise DispatchError(
            f"The Dask scheduler at {address} does not answer, or has no workers: {error}. Start "
            "it with `dask scheduler`, and workers with `dask worker ADDRESS`."
        ) from error
    return client


def _submit(client: Any, jobs: Sequence[Job], grade: Grade) -> dict[Any, Job]:
    futures: dict[Any, Job] = {}
    earlier: dict[str, list[Any]] = {}
    for job in sorted(jobs, key=lambda job: (LABS.index(job.assignment), job.student)):
        future = client.submit(
            _graded,
            grade,
            job.model_dump_json(),
            list(earlier.get(job.student, [])),
            key=job.name,
        )
        futures[future] = job
        earlier.setdefault(job.student, []).append(future)
    return futures


def _graded(grade: Grade, job: str, earlier: Sequence[str]) -> str:
    """Grade a job on a worker; Dask has waited for `earlier`.

    A failure is an answer as well: raised, it would fail the student's later labs with it.
    """
    del earlier
    try:
        return _Outcome(record=grade(Job.model_validate_json(job))).model_dump_json(round_trip=True)
    except Exception as error:  # the grader's own fault, whatever it is, is one job's
        return _Outcome(error=_describe(error)).model_dump_json()


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
