"""From verdicts to nbgrader's gradebook, so that a person's grades survive and doubts are shown."""

import hashlib
from typing import Any

from nbformat import NotebookNode
from nbgrader.api import Comment, Grade, Gradebook
from nbgrader.preprocessors import SaveAutoGrades
from nbgrader.utils import compute_checksum, is_grade, is_solution

from trtlab.feedback import text_card
from trtlab_grader.course import open_course
from trtlab_grader.nbgrader_glue.lock import course_lock
from trtlab_grader.nbgrader_glue.verdicts import NEEDS_GPU
from trtlab_grader.notebooks.matching import task_of
from trtlab_grader.records import LabRecord, TaskRecord


class SaveVerdicts(SaveAutoGrades):
    """nbgrader's SaveAutoGrades, which takes scores from the record instead of from outputs.

    Needs a GPU: no automatic score, and formgrader lists it as not yet graded. Needs a person: the
    pre-check's score and card are filled in, and formgrader lists it. What a person has entered is
    never changed; it is listed again only if what the grader says of it has changed.

    All of a notebook is one transaction, under the course's lock.
    """

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Save one notebook's grades and comments."""
        names = resources["nbgrader"]
        record: LabRecord = resources["trtlab_record"]
        where = (names["notebook"], names["assignment"], names["student"])
        course = open_course(self.parent.parent.coursedir.root)
        with course_lock(course), Gradebook(names["db_url"]) as gradebook:
            waiting = []
            for cell in nb.cells:
                if is_grade(cell):
                    task = record.tasks[task_of(cell.metadata.nbgrader.grade_id) or ""]
                    grade = gradebook.find_grade(cell.metadata.nbgrader.grade_id, *where)
                    if is_solution(cell):
                        comment = gradebook.find_comment(cell.metadata.nbgrader.grade_id, *where)
                        _save_pre_check(task, cell, grade, comment)
                    else:
                        _save_check(task, grade)
                        waiting += [task.task] if task.status == "needs a GPU" else []
            _comment_on_solutions(gradebook, nb, where, waiting)
            gradebook.db.commit()
        return nb, resources


def _save_check(task: TaskRecord, grade: Grade) -> None:
    if task.status == "graded" and task.verdict is not None:
        _settle(grade, task.verdict.points)
    else:
        if grade.manual_score is None or grade.auto_score is not None:
            grade.needs_manual_grade = True
        grade.auto_score = None


def _save_pre_check(task: TaskRecord, cell: NotebookNode, grade: Grade, comment: Comment) -> None:
    score = task.verdict.points if task.verdict else None
    if not score and _is_unchanged(cell):
        _settle(grade, 0.0)
        comment.auto_comment = "No response."
        return
    # The hash makes another answer with the same pre-check another text, so that it is read again.
    answer = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
    text = f"Pre-check of the answer {answer}:\n\n" + _as_code(
        text_card(task.verdict) if task.verdict else "nothing could be checked"
    )
    if (grade.auto_score, comment.auto_comment) != (score, text):
        grade.needs_manual_grade = True
    grade.auto_score, comment.auto_comment = score, text


def _settle(grade: Grade, score: float) -> None:
    """Enter a final score. Where a person has given another, they look again if it is new."""
    if grade.manual_score is None:
        grade.needs_manual_grade = False
    elif grade.auto_score != score:
        grade.needs_manual_grade = True
    grade.auto_score = score


def _comment_on_solutions(
    gradebook: Gradebook, nb: NotebookNode, where: tuple[str, str, str], waiting: list[str]
) -> None:
    """Say "No response." where there is none, and on the first solution what waits for a GPU.

    nbgrader has no comments on check cells, where this would belong.
    """
    solutions = [cell for cell in nb.cells if is_solution(cell) and not is_grade(cell)]
    for place, cell in enumerate(solutions):
        lines = ["No response."] if _is_unchanged(cell) else []
        if waiting and place == 0:
            lines.append(f"Tasks {', '.join(waiting)}: {NEEDS_GPU}.")
        comment = gradebook.find_comment(cell.metadata.nbgrader.grade_id, *where)
        comment.auto_comment = "\n\n".join(lines) or None


def _is_unchanged(cell: NotebookNode) -> bool:
    return bool(cell.metadata.nbgrader.get("checksum") == compute_checksum(cell))


def _as_code(text: str) -> str:
    """Return a text as a code block of Markdown, fit for PostgreSQL.

    Feedback renders comments as Markdown: in a code block, HTML and Markdown are just text.
    """
    lines = text.replace("\0", "\ufffd").splitlines()
    return "\n".join(f"    {line}" for line in lines)
