"""Submissions come out of LMS downloads whole."""

import os
from datetime import datetime, timezone
from pathlib import Path

import pytest
from nbgrader.coursedir import CourseDirectory

from made_up_downloads import (
    ENGINE,
    LAB,
    NOTEBOOK,
    assert_nothing_is_left_over,
    in_folder,
    in_zip,
    reasons,
    submitted,
)
from trtlab.errors import DataError
from trtlab_grader.course import Course
from trtlab_grader.lms import downloads
from trtlab_grader.lms.collect import collect
from trtlab_grader.nbgrader_glue.config import configure

LAYOUTS = {
    "canvas": (
        {
            f"lovelaceada_101_9001_{NOTEBOOK}": "ada's",
            f"lovelaceada_101_9002_{ENGINE}": "engine",
            f"hopperGrace_LATE_102_9003_{NOTEBOOK}": "grace's",
        },
        {f"101/{LAB}/{NOTEBOOK}": "ada's", f"101/{LAB}/{ENGINE}": "engine"}
        | {f"102/{LAB}/{NOTEBOOK}": "grace's"},
    ),
    "student and lab": (
        {
            f"class/ada/{LAB}/{NOTEBOOK}": "ada's",
            f"class/ada/{LAB}/{ENGINE}": "engine",
            "class/ada/01-export/01-export.ipynb": "ada's first",
            f"class/grace/{LAB}/{NOTEBOOK}": "grace's",
        },
        {f"ada/{LAB}/{NOTEBOOK}": "ada's", f"ada/{LAB}/{ENGINE}": "engine"}
        | {"ada/01-export/01-export.ipynb": "ada's first"}
        | {f"grace/{LAB}/{NOTEBOOK}": "grace's"},
    ),
    "student": (
        {f"ada/{NOTEBOOK}": "ada's", f"ada/{ENGINE}": "engine", f"grace/{NOTEBOOK}": "grace's"},
        {f"ada/{LAB}/{NOTEBOOK}": "ada's", f"ada/{LAB}/{ENGINE}": "engine"}
        | {f"grace/{LAB}/{NOTEBOOK}": "grace's"},
    ),
}


@pytest.mark.parametrize("pack", [in_folder, in_zip])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_arrives_where_nbgrader_looks(
    course: Course, tmp_path: Path, layout: str, pack: object
) -> None:
    files, expected = LAYOUTS[layout]
    source = pack(tmp_path, files)  # type: ignore[operator]
    collected = collect(course, source)
    assert submitted(course) == expected
    labs = {tuple(name.split("/")[:2]) for name in expected}
    assert {(taken.student, taken.assignment) for taken in collected.taken} == labs
    assert_nothing_is_left_over(course, tmp_path)


def test_what_canvas_calls_late_is_told_and_counts_when_it_came(
    course: Course, tmp_path: Path
) -> None:
    files, _ = LAYOUTS["canvas"]
    collected = collect(course, in_zip(tmp_path, files))
    assert {taken.student: taken.late for taken in collected.taken} == {"101": False, "102": True}
    assert collected.taken_lines() == [
        f"101 {LAB}: {NOTEBOOK}, {ENGINE}",
        f"102 {LAB}: {NOTEBOOK} (late, says the LMS)",
    ]
    times = [taken.handed_in for taken in collected.taken]
    assert times[0] == times[1]


def test_nbgrader_reads_when_it_was_handed_in(course: Course, tmp_path: Path) -> None:
    source = in_folder(tmp_path, {f"ada/{NOTEBOOK}": "x", f"ada/{ENGINE}": "y"})
    os.utime(source / "ada" / NOTEBOOK, (1_700_000_000.25,) * 2)
    os.utime(source / "ada" / ENGINE, (1_600_000_000,) * 2)
    (taken,) = collect(course, source).taken
    directory = CourseDirectory(config=configure(course))
    read = directory.get_existing_timestamp(str(course.submitted / "ada" / LAB))
    assert read is not None
    expected = datetime.fromtimestamp(1_700_000_000.25, timezone.utc)
    assert read.replace(tzinfo=timezone.utc) == expected
    assert datetime.fromisoformat(taken.handed_in) == expected.replace(microsecond=0)


