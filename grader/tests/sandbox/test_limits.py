"""What programs do by mistake or spite to use up a machine, and how they are stopped."""

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from trtlab_grader.sandbox import Bubblewrap, Job, Limits, SandboxError, SandboxMissing, Unconfined
from trtlab_grader.sandbox import bubblewrap as bubblewrap_module

from .conftest import RunPython, processes_with, wait_until

MIB = 1 << 20


def test_a_job_that_hangs_is_killed_at_its_wall_time(run_python: RunPython) -> None:
    start = time.monotonic()
    _, ending = run_python("import time; time.sleep(600)", limits=Limits(wall_s=1))
    assert ending == "wall time: ran longer than 1 s in all"
    assert time.monotonic() - start >= 1


@pytest.mark.parametrize(
    "code",
    [
        "blocks = [bytearray(b'x') * (16 << 20) for _ in range(1000)]",
        # A little in each of many processes.
        """
        import os, time
        for _ in range(20):
            if os.fork() == 0:
                block = bytearray(b'x') * (32 << 20)
                time.sleep(600)
        time.sleep(600)
        """,
    ],
    ids=["in one process", "in many processes"],
)
def test_a_job_that_eats_memory_is_killed(run_python: RunPython, code: str) -> None:
    _, ending = run_python(code, limits=Limits(memory_bytes=300 * MIB, wall_s=60))
    assert ending.startswith("memory: ")
    assert ending.endswith("MiB in use, limit 300 MiB")


def test_memory_that_processes_share_counts_once(run_python: RunPython) -> None:
    code = """
        import os, time
        block = bytearray(b"x") * (150 << 20)
        for _ in range(4):
            if os.fork() == 0:
                sum(block[::4096])
                time.sleep(1.5)
                os._exit(0)
        for _ in range(4):
            os.wait()
        print("done")
    """
    printed, ending = run_python(code, limits=Limits(memory_bytes=400 * MIB))
    assert (printed, ending) == ("done", "exit status 0")


def test_a_fork_bomb_stays_small_and_ends(bubblewrap: Bubblewrap, work: Path, marker: str) -> None:
    code = """
import os, time
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.01)
"""
    command = [sys.executable, "-I", "-c", code, marker]
    job = Job(command, work, limits=Limits(processes=40, wall_s=2))
    most = 0
    with bubblewrap.start(job) as process:
        while process.alive:
            # bwrap's own two come on top: they are not the student's.
            most = max(most, len(processes_with(marker)))
        assert process.stopped is not None
    assert 20 < most <= 43
    assert processes_with(marker) == []


def test_threads_count_as_processes(run_python: RunPython) -> None:
    code = """
        import threading, time
        count = 0
        try:
            for _ in range(100):
                threading.Thread(target=time.sleep, args=(60,)).start()
                count += 1
        except RuntimeError as error:
            print(count, error, flush=True)
    """
    printed, ending = run_python(code, limits=Limits(processes=30))
    assert printed == "30 can't start new thread"
    assert ending.endswith(" processes and threads, limit 30")


@pytest.mark.parametrize(
    "code",
    [
        """
        for number in range(10_000):
            with open(f"file-{number}", "wb") as file:
                file.write(bytes(1 << 20))
        """,
        """
        while True:
            with open("file", "ab") as file:
                file.write(bytes(1 << 20))
        """,
        # Removed while open: no folder shows it.
        """
        import os, time
        file = open("file", "wb")
        os.unlink("file")
        for _ in range(200):
            file.write(bytes(1 << 20))
        file.flush()
        time.sleep(600)
        """,
        """
        import os
        for number in range(1_000_000):
            os.mkdir(f"folder-{number}")
        """,
    ],
    ids=["many files", "one file", "a file that was removed", "empty folders"],
)
def test_a_job_that_fills_the_disk_is_killed(run_python: RunPython, code: str) -> None:
    _, ending = run_python(code, limits=Limits(disk_bytes=30 * MIB, wall_s=60))
    assert ending.startswith("disk: ")
    assert ending.endswith("MiB in the work folder, limit 30 MiB")


def test_a_folder_that_cannot_be_measured_ends_the_job(run_python: RunPython, work: Path) -> None:
    code = """
        import os, time
        for _ in range(100):
            os.mkdir("d")
            os.chdir("d")
        time.sleep(600)
    """
    assert run_python(code)[1] == "disk: folders are nested more than 64 deep"


def test_a_file_cannot_grow_beyond_its_limit(run_python: RunPython, work: Path) -> None:
    code = """
        try:
            with open("file", "wb") as file:
                for _ in range(100):
                    file.write(bytes(1 << 20))
        except OSError as error:
            print(error.strerror)
    """
    assert run_python(code, limits=Limits(file_bytes=10 * MIB))[0] == "File too large"
    assert (work / "file").stat().st_size <= 10 * MIB


