"""Verdicts in place of execution: what nbgrader's Execute would have left in the check cells.

Nothing runs here. The record of a submission says what each task earned; its card and its points
become the outputs of the task's cell, so that gradebook, formgrader and feedback show them.
"""

from base64 import b64encode
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from nbformat import NotebookNode, v4
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import is_grade, is_solution
from traitlets import Any as AnyTrait
from traitlets.utils.importstring import import_item

from trtlab.checks.registry import import_checks
from trtlab.errors import TrtLabError
from trtlab.feedback import html_card, text_card
from trtlab_grader.course import open_course
from trtlab_grader.notebooks.matching import task_of
from trtlab_grader.records import Flag, LabRecord, TaskRecord
from trtlab_grader.store import CHARTS, Store

RecordFor = Callable[[str, str, Path], LabRecord]
"""(student, assignment, path of the submitted notebook) -> how it was graded."""

# Cards name misconceptions, which are registered by the modules of the checks.
import_checks()

NOTES_TAG = "trtlab-notes"
NEEDS_GPU = "needs a GPU: not all of this task could be measured; grade again on a machine with one"


class RecordError(TrtLabError):
    """A record is not of the submission that it is to grade, or says too little."""


class GradeFromRecord(NbGraderPreprocessor):
    """Writes a record's verdicts into the cells that they grade.

    Attributes:
        record_for: a RecordFor, or the dotted name of one.
    """

    record_for: Any = AnyTrait(help="Returns the LabRecord of a submission.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Write one notebook's outputs, and keep the record for SaveVerdicts."""
        names = resources["nbgrader"]
        record = self._record(names)
        resources["trtlab_record"] = record
        for cell in nb.cells:
            if is_grade(cell):
                task = self._task(record, cell)
                if cell.cell_type == "code":
                    cell.outputs = _outputs(task, cell)
                    # Who grades documentation by hand wants to see what the code draws.
                    cell.outputs += self._charts(record) if is_solution(cell) else []
            elif cell.cell_type == "code" and cell.id in record.cell_errors:
                cell.outputs = [_error(record.cell_errors[cell.id])]
        serious = [flag for flag in record.flags if flag.kind != "note"]
        if serious:
            nb.cells.insert(0, _notes(serious))
        return nb, resources

    def _record(self, names: dict[str, str]) -> LabRecord:
        record_for = self.record_for
        if isinstance(record_for, str):
            record_for = import_item(record_for)
        directory = self.parent.parent.coursedir
        folder = directory.format_path(
            directory.submitted_directory, names["student"], names["assignment"]
        )
        path = Path(folder) / f"{names['notebook']}.ipynb"
        record: LabRecord = record_for(names["student"], names["assignment"], path)
        if (record.student, record.assignment) != (names["student"], names["assignment"]):
            raise RecordError(
                f"The record for {names['student']}'s {names['assignment']} is of "
                f"{record.student}'s {record.assignment}."
            )
        return record

    def _charts(self, record: LabRecord) -> list[NotebookNode]:
        course = open_course(self.parent.parent.coursedir.root)
        folder = Store(course.records).folder(record.key) / CHARTS
        return [
            v4.new_output(
                "display_data",
                data={"image/png": b64encode(path.read_bytes()).decode(), "text/plain": path.stem},
            )
            for path in sorted(folder.glob("*.png"))
        ]

    @staticmethod
    def _task(record: LabRecord, cell: NotebookNode) -> TaskRecord:
        mark = cell.metadata.nbgrader
        task = record.tasks.get(task_of(mark.grade_id) or "")
        if task is None:
            raise RecordError(
                f"The record of {record.student}'s {record.assignment} says nothing of "
                f"{mark.grade_id}; it has {', '.join(record.tasks) or 'no tasks'}. Grade it again."
            )
        most = task.verdict.max_points if task.verdict else mark.points
        # A pre-check of documentation may judge a part of it only.
        if most > mark.points or (most < mark.points and not mark.solution):
            raise RecordError(
                f"Task {task.task} is judged out of {most:g} points, but "
                f"{mark.grade_id} gives {mark.points:g}: restore the points in source/ and release."
            )
        return task


def _outputs(task: TaskRecord, cell: NotebookNode) -> list[NotebookNode]:
    """Return the card, and the points as the cell's value where they are final.

    Never anything on stderr, and nothing but a number as the value: nbgrader takes the first for a
    failure and everything but a number for full marks.
    """
    if task.verdict is None:
        return []
    card = {"text/html": html_card(task.verdict), "text/plain": text_card(task.verdict)}
    outputs = [v4.new_output("display_data", data=card)]
    if task.status == "needs a GPU":
        data = {"text/plain": NEEDS_GPU}
        outputs.insert(0, v4.new_output("display_data", data=data))
    elif task.status == "graded" and not cell.metadata.nbgrader.solution:
        data = {"text/plain": repr(float(task.verdict.points))}
        outputs.append(v4.new_output("execute_result", data=data, execution_count=None))
    return outputs


def _error(text: str) -> NotebookNode:
    name, _, message = text.partition(": ")
    return v4.new_output("error", ename=name, evalue=message, traceback=[text])


def _notes(flags: list[Flag]) -> NotebookNode:
    """Return a cell with what somebody should know, for formgrader; feedback drops it."""
    # Escaped, and each on a line of its own within one block: Markdown is not looked for in it.
    rows = "".join(
        f"<li><b>{flag.kind}, {escape(flag.code)}</b>"
        f"{f' (task {escape(flag.task)})' if flag.task else ''}: "
        f"{escape(' '.join(flag.text.split()))}</li>"
        for flag in flags
    )
    source = f"<div><b>Notes of the grader, for the instructor only</b><ul>{rows}</ul></div>"
    return v4.new_markdown_cell(source, id="trtlab-notes", metadata={"tags": [NOTES_TAG]})