def test_the_newest_file_counts_by_time_and_then_by_the_lms_numbers(
    course: Course, tmp_path: Path
) -> None:
    source = in_folder(
        tmp_path,
        {
            f"lovelaceada_101_9001_{LAB}.ipynb": "first",
            f"lovelaceada_101_9005_{LAB}-1.ipynb": "second",
            f"lovelaceada_101_9009_{LAB} (2).ipynb": "third",
            f"hoppergrace_102_9002_{LAB}-3.ipynb": "early",
            f"hoppergrace_102_9001_{LAB}.ipynb": "late",
        },
    )
    for path in source.iterdir():
        os.utime(path, (1_700_000_000,) * 2)
    os.utime(source / f"hoppergrace_102_9001_{NOTEBOOK}", (1_700_000_001,) * 2)
    collected = collect(course, source)
    assert submitted(course) == {
        f"101/{LAB}/{NOTEBOOK}": "third",
        f"102/{LAB}/{NOTEBOOK}": "late",
    }
    assert sorted(reasons(collected).values()) == ["the same student handed in a newer one"] * 3


def test_collecting_again_keeps_the_newer_submission_and_replaces_the_older(
    course: Course, tmp_path: Path
) -> None:
    source = in_folder(tmp_path, {f"ada/{NOTEBOOK}": "second", f"ada/{ENGINE}": "old"})
    for path in (source / "ada").iterdir():
        os.utime(path, (1_700_000_000,) * 2)
    collect(course, source)
    (source / "ada" / NOTEBOOK).write_text("first")
    (source / "ada" / ENGINE).unlink()
    os.utime(source / "ada" / NOTEBOOK, (1_600_000_000,) * 2)
    assert reasons(collect(course, source)) == {f"ada/{LAB}": "submitted/ has a newer one"}
    assert submitted(course) == {f"ada/{LAB}/{NOTEBOOK}": "second", f"ada/{LAB}/{ENGINE}": "old"}

    (source / "ada" / NOTEBOOK).write_text("third")
    os.utime(source / "ada" / NOTEBOOK, (1_800_000_000,) * 2)
    collected = collect(course, source)
    assert submitted(course) == {f"ada/{LAB}/{NOTEBOOK}": "third"}
    (taken,) = collected.taken
    aside = course.root / taken.set_aside
    assert taken.set_aside in collected.taken_lines()[0]
    assert [(aside / name).read_text() for name in (NOTEBOOK, ENGINE)] == ["second", "old"]

    collected = collect(course, source)
    assert [taken.set_aside for taken in collected.taken] == [""]
    assert len(list((course.root / "set-aside").iterdir())) == 1


def at(time: int, folder: Path, files: dict[str, str]) -> Path:
    """Make a download whose files were changed at a time."""
    source = in_folder(folder, files)
    for name in files:
        os.utime(source / name, (time,) * 2)
    return source


def test_a_notebook_is_never_replaced_by_what_it_makes(course: Course, tmp_path: Path) -> None:
    collect(course, at(1_600_000_000, tmp_path / "first", {f"ada/{NOTEBOOK}": "ada's work"}))
    later = at(1_700_000_000, tmp_path / "later", {f"ada/{ENGINE}": "e"})
    collected = collect(course, later)
    assert submitted(course) == {f"ada/{LAB}/{NOTEBOOK}": "ada's work"}
    assert collected.taken == []
    assert "no notebook" in reasons(collected)[f"ada/{LAB}"]
    assert "stays in submitted/" in reasons(collected)[f"ada/{LAB}"]

    last = at(1_650_000_000, tmp_path / "last", {f"ada/{NOTEBOOK}": "better"})
    collect(course, last)
    assert submitted(course) == {f"ada/{LAB}/{NOTEBOOK}": "better"}


