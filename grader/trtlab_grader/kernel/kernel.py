"""One Jupyter kernel inside the sandbox: start it, run code in it, end it."""

import json
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nbformat import NotebookNode

from trtlab.errors import TrtLabError
from trtlab_grader.kernel.outputs import (
    ImageBudget,
    OutputCollector,
    OutputLimits,
    execution_count,
)
from trtlab_grader.kernel.relay import Relay
from trtlab_grader.kernel.wire import CHANNELS, PORTS, PREFIX, TooLarge, Wire, socket_name
from trtlab_grader.owned import owned_folder
from trtlab_grader.sandbox import Job, Limits, Sandbox, SandboxError, Stop

_START_SECONDS = 120.0
# How long a cell has to end after an interrupt, before the kernel is killed.
_GRACE_SECONDS = 5.0
# The last outputs and the message that there are no more come by another way than the reply.
_OUTPUT_SECONDS = 5.0
# How long after its first answer a new kernel is waited for to be heard, before it is asked again.
_HEARD_SECONDS = 1.0
_POLL_SECONDS = 0.2


class KernelError(TrtLabError):
    """The kernel could not be started."""


@dataclass(frozen=True)
class CellResult:
    """What became of a cell.

    Attributes:
        status: `ok`; `error`, it raised; `timeout`, it was interrupted; `died`, the kernel ended in
            it or before it.
        outputs: as a notebook stores them, bounded by OutputLimits.
        execution_count: what Jupyter shows as In [n].
        seconds: how long it took, by the grader's clock.
        reason: for `timeout` and `died`, what happened, for a person; else empty.
        kernel_alive: whether the kernel can run another cell.
    """

    status: Literal["ok", "error", "timeout", "died"]
    outputs: list[NotebookNode]
    execution_count: int | None
    seconds: float
    reason: str
    kernel_alive: bool


