"""A grader that is killed at any point: the next run goes on, and no grade is lost or doubled."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook
from typer.testing import CliRunner

from classroom import solved, submit
from faults import killed_run
from faults.killed_run import IN_GRADER, LOG, ON_WORKER, SHARES
from made_up_records import make_record
from trtlab.engines import load_engine
from trtlab.lab.artifacts import provided_folder
from trtlab_grader import runs
from trtlab_grader.cli import app
from trtlab_grader.course import Course
from trtlab_grader.store import RECORD, Store

LAB = "01-export"
KILLED = -9
Run = Callable[..., int | None]
pytestmark = [
    pytest.mark.usefixtures("needs_sandbox"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Dask's sockets at its end
]


@pytest.fixture
def handed_in(room: Course, monkeypatch: pytest.MonkeyPatch) -> Course:
    """A course in which everybody has handed in lab 1; verdicts on it will be made up."""
    notebook = solved(room, LAB)
    for student in SHARES:
        submit(room, student, LAB, notebook)
    monkeypatch.setattr(runs, "grade_job", killed_run.grade)
    return room


def autograde(course: Course, scheduler: str, *options: str) -> list[str]:
    """Run `trtlab-grade autograde` to its end; return who has a grade."""
    command = ["autograde", "--json", "--scheduler", scheduler, *options, "--course"]
    answer = CliRunner().invoke(app, [*command, str(course.root)])
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert not told["failed"]
    return sorted(facts["student"] for facts in told["graded"])


def graded_times(course: Course) -> list[str]:
    """Return the students whose lab was graded, once for each time."""
    log = course.root / LOG
    return log.read_text().split() if log.exists() else []


def started(course: Course) -> dict[str, str]:
    """Return when each record that is kept was made."""
    found = {}
    for path in course.records.glob(f"*/{RECORD}"):
        record = json.loads(path.read_text())
        found[record["student"]] = record["started"]
    return found


def scores(course: Course) -> dict[tuple[str, str], list[dict[str, float | None]]]:
    """Return what nbgrader's gradebook holds: scores by cell, of each submission of each lab."""
    found: dict[tuple[str, str], list[dict[str, float | None]]] = {}
    with Gradebook(course.gradebook_url) as gradebook:
        for assignment in gradebook.assignments:
            for submission in assignment.submissions:
                (notebook,) = submission.notebooks
                cells = {grade.name: grade.auto_score for grade in notebook.grades}
                found.setdefault((submission.student_id, assignment.name), []).append(cells)
    return found


def assert_all_is_graded(course: Course) -> None:
    """Everybody's grade is there, once, and is the right one; nothing half-done lies around."""
    assert scores(course) == {
        (student, LAB): [{"check-1-1": 4 * share, "check-1-2": 3 * share, "task-1-3": None}]
        for student, share in SHARES.items()
    }
    kept = {record.student: record for record in Store(course.records).all_latest()}
    assert {name: record.tasks for name, record in kept.items()} == {
        student: make_record(student, 1, share).tasks for student, share in SHARES.items()
    }
    # One folder for each record, with all that belongs to it, and no other.
    folders = {path.name for path in course.records.iterdir()} - {"latest", "entered"}
    assert folders == {record.key for record in kept.values()}
    for student in SHARES:
        nbformat.read(course.autograded / student / LAB / f"{LAB}.ipynb", as_version=4)
    assert not unfinished(course.records) + unfinished(course.autograded)


def unfinished(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if ".part" in path.suffixes]


def points_for(*names: str) -> list[object]:
    """Some points by default, the others in `slow`: each takes 20 s or more."""
    quick = {"within the gradebook's transaction", "after the record, before the pointer to it"}
    return [
        pytest.param(name, marks=[] if name in quick else pytest.mark.slow, id=name)
        for name in names
    ]


AUTOGRADE = [name for name in IN_GRADER if not name.startswith("while")]
AUTOGRADE += ["while the note is written"]


@pytest.mark.parametrize(
    "point", points_for(*AUTOGRADE, "after the record, before the pointer to it")
)
def test_a_killed_run_is_resumed(
    handed_in: Course,
    run_until_killed: Run,
    workers: str,
    short_tmp: Path,
    point: str,
) -> None:
    command = ["autograde", "--jobs", "2", "--course", str(handed_in.root)]
    assert run_until_killed(command, point) == KILLED
    before, times = started(handed_in), graded_times(handed_in)

    assert autograde(handed_in, workers) == list(SHARES)
    assert_all_is_graded(handed_in)
    assert not list(short_tmp.glob("trtlab-*"))
    # What had been kept was not graded again, and everything else once.
    after = started(handed_in)
    assert {student: after[student] for student in before} == before
    again = graded_times(handed_in)[len(times) :]
    assert sorted(again) == sorted(set(SHARES) - set(before))

    # And then there is nothing left to do.
    assert autograde(handed_in, workers) == list(SHARES)
    assert started(handed_in) == after
    assert len(graded_times(handed_in)) == len(times) + len(again)
    assert_all_is_graded(handed_in)


@pytest.mark.slow
def test_a_regrade_that_is_killed_while_a_record_is_replaced(
    handed_in: Course, run_until_killed: Run, workers: str
) -> None:
    autograde(handed_in, workers)
    before = started(handed_in)
    command = ["autograde", "--regrade", "--jobs", "2", "--course", str(handed_in.root)]
    assert run_until_killed(command, "between the two renames of a record") == KILLED
    assert "bob" not in started(handed_in)  # the old one is away, the new one not there yet
    assert scores(handed_in)["bob", LAB][0]["check-1-1"] == 2.0  # and the gradebook is untouched

    assert autograde(handed_in, workers) == list(SHARES)
    assert_all_is_graded(handed_in)
    assert started(handed_in)["bob"] != before["bob"]


@pytest.mark.slow
def test_a_run_that_is_killed_while_provisions_are_made(
    handed_in: Course, run_until_killed: Run, workers: str, cache: Path
) -> None:
    (handed_in.root / "needs-engines").touch()
    shutil.rmtree(cache, ignore_errors=True)  # other tests may have made them
    command = ["autograde", "--jobs", "2", "--course", str(handed_in.root)]
    assert run_until_killed(command, "while provisions are made") == KILLED
    assert not list(cache.rglob("resnet50_fp32.engine"))

    assert autograde(handed_in, workers) == list(SHARES)
    assert_all_is_graded(handed_in)
    for name in ("resnet50_fp32.engine", "resnet50_dynamic_fp16.engine"):
        load_engine(provided_folder() / name)  # raises for half of one


def test_feedback_and_report_that_are_killed_while_they_are_written(
    handed_in: Course, run_until_killed: Run, workers: str
) -> None:
    autograde(handed_in, workers)
    kept, entered = started(handed_in), scores(handed_in)
    there = ["--course", str(handed_in.root)]
    pages = [handed_in.feedback / student / "feedback.html" for student in SHARES]
    report = handed_in.root / "report.html"

    assert run_until_killed(["feedback", *there], "while feedback is written") == KILLED
    assert run_until_killed(["report", *there], "while the report is written") == KILLED
    assert not any(page.exists() for page in [*pages, report])

    assert CliRunner().invoke(app, ["feedback", *there]).exit_code == 0
    assert CliRunner().invoke(app, ["report", *there]).exit_code == 0
    for page in [*pages, report]:
        assert page.read_text().rstrip().endswith("</html>")
    assert (started(handed_in), scores(handed_in)) == (kept, entered)


def test_ten_points_are_tried() -> None:
    assert len(IN_GRADER) + len(ON_WORKER) >= 10
