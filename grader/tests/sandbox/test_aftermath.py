"""What is left outside when a job has ended, and what jobs see of each other."""

import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from trtlab_grader.sandbox import Bubblewrap, Job

from .conftest import RunPython, processes_with, wait_until

AS_ROOT = os.geteuid() == 0


def test_the_work_folder_is_harmless_afterwards(run_python: RunPython, work: Path) -> None:
    code = """
        import os, shutil, socket
        shutil.copy("/usr/bin/env", "program")
        os.chmod("program", 0o6755)
        os.mkfifo("pipe")
        socket.socket(socket.AF_UNIX).bind("socket")
        os.mkdir("locked")
        open("locked/file", "w").write("text")
        os.chmod("locked/file", 0)
        os.chmod("locked", 0)
    """
    # Where the grader is not root, a folder that it cannot measure ends the job.
    unreadable = "disk: a folder cannot be read: Permission denied"
    assert run_python(code)[1] in ["exit status 0", *([] if AS_ROOT else [unreadable])]
    assert sorted(os.listdir(work)) == ["locked", "program"]
    assert not (work / "program").stat().st_mode & (stat.S_ISUID | stat.S_ISGID)
    assert (work / "locked" / "file").read_text() == "text"
    assert {path.stat().st_uid for path in work.rglob("*")} == {os.geteuid()}


def test_folders_nested_without_end_are_found_and_removed(
    run_python: RunPython, work: Path
) -> None:
    code = """
        import os
        for _ in range(5000):
            os.mkdir("d" * 100)
            os.chdir("d" * 100)
    """
    run_python(code)
    shutil.rmtree(work)
    assert not work.exists()


def test_two_jobs_at_a_time_do_not_meet(bubblewrap: Bubblewrap, tmp_path: Path) -> None:
    works = [tmp_path / "ada", tmp_path / "bob"]
    for folder in works:
        folder.mkdir()
    first = """
import os, socket, time
from multiprocessing import shared_memory
block = shared_memory.SharedMemory("block", create=True, size=64)
service = socket.socket(socket.AF_UNIX)
service.bind(chr(0) + "service")
service.listen()
open("/tmp/ready", "w").close()
open("secret", "w").write("ada's work")
open("ready", "w").close()
time.sleep(60)
"""
    second = """
import os, socket, sys
from multiprocessing import shared_memory
def attempt(call, *arguments):
    try:
        call(*arguments)
        print("DONE", call, arguments)
    except OSError:
        print("refused")
attempt(open, sys.argv[1] + "/secret")
attempt(os.listdir, sys.argv[1])
attempt(open, "/tmp/ready")
attempt(shared_memory.SharedMemory, "block")
attempt(socket.socket(socket.AF_UNIX).connect, chr(0) + "service")
print(os.getuid())
"""
    jobs = [
        Job([sys.executable, "-I", "-c", code, str(works[0])], folder)
        for code, folder in zip((first, second), works, strict=True)
    ]
    with bubblewrap.start(jobs[0]) as ada:
        assert wait_until((works[0] / "ready").exists), ada.log
        owner = (works[0] / "secret").stat().st_uid
        with bubblewrap.start(jobs[1]) as bob:
            assert bob.wait(60)
        assert ada.alive
    *attempts, user = bob.log.split("\n")
    assert attempts == ["refused"] * 5
    assert (int(user) != owner) is AS_ROOT


def test_nothing_runs_on_after_the_end(run_python: RunPython, marker: str) -> None:
    code = """
        import os, subprocess, sys
        command = [sys.executable, "-c", "import time; time.sleep(600)", sys.argv[1]]
        subprocess.Popen(["setsid", *command])
        if os.fork() == 0:
            if os.fork() == 0:
                os.setsid()
                os.execv(sys.executable, command)
            os._exit(0)
        print("left them")
    """
    printed, ending = run_python(code, marker)
    assert (printed, ending) == ("left them", "exit status 0")
    assert processes_with(marker) == []


def test_closing_ends_everything_at_once(bubblewrap: Bubblewrap, work: Path, marker: str) -> None:
    code = "import os, time; os.fork(); os.fork(); time.sleep(600)"
    with bubblewrap.start(Job([sys.executable, "-I", "-c", code, marker], work)) as process:
        # Four, and bwrap's own two, in whose arguments the job's are as well.
        assert wait_until(lambda: len(processes_with(marker)) == 6)
    assert processes_with(marker) == []
    assert str(process.stopped) == "ended by the grader: no longer needed"


GRADER = """
import sys, threading, time
from pathlib import Path
from trtlab_grader.sandbox import {kind}, Job
code = "import os, time; {first}; time.sleep(600)"
job = Job([sys.executable, "-I", "-c", code, sys.argv[2]], Path(sys.argv[1]))
# Started from a thread that ends at once, as a pool's may.
starter = threading.Thread(target=lambda: globals().update(process={kind}().start(job)))
starter.start()
starter.join()
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("kind", "first", "count"),
    # The grader, bwrap's two, the job and its child in a session of its own; the grader, the job.
    [("Bubblewrap", "os.fork() or os.setsid()", 5), ("Unconfined", "pass", 2)],
)
def test_when_the_grader_is_killed_nothing_is_left(
    bubblewrap: Bubblewrap, work: Path, marker: str, kind: str, first: str, count: int
) -> None:
    grader = GRADER.format(kind=kind, first=first)
    with subprocess.Popen(
        [sys.executable, "-c", grader, str(work), marker], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert wait_until(lambda: len(processes_with(marker)) == count)
        process.kill()
    assert wait_until(lambda: processes_with(marker) == [])


def test_a_job_outlives_the_thread_that_started_it(bubblewrap: Bubblewrap, work: Path) -> None:
    started = []
    code = "import time; time.sleep(1.5); print('done')"
    job = Job([sys.executable, "-I", "-c", code], work)
    thread = threading.Thread(target=lambda: started.append(bubblewrap.start(job)))
    thread.start()
    thread.join()
    with started[0] as process:
        assert process.wait(60)
    assert (process.log, process.ending) == ("done", "exit status 0")
