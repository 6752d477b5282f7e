"""One grader at a time: an exclusive lock on a course, and who holds it."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from filelock import FileLock, Timeout

from trtlab.files import write_text
from trtlab_grader.course import Course, CourseError

LOCK_FILE, HOLDER_FILE = ".grader.lock", ".grader.json"


@contextmanager
def course_lock(course: Course) -> Iterator[None]:
    """Hold the course for this process. A holder may take the lock again, from any thread.

    The operating system releases it when the holder dies.

    Raises:
        CourseError: if another process holds it; it says which, where, and since when.
    """
    lock = FileLock(course.root / LOCK_FILE, is_singleton=True, thread_local=False)
    held = lock.is_locked
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise CourseError(
            f"{course.root} is in use by another grader: {_holder(course)}. Wait until it has "
            "ended, or end it; what it has graded so far is kept."
        ) from None
    try:
        if not held:
            write_text(course.root / HOLDER_FILE, json.dumps(_this_process()))
        yield
    finally:
        lock.release()


def _this_process() -> dict[str, str | int]:
    since = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since}


def _holder(course: Course) -> str:
    try:
        facts = json.loads((course.root / HOLDER_FILE).read_text(encoding="utf-8"))
        return f"process {facts['pid']} on {facts['host']}, since {facts['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "one that has only just started"
