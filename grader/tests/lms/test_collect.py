"""Submissions come out of LMS downloads whole, and nothing hostile comes with them."""

import os
import re
import stat
import struct
import zipfile
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

import pytest
from nbgrader.api import Gradebook
from nbgrader.coursedir import CourseDirectory

from trtlab.errors import DataError
from trtlab_grader.course import Course
from trtlab_grader.lms import collect as collect_module
from trtlab_grader.lms import downloads
from trtlab_grader.lms.collect import Collected, collect
from trtlab_grader.nbgrader_glue.config import configure

LAB = "02-build"
NOTEBOOK = f"{LAB}.ipynb"
ENGINE = "resnet50_fp16.engine"
Files = Mapping[str, str | bytes]


def in_folder(tmp_path: Path, files: Files) -> Path:
    top = tmp_path / "downloads"
    for name, content in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return top


def in_zip(tmp_path: Path, files: Files) -> Path:
    path = tmp_path / "downloads.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, (2025, 3, 1, 12, 0, 0))
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


def submitted(course: Course) -> dict[str, str]:
    """What is in submitted/, timestamps aside."""
    return {
        path.relative_to(course.submitted).as_posix(): path.read_text()
        for path in sorted(course.submitted.rglob("*"))
        if path.is_file() and path.name != "timestamp.txt"
    }


def reasons(collected: Collected) -> dict[str, str]:
    return {refused.name: refused.why for refused in collected.refused}


def assert_nothing_is_left_over(course: Course, tmp_path: Path) -> None:
    assert not list(course.root.glob(".collect-*"))
    outside = {path.name for path in tmp_path.iterdir()}
    assert outside <= {"course", "downloads", "downloads.zip", "roster.csv", "secret", "away"}


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
    "moodle": (
        {
            f"Ada Lovelace_101_assignsubmission_file_/{NOTEBOOK}": "ada's",
            f"Grace Hopper_102_assignsubmission_file/{NOTEBOOK}": "grace's",
            "Grace Hopper_102_assignsubmission_onlinetext_/onlinetext.html": "text",
        },
        {f"101/{LAB}/{NOTEBOOK}": "ada's", f"102/{LAB}/{NOTEBOOK}": "grace's"},
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
    collect(course, source)
    assert submitted(course) == {f"ada/{LAB}/{NOTEBOOK}": "third"}


ESCAPES = [
    f"../ada/{NOTEBOOK}",
    f"ada/../../../away/{NOTEBOOK}",
    f"/ada/{NOTEBOOK}",
    f"//ada/{NOTEBOOK}",
    f"ada\\..\\{NOTEBOOK}",
    f"C:/ada/{NOTEBOOK}",
    f"ada/./{NOTEBOOK}",
    f"ada/\x1b[2J/{NOTEBOOK}",
]


@pytest.mark.parametrize("name", ESCAPES)
def test_a_path_that_leaves_the_download_is_refused_and_its_neighbour_taken(
    course: Course, tmp_path: Path, name: str
) -> None:
    source = in_zip(tmp_path, {name: "hostile", f"bob/{NOTEBOOK}": "bob's"})
    collected = collect(course, source)
    assert submitted(course) == {f"bob/{LAB}/{NOTEBOOK}": "bob's"}
    (refused,) = collected.refused
    assert refused.why == "its path leaves the download"
    assert refused.name.isprintable()
    assert_nothing_is_left_over(course, tmp_path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO])
def test_links_and_devices_in_a_zip_are_refused(course: Course, tmp_path: Path, kind: int) -> None:
    source = in_zip(tmp_path, {f"bob/{NOTEBOOK}": "bob's"})
    info = zipfile.ZipInfo(f"ada/{NOTEBOOK}")
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr(info, "/etc/passwd")
    collected = collect(course, source)
    assert submitted(course) == {f"bob/{LAB}/{NOTEBOOK}": "bob's"}
    assert reasons(collected) == {f"ada/{NOTEBOOK}": "it is a link or a device, not a file"}


