"""A course directory from nothing, and its release for students."""

import logging
import shutil
import tempfile
from pathlib import Path

from nbgrader.converters import GenerateAssignment
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory

from trtlab.errors import OutputError
from trtlab.files import write_bytes, write_text
from trtlab_grader.course import (
    Course,
    CourseError,
    Settings,
    open_course,
    write_secret,
    write_settings,
)
from trtlab_grader.nbgrader_glue.config import configure
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

    Done again, it adds what is missing and overwrites nothing that the instructor has edited.

    Args:
        root: the directory; made if it is missing.
        settings: of a new course; ignored where there is a course.toml.

    Raises:
        CourseError: if the gradebook cannot be opened, or nbgrader does not accept a notebook.
        OutputError: if the directory cannot be written.
    """
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
    if not (root / "nbgrader_config.py").exists():
        write_text(root / "nbgrader_config.py", _NBGRADER_CONFIG)
    course = open_course(root)
    release_course(course)
    return course


def release_course(course: Course) -> list[str]:
    """Make release/ from source/, and enter the assignments into the gradebook.

    Returns:
        the assignments.

    Raises:
        CourseError: if nbgrader does not accept an assignment, whose earlier release stays; or if
            the gradebook cannot be opened.
    """
    config = configure(course)
    assignments = sorted(path.parent.name for path in course.source.glob("*/*.ipynb"))
    assignments = list(dict.fromkeys(assignments))
    if not assignments:
        raise CourseError(
            f"{course.source} has no notebooks: nothing to release. `trtlab-grade init "
            f"{course.root}` puts back those that are missing."
        )
    with open_gradebook(course):
        pass  # nbgrader would blame the first notebook for it
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
            target = course.release / assignment
            if target.exists():
                shutil.rmtree(target)
            target.parent.mkdir(exist_ok=True)
            (Path(new) / assignment).rename(target)
    return assignments


class _Complaints(logging.Handler):
    """Keeps what the first traceback says that nbgrader logs in place of raising it.

    The ones after it only say that something was wrong.
    """

    reason: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        lines = record.getMessage().strip().splitlines()
        if self.reason is None and lines and lines[0].startswith("Traceback"):
            self.reason = lines[-1]
