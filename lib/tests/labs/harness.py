"""Run a solution notebook in this process, patched, and collect the verdicts of its checks.

For tests that run a notebook many times: a kernel's start and imports are paid once. It goes on
after a cell that raises, as "Run All" of nbgrader does. Real kernels are test_notebooks.py's.
"""

import gc
import os
import sys
import tempfile
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import nbformat
import torch
from filelock import FileLock
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from matplotlib import pyplot
from traitlets.config import Config

from trtlab.checks.verdict import Verdict
from trtlab.lab import artifacts, session

ROOT = Path(__file__).parents[3]
SOLUTIONS = ROOT / "solutions"
FEW_IMAGES = 64
"""That a check measures accuracy on."""


@dataclass
class Run:
    """What came of running a notebook.

    Attributes:
        verdicts: of the checks that returned one, by task.
        errors: "ValueError: ..." of the cells that raised, by cell id.
        output: what every cell printed and displayed, as text, by cell id.
    """

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    output: dict[str, str] = field(default_factory=dict)

    @property
    def points(self) -> dict[str, float]:
        """Points earned, by task."""
        return {task: verdict.points for task, verdict in self.verdicts.items()}


def solution_path(lab: int) -> Path:
    """Return the path of the instructor's notebook of a lab."""
    (folder,) = SOLUTIONS.glob(f"{lab:02}-*")
    return folder / f"{folder.name}.ipynb"


def labs_present() -> list[int]:
    """Return the numbers of the labs that have a notebook, 00-start left out."""
    return sorted(int(path.parent.name[:2]) for path in SOLUTIONS.glob("0[1-9]-*/*.ipynb"))


def run_notebook(
    lab: int,
    patches: Iterable[tuple[str, str]] = (),
    shrink: Mapping[str, str] | None = None,
    *,
    skip: Collection[str] = (),
    folder: Path | None = None,
) -> Run:
    """Run the solution notebook of a lab from top to bottom in a folder of its own.

    Args:
        lab: its number.
        patches: (old, new) texts; each old text occurs exactly once in the notebook's code, or, if
            not there, once in its Markdown.
        shrink: further patches, which make it faster.
        skip: ids of cells that are not run.
        folder: where that folder is made; a temporary folder by default.

    Raises:
        ValueError: if a patch does not fit.
    """
    path = solution_path(lab)
    notebook = _patched(path, [*patches, *(shrink or {}).items()])
    run = Run()
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        copy = folder / path.parent.name
        copy.mkdir(exist_ok=True)
        nbformat.write(notebook, copy / path.name)  # some checks read the notebook's file
        stack.callback(os.chdir, Path.cwd())
        os.chdir(copy)
        stack.enter_context(_collecting(run.verdicts))
        shell = stack.enter_context(_fresh_shell())
        for cell in notebook.cells:
            if cell.cell_type != "code" or cell.id in skip:
                continue
            with capture_output() as captured:
                result = shell.run_cell(cell.source)
            shown = [output.data.get("text/plain", "") for output in captured.outputs]
            run.output[cell.id] = "\n".join([captured.stdout, captured.stderr, *shown])
            error = result.error_before_exec or result.error_in_exec
            if error is not None:
                run.errors[cell.id] = f"{type(error).__name__}: {error}"
    return run


def provide_artifacts(cache: Path) -> None:
    """Fill `cache`, the folder that TRTLAB_CACHE names, with the provided artifacts, once.

    Several processes may call it; the first fills it while the others wait.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "provided.lock"):
        for name in artifacts.MADE_IN:
            artifacts.provided(name)


def _patched(path: Path, patches: list[tuple[str, str]]) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    for old, new in patches:
        found = [cell for cell in notebook.cells if old in cell.source]
        found = [cell for cell in found if cell.cell_type == "code"] or found
        times = sum(cell.source.count(old) for cell in found)
        if times != 1:
            where = ", ".join(cell.id for cell in found) or "no cell"
            raise ValueError(
                f"the text to patch must occur once in {path.name}, but occurs {times} "
                f"times (in {where}): {old!r}"
            )
        found[0].source = found[0].source.replace(old, new)
    return notebook


@contextmanager
def _collecting(verdicts: dict[str, Verdict]) -> Iterator[None]:
    """Note every verdict that `check` shows."""
    verdict_on = session.verdict_on

    def noting(task: str, names: session.Names) -> Verdict:
        verdicts[task] = verdict_on(task, names)
        return verdicts[task]

    with (
        mock.patch.object(session, "verdict_on", noting),
        mock.patch.object(session, "IMAGES", FEW_IMAGES),
    ):
        yield


@contextmanager
def _fresh_shell() -> Iterator[InteractiveShell]:
    """Yield an empty IPython shell, and leave the interpreter as it was."""
    main: ModuleType = sys.modules["__main__"]
    path: list[str] = list(sys.path)
    config: Any = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    environment = {"IPYTHONDIR": tempfile.gettempdir(), "MPLBACKEND": "agg"}
    InteractiveShell.clear_instance()
    with mock.patch.dict(os.environ, environment), warnings.catch_warnings(record=True):
        # As in a kernel, a warning is no error.
        warnings.simplefilter("default")
        pyplot.switch_backend("agg")
        torch.manual_seed(0)
        shell = InteractiveShell.instance(config=config)
        try:
            yield shell
        finally:
            pyplot.close("all")
            shell.reset(new_session=False)
            shell.restore_sys_module_state()
            InteractiveShell.clear_instance()
            sys.modules["__main__"] = main
            sys.path[:] = path
            gc.collect()
