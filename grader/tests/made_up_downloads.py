"""Downloads as an LMS hands them out, and what has arrived of them."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

from trtlab_grader.course import Course
from trtlab_grader.lms.collect import Collected

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
