"""A sandbox for each test, and ways to run Python in it and to look for what it left behind."""

import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from trtlab_grader.sandbox import Bubblewrap, Job, SandboxMissing

RunPython = Callable[..., tuple[str, str]]


@pytest.fixture(scope="session")
def bubblewrap() -> Bubblewrap:
    try:
        return Bubblewrap()
    except SandboxMissing as error:
        pytest.skip(str(error))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def run_python(bubblewrap: Bubblewrap, work: Path) -> RunPython:
    """Run code in the sandbox to its end; return what it printed, and how it ended."""

    def run(code: str, *arguments: object, **fields: Any) -> tuple[str, str]:
        command = [sys.executable, "-I", "-c", textwrap.dedent(code), *map(str, arguments)]
        with bubblewrap.start(Job(command, work, **fields)) as process:
            assert process.wait(60), "the job should have ended"
            return process.log, process.ending

    return run


def processes_with(marker: str) -> list[psutil.Process]:
    """Return the processes of this machine that have `marker` among their arguments."""
    found = []
    for process in psutil.process_iter():
        try:
            if marker in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[str]:
    """An argument by which a test finds its processes; none with it may be left at the end."""
    text = f"marker-{tmp_path.name}-{time.monotonic_ns()}"
    yield text
    left = processes_with(text)
    for process in left:
        process.kill()
    assert not left


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
