"""ILogger, Logger, and the shape of TensorRT's messages.

TensorRT reports most failures through the logger and returns None or False. The emulation does the
same, in TensorRT's wording, followed by a hint that says what to do.
"""

import sys
import time
from typing import Any

from trtlab.backend.emulated.pybind import PybindMeta
from trtlab.backend.emulated.types import _ArithmeticEnum


class ILogger(metaclass=PybindMeta):
    """Base class of loggers: derive from it, call its __init__, and override `log`."""

    class Severity(_ArithmeticEnum):
        """Severity of a message; the lower, the worse."""

        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    INTERNAL_ERROR = Severity.INTERNAL_ERROR
    ERROR = Severity.ERROR
    WARNING = Severity.WARNING
    INFO = Severity.INFO
    VERBOSE = Severity.VERBOSE

    def __init__(self) -> None:
        self._constructed = True

    def log(self, severity: Severity, msg: str) -> None:
        """Receive one message."""
        raise RuntimeError('Tried to call pure virtual function "nvinfer1::ILogger::log"')


class Logger(ILogger):
    """The default logger: prints messages at or above `min_severity` on stdout."""

    def __init__(self, min_severity: ILogger.Severity = ILogger.Severity.WARNING) -> None:
        super().__init__()
        if not isinstance(min_severity, ILogger.Severity):
            raise TypeError(f"min_severity is a Logger.Severity, not {min_severity!r}.")
        self.min_severity = min_severity

    def log(self, severity: ILogger.Severity, msg: str) -> None:
        """Print one message with its time and the letter of its severity."""
        if severity <= self.min_severity:
            letter = "FEWIV"[int(severity)]
            print(f"[{time.strftime('%m/%d/%Y-%H:%M:%S')}] [TRT] [{letter}] {msg}", flush=True)


_CATEGORIES = {
    1: "Serialization",
    2: "Internal Error",
    3: "API Usage Error",
    4: "Internal Error",
    10: "Internal Error",
}


class Log:
    """Sends messages to a student's logger, which may be of any kind and may raise."""

    def __init__(self, logger: Any) -> None:
        if not isinstance(logger, ILogger):
            raise TypeError(
                f"Incompatible constructor arguments: a trt.Logger is needed, not {logger!r}."
            )
        self.logger = logger

    def _send(self, severity: ILogger.Severity, msg: str) -> None:
        try:
            self.logger.log(severity, msg)
        except Exception as error:  # TensorRT's binding swallows what a logger raises
            print(f"[ERROR] Exception caught in log(): {error}", file=sys.stderr)

    def error(self, code: int, where: str, message: str, hint: str = "") -> None:
        """Log an error as TensorRT words it, e.g. code 3, where 'network.cpp::validate'."""
        text = f"{code}: [{where}] Error Code {code}: {_CATEGORIES[code]} ({message})"
        self.plain_error(text, hint)

    def plain_error(self, message: str, hint: str = "") -> None:
        """Log an error that carries no code, with an optional hint on a second line."""
        self._send(ILogger.Severity.ERROR, f"{message}\n  Hint: {hint}" if hint else message)

    def warning(self, message: str) -> None:
        """Log a warning."""
        self._send(ILogger.Severity.WARNING, message)

    def info(self, message: str) -> None:
        """Log a piece of information."""
        self._send(ILogger.Severity.INFO, message)

    def verbose(self, message: str) -> None:
        """Log a detail."""
        self._send(ILogger.Severity.VERBOSE, message)
