"""A confined process: started, watched, spoken to, and ended with all its descendants.

Each has a thread of its own in the grader, which starts it and stays until it is gone. That matters
on Linux: the process asks to be killed when its parent dies (`bwrap --die-with-parent`), and the
kernel takes the parent to be the thread that started it.
"""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from trtlab_grader.sandbox.errors import SandboxError
from trtlab_grader.sandbox.limits import Limits, Stop
from trtlab_grader.sandbox.watchdog import POLL_SECONDS, WallClock, Watchdog

_LOG_BYTES = 64 << 10


@dataclass(frozen=True)
class Job:
    """What to run, and what of this machine it may see.

    Attributes:
        command: program and arguments.
        work: the folder that it runs in and may write to. It must exist and belong to this job
            alone: it changes hands while the job runs.
        limits: see Limits.
        readonly: more files and folders that it may read, under the same paths as outside.
        writable: more folders that it may write to; what is said of `work` holds for them.
        environment: variables beyond those that every job gets. Nothing is inherited.
        gpu: whether it may use the GPUs; CUDA_VISIBLE_DEVICES in `environment` chooses among them.
    """

    command: Sequence[str]
    work: Path
    limits: Limits = field(default_factory=Limits)
    readonly: Sequence[Path] = ()
    writable: Sequence[Path] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    gpu: bool = False

    @property
    def writable_folders(self) -> list[Path]:
        """All folders that the job may write to."""
        return [self.work, *self.writable]


@dataclass(frozen=True)
class Spawn:
    """How a sandbox wants a job started.

    Attributes:
        command: with what confines it in front.
        environment: the whole environment of `command`.
        descriptors: open files that `command` inherits; they are closed here once it has started.
        find_root: given the pid of `command`, return that of the process to watch. Raises:
            SandboxError, if the job did not start.
        clean_up: called when every process is gone.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    descriptors: Sequence[int]
    find_root: Callable[[int], int]
    clean_up: Callable[[], None]


class SandboxedProcess:
    """A running job; a context manager that ends it.

    Args:
        job: what to run.
        spawn: how.
        talk: whether to connect the job's stdin and stdout to pipes; else stdout joins stderr in
            the log, and stdin is empty.

    Attributes:
        stdin: raw pipe to the job, if it is to talk.
        stdout: raw pipe from the job, if it is to talk.
        stopped: why the grader killed it, or None.
        returncode: its exit status, 128 + n after signal n; None while it runs.

    Raises:
        SandboxError: if it cannot be started.
    """

    stdin: IO[bytes] | None = None
    stdout: IO[bytes] | None = None
    stopped: Stop | None = None
    returncode: int | None = None

    def __init__(self, job: Job, spawn: Spawn, talk: bool) -> None:
        self.job = job
        self._spawn = spawn
        self._talk = talk
        self._log = bytearray()
        self._started = threading.Event()
        self._ended = threading.Event()
        self._asked = threading.Event()
        self._lock = threading.Lock()
        self._clock = WallClock()
        self._failure: Exception | None = None
        threading.Thread(target=self._run, name="sandbox", daemon=True).start()
        self._started.wait()
        if self._failure is not None:
            self._ended.wait()
            raise SandboxError(
                f"Cannot start {job.command[0]} in the sandbox: {self._failure} {self.log}".strip()
            )

    def __enter__(self) -> "SandboxedProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether it runs, or its descendants are still being killed."""
        return not self._ended.is_set()

    @property
    def log(self) -> str:
        """The end of what it wrote to stderr (and stdout, unless it talks)."""
        return bytes(self._log).decode(errors="replace").strip()

    @property
    def ending(self) -> str:
        """How it ended, in words, for a person."""
        if self._failure is not None:
            return f"the sandbox failed: {self._failure}"
        if self.stopped is not None:
            return str(self.stopped)
        return f"exit status {self.returncode}"

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Count what is done inside towards `Limits.wall_s`; after the first time, nothing else.

        The grader has other things to do meanwhile, and to wait for: that is not the job's time.
        """
        self._clock.start()
        try:
            yield
        finally:
            self._clock.stop()

    def wait(self, timeout_s: float) -> bool:
        """Wait until nothing of it is left; return False if that takes longer."""
        return self._ended.wait(timeout_s)

    def stop(self, stop: Stop) -> None:
        """Kill it, with all its descendants, for a reason; the first reason stands."""
        with self._lock:
            if self.stopped is None and self.alive:
                self.stopped = stop
        self._asked.set()

    def close(self) -> None:
        """Kill it if it still runs, and wait until nothing of it is left."""
        self.stop(Stop("ended by the grader", "no longer needed"))
        self._ended.wait()
        for pipe in (self.stdin, self.stdout):
            if pipe is not None:
                pipe.close()

    def _run(self) -> None:
        try:
            try:
                self._start_and_watch()
            finally:
                self._spawn.clean_up()
        except Exception as error:  # raised or told where somebody asks about the process
            self._failure = error
        finally:
            self._ended.set()
            self._started.set()

    def _start_and_watch(self) -> None:
        try:
            process = subprocess.Popen(
                self._spawn.command,
                bufsize=0,
                stdin=subprocess.PIPE if self._talk else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if self._talk else subprocess.STDOUT,
                env=self._spawn.environment,
                pass_fds=self._spawn.descriptors,
                cwd=self.job.work,
                start_new_session=True,
            )
        finally:
            for descriptor in self._spawn.descriptors:
                os.close(descriptor)
        if self._talk:
            self.stdin, self.stdout = process.stdin, process.stdout
        source = process.stderr if self._talk else process.stdout
        assert source is not None
        logger = threading.Thread(target=self._keep_log, args=(source,), daemon=True)
        logger.start()
        try:
            watchdog = Watchdog(
                self._spawn.find_root(process.pid),
                self.job.limits,
                self.job.writable_folders,
                self._clock,
            )
            self._started.set()
            self._watch(process, watchdog)
        finally:
            process.kill()
            self.returncode = _shell_status(process.wait())
            logger.join(timeout=1)

    def _watch(self, process: subprocess.Popen[bytes], watchdog: Watchdog) -> None:
        try:
            while process.poll() is None and not self._asked.wait(POLL_SECONDS):
                stop = watchdog.check()
                if stop is not None:
                    self.stop(stop)
        finally:
            watchdog.kill()

    def _keep_log(self, source: IO[bytes]) -> None:
        # A flood is read to its end and forgotten, so that its writer never blocks.
        with source:
            while chunk := source.read(1 << 16):
                self._log += chunk
                del self._log[:-_LOG_BYTES]


def _shell_status(returncode: int) -> int:
    return returncode if returncode >= 0 else 128 - returncode