class SandboxedKernel:
    """A context manager, in which a kernel runs.

    Args:
        sandbox: where it runs.
        work: its working folder, which the notebook may write to; see Job.
        limits: of the kernel and all its descendants; `output_bytes` is what it may send in all.
        readonly, writable, environment, gpu: see Job.
        outputs: what is kept of the outputs.

    Raises:
        KernelError: on entering, if the kernel does not start.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        work: Path,
        limits: Limits | None = None,
        readonly: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
        gpu: bool = False,
        outputs: OutputLimits | None = None,
    ) -> None:
        self._sandbox = sandbox
        self._job_fields: dict[str, Any] = {
            "work": work,
            "limits": limits or Limits(),
            "readonly": readonly,
            "writable": writable,
            "environment": {
                "MPLBACKEND": "module://matplotlib_inline.backend_inline",
                **(environment or {}),
            },
            "gpu": gpu,
        }
        self._output_limits = outputs or OutputLimits()
        # One for the whole kernel: a notebook's images are bounded together.
        self._images = ImageBudget(self._output_limits.image_bytes)
        self._stack = ExitStack()

    def __enter__(self) -> "SandboxedKernel":
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def alive(self) -> bool:
        """Whether it can run code."""
        return self._process.alive and self._process.stopped is None

    def run(self, source: str, timeout_s: float) -> CellResult:
        """Run code as a cell, to its end or for `timeout_s`; never raise for what the code does."""
        execution = _Execution(OutputCollector(self._output_limits, self._images))
        start = time.monotonic()
        if self.alive:
            content = {"code": source, "silent": False, "store_history": True}
            content |= {"user_expressions": {}, "allow_stdin": False, "stop_on_error": False}
            with self._process.at_work():
                execution.request = self._wire.send("shell", "execute_request", content)
                self._follow(execution, start + timeout_s)
        interrupted = f"ran longer than {timeout_s:g} s" if execution.interrupted else ""
        if interrupted and not self.alive:
            interrupted += f", and the kernel ended ({self._process.ending})"
        died = "" if execution.reply is not None else f"the kernel ended ({self._process.ending})"
        return CellResult(
            status="timeout" if interrupted else execution.reply or "died",
            outputs=execution.collector.outputs,
            execution_count=execution.count,
            seconds=time.monotonic() - start,
            reason=interrupted or died,
            kernel_alive=self.alive,
        )

    def _start(self) -> None:
        # In /tmp and short, because the path of a Unix socket has at most 107 bytes.
        base = self._stack.enter_context(owned_folder(Path("/tmp")))
        inner, outer = base / "in", base / "out"
        inner.mkdir()
        outer.mkdir()
        # Signs messages so that no other user's process can send some. The student's code can read
        # it and forge messages, which is no loss: nothing that the kernel says is believed.
        key = secrets.token_hex(32)
        connection = inner / "connection.json"
        connection.write_text(json.dumps(_connection_info(inner, key)))

        job = Job(
            command=[
                *[sys.executable, "-m", "ipykernel_launcher", "-f", str(connection)],
                "--HistoryManager.enabled=False",
            ],
            **{**self._job_fields, "writable": [*self._job_fields["writable"], inner]},
        )
        try:
            self._process = self._stack.enter_context(self._sandbox.start(job))
        except SandboxError as error:
            raise KernelError(f"The kernel could not be started. {error}") from error
        limit = job.limits.output_bytes
        flood = Stop("output", f"the kernel sent more than {limit:,} bytes")
        names = [socket_name(channel) for channel in CHANNELS]
        relay = Relay(names, inner, outer, limit, lambda: self._process.stop(flood))
        self._stack.callback(relay.close)
        self._wire = Wire(outer, key)
        self._stack.callback(self._wire.close)
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        """Return when the kernel answers and is heard, and has answered all that it was asked.

        In ipykernel 7.0 to 7.3 a request that comes while the answer to another is being sent may
        lie unread for ever (ipython/ipykernel#1554), so this never asks twice at a time.
        """
        deadline = time.monotonic() + _START_SECONDS
        is_heard = False
        while not is_heard:
            self._wire.send("shell", "kernel_info_request", {})
            is_answered = False
            turn = deadline
            while time.monotonic() < turn and not (is_answered and is_heard):
                if not self._process.alive:
                    break
                for channel, _ in self._wire.receive(_POLL_SECONDS):
                    is_heard |= channel == "iopub"
                    if channel == "shell" and not is_answered:
                        is_answered = True
                        # What it published before it knew of our subscription is lost.
                        turn = min(deadline, time.monotonic() + _HEARD_SECONDS)
            if not is_answered or time.monotonic() >= deadline:
                ending = "it does not answer" if self._process.alive else self._process.ending
                raise KernelError(f"The kernel did not start ({ending}). {self._process.log}")

    def _follow(self, execution: "_Execution", deadline: float) -> None:
        """Take in messages until the cell is done, or the kernel dead; keep the time."""
        while not (execution.is_idle and execution.reply is not None):
            is_last = not self._process.alive
            received = list(self._wire.receive(_POLL_SECONDS))
            for channel, message in received:
                execution.take(channel, message)
            now = time.monotonic()
            if is_last and not received:
                return
            if execution.reply is not None:
                if now > execution.replied_at + _OUTPUT_SECONDS:
                    return
            elif is_last:
                if now > deadline + _GRACE_SECONDS:
                    return
            elif now > deadline + _GRACE_SECONDS:
                self._process.stop(Stop("wall time", "a cell went on after an interrupt"))
                self._process.wait(_GRACE_SECONDS)
            elif now > deadline and not execution.interrupted:
                execution.interrupted = True
                self._wire.send("control", "interrupt_request", {})


@dataclass
class _Execution:
    """What is known so far of a request to execute."""

    collector: OutputCollector
    request: str = ""
    reply: Literal["ok", "error"] | None = None
    replied_at: float = 0.0
    count: int | None = None
    is_idle: bool = False
    interrupted: bool = False

    def take(self, channel: str, message: dict[str, Any] | TooLarge) -> None:
        """Take in one message from the kernel."""
        if isinstance(message, TooLarge):
            self.collector.note_loss()
            return
        if message["parent_header"].get("msg_id") != self.request:
            return
        kind, content = message["header"].get("msg_type"), message["content"]
        if channel == "shell" and kind == "execute_reply":
            self.reply = "ok" if content.get("status") == "ok" else "error"
            self.replied_at = time.monotonic()
            self.count = execution_count(content)
        elif channel == "iopub" and kind == "status":
            self.is_idle |= content.get("execution_state") == "idle"
        elif channel == "iopub":
            self.collector.add(kind, content)


def _connection_info(folder: Path, key: str) -> dict[str, str | int]:
    ports = {f"{channel}_port": number for channel, number in PORTS.items()}
    return {
        "transport": "ipc",
        "ip": str(folder / PREFIX),
        "key": key,
        "signature_scheme": "hmac-sha256",
        **ports,
    }