def test_a_notebook_that_cannot_be_copied_leaves_the_one_that_is_there(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect(course, at(1_600_000_000, tmp_path / "first", {f"ada/{NOTEBOOK}": "ada's work"}))
    copy = downloads.Download.copy
    monkeypatch.setattr(
        downloads.Download,
        "copy",
        lambda self, to: "it is damaged" if to.name == NOTEBOOK else copy(self, to),
    )
    files = {f"ada/{NOTEBOOK}": "x", f"ada/{ENGINE}": "e"}
    collect(course, at(1_700_000_000, tmp_path / "later", files))
    assert submitted(course) == {f"ada/{LAB}/{NOTEBOOK}": "ada's work"}


def test_a_notebook_is_taken_even_where_something_newer_lies_without_one(
    course: Course, tmp_path: Path
) -> None:
    collect(course, at(1_700_000_000, tmp_path / "newer", {f"ada/{ENGINE}": "e"}))
    older = at(1_600_000_000, tmp_path / "older", {f"ada/{NOTEBOOK}": "ada's work"})
    (taken,) = collect(course, older).taken
    assert submitted(course) == {f"ada/{LAB}/{NOTEBOOK}": "ada's work"}
    assert (course.root / taken.set_aside / ENGINE).read_text() == "e"


def test_an_interruption_between_the_old_and_the_new_brings_the_old_back(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect(course, at(1_600_000_000, tmp_path / "first", {f"ada/{NOTEBOOK}": "first"}))
    rename = os.rename

    def interrupted(source: Path, target: Path) -> None:
        if ".collect-" in str(source):
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        collect(course, at(1_700_000_000, tmp_path / "later", {f"ada/{NOTEBOOK}": "second"}))
    assert submitted(course) == {f"ada/{LAB}/{NOTEBOOK}": "first"}


@pytest.mark.parametrize("where", [".", "source", "..", "elsewhere/link"])
def test_a_folder_that_has_to_do_with_the_course_is_refused(
    course: Course, tmp_path: Path, where: str
) -> None:
    for name in (f"source/{LAB}/{NOTEBOOK}", f"release/{LAB}/{NOTEBOOK}"):
        (course.root / name).parent.mkdir(parents=True)
        (course.root / name).write_text("the instructor's")
    (course.root / "elsewhere").mkdir()
    (course.root / "elsewhere" / "link").symlink_to(course.root)
    with pytest.raises(DataError, match="nobody handed that in"):
        collect(course, course.root / where)
    assert submitted(course) == {}


def test_a_zip_may_lie_in_the_course(course: Course) -> None:
    collect(course, in_zip(course.root, {f"ada/{NOTEBOOK}": "ada's"}))
    assert submitted(course) == {f"ada/{LAB}/{NOTEBOOK}": "ada's"}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (f"ada/{LAB}/lab.zip", "archive"),
        (f"ada/{LAB}/model.engine", "no file that the labs ask for"),
        (f"ada/{LAB}/resnet50_int8.engine", "belongs to 03-calibrate"),
        (f"ada/{LAB}/deep/{NOTEBOOK}", "deeper"),
        ("ada/homework.ipynb", "no lab is called that"),
        ("ada/00-start.ipynb", "no lab is called that"),
        (NOTEBOOK, "nothing says whose"),
        (f"a+b/{NOTEBOOK}", "no id for a student"),
        (f"a*/{NOTEBOOK}", "no id for a student"),
        (f"{{x}}/{NOTEBOOK}", "no id for a student"),
        (f"Ada Lovelace/{NOTEBOOK}", "no id for a student"),
        (f"{'x' * 65}/{NOTEBOOK}", "no id for a student"),
    ],
)
def test_what_has_no_place_is_refused_with_the_reason(
    course: Course, tmp_path: Path, name: str, why: str
) -> None:
    collected = collect(course, in_zip(tmp_path, {name: "x", f"bob/{NOTEBOOK}": "bob's"}))
    assert submitted(course) == {f"bob/{LAB}/{NOTEBOOK}": "bob's"}
    (refused,) = collected.refused
    assert why in refused.why


