"""Fake devices beyond a Unix socket: their clock is the server's, whatever the client does."""

import socket
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from trtlab.lab.device_link import SOCKET, RemoteDevice, read_log, serve_devices
from trtlab.lab.exchange import ExchangeError
from trtlab.lab.fake_model import Device, DeviceModel, LocalDevice, StoppedError


def call_without_end(device: Device) -> None:
    while True:
        device.call()


def test_what_a_model_does_is_what_the_device_saw(tmp_path: Path) -> None:
    known = np.zeros((4, 3, 8, 8))
    with serve_devices(tmp_path, [LocalDevice([20.0])]), RemoteDevice(tmp_path) as device:
        model = DeviceModel(device, [known])
        start = time.perf_counter()
        model(known)
        returned = time.perf_counter() - start
        model.synchronize()
        waited = time.perf_counter() - start
        model(None)
    (log,) = read_log(tmp_path)
    first, second = log.calls
    assert returned < 0.020 <= waited
    assert waited >= first.work_s >= 0.020
    assert [(call.token, call.images, call.waited) for call in log.calls] == [
        (0, 4, True),
        (1, 0, False),
    ]
    assert second.done > log.ended, "nobody waited for the second call"


def test_every_connection_gets_the_next_device(tmp_path: Path) -> None:
    with serve_devices(tmp_path, [LocalDevice([1.0]), LocalDevice([5.0]), LocalDevice([9.0])]):
        for calls in (1, 2):
            with RemoteDevice(tmp_path) as device:
                for _ in range(calls):
                    device.call()
    assert [[round(1e3 * call.work_s) for call in log.calls] for log in read_log(tmp_path)] == [
        [1],
        [5, 5],
    ]


def test_a_device_that_is_called_for_too_long_stops(tmp_path: Path) -> None:
    endless = LocalDevice([1.0], depth=1, limit_s=0.05)
    with serve_devices(tmp_path, [endless]), RemoteDevice(tmp_path) as device:
        with pytest.raises(StoppedError):
            call_without_end(device)
        with pytest.raises(StoppedError):
            device.call()
    (log,) = read_log(tmp_path)
    assert log.stopped
    assert len(log.calls) < 200


def test_a_folder_may_be_deeper_than_an_address_is_long(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 40)
    folder.mkdir()
    with serve_devices(folder, [LocalDevice([1.0])]), RemoteDevice(folder) as device:
        device.call()
    assert len(read_log(folder)[0].calls) == 1


def test_another_user_may_connect_and_the_socket_is_gone_afterwards(tmp_path: Path) -> None:
    with serve_devices(tmp_path, []):
        assert stat.S_IMODE((tmp_path / SOCKET).stat().st_mode) == 0o666
    assert not (tmp_path / SOCKET).exists()
    assert read_log(tmp_path) == ()


def test_without_a_server_there_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(ExchangeError, match=r"device\.json"):
        read_log(tmp_path)


class TestAttacks:
    """Raw sockets, as a student's code may open them."""

    @pytest.fixture
    def raw(self) -> socket.socket:
        return socket.socket(socket.AF_UNIX)

    @pytest.mark.parametrize("nonsense", [b"", b"c", b"?" * 8, b"z" * 9 * 50, b"\xff" * 100_000])
    def test_nonsense_ends_its_own_connection_and_no_other(
        self, raw: socket.socket, nonsense: bytes, tmp_path: Path
    ) -> None:
        with serve_devices(tmp_path, [LocalDevice([1.0]), LocalDevice([1.0])]):
            with raw:
                raw.connect(str(tmp_path / SOCKET))
                raw.sendall(nonsense)
            with RemoteDevice(tmp_path) as device:
                device.call()
        assert [len(log.calls) for log in read_log(tmp_path)] == [0, 1]

    def test_a_connection_that_is_never_closed_does_not_keep_the_server(
        self, raw: socket.socket, tmp_path: Path
    ) -> None:
        with raw:
            with serve_devices(tmp_path, [LocalDevice([1.0])]):
                raw.connect(str(tmp_path / SOCKET))
            assert [log.calls for log in read_log(tmp_path)] == [()]

    def test_a_flood_does_not_keep_the_server_either(
        self, raw: socket.socket, tmp_path: Path
    ) -> None:
        def flood() -> None:
            with raw, suppress(OSError):
                while True:
                    raw.sendall(b"s" + bytes(8))

        with serve_devices(tmp_path, [LocalDevice([1.0])]):
            raw.connect(str(tmp_path / SOCKET))
            flooding = threading.Thread(target=flood)
            flooding.start()
        flooding.join(10)
        assert not flooding.is_alive()
        assert len(read_log(tmp_path)) == 1
