"""Carries bytes between the grader's ZeroMQ sockets and the kernel's, and counts them.

ZeroMQ keeps a message of many parts in memory until its last part is there, however many there are,
and none of its options bounds that. So the grader does not connect to the kernel's sockets itself,
but to this relay's, which knows no messages and stops the kernel when it has sent too many bytes.
The relay also connects once and never again: no path in a folder of the student's is opened after
the kernel is up.
"""

import socket
import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

_CHUNK = 1 << 16
_RETRY_SECONDS = 0.05


class Relay:
    """Connects Unix sockets in a folder of the grader's with those of the same names in another.

    Args:
        names: of the sockets.
        inner: the kernel's folder; the sockets may appear there later.
        outer: the grader's folder; the sockets are there at once, for one connection each.
        limit_bytes: what the kernel may send in all.
        on_flood: called when it has sent more.
    """

    def __init__(
        self,
        names: Sequence[str],
        inner: Path,
        outer: Path,
        limit_bytes: int,
        on_flood: Callable[[], object],
    ) -> None:
        self._left = limit_bytes
        self._on_flood = on_flood
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        for name in names:
            listener = self._keep(socket.socket(socket.AF_UNIX))
            listener.bind(str(outer / name))
            listener.listen(1)
            _start_thread(self._connect, listener, inner / name)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            self._closed.set()
            for end in self._sockets:
                _shut(end)
                end.close()

    def _keep(self, end: socket.socket) -> socket.socket:
        with self._lock:
            self._sockets.append(end)
            if self._closed.is_set():
                end.close()
        return end

    def _connect(self, listener: socket.socket, path: Path) -> None:
        try:
            kernel = self._keep(socket.socket(socket.AF_UNIX))
            grader = self._keep(listener.accept()[0])
            listener.close()
            while not _connected(kernel, path):
                if self._closed.wait(_RETRY_SECONDS):
                    return
        except OSError:  # closed meanwhile
            return
        _start_thread(_pump, grader, kernel, lambda size: True)
        _pump(kernel, grader, self._count)

    def _count(self, size: int) -> bool:
        with self._lock:
            self._left -= size
            if self._left >= 0:
                return True
        self._on_flood()
        return False


def _connected(end: socket.socket, path: Path) -> bool:
    try:
        # A link could lead to a socket of one of the host's services.
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return False
        end.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    return True


def _pump(source: socket.socket, target: socket.socket, allowed: Callable[[int], bool]) -> None:
    try:
        while (data := source.recv(_CHUNK)) and allowed(len(data)):
            target.sendall(data)
    except OSError:  # either end is closed
        pass
    _shut(source)
    _shut(target)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):  # not connected any more
        end.shutdown(socket.SHUT_RDWR)


def _start_thread(work: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, name="relay", daemon=True).start()
