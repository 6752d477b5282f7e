"""A lease of one GPU across processes: shared to compute on it, exclusive to time something on it.

File locks of the operating system, so that the lease of a process that dies is free at once. There
are two of them for a GPU. `gpu` is held by whoever uses it, by many or by one. `gate` lets later
shared leases in; those who want to time something hold it shut, together.

Who waits to time something leaves the gate open at first: cells of notebooks take minutes, and
while one of them goes on the others need not stand still. Sooner or later all wait to time
something, or the gate is shut. Then they go one after the other before any shared lease, so that
the GPU falls quiet once for all of them and not once for each.
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

PATIENCE_SECONDS = 60.0
"""How long who wants to time something lets others come first, before the gate is shut."""
_POLL_SECONDS = 0.05
# Twice as long as whoever waits takes to look again.
_HANDOVER_SECONDS = 2 * _POLL_SECONDS
Lease = Callable[[], AbstractContextManager[object]]
"""Takes a lease: what it returns is held while its block runs."""
Kind = Literal["shared", "exclusive"]
OnWait = Callable[[bool], object]
"""Told True if a GPU is not free at once, and False when it is."""


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
    kind: Kind,
    timeout_s: float | None = None,
    folder: Path | None = None,
    on_wait: OnWait = lambda waits: None,
    patience_s: float = PATIENCE_SECONDS,
) -> Iterator[None]:
    """Hold a GPU while the block runs.

    Args:
        gpu: its UUID, or another name that everybody uses for it.
        kind: any number of shared leases go together; an exclusive one goes with no other.
        timeout_s: how long to wait; None waits as long as it takes.
        folder: where the locks are; `lease_folder()` by default.
        on_wait: see OnWait.
        patience_s: how long an exclusive lease waits before it shuts the gate.

    Raises:
        LeaseError: if the GPU is not free in time.
    """
    name = "".join(c if c.isalnum() or c == "-" else "_" for c in gpu)
    folder = folder or lease_folder()
    with _opened(folder / f"{name}.gate") as gate, _opened(folder / f"{name}.gpu") as held:
        begin = time.monotonic()
        enter = _enter_shared if kind == "shared" else _enter_exclusive
        waits = False
        while not enter(gate, held, time.monotonic() - begin >= patience_s):
            if not waits:
                waits = True
                on_wait(True)
            if timeout_s is not None and time.monotonic() - begin >= timeout_s:
                raise LeaseError(
                    f"GPU {gpu} was not free in time: another process holds it. Wait for it to "
                    "end, or see which one it is with nvidia-smi."
                )
            # It polls: a blocking flock could not be given up at a deadline from a thread.
            time.sleep(_POLL_SECONDS)
        if waits:
            on_wait(False)
        try:
            yield
        finally:
            if kind == "exclusive":
                fcntl.flock(held, fcntl.LOCK_UN)
                time.sleep(_HANDOVER_SECONDS)  # with the gate still shut: the next to time goes


def _enter_shared(gate: int, held: int, _: bool) -> bool:
    """Try to share the GPU, unless the gate is shut; return whether it was free for that."""
    if not _try(gate, fcntl.LOCK_EX):
        return False
    try:
        return _try(held, fcntl.LOCK_SH)
    finally:
        fcntl.flock(gate, fcntl.LOCK_UN)


def _enter_exclusive(gate: int, held: int, is_impatient: bool) -> bool:
    """Try to have the GPU alone, the gate shut from then on; shut it before if impatient."""
    # All who shut the gate share its lock: it is shut until the last of them goes.
    is_shut = is_impatient and _try(gate, fcntl.LOCK_SH)
    if not _try(held, fcntl.LOCK_EX):
        return False
    if not is_shut:
        fcntl.flock(gate, fcntl.LOCK_SH)  # who stands in the gate finds the GPU taken, and goes
    return True


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor  # closing it gives the lock back
    finally:
        os.close(descriptor)


def _try(descriptor: int, mode: int) -> bool:
    """Take a lock if it is free; return whether it is held now."""
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
