"""What goes back: a page for each student, and one about the class for whoever teaches it."""

from collections.abc import Collection, Iterator
from pathlib import Path

from nbgrader.api import Gradebook, MissingEntry

from trtlab.errors import InputError
from trtlab_grader.course import Course, CourseError
from trtlab_grader.nbgrader_glue.gradebook import open_gradebook
from trtlab_grader.records import LabRecord
from trtlab_grader.reports.class_report import write_class_report
from trtlab_grader.reports.feedback import write_feedback
from trtlab_grader.reports.grades import grades_from_gradebook
from trtlab_grader.reports.similarity import Submission, code_of, similar_pairs
from trtlab_grader.store import CHARTS, Store
from trtlab_grader.submissions import find_submissions, released_notebook

REPORT = "report.html"


def return_feedback(course: Course, students: Collection[str] = ()) -> Iterator[Path]:
    """Write feedback/{student}/feedback.html for everybody, or some; yield each path.

    Raises:
        InputError: if nothing of a student that was named has been graded.
        CourseError: if nothing has been graded, or something cannot be read. Also, once all other
            pages are written, if something is not in the gradebook: those students get none.
        OutputError: if a page cannot be written.
    """
    store = Store(course.records)
    graded = _by_student(_records(course))
    if not graded:
        raise CourseError(
            "Nothing has been graded yet, so there is no feedback: run `trtlab-grade autograde`."
        )
    unknown = sorted(set(students) - set(graded))
    if unknown:
        raise InputError(
            f"Nothing of {', '.join(unknown)} has been graded; graded are {', '.join(graded)}."
        )
    absent: list[str] = []
    with open_gradebook(course) as gradebook:
        for student, records in graded.items():
            if students and student not in students:
                continue
            lacking = [f"{student} {r.assignment}" for r in records if not _is_in(gradebook, r)]
            if lacking:
                absent += lacking
                continue
            charts = [
                (path.stem, path.read_bytes())
                for record in records
                for path in sorted((store.folder(record.key) / CHARTS).glob("*.png"))
            ]
            grades = grades_from_gradebook(gradebook, student, records)
            yield write_feedback(
                course.feedback / student, course.settings.name, records, grades, charts
            )
    if absent:
        raise CourseError(
            f"No feedback was written for {', '.join(absent)}: graded, but not in the gradebook. "
            "Run `trtlab-grade autograde`, which enters what is missing."
        )


def write_report(course: Course, path: Path | None = None) -> Path:
    """Write the class report, to report.html in the course directory by default; return its path.

    Raises:
        CourseError, OutputError: if something cannot be read or written.
    """
    records = _records(course)
    by_student = _by_student(records)
    with open_gradebook(course) as gradebook:
        enrolled = {student.id for student in gradebook.students} | set(by_student)
        grades = [
            grades_from_gradebook(gradebook, student, by_student.get(student, []))
            for student in sorted(enrolled)
        ]
    handed_in = find_submissions(course)
    released = {
        assignment: code_of(released_notebook(course, assignment).read_bytes())
        for assignment in {submission.assignment for submission in handed_in}
    }
    pairs = similar_pairs(
        (
            Submission(s.student, s.assignment, code_of(s.path.read_bytes()))
            for s in handed_in
            if s.readable
        ),
        released,
    )
    return write_class_report(
        path or course.root / REPORT, course.settings.name, records, grades, pairs
    )


def _records(course: Course) -> list[LabRecord]:
    """Return the newest records, without those of students who are no longer in submitted/."""
    return [
        record
        for record in Store(course.records).all_latest()
        if (course.submitted / record.student).is_dir()
    ]


def _is_in(gradebook: Gradebook, record: LabRecord) -> bool:
    try:
        gradebook.find_submission(record.assignment, record.student)
    except MissingEntry:
        return False
    return True


def _by_student(records: Collection[LabRecord]) -> dict[str, list[LabRecord]]:
    found: dict[str, list[LabRecord]] = {}
    for record in records:
        found.setdefault(record.student, []).append(record)
    return found
