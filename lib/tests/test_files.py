"""Nothing that is written is ever half-written, and nothing that was there is lost."""

import errno
import hashlib
from pathlib import Path

import pytest

from trtlab import files
from trtlab.errors import OutputError


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_finished_write_leaves_the_content_and_no_temporary_file(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "a.json"
    assert files.write_text(target, "grün") == target
    assert target.read_bytes() == "grün".encode()
    assert leftovers(target.parent) == ["a.json"]


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_the_old_file_alone(
    tmp_path: Path, interruption: type[BaseException]
) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def interrupted() -> None:
        with files.atomic_path(target) as temporary:
            temporary.write_bytes(b"half of the n")
            raise interruption

    with pytest.raises(interruption):
        interrupted()
    assert target.read_bytes() == b"old"
    assert leftovers(tmp_path) == ["a.bin"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission"),
        (errno.EDQUOT, "quota"),
    ],
)
def test_a_disk_that_refuses_is_named_in_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:3])
        raise OSError(number, "refused")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(OutputError, match=words) as caught:
        files.write_bytes(tmp_path / "a.engine", b"123456")
    assert "a.engine" in str(caught.value)
    assert leftovers(tmp_path) == []


def test_a_folder_in_the_way_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="folder"):
        files.write_text(tmp_path, "text")


def test_a_file_in_place_of_the_folder_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        files.write_text(tmp_path / "file" / "below.txt", "text")


@pytest.mark.parametrize("path", ["x" * 300 + ".engine", "a/../" * 1000 + "x.engine"])
def test_a_path_that_cannot_exist_is_an_output_error(tmp_path: Path, path: str) -> None:
    with pytest.raises(OutputError, match=r"name too long; choose another path"):
        files.write_text(tmp_path / path, "text")


def test_other_operating_system_errors_are_not_disguised(tmp_path: Path) -> None:
    def raise_connection_error() -> None:
        with files.atomic_path(tmp_path / "a"):
            raise ConnectionResetError(errno.ECONNRESET, "reset")

    with pytest.raises(ConnectionResetError):
        raise_connection_error()


def test_the_written_file_has_the_permissions_of_an_ordinary_file(tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.write_text("")
    written = files.write_text(tmp_path / "written", "")
    assert written.stat().st_mode == ordinary.stat().st_mode


def test_sha256_is_that_of_the_whole_file(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000  # more than one read
    path = tmp_path / "data"
    path.write_bytes(data)
    assert files.sha256(path) == hashlib.sha256(data).hexdigest()
