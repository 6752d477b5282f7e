"""Talks to a job in JSON lines: a request, then its answer, which may be anything or never come."""

import json
import os
import select
import time
from typing import IO, Any

from trtlab_grader.sandbox.errors import SandboxError
from trtlab_grader.sandbox.limits import Stop
from trtlab_grader.sandbox.process import SandboxedProcess

_CHUNK = 1 << 16


class Conversation:
    """Sends requests to a job that was started with `talk=True`, and reads its answers.

    All answers together may have `Limits.output_bytes`; a job that sends more is killed.
    """

    def __init__(self, process: SandboxedProcess) -> None:
        self._process = process
        self._left = process.job.limits.output_bytes
        self._unread = bytearray()
        for pipe in (process.stdin, process.stdout):
            os.set_blocking(_descriptor(pipe), False)

    def ask(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send one line and return the next that comes back; for the rest, see `listen`."""
        deadline = time.monotonic() + timeout_s
        line = memoryview(json.dumps(request).encode() + b"\n")
        pipe = _descriptor(self._process.stdin)
        with self._process.at_work():
            while line:
                self._wait_for(pipe, select.POLLOUT, deadline)
                try:
                    line = line[os.write(pipe, line) :]
                except BrokenPipeError:
                    raise self._ended() from None
            return self.listen(deadline - time.monotonic())

    def listen(self, timeout_s: float) -> dict[str, Any]:
        """Return the next line that the job sends.

        Args:
            timeout_s: seconds until it must be there; the job is killed if it is not.

        Raises:
            SandboxError: if the job ended, was killed, took too long or sent something else than an
                object in JSON. The message says which.
        """
        deadline = time.monotonic() + timeout_s
        pipe = _descriptor(self._process.stdout)
        while b"\n" not in self._unread:
            self._wait_for(pipe, select.POLLIN, deadline)
            part = os.read(pipe, _CHUNK)
            if not part:
                raise self._ended()
            self._unread += part
            self._left -= len(part)
            if self._left < 0:
                limit = self._process.job.limits.output_bytes
                raise self._kill(Stop("output", f"sent more than {limit:,} bytes"))
        line, _, rest = bytes(self._unread).partition(b"\n")
        self._unread = bytearray(rest)
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise SandboxError(f"The job did not answer in JSON but with: {line[:200]!r}")
        return answer

    def _wait_for(self, descriptor: int, event: int, deadline: float) -> None:
        # poll, not select: that one cannot take the descriptors above 1,023 of a large grader.
        poller = select.poll()
        poller.register(descriptor, event)
        if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise self._kill(Stop("wall time", "did not answer in time"))

    def _kill(self, stop: Stop) -> SandboxError:
        self._process.stop(stop)
        return self._ended()

    def _ended(self) -> SandboxError:
        # A job that closed its stdout, and runs on, has ended as far as its answers go.
        if not self._process.wait(1.0):
            self._process.stop(Stop("output", "closed its stdin or stdout before the end"))
            self._process.wait(30.0)
        log = self._process.log[-2000:]
        return SandboxError(f"The job ended ({self._process.ending}). {log}".strip())


def _descriptor(pipe: IO[bytes] | None) -> int:
    if pipe is None:
        raise SandboxError("This job was not started to talk.")
    return pipe.fileno()
