"""nbgrader's settings for a course: its own commands and formgrader then work with our parts."""

import os
import shutil
import sys
from pathlib import Path

from nbgrader.converters import Autograde, GenerateFeedback
from nbgrader.preprocessors import AssignLatePenalties, CheckCellMetadata
from traitlets.config import Config

from trtlab_grader.course import Course
from trtlab_grader.nbgrader_glue.grades import SaveVerdicts
from trtlab_grader.nbgrader_glue.reading import ReadSubmission, SetLinksAside
from trtlab_grader.nbgrader_glue.releasing import LEFT_BY_RUNNING, release_settings
from trtlab_grader.nbgrader_glue.rendering import DropNotes, safe_markdown
from trtlab_grader.nbgrader_glue.verdicts import GradeFromRecord, RecordFor

RECORD_FOR = "trtlab_grader.grading.record_for"
"""Grades a submission, or finds its record; used where no other RecordFor is given."""


def configure(course: Course, record_for: RecordFor | str = RECORD_FOR) -> Config:
    """Return nbgrader's settings for a course.

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