def test_what_systems_leave_behind_is_passed_over_in_silence(
    course: Course, tmp_path: Path
) -> None:
    files = {
        f"__MACOSX/ada/._{NOTEBOOK}": "x",
        "ada/.DS_Store": "x",
        f"ada/.ipynb_checkpoints/{LAB}-checkpoint.ipynb": "x",
        f".hidden/{NOTEBOOK}": "x",
        f"ada/{NOTEBOOK}": "ada's",
    }
    assert collect(course, in_zip(tmp_path, files)).refused == []
    assert submitted(course) == {f"ada/{LAB}/{NOTEBOOK}": "ada's"}


def test_students_who_may_be_two_are_refused(course: Course, tmp_path: Path) -> None:
    files = {
        f"Ada/{NOTEBOOK}": "x",
        f"ada/{NOTEBOOK}": "x",
        f"bob/work/{NOTEBOOK}": "x",
        f"eve/work/{NOTEBOOK}": "x",
        f"DAN/{NOTEBOOK}": "x",
        f"cat/{NOTEBOOK}": "cat's",
    }
    (course.submitted / "dan").mkdir(parents=True)
    collected = collect(course, in_zip(tmp_path, files))
    assert submitted(course) == {f"cat/{LAB}/{NOTEBOOK}": "cat's"}
    assert len(collected.refused) == 5
    assert all("not clear whose" in refused.why for refused in collected.refused)


def test_a_name_in_two_unicode_forms_is_one_student(course: Course, tmp_path: Path) -> None:
    files = {f"zo\u00eb/{NOTEBOOK}": "n", f"zoe\u0308/{ENGINE}": "e"}
    collected = collect(course, in_zip(tmp_path, files))
    assert collected.refused == []
    assert submitted(course) == {f"zo\u00eb/{LAB}/{ENGINE}": "e", f"zo\u00eb/{LAB}/{NOTEBOOK}": "n"}


def test_artifacts_without_a_notebook_are_taken_and_reported(
    course: Course, tmp_path: Path
) -> None:
    collected = collect(course, in_zip(tmp_path, {f"ada/{ENGINE}": "e"}))
    assert submitted(course) == {f"ada/{LAB}/{ENGINE}": "e"}
    assert reasons(collected) == {f"ada/{LAB}": "there is no notebook, only what it makes"}


def test_a_crash_while_files_are_copied_leaves_what_was_there(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = in_folder(tmp_path, {f"ada/{NOTEBOOK}": "first"})
    collect(course, source)
    later = in_zip(tmp_path, {f"ada/{NOTEBOOK}": "x" * 9, f"ada/{ENGINE}": "e"})
    os.utime(source / "ada" / NOTEBOOK, (1, 1))
    copy = downloads.Download.copy

    def crash(self: downloads.Download, target: Path) -> str | None:
        if target.name == ENGINE:
            raise KeyboardInterrupt
        return copy(self, target)

    monkeypatch.setattr(downloads.Download, "copy", crash)
    (course.submitted / "ada" / LAB / "timestamp.txt").unlink()
    with pytest.raises(KeyboardInterrupt):
        collect(course, later)
    assert submitted(course) == {f"ada/{LAB}/{NOTEBOOK}": "first"}
    assert_nothing_is_left_over(course, tmp_path)


def test_what_is_neither_a_folder_nor_a_zip_is_refused(course: Course, tmp_path: Path) -> None:
    for content in (b"", b"PK\x03\x04 cut off", b"\x1f\x8b gzip"):
        path = tmp_path / "downloads.zip"
        path.write_bytes(content)
        with pytest.raises(DataError, match="neither a folder nor a zip"):
            collect(course, path)
    with pytest.raises(DataError, match="neither a folder nor a zip"):
        collect(course, tmp_path / "nothing.zip")
