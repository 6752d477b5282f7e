"""What the commands print and leave behind; grading itself is stood in for by made-up records."""

import csv
import io
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from nbgrader.api import Gradebook
from rich.console import Console

from cli.conftest import graded_record, hand_in
from cli.runner import trtlab_grade
from trtlab_grader.cli import app
from trtlab_grader.cli.live import RunView
from trtlab_grader.course import LABS, Course, open_course
from trtlab_grader.dispatch import DispatchError, Job
from trtlab_grader.records import LabRecord
from trtlab_grader.runs import Event
from trtlab_grader.submissions import find_submissions

# nbgrader relies on a cascade of SQLAlchemy's that is to be dropped one day.
pytestmark = pytest.mark.filterwarnings("ignore:Object of type <Submitted")

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_every_option_says_what_it_is_for(name: str) -> None:
    ended = trtlab_grade(name, "--help")
    assert ended.status == 0
    assert COMMANDS[name].help.strip().split("\n")[0] in " ".join(ended.out.split())
    for parameter in COMMANDS[name].params:
        assert parameter.help, f"{name} {parameter.name} has no help"


def test_help_answers_at_once_because_it_imports_no_heavy_module() -> None:
    heavy = "torch", "distributed", "nbgrader", "sqlalchemy", "matplotlib"
    code = (
        "import sys; sys.argv = ['trtlab-grade', '--help']\n"
        "from trtlab_grader.cli import main\n"
        "try: main()\n"
        f"except SystemExit: print('HEAVY', [m for m in {heavy} if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert "HEAVY []" in shown
    assert all(f" {name} " in shown for name in COMMANDS)


def test_writing_grades_knows_every_misconception_that_a_card_may_name() -> None:
    code = (
        "import trtlab_grader.nbgrader_glue.writer\n"
        "from trtlab.checks.misconceptions import MISCONCEPTIONS as known\n"
        "print(sorted({'batch-frozen-at-export', 'profile-too-small'} - known.keys()))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert shown == "[]\n"


def test_init_keeps_a_name_with_any_characters(tmp_path: Path) -> None:
    name = 'A "quoted" course \\ of Zoë\x7f \U0001f600\n'
    ended = trtlab_grade("init", tmp_path / "course", "--name", name)
    assert ended.status == 0
    assert "trtlab-grade doctor" in ended.out
    assert open_course(tmp_path / "course").settings.name == name


def test_release_lists_every_lab(course: Course) -> None:
    ended = trtlab_grade("release", "--course", course.root)
    assert ended.out.splitlines() == [str(course.release / lab) for lab in ("00-start", *LABS)]


def canvas_zip(course: Course, path: Path) -> Path:
    notebook = (course.release / "01-export" / "01-export.ipynb").read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("lovelaceada_101_900_01-export.ipynb", notebook)
        archive.writestr("lovelaceada_101_901_essay.docx", b"x")
        archive.writestr("../../hopper_102_902_01-export.ipynb", notebook)
    return path


def test_collect_lists_what_it_took_and_what_it_refused_and_why(
    course: Course, tmp_path: Path
) -> None:
    path = canvas_zip(course, tmp_path / "submissions.zip")
    ended = trtlab_grade("collect", path, "--course", course.root)
    assert ended.status == 0
    assert ended.out.splitlines() == [
        "101 01-export: 01-export.ipynb",
        "refused: ../../hopper_102_902_01-export.ipynb: its path leaves the download",
        "refused: lovelaceada_101_901_essay.docx: it is no file that the labs ask for",
        "1 taken, 2 refused",
        "Next: trtlab-grade autograde",
    ]
    assert (course.submitted / "101" / "01-export" / "01-export.ipynb").is_file()
    with Gradebook(course.gradebook_url) as gradebook:
        ada = gradebook.find_student("101")
        assert (ada.last_name, ada.first_name, ada.lms_user_id) == ("lovelaceada", "", "101")


def test_a_roster_names_students_and_a_later_download_without_one_keeps_the_names(
    course: Course, tmp_path: Path
) -> None:
    path = canvas_zip(course, tmp_path / "submissions.zip")
    roster = tmp_path / "roster.csv"
    roster.write_text("name,id,lms_id,first_name,last_name\nAda,101,101,Ada,Lovelace\n")
    there = ("--course", course.root)
    assert trtlab_grade("collect", path, "--roster", roster, *there).status == 0
    assert trtlab_grade("collect", path, *there).status == 0
    with Gradebook(course.gradebook_url) as gradebook:
        ada = gradebook.find_student("101")
        assert (ada.last_name, ada.first_name) == ("Lovelace", "Ada")


def test_collect_as_json(course: Course, tmp_path: Path) -> None:
    path = canvas_zip(course, tmp_path / "submissions.zip")
    ended = trtlab_grade("collect", path, "--json", "--course", course.root)
    found = json.loads(ended.out)
    assert [(t["student"], t["assignment"], t["files"]) for t in found["taken"]] == [
        ("101", "01-export", ["01-export.ipynb"])
    ]
    assert len(found["refused"]) == 2
    assert set(found["refused"][0]) == {"name", "why"}


class Dispatch:
    """Stands in for Dask: grades are made up; who is called `broken` fails."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.options: dict[str, Any] = {}

    def __call__(
        self, jobs: Sequence[Job], grade: object, **options: Any
    ) -> Iterator[tuple[Job, LabRecord | Exception]]:
        self.jobs += jobs
        self.options = options
        for job in jobs:
            if job.student == "broken":
                yield job, DispatchError("the worker died")
            elif job.student == "interrupt":
                raise KeyboardInterrupt
            else:
                yield job, graded_record(job.student, job.assignment)


@pytest.fixture
def dispatch(monkeypatch: pytest.MonkeyPatch) -> Dispatch:
    stand_in = Dispatch()
    monkeypatch.setattr("trtlab_grader.runs.dispatch", stand_in)
    return stand_in


def test_autograde_prints_a_row_for_each_lab_and_what_is_open(
    course: Course, dispatch: Dispatch
) -> None:
    for student in ("mallory", "ada"):
        hand_in(course, student, "02-build")
    ended = trtlab_grade("autograde", "--course", course.root)
    assert ended.status == 0
    rows = [line.split() for line in ended.out.splitlines()]
    assert rows[0] == ["student", "lab", "points", "open", "tasks", "flags"]
    row = ["02-build", "10", "of", "27", "2.3,", "2.4"]  # nobody wrote anything for 2.5
    assert rows[1:3] == [["ada", *row], ["mallory", *row, "symlink-deliverable"]]
    for words in ("on a machine with an NVIDIA GPU", "trtlab-grade report"):
        assert words in ended.out
    assert ended.err.splitlines() == ["ada 02-build: 10/25", "mallory 02-build: 10/25!"]


def test_autograde_passes_on_what_was_asked_for(course: Course, dispatch: Dispatch) -> None:
    for lab in ("01-export", "02-build", "04-infer"):
        hand_in(course, "ada", lab)
        hand_in(course, "bob", lab)
    arguments = ("-l", "01-export", "-l", "04-infer", "--no-sandbox", "--regrade", "-j", "3")
    scheduler = ("--scheduler", "tcp://host:1")
    trtlab_grade("autograde", "ada", *arguments, *scheduler, "--course", course.root)
    assert {(job.student, job.assignment) for job in dispatch.jobs} == {
        ("ada", "01-export"),
        ("ada", "02-build"),  # which 04-infer goes on from
        ("ada", "04-infer"),
    }
    assert {(job.sandbox, job.regrade) for job in dispatch.jobs} == {(False, True)}
    assert (dispatch.options["workers"], dispatch.options["scheduler"]) == (3, "tcp://host:1")


def test_autograde_as_json_is_nothing_but_json(course: Course, dispatch: Dispatch) -> None:
    hand_in(course, "mallory", "02-build")
    hand_in(course, "broken", "02-build")
    ended = trtlab_grade("autograde", "--json", "--course", course.root)
    found = json.loads(ended.out)
    assert ended.status == 1
    assert ended.err == ""
    assert found["failed"] == [
        {"student": "broken", "assignment": "02-build", "why": "the worker died"}
    ]
    (row,) = found["graded"]
    assert (row["points"], row["max_points"]) == (10, 27)
    assert (row["needs_gpu"], row["needs_person"]) == (["2.3", "2.4"], [])
    assert [flag["kind"] for flag in row["flags"]] == ["attack"]


def test_one_that_fails_is_named_with_its_reason_and_stops_no_other(
    course: Course, dispatch: Dispatch
) -> None:
    hand_in(course, "broken", "02-build")
    hand_in(course, "ada", "02-build")
    ended = trtlab_grade("autograde", "--course", course.root)
    assert ended.status == 1
    assert "Not graded: broken 02-build: the worker died" in ended.out
    assert "ada" in ended.out


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(course: Course, dispatch: Dispatch) -> None:
    hand_in(course, "ada", "01-export")
    hand_in(course, "interrupt", "01-export")
    ended = trtlab_grade("autograde", "--course", course.root)
    assert ended.status == 130
    assert "What has been graded is kept; the same command goes on." in ended.err
    with Gradebook(course.gradebook_url) as gradebook:
        assert [student.id for student in gradebook.students] == ["ada"]


def test_autograde_of_nothing_says_what_comes_first(course: Course, dispatch: Dispatch) -> None:
    ended = trtlab_grade("autograde", "--course", course.root)
    assert ended.status == 0
    assert "trtlab-grade collect" in ended.out


def test_feedback_report_and_export_say_where_they_wrote(graded: Course, tmp_path: Path) -> None:
    there = ("--course", graded.root)
    pages = trtlab_grade("feedback", *there).out.splitlines()
    assert pages == [str(graded.feedback / s / "feedback.html") for s in ("ada", "mallory")]
    assert trtlab_grade("feedback", "ada", *there).out.splitlines() == pages[:1]
    assert all("Feedback for" in Path(page).read_text() for page in pages)

    assert trtlab_grade("report", *there).out == f"{graded.root / 'report.html'}\n"
    assert "class report" in (graded.root / "report.html").read_text()
    assert trtlab_grade("report", "-o", tmp_path / "x.html", *there).out == (
        f"{tmp_path / 'x.html'}\n"
    )

    heads = {"csv": "student", "canvas": "Student", "moodle": "First name"}
    for layout, head in heads.items():
        path = tmp_path / f"{layout}.csv"
        ended = trtlab_grade("export", "-f", layout, "-o", path, *there)
        assert ended.out == f"{path}\n"
        rows = list(csv.reader(path.read_text().splitlines()))
        assert rows[0][0] == head
        assert any("10" in row for row in rows[1:])


def test_doctor_says_what_is_there_in_words(course: Course) -> None:
    found = {f["what"]: f for f in json.loads(
        trtlab_grade("doctor", "--json", "--course", course.root).out
    )}  # fmt: skip
    assert found["course"] == {
        "what": "course", "state": "ok", "found": str(course.root), "remedy": ""
    }  # fmt: skip
    assert found["gradebook"]["found"] == "sqlite, 0 students"
    assert {"sandbox", "GPU", "cores", "disk"} <= found.keys()


def test_a_run_is_followed_from_any_thread(course: Course) -> None:
    hand_in(course, "ada", "01-export")
    hand_in(course, "ada", "02-build")
    first, second = find_submissions(course)
    view = RunView()
    events = [Event(first, "running", "cell 3 of 9", 0.25), Event(second, "waiting")]
    threads = [threading.Thread(target=view, args=(event,)) for event in events]
    for thread in threads:
        thread.start()
        thread.join()
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(view)
    shown = console.export_text()
    assert "cell 3 of 9 25%" in shown
    assert "waiting" in shown
    assert "0 of 2" in shown
    assert view.seconds_left(0.01, 2) is None
