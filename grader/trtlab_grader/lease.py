"""A lease of one GPU across processes: shared to compute on it, exclusive to time something on it.

File locks of the operating system, so that the lease of a process that dies is free at once.
Whoever waits for the exclusive lease holds a turnstile that later shared ones have to pass, so that
a stream of short jobs cannot keep a measurement waiting for ever.
"""

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal

from trtlab.errors import TrtLabError

_POLL_SECONDS = 0.05
Lease = Callable[[], AbstractContextManager[object]]
"""Takes a lease: what it returns is held while its block runs."""


class LeaseError(TrtLabError):
    """A GPU was not free in time."""


def lease_folder() -> Path:
    """Return the folder of this user's locks on this machine, made when it is missing."""
    folder = Path(tempfile.gettempdir()) / f"trtlab-leases-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    # Another user may have put a folder, or a link, under that name.
    if not folder.is_dir() or folder.is_symlink() or status.st_uid != os.getuid():
        raise LeaseError(f"{folder} is not a folder of yours; remove it and run this again.")
    return folder


@contextmanager
def lease(
    gpu: str,
    kind: Literal["shared", "exclusive"],
    timeout_s: float | None = None,
    folder: Path | None = None,
    on_wait: Callable[[], object] = lambda: None,
) -> Iterator[None]:
    """Hold a GPU while the block runs.

    Args:
        gpu: its UUID, or another name that everybody uses for it.
        kind: any number of shared leases go together; an exclusive one goes with no other.
        timeout_s: how long to wait; None waits as long as it takes.
        folder: where the locks are; `lease_folder()` by default.
        on_wait: called once if the GPU is not free at once.

    Raises:
        LeaseError: if the GPU is not free in time.
    """
    name = "".join(c if c.isalnum() or c == "-" else "_" for c in gpu)
    folder = folder or lease_folder()
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    mode = fcntl.LOCK_SH if kind == "shared" else fcntl.LOCK_EX
    with (
        _opened(folder / f"{name}.turnstile") as turnstile,
        _opened(folder / f"{name}.gpu") as gpu_,
    ):
        waited = _lock(turnstile, fcntl.LOCK_EX, deadline, gpu, on_wait)
        _lock(gpu_, mode, deadline, gpu, (lambda: None) if waited else on_wait)
        fcntl.flock(turnstile, fcntl.LOCK_UN)
        yield


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor  # closing it gives the lock back
    finally:
        os.close(descriptor)


def _lock(
    descriptor: int, mode: int, deadline: float | None, gpu: str, on_wait: Callable[[], object]
) -> bool:
    """Take a lock; return whether that meant waiting.

    It polls: a blocking flock could not be given up at a deadline from a thread.
    """
    waited = False
    while True:
        try:
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
            return waited
        except BlockingIOError:
            if not waited:
                on_wait()
                waited = True
            if deadline is not None and time.monotonic() >= deadline:
                raise LeaseError(
                    f"GPU {gpu} was not free in time: another process holds it. Wait for it to "
                    "end, or see which one it is with nvidia-smi."
                ) from None
            time.sleep(_POLL_SECONDS)
