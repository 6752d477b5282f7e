"""Dispatch on real Dask workers: order, faults, a killed worker, a scheduler elsewhere."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from made_up_records import make_record
from trtlab_grader import dispatch as module
from trtlab_grader.course import LABS
from trtlab_grader.dispatch import (
    DispatchError,
    Gpu,
    Job,
    Progress,
    dispatch,
    report_progress,
    visible_gpus,
    worker_environments,
)
from trtlab_grader.records import LabRecord
from trtlab_grader.store import Store

TESTS = Path(__file__).parent
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # Dask's sockets at its end


@pytest.fixture(autouse=True)
def importable_on_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers import this module by name, as they import the grader."""
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    )


def job(student: str, lab: int, course: Path) -> Job:
    return Job(
        course=str(course),
        student=student,
        assignment=LABS[lab - 1],
        submission_sha256=f"{student}{lab}".ljust(64, "0"),
    )


def note(job: Job, text: str) -> None:
    with open(Path(job.course) / "log", "a") as log:
        log.write(f"{job.student} {job.assignment} {text}\n")


def read_log(course: Path) -> list[str]:
    return (course / "log").read_text().splitlines()


# What workers run


def grade_quickly(job: Job) -> LabRecord:
    report_progress(Progress(job.student, job.assignment, "cell 1 of 2", 0.5))
    note(job, "starts")
    time.sleep(0.1)
    note(job, "ends")
    return make_record(job.student, LABS.index(job.assignment) + 1)


def grade_all_but_bob_s(job: Job) -> LabRecord:
    if job.student == "bob" and job.assignment == LABS[0]:
        raise RuntimeError("the grader's\nown fault")
    return make_record(job.student, LABS.index(job.assignment) + 1)


def grade_and_store(job: Job) -> LabRecord:
    """The first time that bob's turn comes, say who runs it and wait to be killed."""
    mark = Path(job.course) / "killed"
    if job.student == "bob" and not mark.exists():
        mark.write_text(str(os.getpid()))
        time.sleep(120)
    record = make_record(job.student, LABS.index(job.assignment) + 1)
    files = Path(job.course) / f"files-{os.getpid()}-{time.monotonic_ns()}"
    files.mkdir()
    Store(Path(job.course) / "records").put(record, files)
    note(job, "graded")
    return record


# The tests


def test_every_job_gives_a_record_and_tells_how_far_it_is(tmp_path: Path) -> None:
    jobs = [job(student, lab, tmp_path) for student in ("ada", "bob") for lab in (1, 2)]
    told: list[Progress] = []
    found = dict(dispatch(jobs, grade_quickly, workers=2, on_progress=told.append))
    assert {j.name: type(record) for j, record in found.items()} == dict.fromkeys(
        (j.name for j in jobs), LabRecord
    )
    assert Progress("ada", "01-export", "cell 1 of 2", 0.5) in told


def test_a_student_s_labs_go_one_after_the_other(tmp_path: Path) -> None:
    jobs = [job("ada", lab, tmp_path) for lab in (3, 1, 2)]
    assert len(list(dispatch(jobs, grade_quickly, workers=2))) == 3
    assert read_log(tmp_path) == [
        f"ada {LABS[lab - 1]} {what}" for lab in (1, 2, 3) for what in ("starts", "ends")
    ]


def test_the_grader_s_own_fault_is_one_job_s(tmp_path: Path) -> None:
    jobs = [job(student, lab, tmp_path) for student in ("ada", "bob") for lab in (1, 2)]
    found = {j.name[:13]: outcome for j, outcome in dispatch(jobs, grade_all_but_bob_s, workers=1)}
    failed = {name: str(error) for name, error in found.items() if isinstance(error, Exception)}
    assert failed == {"bob/01-export": "RuntimeError: the grader's own fault"}


def test_a_killed_worker_s_jobs_are_done_by_another_and_stored_once(tmp_path: Path) -> None:
    jobs = [job(student, 1, tmp_path) for student in ("ada", "bob", "cyd", "dan")]
    outcomes = dispatch(jobs, grade_and_store, workers=2)
    found, mark = {}, tmp_path / "killed"
    for done, record in outcomes:
        found[done.student] = record
        if done.student != "bob" and mark.exists() and mark.read_text() != "done":
            os.kill(int(mark.read_text()), signal.SIGKILL)
            mark.write_text("done")
    assert mark.read_text() == "done"
    assert all(isinstance(record, LabRecord) for record in found.values()), found
    assert sorted(found) == ["ada", "bob", "cyd", "dan"]
    stored = Store(tmp_path / "records").all_latest()
    assert [record.student for record in stored] == ["ada", "bob", "cyd", "dan"]


@pytest.fixture
def cluster_elsewhere(tmp_path: Path) -> Iterator[str]:
    """The address of a scheduler in another process, with one worker in a third."""
    file = tmp_path / "scheduler.json"
    common = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--no-dashboard"]
    code = "from distributed.cli.dask_{} import main; main()"
    scheduler = subprocess.Popen(
        [sys.executable, "-c", code.format("scheduler"), *common, "--port", "0"],
        stderr=subprocess.DEVNULL,
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", code.format("worker"), *common, "--no-nanny", "--nthreads", "1"],
        stderr=subprocess.DEVNULL,
    )
    try:
        client = None
        deadline = time.monotonic() + 60
        while client is None and time.monotonic() < deadline:
            if file.is_file():
                client = Client(scheduler_file=str(file), set_as_default=False)
            else:
                time.sleep(0.1)
        assert client is not None
        client.wait_for_workers(1, timeout=60)
        address = client.scheduler.address
        client.close()
        yield address
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()


def test_a_cluster_that_is_already_there_is_used(tmp_path: Path, cluster_elsewhere: str) -> None:
    jobs = [job("ada", 1, tmp_path)]
    ((_, record),) = dispatch(jobs, grade_quickly, scheduler=cluster_elsewhere)
    assert isinstance(record, LabRecord)


def test_a_scheduler_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CONNECT_SECONDS", 1)
    with pytest.raises(DispatchError, match=r"tcp://127\.0\.0\.1:9 does not answer"):
        list(dispatch([job("ada", 1, tmp_path)], grade_quickly, scheduler="tcp://127.0.0.1:9"))


def test_each_worker_is_pinned_to_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    gpus = [Gpu("GPU-a", 25.0), Gpu("GPU-b", 24.0)]
    seen = [e["CUDA_VISIBLE_DEVICES"] for e in worker_environments(None, gpus)]
    assert sorted(seen) == ["GPU-a"] * 3 + ["GPU-b"] * 3
    assert worker_environments(3, []) == [{"OMP_NUM_THREADS": "5"}] * 3


@pytest.mark.parametrize(("memory_gib", "jobs"), [(140.0, 8), (40.0, 5), (6.0, 1), (0.0, 1)])
def test_as_many_share_a_gpu_as_its_memory_and_the_cores_allow(
    memory_gib: float, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    assert len(worker_environments(None, [Gpu("GPU-a", memory_gib)])) == jobs


def test_without_a_driver_there_are_no_gpus() -> None:
    if not Path("/dev/nvidiactl").exists():
        assert visible_gpus() == []
