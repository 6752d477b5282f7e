"""Records become grades in nbgrader's own gradebook, and a person's grades stay a person's."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nbgrader.api import Gradebook
from nbgrader.utils import determine_grade

from gradebook.conftest import LAB, everything_in, graded_cells
from gradebook.made_up import record, verdict
from trtlab.feedback import text_card
from trtlab_grader.course import Course, CourseError
from trtlab_grader.nbgrader_glue.lock import course_lock
from trtlab_grader.nbgrader_glue.verdicts import NEEDS_GPU
from trtlab_grader.nbgrader_glue.writer import Written, write_grades
from trtlab_grader.records import Flag, LabRecord, TaskRecord

Submit = Callable[..., Path]


def write(course: Course, *records: LabRecord) -> Written:
    result = write_grades(course, records)
    assert result.failed == {}
    return result


def grade_of(gradebook: Gradebook, cell: str, student: str = "ada", lab: str = LAB) -> Any:
    gradebook.db.expire_all()
    return gradebook.find_grade(cell, lab, lab, student)


def comment_on(gradebook: Gradebook, cell: str, student: str = "ada", lab: str = LAB) -> Any:
    gradebook.db.expire_all()
    return gradebook.find_comment(cell, lab, lab, student)


def test_each_check_gets_the_records_points_as_nbgrader_itself_reads_them(
    course: Course, submit: Submit, gradebook: Gradebook
) -> None:
    submit("ada")
    made = record("ada", LAB, share=0.5)
    assert write(course, made).written == [("ada", LAB)]
    cells = graded_cells(course, "ada")
    for task in ("2.1", "2.2", "2.3", "2.4"):
        name = f"check-{task.replace('.', '-')}"
        judged = made.tasks[task].verdict
        assert judged is not None
        assert determine_grade(cells[name]) == (judged.points, judged.max_points)
        grade = grade_of(gradebook, name)
        assert (grade.auto_score, grade.needs_manual_grade) == (judged.points, False)
        card, points = cells[name].outputs
        assert card.data["text/plain"] == text_card(judged)
        assert f"measured in {task}" in card.data["text/html"]
        assert points.data == {"text/plain": repr(judged.points)}


def test_a_task_that_needs_a_gpu_is_open_until_a_later_run_fills_it_in(
    course: Course, submit: Submit, gradebook: Gradebook
) -> None:
    submit("ada")
    write(course, record("ada", LAB, gpu=False))
    grade = grade_of(gradebook, "check-2-3")
    assert (grade.auto_score, grade.needs_manual_grade) == (None, True)
    assert grade_of(gradebook, "check-2-1").auto_score == 5
    assert gradebook.find_submission(LAB, "ada").score == 10
    assert comment_on(gradebook, "task-2-1").auto_comment == f"Tasks 2.3, 2.4: {NEEDS_GPU}."
    outputs = graded_cells(course, "ada")["check-2-3"].outputs
    assert [output.output_type for output in outputs] == ["display_data"] * 2
    assert outputs[0].data["text/plain"] == NEEDS_GPU

    write(course, record("ada", LAB, gpu=True))
    grade = grade_of(gradebook, "check-2-3")
    assert (grade.auto_score, grade.needs_manual_grade) == (12, False)
    assert comment_on(gradebook, "task-2-1").auto_comment is None


def test_documentation_waits_for_a_person_with_the_pre_check_filled_in(
    course: Course, submit: Submit, gradebook: Gradebook
) -> None:
    submit("ada", "06-report")
    made = record("ada", "06-report")
    write(course, made)
    for task in ("6.1", "6.2"):
        name = f"task-{task.replace('.', '-')}"
        grade = grade_of(gradebook, name, lab="06-report")
        assert (grade.auto_score, grade.needs_manual_grade) == (1, True)
        comment = comment_on(gradebook, name, lab="06-report").auto_comment
        judged = made.tasks[task].verdict
        assert judged is not None
        assert [line.strip() for line in comment.splitlines()[2:]] == [
            line.strip() for line in text_card(judged).splitlines()
        ]


def test_an_answer_that_nobody_wrote_needs_nobody_to_read_it(
    course: Course, submit: Submit, gradebook: Gradebook
) -> None:
    def unanswered(data: Any) -> None:
        (cell,) = (cell for cell in data["cells"] if cell["id"] == "task-2-5")
        cell["source"] = ["YOUR ANSWER HERE"]

    submit("ada", change=unanswered)
    submit("bob")
    write(course, record("ada", LAB), record("bob", LAB))
    grade = grade_of(gradebook, "task-2-5")
    assert (grade.auto_score, grade.needs_manual_grade) == (0, False)
    assert comment_on(gradebook, "task-2-5").auto_comment == "No response."
    grade = grade_of(gradebook, "task-2-5", "bob")
    assert (grade.auto_score, grade.needs_manual_grade) == (None, True)


def by_hand(gradebook: Gradebook, cell: str, score: float | None) -> None:
    """What formgrader's handlers do when a person has graded a cell."""
    grade = grade_of(gradebook, cell)
    grade.manual_score, grade.extra_credit, grade.needs_manual_grade = score, 0.5, False
    gradebook.db.commit()


