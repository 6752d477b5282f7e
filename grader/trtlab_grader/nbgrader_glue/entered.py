"""What the gradebook holds of a lab, as a text to compare: is it still what was entered?

A gradebook may be restored from a backup, students removed from it, due dates set: by nbgrader, by
formgrader, behind our back. What a person enters is no part of the text, but for late work, of
which a penalty may take a share.
"""

import hashlib
import json
from typing import Any

from nbgrader.api import Gradebook, MissingEntry
from sqlalchemy.exc import SQLAlchemyError

from trtlab.lab.exchange import ExchangeError, read_bytes
from trtlab_grader.course import Course, CourseError
from trtlab_grader.nbgrader_glue.gradebook import open_gradebook
from trtlab_grader.records import LabRecord
from trtlab_grader.submissions import TIMESTAMP

_MOST_BYTES = 1000


def entered_text(course: Course, record: LabRecord) -> str:
    """Return a line that is another one once a record has to be entered, or entered again.

    It is made of the record's identity, what the gradebook holds of it from the grader, and what
    decides a late penalty: the due date, the time of the submission, the instructor's rule.
    It is empty if the gradebook cannot be read.
    """
    folder = course.submitted / record.student / record.assignment
    try:
        handed_in = read_bytes(folder / TIMESTAMP, _MOST_BYTES)
    except ExchangeError:
        handed_in = b""
    # nbgrader_config.py, and the modules beside it that it may take the rule from.
    rules = [path.read_bytes() for path in sorted(course.root.glob("*.py"))]
    try:
        with open_gradebook(course) as gradebook:
            held = _held(gradebook, record.student, record.assignment)
    except (CourseError, SQLAlchemyError):
        return ""
    parts = [handed_in, *rules, json.dumps(held, default=str).encode()]
    digests = "".join(hashlib.sha256(part).hexdigest() for part in parts)
    return f"{record.key} {record.started} {hashlib.sha256(digests.encode()).hexdigest()}\n"


def _held(gradebook: Gradebook, student: str, assignment: str) -> Any:
    """Return what the grader has entered of a submission, as JSON-able data but for times."""
    try:
        submission = gradebook.find_submission(assignment, student)
    except MissingEntry:
        return None
    # nbgrader adds an extension to a due date even where there is none.
    late = 0 if submission.assignment.duedate is None else submission.total_seconds_late
    return [
        submission.timestamp,
        [late, submission.score, submission.late_submission_penalty] if late else None,
        sorted([g.name, g.auto_score] for n in submission.notebooks for g in n.grades),
        sorted([c.name, c.auto_comment] for n in submission.notebooks for c in n.comments),
    ]
