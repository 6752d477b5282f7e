"""A student's notebook in its kernel in the sandbox: run once, then probed task by task.

The notebook, or a probe, may end the kernel. Then the notebook runs again in a new one, up to where
the first run ended, so that what was solved until then is judged; a few times, not for ever.
"""

import copy
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import TracebackType

from nbformat import NotebookNode

from trtlab_grader.kernel import CellResult, NotebookRun, SandboxedKernel, execute_notebook
from trtlab_grader.lease import Lease
from trtlab_grader.notebooks.matching import grade_id_of, task_of

MOST_KERNELS = 3
_PROBE = """\
from pathlib import Path as _Path
from trtlab.lab.probe import run_probe as _run_probe
_run_probe({task!r}, get_ipython().user_ns, _Path({given!r}), _Path({made!r}))
"""
_WARM = """\
from pathlib import Path as _Path
from trtlab.lab.warm_builds import build_from as _build_from
_build_from(_Path({path!r}))
"""


class StudentKernel:
    """A context manager around a notebook's kernels.

    Args:
        start: makes a kernel that has not been entered.
        notebook: what runs; its cells get the outputs of the first run.
        cell_seconds, notebook_seconds: limits for a cell, and for all of a run.
        timing_cache: a file for the notebook's builds to start from; None for none.
        hold: a lease under which each cell runs; between two, somebody may time something.

    Attributes:
        run: what became of the notebook's first run; None before it.
    """

    def __init__(
        self,
        start: Callable[[], SandboxedKernel],
        notebook: NotebookNode,
        cell_seconds: float,
        notebook_seconds: float,
        timing_cache: Path | None = None,
        hold: Lease = nullcontext,
    ) -> None:
        self._start, self._notebook = start, notebook
        self._cell_seconds, self._notebook_seconds = cell_seconds, notebook_seconds
        self._timing_cache, self._hold = timing_cache, hold
        self._stack = ExitStack()
        self._kernel: SandboxedKernel | None = None
        self._kernels = 0
        self.run: NotebookRun | None = None

    def __enter__(self) -> "StudentKernel":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def run_notebook(
        self, on_progress: Callable[[int, int], object] = lambda done, total: None
    ) -> NotebookRun:
        """Run the notebook in a new kernel; check cells are left out.

        When it is run again, the cell at which the first run ended is left out, and all after it.

        Raises:
            KernelError: if no kernel starts, which is not the student's doing.
        """
        self._stack.close()
        self._kernel = self._stack.enter_context(self._start())
        self._kernels += 1
        if self._timing_cache is not None:
            self._kernel.run(_WARM.format(path=str(self._timing_cache)), self._cell_seconds)
        notebook = self._notebook
        if self.run is not None:
            notebook = copy.deepcopy(self._notebook)
            notebook.cells = notebook.cells[: self.run.stopped_at]
        run = execute_notebook(
            notebook,
            self._kernel,
            self._cell_seconds,
            self._notebook_seconds,
            skip=is_check,
            on_progress=on_progress,
            hold=self._hold,
        )
        self.run = self.run or run
        return run

    def probe(self, task: str, given: Path, made: Path, hold: Lease = nullcontext) -> str:
        """Run a task's probe under a lease; return why it did not come to its end, "" if it did."""
        if self._kernel is None or not self._kernel.alive:
            reason = self._revive(task)
            if reason:
                return reason
        assert self._kernel is not None
        code = _PROBE.format(task=task, given=str(given), made=str(made / task))
        with hold():
            return _problem(self._kernel.run(code, self._cell_seconds))

    def _revive(self, task: str) -> str:
        """Bring a new kernel to where a task can be probed; return why not, or ""."""
        first = self.run
        if first is not None and first.stopped_at is not None:
            before = [result.seconds for at, result in first.cells.items() if at < first.stopped_at]
            # What took that long would leave no time for probes.
            if sum(before) > self._notebook_seconds / 2 or not self._was_reached(task):
                return first.reason
        if self._kernels >= MOST_KERNELS:
            return f"the kernel has ended {self._kernels} times"
        return self.run_notebook().reason

    def _was_reached(self, task: str) -> bool:
        """Whether the first run came past a cell in which the task is solved, or it has none."""
        stopped_at = self.run.stopped_at if self.run else None
        solutions = [
            index
            for index, cell in enumerate(self._notebook.cells)
            if cell.cell_type == "code"
            and (grade_id_of(cell) or "").startswith("task-")
            and task_of(grade_id_of(cell) or "") == task
        ]
        return stopped_at is None or not solutions or solutions[0] < stopped_at

    @property
    def cell_errors(self) -> Mapping[str, str]:
        """Cell id -> "ValueError: ..." of the cells that raised or were stopped, in order."""
        errors = {}
        for index, result in (self.run.cells if self.run else {}).items():
            problem = _problem(result)
            if problem:
                errors[self._notebook.cells[index].id] = problem
        return errors


def is_check(cell: NotebookNode) -> bool:
    """Whether a cell is a check cell, whose result the grader puts there itself."""
    mark = cell.metadata.get("nbgrader", {})
    return bool(mark.get("grade")) and not mark.get("solution")


def _problem(result: CellResult) -> str:
    if result.status == "ok":
        return ""
    if result.status != "error":
        return result.reason
    raised = [output for output in result.outputs if output.output_type == "error"]
    if not raised:
        return "it raised"
    return f"{raised[-1].ename}: {' '.join(str(raised[-1].evalue).split())[:500]}"
