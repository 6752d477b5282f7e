"""Copying out of a folder that hostile code writes to."""

import os
import threading
from pathlib import Path

import pytest

from trtlab_grader.receive import Allowance, receive


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("the gradebook")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_regular_files_are_copied_with_their_folders(source: Path, tmp_path: Path) -> None:
    (source / "a").write_bytes(b"1" * 3_000_000)
    (source / "sub").mkdir()
    (source / "sub" / "b").write_bytes(b"2")
    received = receive(source, tmp_path / "copy")
    assert contents(tmp_path / "copy") == contents(source)
    assert received.taken == ["a", "sub/b"]
    assert not received.refused


def test_only_the_names_that_are_wanted_are_taken(source: Path, tmp_path: Path) -> None:
    for name in ("x.engine", "notes.txt"):
        (source / name).write_text(name)
    (source / "sub").mkdir()
    (source / "sub" / "x.engine").write_text("hidden")
    receive(source, tmp_path / "copy", frozenset({"x.engine", "absent"}))
    assert contents(tmp_path / "copy") == {"x.engine": b"x.engine"}


def test_links_to_files_and_folders_are_not_followed(
    source: Path, secret: Path, tmp_path: Path
) -> None:
    (source / "x.engine").symlink_to(secret)
    (source / "folder").symlink_to(secret.parent)
    (source / "dangling").symlink_to("nowhere")
    received = receive(source, tmp_path / "copy")
    assert contents(tmp_path / "copy") == {}
    assert sorted(received.links) == ["dangling", "x.engine"]
    assert received.refused["x.engine"] == "it is a symbolic link"


def test_pipes_sockets_and_devices_are_refused_without_waiting(
    source: Path, tmp_path: Path
) -> None:
    os.mkfifo(source / "pipe")
    received = receive(source, tmp_path / "copy")
    assert received.refused == {"pipe": "it is not a regular file"}


def test_sizes_and_numbers_are_bounded(source: Path, tmp_path: Path) -> None:
    (source / "large").write_bytes(b"0" * 101)
    for index in range(5):
        (source / f"small{index}").write_bytes(b"0" * 40)
    received = receive(source, tmp_path / "one", allowance=Allowance(file_bytes=100))
    assert list(received.refused) == ["large"]
    received = receive(
        source, tmp_path / "two", allowance=Allowance(file_bytes=100, total_bytes=100)
    )
    assert received.taken == ["small0", "small1"]
    received = receive(source, tmp_path / "three", allowance=Allowance(files=2))
    assert len(received.taken) == 2


def test_folders_deeper_than_allowed_are_left_out(source: Path, tmp_path: Path) -> None:
    deep = source / "1" / "2" / "3" / "4"
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")
    (deep.parent / "file").write_text("less deep")
    receive(source, tmp_path / "copy")
    assert contents(tmp_path / "copy") == {"1/2/3/file": b"less deep"}


def test_a_file_that_is_swapped_for_a_link_again_and_again_never_leaks(
    source: Path, secret: Path, tmp_path: Path
) -> None:
    victim, stop = source / "x.engine", threading.Event()

    def swap() -> None:
        while not stop.is_set():
            victim.write_text("an engine")
            victim.unlink()
            victim.symlink_to(secret)
            victim.unlink()

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for index in range(300):
            receive(source, tmp_path / f"copy{index}")
            assert b"gradebook" not in b"".join(contents(tmp_path / f"copy{index}").values())
    finally:
        stop.set()
        swapping.join()
