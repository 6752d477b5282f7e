"""Submissions from an LMS into submitted/{student}/{assignment}/, for nbgrader to find.

A submission is put together beside submitted/ and then renamed into it, so that nothing
half-written is ever graded. What is not taken is reported, and stops nothing else. What a newer
submission takes the place of is set aside, not deleted: it may be all that there is of it.
"""

import filecmp
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from trtlab.errors import DataError
from trtlab.lab.exchange import ExchangeError, read_bytes
from trtlab_grader.course import LABS, Course
from trtlab_grader.lms.downloads import Download, Refused, open_downloads
from trtlab_grader.lms.naming import Place, place_of
from trtlab_grader.lms.roster import Person, Roster, read_roster, student_id_problem
from trtlab_grader.nbgrader_glue.gradebook import open_gradebook
from trtlab_grader.nbgrader_glue.lock import course_lock
from trtlab_grader.nbgrader_glue.reading import SET_ASIDE
from trtlab_grader.submissions import TIMESTAMP

_LONGEST_NAME = 128  # in nbgrader's database; PostgreSQL insists on it
_TIME = "%Y-%m-%d %H:%M:%S.%f UTC"


@dataclass(frozen=True)
class Taken:
    """A submission that is now in submitted/.

    Attributes:
        handed_in: time of its newest file, ISO 8601, UTC.
        files: what it consists of.
        late: whether the LMS calls it late.
        set_aside: where the one is now that was in its place, in the course; empty if none was.
    """

    student: str
    assignment: str
    handed_in: str
    files: tuple[str, ...]
    late: bool = False
    set_aside: str = ""

    def line(self) -> str:
        """Return it in words."""
        late = " (late, says the LMS)" if self.late else ""
        before = f"; the one before is in {self.set_aside}" if self.set_aside else ""
        return f"{self.student} {self.assignment}: {', '.join(self.files)}{late}{before}"


