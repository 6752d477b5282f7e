"""What a tree of processes and a folder use at the moment, measured from outside."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

import psutil

_BLOCK = 4096
# Deeper trees are made to hide something, or to break whoever walks them.
MAX_DEPTH = 64
MAX_PATH_CHARACTERS = 3000


class HiddenFiles(Exception):
    """A folder cannot be measured: unreadable, or nested too deep."""


def memory_bytes(processes: Iterable[psutil.Process], enough: int) -> int:
    """Return the memory of some processes in bytes.

    Resident sizes are cheap to read but count shared pages once for each process. So the exact
    figure, the proportional one (PSS), is read only if the resident sizes exceed `enough`.
    """
    processes = list(processes)
    resident = sum(_memory(process, exact=False) for process in processes)
    if resident <= enough:
        return resident
    return sum(_memory(process, exact=True) for process in processes)


def _memory(process: psutil.Process, exact: bool) -> int:
    try:
        if exact and psutil.LINUX:
            return int(process.memory_full_info().pss)
        return int(process.memory_info().rss)
    except psutil.AccessDenied:  # the exact figure of a process that is just changing its user
        return 0
    except psutil.NoSuchProcess:
        return 0


def task_count(processes: Iterable[psutil.Process]) -> int:
    """Return how many threads some processes have together."""
    count = 0
    for process in processes:
        try:
            count += process.num_threads()
        except psutil.Error:
            count += 1
    return count


def folder_bytes(folder: Path) -> int:
    """Return the space that a folder takes, in bytes; links are not followed.

    Raises:
        HiddenFiles: if a part of it cannot be read, or is nested too deep.
    """
    total = 0
    waiting = [(os.fspath(folder), 0)]
    while waiting:
        path, depth = waiting.pop()
        if depth > MAX_DEPTH or len(path) > MAX_PATH_CHARACTERS:
            raise HiddenFiles(f"folders are nested more than {MAX_DEPTH} deep")
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    total += max(_size(entry), _BLOCK)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((entry.path, depth + 1))
        except (FileNotFoundError, NotADirectoryError):  # removed since it was listed
            continue
        except OSError as error:
            raise HiddenFiles(f"a folder cannot be read: {error.strerror}") from None
    return total


def _size(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * 512
    except FileNotFoundError:
        return 0


def unlinked_bytes(processes: Iterable[psutil.Process], folders: Iterable[Path]) -> int:
    """Return the space of files that were removed but are still open: no folder shows them."""
    devices = {folder.stat().st_dev for folder in folders if folder.exists()}
    sizes: dict[tuple[int, int], int] = {}
    for process in processes:
        descriptors = f"/proc/{process.pid}/fd"
        try:
            names = os.listdir(descriptors)
        except OSError:  # gone, or a system without /proc
            continue
        for name in names:
            try:
                status = os.stat(f"{descriptors}/{name}")
            except OSError:
                continue
            if status.st_nlink == 0 and status.st_dev in devices and stat.S_ISREG(status.st_mode):
                sizes[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(sizes.values())
