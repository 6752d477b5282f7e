"""Temporary folders that say whether the process that made them still lives.

Whoever makes one holds a lock on a file in it. A process that is killed leaves its folders behind
and loses its locks; so the next one can tell which folders nobody needs, and removes those.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trtlab_grader.sandbox.ownership import take_back

SCRATCH = "trtlab-run-"
"""How the names begin of the folders in which submissions are graded."""
_OWNER = ".owner"


@contextmanager
def owned_folder(parent: Path, prefix: str = SCRATCH) -> Iterator[Path]:
    """Make a folder that nobody else can read; it is removed at the end of the block.

    Args:
        parent: where; it exists.
        prefix: how its name begins.
    """
    folder, descriptor = _made(parent, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def sweep(parent: Path, prefix: str = SCRATCH) -> None:
    """Remove the folders of that prefix whose makers are dead, of those that are this user's."""
    for folder in parent.glob(f"{prefix}*"):
        # Others may put what they like into a folder for temporary files. What is vanishing just
        # now, or cannot be removed, is left alone.
        with suppress(OSError):
            status = folder.lstat()
            if folder.is_symlink() or not folder.is_dir() or status.st_uid != os.geteuid():
                continue
            descriptor = _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                take_back(folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(descriptor)


def sweep_scratch() -> None:
    """Remove what graders that were killed have left in this machine's temporary folders."""
    for parent in {Path("/tmp"), Path(tempfile.gettempdir())}:
        sweep(parent)


def _made(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
        # Before the lock is taken, somebody who sweeps may take the folder for a dead one's.
        with suppress(FileNotFoundError):
            descriptor = _locked(folder, fcntl.LOCK_EX)
            if (folder / _OWNER).exists():
                return folder, descriptor
            os.close(descriptor)


def _locked(folder: Path, how: int) -> int:
    """Return a descriptor that holds the folder's lock. Raises: OSError, if it cannot be had."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(folder / _OWNER, flags, 0o600)
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