@dataclass
class Collected:
    """What `collect` did."""

    taken: list[Taken] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-able data."""
        return asdict(self)

    def taken_lines(self) -> list[str]:
        """Return a line for each submission."""
        return [submission.line() for submission in self.taken]

    def refused_lines(self) -> list[str]:
        """Return a line for each file that was not taken."""
        return [f"{refused.name}: {refused.why}" for refused in self.refused]


@dataclass(frozen=True)
class _File:
    download: Download
    place: Place

    @property
    def age(self) -> tuple[datetime, tuple[int, int]]:
        return self.download.modified, self.place.attempt


def collect(course: Course, downloads: Path, roster: Path | None = None) -> Collected:
    """Take submissions out of a folder or zip of downloads.

    Where a student handed in a file several times, the newest counts. What is older than what
    submitted/ has already is refused, and so is what has no notebook where submitted/ has one. The
    gradebook gets names and LMS numbers too, from the roster where there is one.

    Args:
        course: where to.
        downloads: see naming for the layouts.
        roster: CSV that maps names in the LMS to ids; see roster.py.

    Raises:
        CourseError: if a grader is at work in the course, or its gradebook cannot be opened.
        DataError: if the download or the roster cannot be read, the disk is too small for it, or
            the download is a folder that has to do with the course itself.
    """
    _require_apart(course, downloads)
    people = read_roster(roster) if roster else None
    with course_lock(course), open_downloads(downloads) as (found, refused):
        result = Collected(refused=refused)
        submissions = _by_submission(course, found, people, result)
        _require_space(course, submissions.values())
        with tempfile.TemporaryDirectory(dir=course.root, prefix=".collect-") as staging:
            for (student, assignment), files in sorted(submissions.items()):
                _take(course, student, assignment, files, Path(staging), result)
        taken = {submission.student for submission in result.taken}
        if people:
            _enter_names(course, [person for person in people.people if person.id in taken])
        elif taken:
            _enter_lms_names(course, taken, submissions)
    return result


def _require_apart(course: Course, downloads: Path) -> None:
    """Refuse a folder in which release/ and source/ would be taken for students."""
    folder, root = downloads.resolve(), course.root.resolve()
    if folder.is_dir() and (folder.is_relative_to(root) or root.is_relative_to(folder)):
        raise DataError(
            f"{folder} is the course directory {root}, lies in it or contains it: nobody handed "
            "that in. Name the zip that your LMS gave you, or unpack it somewhere else."
        )


def _by_submission(
    course: Course, found: Iterable[Download], people: Roster | None, result: Collected
) -> dict[tuple[str, str], list[_File]]:
    """Sort files by student and lab, the newest of each name only."""
    files: dict[str, list[_File]] = {}
    for download in found:
        place = place_of(download.parts)
        if isinstance(place, Place):
            student = _student(place, people)
            if isinstance(student, str):
                files.setdefault(student, []).append(_File(download, place))
            else:
                result.refused.append(Refused(download.name, student.why))
        elif place is not None:
            result.refused.append(Refused(download.name, place))
    _refuse_ambiguous(course, files, result)
    submissions: dict[tuple[str, str], list[_File]] = {}
    for student, theirs in files.items():
        newest = {file.place.file: file for file in sorted(theirs, key=lambda file: file.age)}
        for file in theirs:
            if newest[file.place.file] is file:
                submissions.setdefault((student, file.place.assignment), []).append(file)
            else:
                why = "the same student handed in a newer one"
                result.refused.append(Refused(file.download.name, why))
    return submissions


def _student(place: Place, people: Roster | None) -> str | Refused:
    if people is not None:
        found = people.find(place.name, place.lms_id)
        return found.id if isinstance(found, Person) else Refused(place.name, found)
    if place.moodle:
        why = "Moodle tells a student by name only, so it takes a roster: --roster names.csv"
        return Refused(place.name, why)
    student = place.lms_id or place.name
    problem = student_id_problem(student)
    return Refused(place.name, problem) if problem else student


def _refuse_ambiguous(course: Course, files: dict[str, list[_File]], result: Collected) -> None:
    """Refuse students who may be two: by their folders, the LMS, or ids that differ in case."""
    homes: dict[str, set[str]] = {}
    for student, theirs in files.items():
        known = homes.setdefault(student.casefold(), set())
        known.update(file.place.home or student for file in theirs)
        known.update(*(accounts for accounts in _accounts(theirs) if len(accounts) > 1))
    for folder in course.submitted.glob("*"):
        if folder.name.casefold() in homes and folder.name not in files:
            homes[folder.name.casefold()].add(f"{folder.name} (in submitted/)")
    for student in list(files):
        alike = homes[student.casefold()]
        if len(alike) > 1:
            why = f"it is not clear whose it is; there are {', '.join(sorted(alike))}"
            result.refused += [Refused(file.download.name, why) for file in files.pop(student)]


def _accounts(theirs: Iterable[_File]) -> Iterable[set[str]]:
    """Yield sets in which each member is somebody else to the LMS."""
    yield {f"number {file.place.lms_id}" for file in theirs if file.place.lms_id}
    for lab in LABS:
        places = [file.place for file in theirs if file.place.assignment == lab]
        yield {place.moodle for place in places if place.moodle}


def _require_space(course: Course, submissions: Iterable[list[_File]]) -> None:
    needed = sum(file.download.size for files in submissions for file in files)
    free = shutil.disk_usage(course.root).free
    if needed > free // 2:
        raise DataError(
            f"The submissions have {needed:,} bytes, more than half of the {free:,} that are free "
            f"on the disk of {course.root}: free some space, or collect a part at a time."
        )


def _take(
    course: Course,
    student: str,
    assignment: str,
    files: list[_File],
    staging: Path,
    result: Collected,
) -> None:
    """Put one submission in place."""
    label, notebook = f"{student}/{assignment}", f"{assignment}.ipynb"
    handed_in = max(file.download.modified for file in files)
    target = course.submitted / student / assignment
    if target.parent.is_symlink() or target.is_symlink():
        result.refused.append(Refused(label, f"{target} is a link; remove it"))
        return
    there = os.path.lexists(target / notebook)
    # A notebook counts for more than the time of what it makes: without it nothing can be graded.
    first = not there and any(file.place.file == notebook for file in files)
    if handed_in < _time_of(target) and not first:
        result.refused.append(Refused(label, "submitted/ has a newer one"))
        return
    folder = staging / student / assignment
    kept = _copied(files, folder, result)
    if not kept:
        return
    if notebook not in kept:
        stays = "; the submission with one stays in submitted/" if there else ""
        result.refused.append(Refused(label, f"there is no notebook, only what it makes{stays}"))
        if there:
            return
    (folder / TIMESTAMP).write_text(handed_in.strftime(_TIME) + "\n", encoding="ascii")
    before = _put(course, folder, target)
    late = any(file.place.late for file in files if file.place.file in kept)
    time_of_it = handed_in.isoformat(timespec="seconds")
    result.taken.append(Taken(student, assignment, time_of_it, tuple(kept), late, before))


def _copied(files: Iterable[_File], folder: Path, result: Collected) -> list[str]:
    """Copy files into a new folder; return the names of those that could be."""
    folder.mkdir(parents=True)
    kept = []
    for file in sorted(files, key=lambda file: file.place.file):
        copy = folder / file.place.file
        problem = file.download.copy(copy)
        if problem:
            copy.unlink(missing_ok=True)
            result.refused.append(Refused(file.download.name, problem))
        else:
            kept.append(file.place.file)
    return kept


def _put(course: Course, folder: Path, target: Path) -> str:
    """Rename a submission to where it belongs; return where in the course the one before is now."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        os.rename(folder, target)
        return ""
    if _same(folder, target):
        return ""
    name = Path(SET_ASIDE, f"{time.time_ns()}", *target.parts[-2:])
    aside = course.root / name
    aside.parent.mkdir(parents=True)
    os.rename(target, aside)
    try:
        os.rename(folder, target)
    except BaseException:
        os.rename(aside, target)
        raise
    return name.as_posix()


