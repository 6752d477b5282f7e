"""What tests of faults share: a course, workers, and runs in a process of their own."""

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path

import psutil
import pytest

from faults.killed_run import GRADER, main
from trtlab_grader.course import Course, open_course
from trtlab_grader.dispatch import local_cluster

TESTS = Path(__file__).parents[1]
_SECONDS = 60
"""Far more than anything here takes to end."""


@pytest.fixture(scope="session")
def short_tmp() -> Iterator[Path]:
    """A folder for all temporary files, so that a test can tell what was left behind."""
    with tempfile.TemporaryDirectory(prefix="faults-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def cache(test_run_folder: Path) -> Path:
    """What `TRTLAB_CACHE` names; unlike with `provisions`, made as far as it is needed."""
    return test_run_folder / "cache"


@pytest.fixture(scope="session")
def environment(short_tmp: Path, cache: Path) -> dict[str, str]:
    """What sets a grading run here apart from any other on this machine."""
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    return {"TMPDIR": str(short_tmp), "TRTLAB_CACHE": str(cache), "PYTHONPATH": path}


@pytest.fixture
def room(
    classroom_template: Path,
    tmp_path: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Course:
    """A fresh course directory; temporary files go to `short_tmp`."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", environment["TMPDIR"])
    shutil.copytree(classroom_template, tmp_path / "room")
    return open_course(tmp_path / "room")


@pytest.fixture(scope="session")
def workers(environment: dict[str, str]) -> Iterator[str]:
    """The address of a scheduler with two workers, for runs that nobody kills."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with local_cluster([environment, environment]) as address:
            yield address


Run = Callable[..., int | None]


@pytest.fixture(scope="session")
def run_until_killed(environment: dict[str, str]) -> Run:
    """Run a command of `trtlab-grade` in another process; return its exit code, -9 if killed.

    When that process has ended, its workers and all that they run end by themselves.
    """
    # Forked from a process that has imported everything, which takes seconds.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["faults.killed_run"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", environment["PYTHONPATH"])
        forkserver.ensure_running()

    def run(command: list[str], point: str, real: bool = False) -> int | None:
        process = context.Process(target=main, args=(command, point, environment, real))
        process.start()
        assert process.pid is not None
        process.join(_SECONDS * 3)
        assert process.exitcode is not None, "it has not ended"
        left = [*_processes_of(process.pid, environment["TMPDIR"]), *_dying()]
        _, alive = psutil.wait_procs(left, timeout=_SECONDS)
        assert not alive, [other.cmdline() for other in alive]
        return process.exitcode

    return run


@pytest.fixture
def nothing_is_left(environment: dict[str, str]) -> Iterator[None]:
    """No process and no folder of a graded submission is there when the test ends."""
    yield
    assert not [process.cmdline() for process in _processes_of(-1, environment["TMPDIR"])]
    assert not list(Path(environment["TMPDIR"]).glob("trtlab-*"))


def _processes_of(grader: int, temporary: str) -> list[psutil.Process]:
    """Return a grader's workers, and whatever runs in a sandbox of theirs."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(GRADER) == str(grader) or process.cwd().startswith(temporary):
                found.append(process)
    return found


def _dying() -> list[psutil.Process]:
    """Return processes that are on their way out: without memory, so without a name, of any run.

    One that holds gigabytes takes a while to give them back, and its locks are its own until then.
    """
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            is_kernels = 2 in (process.pid, process.ppid())
            if process.status() == psutil.STATUS_ZOMBIE:
                # Dead to its parent, though threads of it may still be on their way out.
                is_dying = process.num_threads() > 1
            else:
                is_dying = not process.cmdline()
            if is_dying and not is_kernels:
                found.append(process)
    return found
