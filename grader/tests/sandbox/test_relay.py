"""The relay between the grader's ZeroMQ and the kernel's, with plain sockets at both ends."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from trtlab_grader.kernel.relay import Relay

from .conftest import wait_until


@pytest.fixture
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base = tmp_path_factory.mktemp("r")
    (base / "in").mkdir()
    (base / "out").mkdir()
    return base / "in", base / "out"


@pytest.fixture
def kernel_end(folders: tuple[Path, Path]) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folders[0] / "k-1"))
        yield listener


def connect(path: Path) -> socket.socket:
    end = socket.socket(socket.AF_UNIX)
    end.settimeout(30)
    end.connect(str(path))
    return end


def test_bytes_go_both_ways_and_wait_for_a_late_kernel(
    folders: tuple[Path, Path], kernel_end: socket.socket
) -> None:
    inner, outer = folders
    relay = Relay(["k-1"], inner, outer, 1000, pytest.fail)
    with connect(outer / "k-1") as grader:
        grader.sendall(b"hello")
        kernel_end.listen()
        with kernel_end.accept()[0] as kernel:
            assert kernel.recv(100) == b"hello"
            kernel.sendall(b"answer")
            assert grader.recv(100) == b"answer"
        assert grader.recv(100) == b""
    relay.close()


def test_a_flood_ends_at_the_limit(folders: tuple[Path, Path], kernel_end: socket.socket) -> None:
    inner, outer = folders
    flooded = threading.Event()
    relay = Relay(["k-1"], inner, outer, 1_000_000, flooded.set)
    received = 0
    with connect(outer / "k-1") as grader:
        kernel_end.listen()
        with kernel_end.accept()[0] as kernel:

            def flood() -> None:
                with suppress(OSError):
                    while True:
                        kernel.sendall(bytes(1 << 16))

            flooder = threading.Thread(target=flood)
            flooder.start()
            while data := grader.recv(1 << 16):
                received += len(data)
            flooder.join(30)
    assert flooded.is_set()
    assert received <= 1_000_000
    relay.close()


def test_a_link_to_a_socket_of_the_hosts_is_not_followed(folders: tuple[Path, Path]) -> None:
    inner, outer = folders
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(str(outer / "service"))
        service.listen()
        service.settimeout(0.5)
        (inner / "k-1").symlink_to(outer / "service")
        relay = Relay(["k-1"], inner, outer, 1000, pytest.fail)
        with connect(outer / "k-1"), pytest.raises(TimeoutError):
            service.accept()
        relay.close()


def test_closing_ends_all_its_threads(folders: tuple[Path, Path]) -> None:
    inner, outer = folders
    before = threading.active_count()
    relay = Relay(["k-1", "k-2"], inner, outer, 1000, pytest.fail)
    with connect(outer / "k-1"):
        relay.close()
    assert wait_until(lambda: threading.active_count() <= before)