def test_links_and_pipes_in_a_folder_are_refused(course: Course, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    source = in_folder(tmp_path, {f"bob/{NOTEBOOK}": "bob's"})
    for student in ("ada", "eve", "dan"):
        (source / student).mkdir()
    (source / "ada" / NOTEBOOK).symlink_to(secret)
    (source / "eve" / NOTEBOOK).hardlink_to(secret)
    os.mkfifo(source / "dan" / NOTEBOOK)
    (source / "cat").symlink_to(source / "bob")
    collected = collect(course, source)
    assert submitted(course) == {f"bob/{LAB}/{NOTEBOOK}": "bob's"}
    assert len(collected.refused) == 4


def test_a_file_that_unpacks_to_far_more_than_it_is_stops_nobody_else(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "SMALL", 1 << 20)
    monkeypatch.setattr(downloads, "MAX_FILE_BYTES", 4 << 20)
    source = in_zip(
        tmp_path,
        {
            f"ada/{NOTEBOOK}": bytes(3 << 20),
            f"eve/{NOTEBOOK}": os.urandom(5 << 20),
            f"bob/{NOTEBOOK}": "bob's",
        },
    )
    collected = collect(course, source)
    assert submitted(course) == {f"bob/{LAB}/{NOTEBOOK}": "bob's"}
    why = reasons(collected)
    assert why[f"ada/{NOTEBOOK}"].startswith("it unpacks to 3,145,728 bytes from ")
    assert why[f"eve/{NOTEBOOK}"] == "it has 5,242,880 bytes, and may have 4,194,304"


def test_a_zip_that_lies_about_a_size_is_not_believed(course: Course, tmp_path: Path) -> None:
    source = in_zip(tmp_path, {f"ada/{NOTEBOOK}": b"x" * 1000, f"bob/{NOTEBOOK}": "bob's"})
    data = source.read_bytes()
    honest, lie = struct.pack("<L", 1000), struct.pack("<L", 10)
    assert data.count(honest) == 2  # in the file's own header and in the directory
    source.write_bytes(data.replace(honest, lie))
    collected = collect(course, source)
    assert submitted(course) == {f"bob/{LAB}/{NOTEBOOK}": "bob's"}
    assert reasons(collected)[f"ada/{NOTEBOOK}"].startswith("it cannot be unpacked: Bad CRC")


def test_a_damaged_or_encrypted_file_is_refused(course: Course, tmp_path: Path) -> None:
    source = in_zip(tmp_path, {f"ada/{NOTEBOOK}": "abc" * 99, f"bob/{NOTEBOOK}": "bob's"})
    data = bytearray(source.read_bytes())
    place = data.index(b"PK\x01\x02")
    data[place + 8] |= 1  # the flag of an encrypted file, in the directory
    source.write_bytes(data)
    assert reasons(collect(course, source)) == {f"ada/{NOTEBOOK}": "it is encrypted"}
    assert submitted(course) == {f"bob/{LAB}/{NOTEBOOK}": "bob's"}


def test_a_download_with_too_many_files_or_too_few_bytes_of_disk_is_refused_whole(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = in_zip(tmp_path, {f"s{n}/{NOTEBOOK}": "x" * 100 for n in range(4)})
    with monkeypatch.context() as patch:
        patch.setattr(downloads, "MAX_FILES", 3)
        with pytest.raises(DataError, match="more than 3 files"):
            collect(course, source)
    with monkeypatch.context() as patch:
        usage = type("Usage", (), {"free": 700})
        patch.setattr(collect_module.shutil, "disk_usage", lambda path: usage)
        with pytest.raises(DataError, match="have 400 bytes, more than half of the 700"):
            collect(course, source)
    assert submitted(course) == {}


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


def test_a_link_in_submitted_is_not_written_through(course: Course, tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    course.submitted.mkdir()
    (course.submitted / "ada").symlink_to(tmp_path / "away")
    collected = collect(course, in_zip(tmp_path, {f"ada/{NOTEBOOK}": "x"}))
    assert collected.taken == []
    assert list((tmp_path / "away").iterdir()) == []


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


def write_roster(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "roster.csv"
    path.write_text(text, encoding="utf-8-sig")
    return path


def test_a_roster_maps_names_and_numbers_to_ids_and_fills_the_gradebook(
    course: Course, tmp_path: Path
) -> None:
    roster = write_roster(
        tmp_path,
        "id,name,lms_id,first_name,last_name,email\n"
        "al1,Ada Lovelace,101,Ada,Lovelace,ada@example.org\n"
        'gh2,"Hopper, Grace",,,,\n'
        "zm3,Zoë Müller,,,,\n",
    )
    files = {
        f"renamed_101_1_{NOTEBOOK}": "by number",
        f"hoppergrace_102_2_{NOTEBOOK}": "by name",
        f"Zoe Muller/{NOTEBOOK}": "by folder",
        f"Nobody/{NOTEBOOK}": "x",
    }
    collected = collect(course, in_zip(tmp_path, files), roster)
    assert submitted(course) == {
        f"al1/{LAB}/{NOTEBOOK}": "by number",
        f"gh2/{LAB}/{NOTEBOOK}": "by name",
        f"zm3/{LAB}/{NOTEBOOK}": "by folder",
    }
    assert reasons(collected) == {f"Nobody/{NOTEBOOK}": "none in the roster called 'Nobody'"}
    with Gradebook(course.gradebook_url) as gradebook:
        ada = gradebook.find_student("al1")
        assert (ada.first_name, ada.last_name, ada.lms_user_id) == ("Ada", "Lovelace", "101")


def test_two_students_of_one_name_are_told_apart_by_number_only(
    course: Course, tmp_path: Path
) -> None:
    roster = write_roster(tmp_path, "name,id,lms_id\nAda B,a1,7\nAda B,a2,8\n")
    files = {f"Ada B_7_assignsubmission_file_/{NOTEBOOK}": "a1's", f"ada b/{NOTEBOOK}": "whose?"}
    collected = collect(course, in_zip(tmp_path, files), roster)
    assert submitted(course) == {f"a1/{LAB}/{NOTEBOOK}": "a1's"}
    assert reasons(collected) == {f"ada b/{NOTEBOOK}": "2 in the roster called 'ada b'"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("student;id\nAda;a1\n", "needs the columns name and id; it has student;id"),
        ("name,id\nAda,../a1\n", "line 2: '../a1' is no id"),
        ("name,id\nAda,a1\nBob,A1\n", "the id a1 is there more than once"),
    ],
)
def test_a_roster_that_is_wrong_is_refused_with_the_reason(
    course: Course, tmp_path: Path, text: str, why: str
) -> None:
    roster = write_roster(tmp_path, text)
    with pytest.raises(DataError, match=re.escape(why)):
        collect(course, in_zip(tmp_path, {f"ada/{NOTEBOOK}": "x"}), roster)


def test_what_is_neither_a_folder_nor_a_zip_is_refused(course: Course, tmp_path: Path) -> None:
    for content in (b"", b"PK\x03\x04 cut off", b"\x1f\x8b gzip"):
        path = tmp_path / "downloads.zip"
        path.write_bytes(content)
        with pytest.raises(DataError, match="neither a folder nor a zip"):
            collect(course, path)
    with pytest.raises(DataError, match="neither a folder nor a zip"):
        collect(course, tmp_path / "nothing.zip")
