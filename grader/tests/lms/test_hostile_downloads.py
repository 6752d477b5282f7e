"""Nothing hostile comes out of an LMS download: no path, no link, no bomb."""

import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from made_up_downloads import (
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
from trtlab_grader.lms import collect as collect_module
from trtlab_grader.lms import downloads
from trtlab_grader.lms.collect import collect

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


def test_a_link_in_submitted_is_not_written_through(course: Course, tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    course.submitted.mkdir()
    (course.submitted / "ada").symlink_to(tmp_path / "away")
    collected = collect(course, in_zip(tmp_path, {f"ada/{NOTEBOOK}": "x"}))
    assert collected.taken == []
    assert list((tmp_path / "away").iterdir()) == []
