"""A Bench in a sandbox: students' engines and graphs are opened there, and timed from here.

The process inside is trtlab.lab.bench_server, our code alone, and it lives for one lab of one
student. What it computes is believed; the stopwatch for a speed-up is this side's.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from trtlab import errors
from trtlab.benchmark import compare_paired
from trtlab.checks.evidence1 import GraphFacts
from trtlab.errors import CourseFault, EngineError, InferenceError, ModelError, TrtLabError
from trtlab.inspect import EngineReport
from trtlab.lab.bench import Logits
from trtlab.lab.exchange import read_array, write_array
from trtlab.results import PairedComparison
from trtlab_grader.lease import Lease
from trtlab_grader.owned import owned_folder
from trtlab_grader.sandbox import Conversation, SandboxedProcess, SandboxError

CALLS_PER_TURN = 10
"""Calls between two looks at the clock here, because asking takes 0.1 ms by itself."""
TURNS, WARMUP_TURNS, MAX_SECONDS = 40, 3, 30.0
CLOCKS_AGREE = 0.05
"""Share of a turn by which the clock inside may differ from the one here."""

Start = Callable[[Path, Path], SandboxedProcess]
"""Starts `server_command` in a sandbox; given a folder that it may read and one that it may write
to, returns a SandboxedProcess that talks."""


class SandboxedBench:
    """A Bench whose work is done in a sandbox; a context manager.

    Args:
        start: see Start.
        timeout_s: for one answer.
        shared: a lease under which everything else is done.
        exclusive: a lease under which speed-ups are measured.
    """

    def __init__(
        self,
        start: Start,
        timeout_s: float = 300.0,
        shared: Lease = nullcontext,
        exclusive: Lease = nullcontext,
    ) -> None:
        self._start, self._timeout_s = start, timeout_s
        self._shared, self._exclusive = shared, exclusive
        self._stack = ExitStack()
        self._given = self._made = Path()
        self._process: SandboxedProcess | None = None
        self._conversation: Conversation | None = None
        self._asked = 0

    def __enter__(self) -> "SandboxedBench":
        base = self._stack.enter_context(owned_folder(Path(tempfile.gettempdir())))
        self._given, self._made = base / "given", base / "made"
        for folder in (self._given.parent, self._given, self._made):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()
        self._stack.close()

    # What Bench promises

    def graph(self, path: Path) -> GraphFacts:
        """See trtlab.lab.bench.Bench."""
        try:
            with self._shared():
                return GraphFacts.model_validate(self._ask("graph", path=str(path)))
        except (TrtLabError, ValidationError) as error:
            return GraphFacts(problem=_one_line(error))

    def inspect(self, engine: Path) -> EngineReport:
        """See trtlab.lab.bench.Bench."""
        try:
            with self._shared():
                return EngineReport.model_validate(self._ask("inspect", engine=str(engine)))
        except ValidationError as error:
            raise EngineError(f"{engine.name} cannot be inspected: {_one_line(error)}") from error

    def run_engine(self, engine: Path, images: NDArray[np.float32], batch: int) -> Logits:
        """See trtlab.lab.bench.Bench."""
        return self._run("run_engine", images, engine=str(engine), batch=batch)

    def run_onnx(self, path: Path, images: NDArray[np.float32]) -> Logits:
        """See trtlab.lab.bench.Bench."""
        return self._run("run_onnx", images, path=str(path))

    def speedup(self, engine: Path, batch: int) -> PairedComparison | None:
        """See trtlab.lab.bench.Bench.

        Raises:
            InferenceError: if the bench's clock and the one here disagree.
        """
        with self._shared():
            if not self._ask("line_up", engine=str(engine), batch=batch):
                return None
        outside, inside = [0.0], [0.0]

        def turn(who: str) -> None:
            start = time.perf_counter()
            inside[0] += float(self._ask("run", who=who, calls=CALLS_PER_TURN))
            outside[0] += time.perf_counter() - start

        with self._exclusive():
            measured = compare_paired(
                lambda: turn("pytorch"),
                lambda: turn("engine"),
                TURNS,
                WARMUP_TURNS,
                max_seconds=MAX_SECONDS,
            )
        self._ask("dismiss")
        if not (1 - CLOCKS_AGREE) * outside[0] <= inside[0] <= outside[0]:
            raise InferenceError(
                f"Two clocks disagree: the bench's calls took {inside[0]:.2f} s by its own and "
                f"{outside[0]:.2f} s by the grader's. Nothing can be said about the speed."
            )
        return measured

    # How it is done

    def _run(self, operation: str, images: NDArray[np.float32], **arguments: Any) -> Logits:
        self._asked += 1
        given, output = self._given / "images.npy", self._made / f"output-{self._asked}.npy"
        write_array(given, images)
        with self._shared():
            self._ask(operation, images=str(given), output=str(output), **arguments)
        logits = read_array(output)
        if logits.dtype.kind != "f" or logits.ndim < 1 or len(logits) != len(images):
            raise InferenceError(
                f"For {len(images)} images there came {logits.dtype} {logits.shape}."
            )
        return np.asarray(logits, np.float32)

    def _ask(self, operation: str, **arguments: Any) -> Any:
        self._ensure_started()
        assert self._conversation is not None
        try:
            answer = self._conversation.ask({"do": operation, **arguments}, self._timeout_s)
        except SandboxError as error:
            self._end()
            text = f"What was opened ended the process that opened it: {error}"
            raise EngineError(text) from error
        if "error" in answer:
            kind = getattr(errors, str(answer["error"]), None)
            if not (isinstance(kind, type) and issubclass(kind, (TrtLabError, CourseFault))):
                kind = ModelError
            raise kind(_without_folders(str(answer.get("message", "")), arguments))
        return answer.get("value")

    def _ensure_started(self) -> None:
        """Start the server, or start it again where a file has ended it.

        Raises:
            SandboxError: if it cannot be started, which is not the student's doing.
        """
        if self._process is not None and self._process.alive:
            return
        self._end()
        self._process = self._start(self._given, self._made)
        self._conversation = Conversation(self._process)
        self._conversation.listen(self._timeout_s)  # "ready"

    def _end(self) -> None:
        if self._process is not None:
            self._process.close()
        self._process = self._conversation = None


def server_command(python: str) -> Sequence[str]:
    """Return the command that serves a bench."""
    return [python, "-m", "trtlab.lab.bench_server"]


def _without_folders(text: str, arguments: Mapping[str, Any]) -> str:
    """Return a text in which files have their names alone: students read it, and it is the same
    whenever it is graded."""
    for value in arguments.values():
        if isinstance(value, str) and "/" in value:
            text = text.replace(value, Path(value).name)
    return text


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
