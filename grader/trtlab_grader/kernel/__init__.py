"""Runs a notebook's cells in a Jupyter kernel inside the sandbox, and drives it from outside.

Nothing that comes back is believed: outputs are for people to read. They are bounded and harmless
to store, but still a student's text and HTML: escape or sanitise them where a browser shows them.
"""

from trtlab_grader.kernel.kernel import CellResult, KernelError, SandboxedKernel
from trtlab_grader.kernel.notebook import NotebookRun, execute_notebook
from trtlab_grader.kernel.outputs import OutputLimits

__all__ = [
    "CellResult",
    "KernelError",
    "NotebookRun",
    "OutputLimits",
    "SandboxedKernel",
    "execute_notebook",
]
