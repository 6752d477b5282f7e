"""Holds a tree of processes to the limits that the kernel does not enforce, and ends it whole."""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from trtlab_grader.sandbox.limits import Limits, Stop
from trtlab_grader.sandbox.usage import (
    HiddenFiles,
    folder_bytes,
    memory_bytes,
    task_count,
    unlinked_bytes,
)

POLL_SECONDS = 0.2
_DISK_SECONDS = 0.5
# A process in the middle of a write to a slow disk dies when that is done.
_KILL_SECONDS = 10.0


class WallClock:
    """A stopwatch that runs from the start."""

    def __init__(self) -> None:
        self._before = 0.0
        self._since: float | None = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        since = self._since  # another thread may stop it meanwhile
        return self._before + (0.0 if since is None else time.monotonic() - since)

    def start(self) -> None:
        """Go on, if it was stopped."""
        if self._since is None:
            self._since = time.monotonic()

    def stop(self) -> None:
        """Stop until it is started again."""
        self._before, self._since = self.seconds, None


class Watchdog:
    """Looks after one process and its descendants.

    It looks at intervals, so a limit can be passed for a moment: memory by what a program can touch
    in `POLL_SECONDS`, disk by what it can write in half a second.

    Args:
        root: pid of the process. If it is the first of a pid namespace, killing it kills them all.
        folders: what `Limits.disk_bytes` is about.
        clock: what `Limits.wall_s` is about.
    """

    def __init__(
        self, root: int, limits: Limits, folders: Sequence[Path], clock: WallClock
    ) -> None:
        self._limits = limits
        self._folders = folders
        self._clock = clock
        self._next_disk_check = 0.0
        # Processes, not pids: psutil kills none that has the pid of one that ended before.
        self._members: set[psutil.Process] = set()
        with suppress(psutil.NoSuchProcess):  # it may have ended already
            self._members.add(psutil.Process(root))
        self._root = set(self._members)

    def check(self) -> Stop | None:
        """Return the first limit that is broken."""
        limits = self._limits
        if self._clock.seconds > limits.wall_s:
            return Stop("wall time", f"ran longer than {limits.wall_s:g} s in all")
        processes = self._processes()
        tasks = task_count(processes)
        if tasks > limits.processes:
            return Stop("processes", f"{tasks} processes and threads, limit {limits.processes}")
        memory = memory_bytes(processes, enough=limits.memory_bytes)
        if memory > limits.memory_bytes:
            return Stop("memory", f"{_mib(memory)} in use, limit {_mib(limits.memory_bytes)}")
        if time.monotonic() >= self._next_disk_check:
            stop = self._check_disk(processes)
            self._next_disk_check = time.monotonic() + _DISK_SECONDS
            return stop
        return None

    def kill(self) -> None:
        """Kill every process that belongs to the tree, and wait until they are gone."""
        for _ in range(2):  # the second round catches what was forked during the first
            processes = self._processes()
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            deadline = time.monotonic() + _KILL_SECONDS
            while any(map(_runs, processes)) and time.monotonic() < deadline:
                time.sleep(0.005)

    def _processes(self) -> list[psutil.Process]:
        """Return the members of the tree that are alive, orphans that were seen before included."""
        members: set[psutil.Process] = set()
        for process in (*self._root, *self._members):
            # Most are found below the root, by one look at the system's table of processes.
            if process not in members:
                members |= _descendants(process)
        self._members = members
        return list(members)

    def _check_disk(self, processes: Sequence[psutil.Process]) -> Stop | None:
        limit = self._limits.disk_bytes
        try:
            used = sum(folder_bytes(folder) for folder in self._folders)
        except HiddenFiles as error:
            return Stop("disk", str(error))
        used += unlinked_bytes(processes, self._folders)
        if used > limit:
            return Stop("disk", f"{_mib(used)} in the work folder, limit {_mib(limit)}")
        return None


def _descendants(process: psutil.Process) -> set[psutil.Process]:
    try:
        return {process, *process.children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def _runs(process: psutil.Process) -> bool:
    # A zombie is dead. It is for its parent, the system's init perhaps, to take note of that.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MiB"
