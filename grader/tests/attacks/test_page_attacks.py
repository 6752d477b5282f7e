"""Nothing that a student wrote, printed or raised runs in a browser that shows a grade."""

from pathlib import Path

import pytest
from nbconvert.exporters import HTMLExporter
from nbgrader.api import Gradebook
from nbgrader.converters import GenerateFeedback
from nbgrader.coursedir import CourseDirectory
from nbgrader.server_extensions.formgrader import handlers

from attacks.table import UNWRITTEN
from classroom import codes, grade, solved, submit
from gradebook.test_rendering import ATTACKS, MARKER, live_in
from trtlab_grader.course import Course
from trtlab_grader.nbgrader_glue.config import configure
from trtlab_grader.nbgrader_glue.writer import write_grades
from trtlab_grader.returns import return_feedback, write_report

LAB = "01-export"
STUDENT = f"<img src=x onerror={MARKER}>"
_CODE = f"""\
from IPython.display import HTML, SVG, Javascript, Latex, Markdown, display

for attack in {ATTACKS!r}:
    print(attack)
    for kind in (HTML, Markdown, Latex, Javascript):
        display(kind(attack))
    display({{"image/svg+xml": "<svg xmlns='http://www.w3.org/2000/svg'>" + attack + "</svg>"}},
            raw=True)
class Error(Exception):
    pass
Error.__name__ = Error.__qualname__ = {ATTACKS[0]!r}
raise Error({ATTACKS[1]!r})
"""


@pytest.fixture
def hostile(classroom: Course) -> Course:
    """The submission of a student whose name, words, outputs and exceptions are all markup."""
    notebook = solved(classroom, LAB, unwritten=UNWRITTEN[LAB], extra=_CODE)
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") in (*UNWRITTEN[LAB], "task-1-3"):
            markup = "\n\n".join(ATTACKS)
            written = f"export_model = simplify_model = None\nraise ValueError({markup!r})"
            cell.source = written if cell.cell_type == "code" else markup
    submit(classroom, STUDENT, LAB, notebook)
    with Gradebook(classroom.gradebook_url) as gradebook:
        gradebook.update_or_create_student(STUDENT, first_name=ATTACKS[0], last_name=ATTACKS[1])
    record = grade(classroom, STUDENT, LAB)
    assert record.points == 0
    assert codes(record, "attack") == set()
    assert write_grades(classroom, [record]).failed == {}
    return classroom


@pytest.mark.attacks
@pytest.mark.usefixtures("needs_sandbox")
def test_no_page_of_a_hostile_submission_runs_anything(hostile: Course) -> None:
    (feedback,) = return_feedback(hostile)
    pages = {"feedback": feedback, "report": write_report(hostile)}
    config = configure(hostile)
    directory = CourseDirectory(config=config, assignment_id=LAB)
    GenerateFeedback(coursedir=directory, config=config).start()
    (pages["nbgrader's feedback"],) = hostile.feedback.glob(f"*/{LAB}/{LAB}.html")
    texts = {name: Path(path).read_text() for name, path in pages.items()}

    config.HTMLExporter.template_name = "formgrade"
    config.HTMLExporter.extra_template_basedirs = [handlers.template_path]
    path = hostile.autograded / STUDENT / LAB / f"{LAB}.ipynb"
    resources = {"base_url": "", "index": 0, "total": 1, "notebook_id": LAB, "student": "x"}
    texts["formgrader"], _ = HTMLExporter(config=config).from_filename(
        str(path), resources=resources
    )
    # It is all there, to be read.
    assert {name for name, text in texts.items() if MARKER in text} == set(texts)
    assert {name: live_in(text) for name, text in texts.items() if live_in(text)} == {}