def test_a_persons_grades_and_comments_survive_and_are_shown_again_only_for_news(
    course: Course, submit: Submit, gradebook: Gradebook
) -> None:
    path = submit("ada")
    write(course, record("ada", LAB, gpu=False))
    for cell, score in (("check-2-1", 4), ("check-2-3", 6), ("task-2-5", 2)):
        by_hand(gradebook, cell, score)
    comment_on(gradebook, "task-2-5").manual_comment = "well put"
    gradebook.db.commit()
    before = everything_in(course)
    write(course, record("ada", LAB, gpu=False))
    assert everything_in(course) == before

    path.write_text(path.read_text().replace("# solved by ada", "# changed by ada"))
    write(course, record("ada", LAB, share=0.5, gpu=True))
    for cell, score in (("check-2-1", 4), ("check-2-3", 6), ("task-2-5", 2)):
        grade = grade_of(gradebook, cell)
        assert (grade.manual_score, grade.extra_credit, grade.score) == (score, 0.5, score + 0.5)
    assert comment_on(gradebook, "task-2-5").comment == "well put"
    needing = ("check-2-1", "check-2-2", "check-2-3", "task-2-5")
    open_again = [cell for cell in needing if grade_of(gradebook, cell).needs_manual_grade]
    assert open_again == ["check-2-1", "check-2-3", "task-2-5"]


def test_the_same_records_leave_the_same_bytes(course: Course, submit: Submit) -> None:
    for student in ("ada", "bob"):
        submit(student)
        submit(student, "06-report")
    records = [record(s, lab, 0.5) for s in ("ada", "bob") for lab in (LAB, "06-report")]
    write(course, *records)
    before = everything_in(course)
    write(course, *reversed(records))
    assert everything_in(course) == before
    assert len([name for name in before if name.endswith(".ipynb")]) == 4


