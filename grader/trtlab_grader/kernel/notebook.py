"""Runs the cells of a notebook in a kernel, in their order, and puts the outputs into them."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

from nbformat import NotebookNode

from trtlab_grader.kernel.kernel import CellResult, SandboxedKernel
from trtlab_grader.lease import Lease


@dataclass
class NotebookRun:
    """What became of a notebook.

    Attributes:
        cells: the result of each cell that was run, by its index among all cells.
        stopped_at: index of the cell at which the run ended early, or None.
        reason: why it ended early, for a person; else empty.
    """

    cells: dict[int, CellResult] = field(default_factory=dict)
    stopped_at: int | None = None
    reason: str = ""


def execute_notebook(
    nb: NotebookNode,
    kernel: SandboxedKernel,
    per_cell_timeout_s: float,
    total_timeout_s: float,
    skip: Callable[[NotebookNode], bool] = lambda cell: False,
    on_progress: Callable[[int, int], object] = lambda done, total: None,
    hold: Lease = nullcontext,
) -> NotebookRun:
    """Run the code cells of a notebook; go on after one that raises or is interrupted.

    Args:
        nb: valid by nbformat 4; its cells get outputs and execution counts, as from Jupyter. Those
            that are not run lose theirs.
        kernel: started, and used for nothing before.
        per_cell_timeout_s: seconds for one cell; it is interrupted then.
        total_timeout_s: seconds for all cells, without what `hold` waits.
        skip: tells which code cells not to run.
        on_progress: called with how many cells are done, and how many there are to run.
        hold: entered for each cell, so that others may come between two of them.
    """
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
    wanted = [
        index
        for index, cell in enumerate(nb.cells)
        if cell.cell_type == "code" and cell.source.strip() and not skip(cell)
    ]
    run = NotebookRun()
    left = total_timeout_s
    for done, index in enumerate(wanted):
        on_progress(done, len(wanted))
        if left <= 0:
            run.stopped_at = index
            run.reason = f"the notebook ran longer than {total_timeout_s:g} s in all"
            break
        with hold():
            result = kernel.run(nb.cells[index].source, min(per_cell_timeout_s, left))
        left -= result.seconds
        run.cells[index] = result
        nb.cells[index].outputs = result.outputs
        nb.cells[index].execution_count = result.execution_count
        if not result.kernel_alive:
            run.stopped_at, run.reason = index, result.reason or "the notebook ended the kernel"
            break
    on_progress(len(run.cells), len(wanted))
    return run
