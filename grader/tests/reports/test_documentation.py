"""Documentation on both pages: what a machine saw of it is a suggestion, and is not called met."""

from dataclasses import replace

from reports import sample_class
from reports.pages import Page, read_inert
from trtlab.checks.verdict import Finding, Verdict
from trtlab_grader.records import LabRecord, TaskRecord
from trtlab_grader.reports.class_report import class_report
from trtlab_grader.reports.feedback import feedback_page
from trtlab_grader.reports.grades import StudentGrades, grades_from_records


def record() -> LabRecord:
    """A lab whose documentation was pre-checked: 1 of 2 points, the rest is a person's."""
    seen = Finding(
        criterion="figures are quoted", state="pass", points=1, max_points=1,
        measured="18 figures", required="3 at least",
    )  # fmt: skip
    unjudged = Finding(
        criterion="the answers are right", state="inconclusive", points=0, max_points=1,
        measured="not judged by machine", required="what the mark scheme asks for",
    )  # fmt: skip
    unweighted = seen.model_copy(
        update={"criterion": "file_name.onnx is named", "points": 0, "max_points": 0}
    )
    verdict = Verdict(task="1.3", title="Explain", findings=(seen, unjudged, unweighted))
    task = TaskRecord(task="1.3", status="needs a person", verdict=verdict)
    full = sample_class.record("ada", 1, 1.0)
    return full.model_copy(update={"tasks": full.tasks | {"1.3": task}})


def page(grades: StudentGrades | None = None) -> Page:
    made = record()
    return read_inert(feedback_page("Course", [made], grades or grades_from_records("ada", [made])))


def test_what_only_a_person_can_judge_is_not_called_met() -> None:
    text = page().text
    assert "the answers are right: a person decides 0 of 1" in text
    assert "the answers are right: met" not in text
    assert "figures are quoted: met 1 of 1" in text


def test_a_finding_without_points_has_none_beside_it_and_a_file_keeps_its_name() -> None:
    text = page().text
    assert "file_name.onnx is named: met Measured" in text
    assert "0 of 0" not in text
    assert "first-letter" not in page().style


def test_what_waits_for_a_person_is_listed_with_what_counts_until_then() -> None:
    assert "1.3 Explain the export: up to 2 points, 1 so far" in page().text


def test_a_full_suggestion_still_waits_for_a_person() -> None:
    grades = grades_from_records("ada", [record()])
    task = replace(grades.tasks["1.3"], automatic=2.0, open_points=0.0)
    text = page(replace(grades, tasks={**grades.tasks, "1.3": task})).text
    assert "Everything that was handed in is graded" not in text
    assert "What a person grades may still change" in text
    assert "1.3 Explain the export: up to 2 points, 2 so far" in text


def test_once_a_person_has_graded_it_nothing_is_open() -> None:
    grades = grades_from_records("ada", [record()])
    task = replace(grades.tasks["1.3"], manual=1.5, open_points=0.0, status="graded")
    text = page(replace(grades, tasks={**grades.tasks, "1.3": task})).text
    assert "Everything that was handed in is graded" in text
    assert "graded by a person , 1.5 of 2 points" in text
    assert "Still open" not in text


def test_the_class_report_lists_no_documentation_among_doubtful_measurements() -> None:
    text = read_inert(class_report("Course", [record()], (), ())).text
    assert "not judged by machine" not in text
