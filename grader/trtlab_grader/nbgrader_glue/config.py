"""nbgrader's settings for a course: its own commands and formgrader then work with our parts."""

import os
import shutil
import sys
import traceback
from pathlib import Path

from nbgrader.converters import Autograde, GenerateFeedback
from nbgrader.preprocessors import AssignLatePenalties, CheckCellMetadata
from traitlets.config import Config
from traitlets.config.loader import ConfigFileNotFound, PyFileConfigLoader

from trtlab_grader.course import Course, CourseError
from trtlab_grader.nbgrader_glue.grades import SaveVerdicts
from trtlab_grader.nbgrader_glue.reading import ReadSubmission, SetLinksAside
from trtlab_grader.nbgrader_glue.releasing import LEFT_BY_RUNNING, release_settings
from trtlab_grader.nbgrader_glue.rendering import DropNotes, safe_markdown
from trtlab_grader.nbgrader_glue.verdicts import GradeFromRecord, RecordFor

RECORD_FOR = "trtlab_grader.grading.record_for"
"""Grades a submission, or finds its record; used where no other RecordFor is given."""

CONFIG_FILE = "nbgrader_config.py"


def settings_of(course: Course) -> Config:
    """Return the settings of nbgrader's own commands in a course: the instructor's over ours.

    Raises:
        CourseError: if the instructor's nbgrader_config.py cannot be run.
    """
    c = configure(course)
    # As nbgrader does: the file may name a class in a module beside it, such as "late.SubMarks".
    if str(course.root) not in sys.path:
        sys.path.append(str(course.root))
    path = course.root / CONFIG_FILE
    try:
        own = PyFileConfigLoader(str(path)).load_config()
    except ConfigFileNotFound:
        return c
    except (Exception, SystemExit) as error:
        raise CourseError(
            f"{path} cannot be used: {type(error).__name__}: {error}{place_in_config(error)}. Mend "
            "it, or move it away and let `trtlab-grade init` write a new one."
        ) from error
    # Which gradebook it is stands in course.toml: all else reads it there.
    for name in ("root", "db_url", "course_id"):
        own.CourseDirectory[name] = c.CourseDirectory[name]
    c.merge(own)
    return c


def place_in_config(error: BaseException) -> str:
    """Return where in the instructor's nbgrader_config.py an error arose; nothing if elsewhere."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).name == CONFIG_FILE]
    return f" ({CONFIG_FILE}, line {lines[-1]})" if lines else ""


def configure(course: Course, record_for: RecordFor | str = RECORD_FOR) -> Config:
    """Return what nbgrader_config.py begins with: our settings for a course.

    Also puts the environment's programs on PATH: nbgrader runs `alembic` when it makes a gradebook.
    """
    put_environment_on_path()
    c = release_settings()
    c.CourseDirectory.root = str(course.root)
    c.CourseDirectory.db_url = course.gradebook_url
    # The id that nbgrader's preprocessors assume. PostgreSQL insists that it is one and the same.
    c.CourseDirectory.course_id = "default_course"
    c.CourseDirectory.ignore = LEFT_BY_RUNNING
    c.Autograde.exporter_class = ReadSubmission
    c.Autograde.pre_convert_hook = SetLinksAside(course)
    c.Autograde.sanitize_preprocessors = Autograde.sanitize_preprocessors.default()
    c.Autograde.autograde_preprocessors = [
        GradeFromRecord,
        SaveVerdicts,
        AssignLatePenalties,
        CheckCellMetadata,
    ]
    c.GradeFromRecord.record_for = record_for
    c.GenerateFeedback.preprocessors = [DropNotes, *GenerateFeedback.preprocessors.default()]
    c.HTMLExporter.filters = {"markdown2html": safe_markdown}
    return c


def put_environment_on_path() -> None:
    """Put the environment's programs on PATH, unless they are there."""
    if shutil.which("alembic") is None:
        programs = Path(sys.executable).parent
        os.environ["PATH"] = os.pathsep.join([str(programs), os.environ.get("PATH", os.defpath)])
