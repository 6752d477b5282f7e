"""TensorRT's messages, kept so that an exception can carry them, and silent on stderr."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trtlab.backend import trt

_KEPT = {
    trt.ILogger.INTERNAL_ERROR: "internal error",
    trt.ILogger.ERROR: "error",
    trt.ILogger.WARNING: "warning",
}


class Messages:
    """The warnings and errors that TensorRT logged during one piece of work, without repeats."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def add(self, level: str, message: str) -> None:
        """Keep a message once."""
        kept = self.warnings if level == "warning" else self.errors
        if message not in kept:
            kept.append(message)

    def because(self) -> str:
        """Return the errors as the end of a sentence such as 'The build failed'."""
        if not self.errors:
            return ", and TensorRT gave no reason."
        return ": " + "; ".join(" ".join(error.split()) for error in self.errors)


class Logger(trt.ILogger):
    """Hands warnings and errors to whoever is listening; drops the rest."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self._listeners: deque[Messages] = deque()

    def log(self, severity: Any, msg: str) -> None:
        """Take a message; called by TensorRT, from any of its threads."""
        if severity in _KEPT:
            for listener in tuple(self._listeners):
                listener.add(_KEPT[severity], msg)

    @contextmanager
    def listen(self) -> Iterator[Messages]:
        """Collect what TensorRT logs while the block runs."""
        messages = Messages()
        self._listeners.append(messages)
        try:
            yield messages
        finally:
            self._listeners.remove(messages)


LOGGER = Logger()
"""The process's only one: TensorRT keeps the first logger it is given and ignores later ones."""
