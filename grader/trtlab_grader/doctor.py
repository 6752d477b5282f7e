"""What `trtlab-grade doctor` looks at: is everything here that grading needs, and how to get it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from nbgrader.api import Gradebook

from trtlab.backend import IS_EMULATED, NAME, trt
from trtlab.doctor import Finding
from trtlab.doctor import examine as examine_lab
from trtlab_grader.course import Course, CourseError, open_course
from trtlab_grader.dispatch import visible_gpus
from trtlab_grader.nbgrader_glue.config import configure
from trtlab_grader.sandbox import Bubblewrap, SandboxError

MIN_FREE_GIB = 10


def examine(root: Path) -> list[Finding]:
    """Examine this machine and the course at `root`; 'missing' keeps grading from running."""
    missing = [finding for finding in examine_lab() if finding.state == "missing"]
    return [*missing, _sandbox(), _gpus(), _cores(), *_course(root)]


def _sandbox() -> Finding:
    try:
        facts = Bubblewrap().facts
    except SandboxError as error:
        remedy = "apt install bubblewrap; or grade with --no-sandbox, at your own risk"
        return Finding(what="sandbox", state="missing", found=str(error), remedy=remedy)
    return Finding(what="sandbox", state="ok", found=", ".join(facts.values()))


def _gpus() -> Finding:
    gpus = visible_gpus()
    if IS_EMULATED:
        return Finding(
            what="GPU",
            state="optional",
            found=f"{len(gpus)} found, TensorRT is emulated",
            remedy="tasks on speed stay open; grade again on a machine with a GPU and TensorRT",
        )
    return Finding(what="GPU", state="ok", found=f"{len(gpus)}, {NAME} {trt.__version__}")


def _cores() -> Finding:
    return Finding(what="cores", state="ok", found=str(os.cpu_count()))


def _course(root: Path) -> Iterator[Finding]:
    try:
        course = open_course(root)
    except CourseError as error:
        yield Finding(
            what="course", state="optional", found=str(error), remedy="trtlab-grade init DIRECTORY"
        )
        return
    yield Finding(what="course", state="ok", found=str(course.root))
    yield _gradebook(course)
    free = shutil.disk_usage(course.root).free / 2**30
    enough = free >= MIN_FREE_GIB
    yield Finding(
        what="disk",
        state="ok" if enough else "missing",
        found=f"{free:.0f} GiB free",
        remedy="" if enough else f"free {MIN_FREE_GIB} GiB: engines of a class take space",
    )


def _gradebook(course: Course) -> Finding:
    kind = course.gradebook_url.split(":")[0]
    configure(course)  # puts alembic on PATH, which nbgrader needs
    try:
        with Gradebook(course.gradebook_url) as gradebook:
            found = f"{kind}, {len(gradebook.students)} students"
    except Exception as error:  # the database driver's own, of any kind
        return Finding(
            what="gradebook",
            state="missing",
            found=f"{kind}: {' '.join(str(error).split())}",
            remedy="is the server running, and the URL in course.toml right?",
        )
    return Finding(what="gradebook", state="ok", found=found)