KILLED = """
import os, signal, sys
from pathlib import Path
from gradebook.made_up import record
from trtlab_grader.course import open_course
from trtlab_grader.nbgrader_glue.writer import write_grades

records = [record(student, "02-build", 0.5) for student in ("ada", "bob", "eve")]
write_grades(open_course(sys.argv[1]), records, lambda _: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_grader_that_is_killed_between_two_submissions_is_run_again_and_completes(
    course: Course, submit: Submit, gradebook: Gradebook
) -> None:
    students = ("ada", "bob", "eve")
    for student in students:
        submit(student)
    path = os.pathsep.join(sys.path)
    killed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(course.root)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [student.id for student in gradebook.students] == ["ada"]
    assert grade_of(gradebook, "check-2-1").auto_score == 2.5
    write(course, *(record(student, LAB, 0.5) for student in students))
    for student in students:
        assert gradebook.find_submission(LAB, student).score == 12.5
    assert len(gradebook.assignment_submissions(LAB)) == 3


def test_a_second_grader_is_told_who_holds_the_course(course: Course, submit: Submit) -> None:
    submit("ada")
    waiting = "from trtlab_grader.course import open_course; import sys; "
    waiting += "from trtlab_grader.nbgrader_glue.lock import course_lock; "
    waiting += "lock = course_lock(open_course(sys.argv[1])); lock.__enter__(); "
    waiting += "print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", waiting, str(course.root)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(CourseError, match=rf"process {other.pid} on .*, since 20\d\d-"):
            write_grades(course, [record("ada", LAB)])
        other.kill()
    write(course, record("ada", LAB))


def test_the_holder_may_take_the_lock_again_and_others_only_after_it(course: Course) -> None:
    with course_lock(course):
        with course_lock(course):
            pass
        check = "from trtlab_grader.course import open_course; import sys; "
        check += "from trtlab_grader.nbgrader_glue.lock import course_lock; "
        check += "course_lock(open_course(sys.argv[1])).__enter__()"
        command = [sys.executable, "-c", check, str(course.root)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        refused = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert f"process {os.getpid()} on" in refused.stderr
    assert subprocess.run(command, env=environment).returncode == 0


def test_one_bad_record_is_reported_and_stops_no_other(
    course: Course, submit: Submit, gradebook: Gradebook
) -> None:
    students = ("ada", "bob", "eve")
    for student in students:
        submit(student)
    bad = record("bob", LAB)
    del bad.tasks["2.2"]
    result = write_grades(course, [record("ada", LAB), bad, record("eve", LAB)])
    assert result.written == [("ada", LAB), ("eve", LAB)]
    assert "says nothing of check-2-2" in result.failed["bob", LAB]
    assert gradebook.find_submission(LAB, "eve").score == 25


def test_a_verdict_out_of_other_points_than_the_cells_is_refused(
    course: Course, submit: Submit
) -> None:
    submit("ada")
    for most in (4, 6):
        made = record("ada", LAB)
        made.tasks["2.1"] = TaskRecord(task="2.1", status="graded", verdict=verdict("2.1", 4, most))
        failed = write_grades(course, [made]).failed
        assert f"judged out of {most} points, but check-2-1 gives 5" in failed["ada", LAB]


@pytest.mark.parametrize("content", [None, b"", b"{not JSON", b"[]", b" " * 40_000_000])
def test_a_broken_notebook_is_graded_like_an_empty_one_and_its_neighbour_as_ever(
    course: Course, submit: Submit, gradebook: Gradebook, content: bytes | None
) -> None:
    path = submit("ada")
    submit("bob")
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    write(course, record("ada", LAB, share=0), record("bob", LAB))
    assert gradebook.find_submission(LAB, "ada").score == 0
    assert gradebook.find_submission(LAB, "bob").score == 25
    assert not grade_of(gradebook, "task-2-5").needs_manual_grade
    assert "check-2-4" in graded_cells(course, "ada")


def test_errors_of_the_students_cells_are_shown_where_they_were_raised(
    course: Course, submit: Submit
) -> None:
    submit("ada")
    errors = {"task-2-1": "ValueError: no: really", "check-2-1": "never shown"}
    write(course, record("ada", LAB, cell_errors=errors))
    cells = graded_cells(course, "ada")
    (output,) = cells["task-2-1"].outputs
    assert (output.ename, output.evalue) == ("ValueError", "no: really")
    assert [o.output_type for o in cells["check-2-1"].outputs] == [
        "display_data",
        "execute_result",
    ]


def test_charts_of_the_record_are_there_for_whoever_grades_them(
    course: Course, submit: Submit
) -> None:
    submit("ada", "06-report")
    made = record("ada", "06-report")
    charts = course.records / made.key / "charts"
    charts.mkdir(parents=True)
    (charts / "latency_chart.png").write_bytes(b"a picture")
    write(course, made)
    cells = graded_cells(course, "ada", "06-report")
    _, chart = cells["task-6-1"].outputs
    assert chart.data == {"image/png": "YSBwaWN0dXJl", "text/plain": "latency_chart"}
    assert cells["task-6-1-report"].outputs == []


def test_flags_that_matter_stand_at_the_top_for_the_instructor(
    course: Course, submit: Submit
) -> None:
    submit("ada")
    flags = [
        Flag(kind="attack", code="symlink", text="<script>x</script>\n\n# a link", task="2.1"),
        Flag(kind="note", code="kernel", text="only a note"),
    ]
    write(course, record("ada", LAB, flags=flags))
    first = next(iter(graded_cells(course, "ada").values()))
    assert first.cell_type == "markdown"
    assert "attack, symlink</b> (task 2.1): &lt;script&gt;x&lt;/script&gt; # a link" in first.source
    assert "only a note" not in first.source


def test_links_in_a_submission_are_set_aside_and_never_followed(
    course: Course, submit: Submit, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the seed")
    path = submit("ada")
    (path.parent / "notes.txt").symlink_to(secret)
    (path.parent / "folder").symlink_to(tmp_path)
    os.mkfifo(path.parent / "pipe.txt")
    submit("bob")
    (course.submitted / "eve").symlink_to(course.submitted / "bob")
    write(course, record("ada", LAB), record("eve", LAB, share=0))
    copied = sorted(p.name for p in (course.autograded / "ada" / LAB).iterdir())
    assert copied == ["02-build.ipynb", "pipeline.svg"]
    assert "solved by bob" not in graded_cells(course, "eve")["task-2-1"].source
    aside = {
        p.name for p in (course.root / "set-aside").rglob("*") if not p.is_dir() or p.is_symlink()
    }
    assert aside == {"notes.txt", "folder", "pipe.txt", "eve"}
    assert path.is_file()
    assert (course.submitted / "bob" / LAB).is_dir()
