"""Several submissions, several graders: none changes what another one gets."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from classroom import codes, grade, points, submit
from faults.lab_one import FULL, LAB, WRITTEN_ONLY, lab_one, limited
from trtlab_grader import grading, lease, runs, stage
from trtlab_grader.course import Course, open_course
from trtlab_grader.dispatch import Gpu, Progress
from trtlab_grader.nbgrader_glue.lock import course_lock
from trtlab_grader.records import LabRecord

pytestmark = [
    pytest.mark.usefixtures("needs_sandbox"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Dask's sockets at its end
]


def by_student(outcome: runs.Outcome) -> dict[str, LabRecord]:
    assert not outcome.failed
    return {submission.student: record for submission, record in outcome.records.items()}


def graded(record: LabRecord) -> dict[str, Any]:
    """Return a record without what tells when, and how fast, it was made."""
    data = record.model_dump()
    for name in ("started", "seconds", "machine"):
        data.pop(name)
    for task in data["tasks"].values():
        task.pop("seconds")
    return data


@pytest.mark.slow
def test_three_bad_submissions_do_not_change_a_good_one(
    room: Course, workers: str, tmp_path: Path
) -> None:
    room = limited(room, disk_mib=200)
    submit(room, "ada", LAB, lab_one(room))
    shutil.copytree(room.root, tmp_path / "alone")
    submit(room, "bob", LAB, lab_one(room, "import os; os._exit(3)", after=""))
    submit(room, "cyd", LAB, b"{")
    fill = "import time\nwith open('fill', 'wb') as file:\n    file.write(bytes(300 << 20))\n"
    submit(room, "dan", LAB, lab_one(room, fill + "time.sleep(60)"))

    together = by_student(runs.autograde(room, scheduler=workers))
    assert {student: points(record) for student, record in together.items()} == {
        "ada": FULL,
        "bob": WRITTEN_ONLY,
        "cyd": dict.fromkeys(FULL, 0.0),
        "dan": FULL,
    }
    assert codes(together["dan"], "human") == {"notebook-stopped"}

    alone = by_student(runs.autograde(open_course(tmp_path / "alone"), scheduler=workers))
    assert graded(together["ada"]) == graded(alone["ada"])


def test_a_notebook_waits_for_whoever_times_something_and_says_so(
    room: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "IS_EMULATED", False)  # as on a GPU, of which there is a made-up one
    monkeypatch.setattr(stage, "visible_gpus", lambda: [Gpu("GPU-1", 80.0)])
    monkeypatch.setattr(lease, "lease_folder", lambda: tmp_path)
    told: list[str] = []
    is_told = threading.Event()

    def listen(progress: Progress) -> None:
        told.append(progress.text)
        if progress.text == "waits for the GPU":
            is_told.set()

    monkeypatch.setattr(grading, "report_progress", listen)
    submit(room, "ada", LAB, lab_one(room))
    with ThreadPoolExecutor() as pool:
        with lease.lease("GPU-1", "exclusive", folder=tmp_path):
            record = pool.submit(grade, room, "ada", LAB)
            assert is_told.wait(60)
            assert not record.done()
        assert points(record.result(60)) == FULL
    assert told[0] == "gets the course's engines"
    assert told[1:4] == ["cell 0 of 5", "waits for the GPU", "cell 0 of 5"]


def _hold(course: Course, pipe: Connection) -> None:
    with course_lock(course):
        pipe.send(os.getpid())
        pipe.recv()


@pytest.fixture
def other_grader(room: Course) -> Iterator[int]:
    """The pid of another process that is grading in the course."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_hold, args=(room, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
        ours.send("end")
        process.join(30)
        assert process.exitcode == 0
    finally:
        process.kill()


def run(*command: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    script = Path(sys.executable).parent / command[0]
    return subprocess.run(
        [str(script), *command[1:]], capture_output=True, text=True, timeout=200, **options
    )


def test_a_second_grader_says_that_it_is_the_second(room: Course, other_grader: int) -> None:
    submit(room, "ada", LAB, lab_one(room))
    ours = run("trtlab-grade", "autograde", "--course", str(room.root))
    assert (ours.returncode, ours.stdout) == (1, "")
    (line,) = ours.stderr.splitlines()
    assert f"is in use by another grader: process {other_grader} on" in line

    nbgraders = run("nbgrader", "autograde", LAB, cwd=room.root)
    assert nbgraders.returncode != 0
    assert f"is in use by another grader: process {other_grader}" in nbgraders.stderr
    # Neither has graded anything meanwhile.
    assert not room.records.exists()
    assert not list(room.autograded.rglob("*.ipynb"))


@pytest.fixture
def cluster_elsewhere(environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """The address of a scheduler in another process, with a worker in a third."""
    file = tmp_path / "scheduler.json"
    common = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--no-dashboard"]
    code = "from distributed.cli.dask_{} import main; main()"
    everything = os.environ | environment
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code.format(role), *common, *more],
            stderr=subprocess.DEVNULL,
            env=everything,
        )
        for role, more in (
            ("scheduler", ["--port", "0"]),
            ("worker", ["--no-nanny", "--nthreads", "1"]),
        )
    ]
    try:
        with Client(scheduler_file=str(file), set_as_default=False, timeout=60) as client:
            client.wait_for_workers(1, timeout=60)
            address = client.scheduler.address
        yield address
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


def test_a_notebook_is_graded_by_a_worker_elsewhere(room: Course, cluster_elsewhere: str) -> None:
    submit(room, "ada", LAB, lab_one(room))
    there = ["--course", str(room.root)]
    answer = run("trtlab-grade", "autograde", "--json", "--scheduler", cluster_elsewhere, *there)
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    assert told["failed"] == []
    (facts,) = told["graded"]
    assert (facts["student"], facts["assignment"]) == ("ada", LAB)
    assert facts["points"] == sum(FULL.values())
