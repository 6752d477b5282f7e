"""Fake devices beyond a Unix socket: the stopwatch is not in the student's process.

Whoever judges serves LocalDevices in a folder that the student's kernel can read. The kernel
connects once for each device; every call and every synchronize is one message of fixed size and one
byte in answer. What the devices saw is written to the folder when the serving ends.
"""

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from trtlab.lab.exchange import read_model, write_model
from trtlab.lab.fake_model import Call, LocalDevice, StoppedError

SOCKET, LOG = "device.sock", "device.json"
_MESSAGE = struct.Struct("<cII")  # kind, token, images
_CALL, _SYNCHRONIZE = b"c", b"s"
_DONE, _STOPPED = b"d", b"x"
_POLL_S = 0.2
"""How long a server takes to notice that it is to end."""
_LARGEST = 2**32 - 1


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DeviceLog(_Record):
    """What one device saw; times in seconds of its own clock.

    Attributes:
        calls: that it got, in order.
        ended: when whoever called it had finished.
        stopped: whether it refused further calls, because they went on too long.
    """

    calls: tuple[Call, ...]
    ended: float
    stopped: bool


class DeviceLogs(_Record):
    """What the devices saw that were used, in order."""

    devices: tuple[DeviceLog, ...] = ()


class RemoteDevice:
    """A Device that `serve_devices` serves in `folder`; the next one that nobody has used yet.

    Use it as a context manager; leaving it tells the device that all is finished.
    """

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        with _address(folder) as address:
            self._socket.connect(address)

    def call(self, token: int = 0, images: int = 0) -> None:
        """See Device."""
        self._ask(_CALL, min(token, _LARGEST), min(images, _LARGEST))

    def synchronize(self) -> None:
        """See Device."""
        self._ask(_SYNCHRONIZE, 0, 0)

    def _ask(self, kind: bytes, token: int, images: int) -> None:
        self._socket.sendall(_MESSAGE.pack(kind, token, images))
        if self._socket.recv(1) != _DONE:
            raise StoppedError("the model was called for too long, so it was stopped")

    def __enter__(self) -> "RemoteDevice":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


@contextmanager
def serve_devices(folder: Path, devices: Sequence[LocalDevice]) -> Iterator[None]:
    """Serve devices, one connection each and in this order; write their log on leaving.

    Args:
        folder: where the socket is made; `read_log` reads the log from there.
        devices: no more connections than these are answered.
    """
    listener = socket.socket(socket.AF_UNIX)
    listener.settimeout(_POLL_S)
    with listener, _address(folder) as address:
        listener.bind(address)
        (folder / SOCKET).chmod(0o666)  # a sandbox has another user
        listener.listen(1)
        leaving, logs = threading.Event(), list[DeviceLog]()
        serving = threading.Thread(
            target=_serve, args=(listener, devices, leaving, logs), daemon=True
        )
        serving.start()
        try:
            yield
        finally:
            leaving.set()
            serving.join()
            (folder / SOCKET).unlink()
            write_model(folder / LOG, DeviceLogs(devices=tuple(logs)))


def read_log(folder: Path) -> tuple[DeviceLog, ...]:
    """Return what the devices saw that were served in `folder`.

    Raises:
        ExchangeError: if none were.
    """
    return read_model(folder / LOG, DeviceLogs).devices


@contextmanager
def _address(folder: Path) -> Iterator[str]:
    """Yield an address of the socket; a path may be too long for one, and then goes by /proc."""
    path = os.fspath(folder / SOCKET)
    if len(os.fsencode(path)) < 100:
        yield path
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


def _serve(
    listener: socket.socket,
    devices: Sequence[LocalDevice],
    leaving: threading.Event,
    logs: list[DeviceLog],
) -> None:
    for device in devices:
        connection = _accept(listener, leaving)
        if connection is None:
            return
        with connection:
            connection.settimeout(_POLL_S)
            while (message := _receive(connection, leaving)) is not None:
                try:
                    connection.sendall(_answer(device, message))
                except OSError:  # whoever called it has gone
                    break
        logs.append(
            DeviceLog(calls=tuple(device.calls), ended=time.perf_counter(), stopped=device.stopped)
        )


def _accept(listener: socket.socket, leaving: threading.Event) -> socket.socket | None:
    """Return the next connection, one that was closed at once too; None if no more will come."""
    while True:
        try:
            return listener.accept()[0]
        except TimeoutError:
            if leaving.is_set():
                return None


def _receive(connection: socket.socket, leaving: threading.Event) -> bytes | None:
    """Return the next message; None once there is none, or one that no RemoteDevice sends."""
    while not leaving.is_set():
        try:
            message = connection.recv(_MESSAGE.size)
        except TimeoutError:
            continue
        except OSError:
            return None
        return message if len(message) == _MESSAGE.size else None
    return None


def _answer(device: LocalDevice, message: bytes) -> bytes:
    kind, token, images = _MESSAGE.unpack(message)
    try:
        if kind == _CALL:
            device.call(token, images)
        else:
            device.synchronize()
    except StoppedError:
        return _STOPPED
    return _DONE