@pytest.mark.parametrize("folder", ["/tmp", "/tmp/home", "/dev/shm"])
def test_private_folders_have_a_size(run_python: RunPython, folder: str) -> None:
    code = """
        import sys
        try:
            with open(sys.argv[1] + "/file", "wb") as file:
                for _ in range(100):
                    file.write(bytes(1 << 20))
        except OSError as error:
            print(error.strerror)
    """
    printed, _ = run_python(code, folder, limits=Limits(scratch_bytes=20 * MIB))
    assert printed == "No space left on device"


def test_of_a_flood_of_output_the_end_is_kept(run_python: RunPython) -> None:
    before = psutil.Process().memory_info().rss
    code = """
        import sys
        for _ in range(100):
            print("x" * 1_000_000, file=sys.stderr)
        print("the end")
    """
    printed, ending = run_python(code)
    assert ending == "exit status 0"
    assert len(printed) <= 1 << 16
    assert printed.endswith("the end")
    assert psutil.Process().memory_info().rss - before < 50 * MIB


def test_how_a_job_ended_is_told(run_python: RunPython) -> None:
    assert run_python("import os; os._exit(3)") == ("", "exit status 3")
    assert run_python("import os; os.kill(os.getpid(), 11)") == ("", "exit status 139")
    printed, ending = run_python("raise SystemExit('no')")
    assert (printed, ending) == ("no", "exit status 1")


def test_a_job_needs_a_folder_of_its_own(bubblewrap: Bubblewrap, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for path in (tmp_path / "missing", tmp_path / "link"):
        with pytest.raises(SandboxError, match="is not a folder"):
            bubblewrap.start(Job(["true"], path))


def test_what_cannot_be_shown_is_an_error_with_its_reason(
    bubblewrap: Bubblewrap, work: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(SandboxError, match=f"nothing to show the job at {missing}"):
        bubblewrap.start(Job(["true"], work, readonly=[missing]))


def test_a_program_that_is_not_there_is_told(bubblewrap: Bubblewrap, work: Path) -> None:
    with bubblewrap.start(Job(["no-such-program"], work)) as process:
        assert process.wait(60)
    assert process.ending == "exit status 127"
    assert "no-such-program" in process.log


def test_a_missing_bubblewrap_is_an_error_that_names_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bubblewrap_module._require_working_bubblewrap.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxMissing, match="apt-get install bubblewrap"):
        Bubblewrap()


def test_a_bubblewrap_that_may_not_work_is_an_error_with_its_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bubblewrap_module._require_working_bubblewrap.cache_clear()
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(SandboxMissing, match="No permissions to create new namespace"):
        Bubblewrap()


class TestWithoutASandbox:
    """`--no-sandbox`: the same interface, held to what a watchdog can see."""

    def test_its_facts_say_so(self, bubblewrap: Bubblewrap) -> None:
        assert Unconfined().facts["sandbox"] == "none"
        assert bubblewrap.facts["sandbox"].startswith("bubblewrap ")
        assert Unconfined().facts.keys() == bubblewrap.facts.keys()

    def test_nothing_of_the_environment_is_inherited(
        self, work: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COURSE_SECRET", "hunter2")
        with Unconfined().start(Job(["env"], work)) as process:
            assert process.wait(60)
        assert "HOME=" in process.log
        assert "hunter2" not in process.log

    def test_a_job_that_hangs_is_killed_with_its_children(self, work: Path, marker: str) -> None:
        command = ["sh", "-c", "sh -c 'sleep 600; true' " + marker + "; true", marker]
        with Unconfined().start(Job(command, work, limits=Limits(wall_s=2))) as process:
            assert wait_until(lambda: len(processes_with(marker)) == 2)
            assert process.wait(60)
        assert process.ending.startswith("wall time")
        assert processes_with(marker) == []

    def test_a_fork_bomb_is_killed(self, work: Path, marker: str) -> None:
        command = ["sh", "-c", "while true; do sleep 600 & done", marker]
        limits = Limits(processes=40, wall_s=60)
        with Unconfined().start(Job(command, work, limits=limits)) as process:
            assert process.wait(60)
        assert process.ending.startswith("processes: ")

    def test_its_home_is_removed(self, work: Path) -> None:
        with Unconfined().start(Job(["sh", "-c", "touch ~/file; echo $HOME"], work)) as process:
            assert process.wait(60)
        home = Path(process.log)
        assert home.is_absolute()
        assert not home.exists()
        assert not home.parent.exists()
