"""The single writer: records into nbgrader's gradebook, one process for all of them."""

import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from nbgrader.converters import Autograde
from nbgrader.coursedir import CourseDirectory
from sqlalchemy.exc import SAWarning
from traitlets.config import Config

from trtlab_grader.course import Course
from trtlab_grader.nbgrader_glue.config import place_in_config, settings_of
from trtlab_grader.nbgrader_glue.lock import course_lock
from trtlab_grader.nbgrader_glue.reading import SetLinksAside
from trtlab_grader.records import LabRecord

_log = logging.getLogger("trtlab_grader.nbgrader")


@dataclass
class Written:
    """What `write_grades` did.

    Attributes:
        written: (student, assignment) of the records that are in the gradebook.
        failed: (student, assignment) -> why it is not.
    """

    written: list[tuple[str, str]] = field(default_factory=list)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)


def write_grades(
    course: Course,
    records: Iterable[LabRecord],
    progress: Callable[[LabRecord], None] = lambda record: None,
) -> Written:
    """Enter records into the gradebook and write the graded notebooks to autograded/.

    To do it again with the same records changes nothing; so after a crash, do it again. A record
    that cannot be entered is reported and stops none of the others. The working directory of the
    process is the course's meanwhile, as nbgrader wants it.

    Args:
        course: its lock is held throughout.
        records: at most one for a student and assignment.
        progress: called after each.

    Raises:
        CourseError: if another grader is at work in the course, or its nbgrader_config.py cannot
            be run.
    """
    by_name = {(record.student, record.assignment): record for record in records}
    config = settings_of(course)
    config.GradeFromRecord.record_for = lambda student, assignment, _: by_name[student, assignment]
    result = Written()
    with course_lock(course), warnings.catch_warnings():
        # nbgrader relies on a cascade of SQLAlchemy's that is to be dropped one day.
        warnings.filterwarnings("ignore", "Object of type <Submitted", SAWarning)
        for name, record in by_name.items():
            try:
                _AutogradeOne(course, *name, config).start()
            # Whatever is wrong with one submission is reported and stops none of the others.
            except Exception as error:
                _log.exception("%s's %s could not be entered", *name)
                result.failed[name] = f"{type(error).__name__}: {error}{place_in_config(error)}"
            else:
                result.written.append(name)
            progress(record)
    return result


class _AutogradeOne(Autograde):
    """nbgrader's Autograde for one submission, whose errors are its caller's to handle.

    nbgrader finds submissions by a pattern; here the student's id is taken as it is, and a notebook
    that was not handed in is graded too.
    """

    def __init__(self, course: Course, student: str, assignment: str, config: Config) -> None:
        directory = CourseDirectory(config=config)
        directory.student_id, directory.assignment_id = student, assignment
        super().__init__(coursedir=directory, config=config, log=_log)
        self._pair = (assignment, student)
        self._set_links_aside = SetLinksAside(course)

    def init_notebooks(self) -> None:
        folder = Path(self._format_source(*self._pair))
        self.notebooks = [str(folder / f"{self._pair[0]}.ipynb")]

    def convert_notebooks(self) -> None:
        self._set_links_aside(notebooks=self.notebooks)
        target = self._format_dest(*self._pair)
        if os.path.isdir(target):
            shutil.rmtree(target)
        self.init_assignment(*self._pair)
        for notebook in self.notebooks:
            self.convert_single_notebook(notebook)
        self.set_permissions(*self._pair)