def _same(one: Path, other: Path) -> bool:
    names = sorted(path.name for path in one.iterdir())
    if names != sorted(path.name for path in other.iterdir()):
        return False
    _, different, unreadable = filecmp.cmpfiles(one, other, names, shallow=False)
    return not different and not unreadable


def _time_of(folder: Path) -> datetime:
    """Return when what is there was handed in; the beginning of time where that is unknown."""
    try:
        text = read_bytes(folder / TIMESTAMP, 100).decode("ascii").strip()
        return datetime.strptime(text.replace("UTC", "+0000"), _TIME.replace("UTC", "%z"))
    except (ExchangeError, ValueError):
        return datetime.fromisoformat("0001-01-01T00:00:00+00:00")


def _enter_lms_names(
    course: Course, taken: Iterable[str], submissions: Mapping[tuple[str, str], list[_File]]
) -> None:
    """Give students without a name the one that the LMS uses: formgrader shows names, not ids."""
    places = {student: files[0].place for (student, _), files in submissions.items()}
    with open_gradebook(course) as gradebook:
        named = {known.id for known in gradebook.students if known.first_name or known.last_name}
        for student in sorted(set(taken) - named):
            place = places[student]
            name = place.name[:_LONGEST_NAME]
            names = {"first_name": "", "last_name": name, "lms_user_id": place.lms_id}
            gradebook.update_or_create_student(student, **names)


def _enter_names(course: Course, people: Iterable[Person]) -> None:
    with open_gradebook(course) as gradebook:
        for person in people:
            facts = {
                "first_name": person.first_name or None,
                "last_name": person.last_name or person.name or None,
                "email": person.email or None,
                "lms_user_id": person.lms_id or None,
            }
            gradebook.update_or_create_student(person.id, **facts)
