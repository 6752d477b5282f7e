"""What has been handed in, and the key under which its grade is kept."""

import functools
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import trtlab
from trtlab.errors import InputError
from trtlab.files import sha256
from trtlab.lab.exchange import ExchangeError, read_bytes
from trtlab_grader.course import LABS, Course, CourseError
from trtlab_grader.notebooks.reading import MAX_BYTES
from trtlab_grader.store import content_key

TIMESTAMP = "timestamp.txt"
"""The file beside a notebook from which nbgrader reads when it was handed in."""


@dataclass(frozen=True)
class Submission:
    """One lab of one student, as handed in.

    Attributes:
        student, assignment: nbgrader's names.
        path: where its notebook should be.
        sha256: of the notebook; of nothing, where it cannot be read.
        readable: whether it is a regular file that is not too large.
    """

    student: str
    assignment: str
    path: Path
    sha256: str
    readable: bool

    @property
    def lab(self) -> int:
        """The lab's number."""
        return LABS.index(self.assignment) + 1


def find_submissions(
    course: Course, students: Collection[str] = (), assignments: Collection[str] = ()
) -> list[Submission]:
    """Return what has been handed in, by student and lab.

    Args:
        course: where to look.
        students: only these; everybody by default.
        assignments: only these; all labs by default.

    Raises:
        InputError: if there is no such assignment, or nothing of a student that was named.
    """
    unknown = sorted(set(assignments) - set(LABS))
    if unknown:
        raise InputError(f"There is no lab {unknown[0]!r}; there are {', '.join(LABS)}.")
    found = [
        _submission(folder, assignment)
        for folder in sorted(course.submitted.glob("[!.]*"))
        if folder.is_dir() and (not students or folder.name in students)
        for assignment in LABS
        if (not assignments or assignment in assignments) and (folder / assignment).is_dir()
    ]
    absent = sorted(set(students) - {submission.student for submission in found})
    if absent:
        raise InputError(
            f"Nothing was handed in by {', '.join(absent)}: there is no folder with a lab under "
            f"{course.submitted}."
        )
    return found


def keys_of(course: Course, submissions: Collection[Submission]) -> dict[Submission, str]:
    """Return the key of each submission: the hash of everything that its grade follows from.

    A lab's grade follows from the earlier labs of the same student too, whose engines it uses.
    """
    keys: dict[Submission, str] = {}
    for submission in sorted(submissions, key=lambda s: (s.student, s.lab)):
        earlier = {
            before.assignment: keys[before]
            for before in keys
            if before.student == submission.student and before.lab < submission.lab
        }
        keys[submission] = content_key(
            student=submission.student,
            assignment=submission.assignment,
            notebook=submission.sha256,
            earlier=earlier,
            release=released_sha256(course, submission.assignment),
            secret=course.seed("fingerprint"),
            images=course.settings.accuracy_images,
            version=trtlab.__version__,
        )
    return keys


def released_notebook(course: Course, assignment: str) -> Path:
    """Return the path of what students got.

    Raises:
        CourseError: if it was not released.
    """
    path = course.release / assignment / f"{assignment}.ipynb"
    if not path.is_file():
        raise CourseError(
            f"{assignment} has not been released: there is no {path}. Run `trtlab-grade release`."
        )
    return path


@functools.lru_cache(maxsize=64)
def _hash(path: Path, modified_ns: int) -> str:
    return sha256(path)


def released_sha256(course: Course, assignment: str) -> str:
    """Return the hash of a released notebook. Raises: CourseError, as `released_notebook` does."""
    path = released_notebook(course, assignment)
    return _hash(path, path.stat().st_mtime_ns)


def _submission(folder: Path, assignment: str) -> Submission:
    path = folder / assignment / f"{assignment}.ipynb"
    try:
        content, readable = read_bytes(path, MAX_BYTES), True
    except ExchangeError:
        content, readable = b"", False
    return Submission(folder.name, assignment, path, hashlib.sha256(content).hexdigest(), readable)
