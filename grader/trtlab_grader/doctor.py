"""What `trtlab-grade doctor` looks at: is everything here that grading needs, and how to get it."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from trtlab.doctor import Finding
from trtlab.doctor import examine as examine_lab
from trtlab.errors import BackendError
from trtlab_grader.course import SETTINGS_FILE, Course, CourseError, open_course
from trtlab_grader.dispatch import visible_gpus
from trtlab_grader.nbgrader_glue.lock import LOCK_FILE
from trtlab_grader.sandbox import Bubblewrap, SandboxError

MIN_FREE_GIB = 10
_NO_BACKEND = (BackendError, ImportError, OSError)  # the lab's findings say which, and what to do


def examine(root: Path) -> list[Finding]:
    """Examine this machine and the course at `root`; 'missing' keeps grading from running."""
    missing = [finding for finding in examine_lab() if finding.state == "missing"]
    return [*missing, _sandbox(), _gpus(), _cores(), _packages(), *_course(root)]


def _sandbox() -> Finding:
    try:
        facts = Bubblewrap().facts
    except SandboxError as error:
        remedy = "apt install bubblewrap; or grade with --no-sandbox, at your own risk"
        return Finding(what="sandbox", state="missing", found=str(error), remedy=remedy)
    found = f"{facts['sandbox']}, {facts['user']}, seccomp filter: {facts['seccomp']}"
    return Finding(what="sandbox", state="ok", found=found)


def _gpus() -> Finding:
    gpus = visible_gpus()
    try:
        from trtlab.backend import IS_EMULATED, NAME, WHY_NOT_REAL, trt
    except _NO_BACKEND:
        found = f"{len(gpus)} found, no backend"
        return Finding(what="GPU", state="optional", found=found, remedy="mend the backend first")
    if IS_EMULATED:
        why = f": {WHY_NOT_REAL}" if gpus and WHY_NOT_REAL else ""
        return Finding(
            what="GPU",
            state="optional",
            found=f"{len(gpus)} found, TensorRT is emulated{why}",
            remedy="tasks on speed stay open; grade again on a machine with a GPU and TensorRT",
        )
    return Finding(what="GPU", state="ok", found=f"{len(gpus)}, {NAME} {trt.__version__}")


def _cores() -> Finding:
    return Finding(what="cores", state="ok", found=str(os.cpu_count()))


def _packages() -> Finding:
    """Find whether Python has compiled what it imports: a sandbox may not keep what it compiles.

    pip compiles what it installs; what other installers leave costs every notebook's kernel as long
    again, and longer.
    """
    spec = importlib.util.find_spec("ipykernel.kernelapp")
    assert spec is not None
    assert spec.origin is not None
    if Path(importlib.util.cache_from_source(spec.origin)).is_file():
        return Finding(what="packages", state="ok", found="compiled")
    return Finding(
        what="packages",
        state="optional",
        found="not compiled: every notebook starts seconds later than it could",
        remedy=f"{sys.executable} -m compileall -q -j 0 {Path(spec.origin).parents[1]}",
    )


def _course(root: Path) -> Iterator[Finding]:
    try:
        course = open_course(root)
    except CourseError as error:
        known = any((folder / SETTINGS_FILE).is_file() for folder in _upwards(root))
        yield Finding(
            what="course",
            state="missing" if known else "optional",
            found=str(error) if known else "none here",
            remedy="mend it" if known else "trtlab-grade init DIRECTORY; then cd there",
        )
        return
    yield _folders(course)
    yield _gradebook(course)
    free = shutil.disk_usage(course.root).free / 2**30
    enough = free >= MIN_FREE_GIB
    yield Finding(
        what="disk",
        state="ok" if enough else "missing",
        found=f"{free:.0f} GiB free",
        remedy="" if enough else f"free {MIN_FREE_GIB} GiB: engines of a class take space",
    )


def _folders(course: Course) -> Finding:
    """Find whether every command may write where it does: all of them take the lock first."""
    folders = (course.submitted, course.release, course.autograded, course.feedback, course.records)
    places = [course.root, course.root / LOCK_FILE, *folders]
    for path in places:
        if path.exists() and not os.access(path, os.W_OK):
            return Finding(
                what="course",
                state="missing",
                found=f"{path} cannot be written to",
                remedy="see to it that you may write there, and that it is not mounted read-only",
            )
    return Finding(what="course", state="ok", found=str(course.root))


def _upwards(root: Path) -> list[Path]:
    start = root.resolve()
    return [start, *start.parents]


def _gradebook(course: Course) -> Finding:
    kind = course.gradebook_url.split(":")[0]
    try:
        from trtlab_grader.nbgrader_glue.gradebook import open_gradebook
    except _NO_BACKEND:
        remedy = "mend the backend first"
        return Finding(what="gradebook", state="optional", found="not opened", remedy=remedy)
    try:
        with open_gradebook(course) as gradebook:
            found = f"{kind}, {len(gradebook.students)} students"
    except CourseError as error:
        remedy = "see docs/instructors.md, the gradebook in PostgreSQL"
        return Finding(what="gradebook", state="missing", found=str(error), remedy=remedy)
    return Finding(what="gradebook", state="ok", found=found)
