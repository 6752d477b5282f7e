"""A course directory from nothing, and its release for students."""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nbgrader.converters import GenerateAssignment
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory

from trtlab.errors import OutputError
from trtlab.files import write_bytes, write_text
from trtlab_grader.course import (
    SETTINGS_FILE,
    Course,
    CourseError,
    Settings,
    open_course,
    write_secret,
    write_settings,
)
from trtlab_grader.nbgrader_glue.config import CONFIG_FILE, settings_of
from trtlab_grader.nbgrader_glue.gradebook import open_gradebook
from trtlab_grader.nbgrader_glue.lock import course_lock

_log = logging.getLogger("trtlab_grader.nbgrader")

_SOURCE_FILES = (".ipynb", ".svg")
_NBGRADER_CONFIG = '''\
"""nbgrader's settings for this course; nbgrader and formgrader read them when run in this folder.

Yours to edit: settings that stand below the last line win over trtlab's.
"""

from pathlib import Path

from trtlab_grader.course import open_course
from trtlab_grader.nbgrader_glue.config import configure

c = get_config()  # noqa: F821  (defined by traitlets)
c.merge(configure(open_course(Path(__file__).parent)))
'''


def solutions() -> Path:
    """Return the folder of the instructor's notebooks.

    It lies in the package where the grader was installed from a wheel, and at the root of the
    repository in a checkout.
    """
    package = Path(__file__).resolve().parents[1]
    installed = package / "_solutions"
    return installed if installed.is_dir() else package.parents[1] / "solutions"


def init_course(root: Path, settings: Settings | None = None) -> Course:
    """Make a course directory: settings, secret, source/, release/ and the gradebook.

    Done again, it adds what is missing and overwrites nothing: not what the instructor has edited,
    nor what students were given.

    Args:
        root: the directory; made if it is missing.
        settings: of a new course. Where there is a course.toml, it decides, and those that were set
            here must be the same.

    Raises:
        CourseError: if the settings are not those of the course that is there, the gradebook cannot
            be opened, or nbgrader does not accept a notebook.
        OutputError: if the directory cannot be written.
    """
    if settings and (root / SETTINGS_FILE).is_file():
        _require_same(root / SETTINGS_FILE, settings, open_course(root).settings)
    try:
        root.mkdir(parents=True, exist_ok=True)
        write_settings(root, settings or Settings())
        write_secret(root)
    except OSError as error:
        raise OutputError(
            f"{root} cannot be made: {error.strerror}. Choose another folder."
        ) from error
    for file in sorted(solutions().glob("*/*")):
        copy = root / "source" / file.parent.name / file.name
        if file.suffix in _SOURCE_FILES and not copy.exists():
            write_bytes(copy, file.read_bytes())
    if not (root / CONFIG_FILE).exists():
        write_text(root / CONFIG_FILE, _NBGRADER_CONFIG)
    course = open_course(root)
    _release_missing(course)
    return course


def _require_same(path: Path, asked: Settings, there: Settings) -> None:
    for name in sorted(asked.model_fields_set):
        if getattr(asked, name) != getattr(there, name):
            raise CourseError(
                f"{path} is there and has another {name}. Nothing was changed: edit {name} in it, "
                f"or leave --{name} out."
            )


def _release_missing(course: Course) -> None:
    """Release labs that are not in release/, and enter those that are not in the gradebook."""
    with open_gradebook(course) as gradebook:
        entered = {assignment.name for assignment in gradebook.assignments}
    lacking = [
        name
        for name in _assignments(course)
        if name not in entered or not (course.release / name).exists()
    ]
    for made in _generated(course, lacking):
        if not (course.release / made.name).exists():
            course.release.mkdir(exist_ok=True)
            made.rename(course.release / made.name)


def release_course(course: Course) -> list[str]:
    """Make release/ from source/, and enter the assignments into the gradebook.

    Returns:
        the assignments.

    Raises:
        CourseError: if nbgrader does not accept an assignment, whose earlier release stays; or if
            the gradebook cannot be opened or nbgrader_config.py not be run.
    """
    assignments = _assignments(course)
    with open_gradebook(course):
        pass  # nbgrader would blame the first notebook for it
    for made in _generated(course, assignments):
        target = course.release / made.name
        if target.exists():
            shutil.rmtree(target)
        target.parent.mkdir(exist_ok=True)
        made.rename(target)
    return assignments


def _assignments(course: Course) -> list[str]:
    assignments = sorted({path.parent.name for path in course.source.glob("*/*.ipynb")})
    if not assignments:
        raise CourseError(
            f"{course.source} has no notebooks: nothing to release. `trtlab-grade init "
            f"{course.root}` puts back those that are missing."
        )
    return assignments


def _generated(course: Course, assignments: list[str]) -> Iterator[Path]:
    """Yield assignments as students get them, each in a temporary folder to be moved from there.

    The gradebook has them then. Raises: CourseError, as `release_course` does.
    """
    config = settings_of(course)
    with course_lock(course), tempfile.TemporaryDirectory(dir=course.root, prefix=".new-") as new:
        for assignment in assignments:
            directory = CourseDirectory(config=config, assignment_id=assignment)
            directory.release_directory = new
            complaints = _Complaints()
            log = _log.getChild(assignment)
            log.addHandler(complaints)
            try:
                GenerateAssignment(coursedir=directory, config=config, log=log).start()
            except NbGraderException:
                raise CourseError(
                    f"nbgrader does not accept source/{assignment}: {complaints.reason}"
                ) from None
            finally:
                log.removeHandler(complaints)
            yield Path(new) / assignment


class _Complaints(logging.Handler):
    """Keeps what the first traceback says that nbgrader logs in place of raising it.

    The ones after it only say that something was wrong.
    """

    reason: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        lines = record.getMessage().strip().splitlines()
        if self.reason is None and lines and lines[0].startswith("Traceback"):
            self.reason = lines[-1]
