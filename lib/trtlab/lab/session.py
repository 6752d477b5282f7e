"""`check("2.2")`: collect evidence from the notebook's own objects, judge it, show the card.

The cell's value is the points as a float, which is what nbgrader reads; the card is displayed
beside it, and nothing goes to stderr, which nbgrader would score with zero.
"""

import importlib
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from io import StringIO
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import display

from trtlab.checks.evidence import Attempt, Evidence
from trtlab.checks.registry import judge
from trtlab.checks.tasks import TASKS
from trtlab.checks.verdict import Verdict
from trtlab.errors import InputError
from trtlab.feedback import Card

Names = Mapping[str, Any]
Collector = Callable[[Names], Evidence]
_COLLECTORS: dict[str, Collector] = {}


def collector(task: str) -> Callable[[Collector], Collector]:
    """Register the function that turns a notebook's names into the evidence of a task."""

    def register(function: Collector) -> Collector:
        _COLLECTORS[TASKS[task].number] = function
        return function

    return register


def check(task: str) -> float:
    """Check one task of this notebook: show the card, return the points.

    Args:
        task: its number, such as "2.2".

    Raises:
        InputError: if there is no such task, or it is graded by hand.
    """
    if task in TASKS and TASKS[task].category == "documentation":
        raise InputError(f"Task {task} is graded by hand; it has no check.")
    shell = get_ipython()
    names = {} if shell is None else shell.user_ns
    verdict = verdict_on(task, names)
    display(Card(verdict))
    return float(verdict.points)


def verdict_on(task: str, names: Names) -> Verdict:
    """Judge a task from the names that a notebook has defined.

    Raises:
        InputError: if there is no such task, or nothing of it can be checked by machine.
    """
    if task not in TASKS:
        raise InputError(f"There is no task {task!r}; the tasks are {', '.join(TASKS)}.")
    # Each lab's checks and collectors register themselves when they are imported.
    lab = TASKS[task].lab
    importlib.import_module(f"trtlab.checks.lab{lab}")
    importlib.import_module(f"trtlab.lab.collect{lab}")
    if task not in _COLLECTORS:
        raise InputError(f"Nothing of task {task} can be checked by machine.")
    # The student's code may print to stderr or warn, which must not cost the cell its points.
    with redirect_stderr(StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evidence = _COLLECTORS[task](names)
    return judge(task, evidence)


def attempt(what: str, run: Callable[[], Any]) -> tuple[Attempt, Any]:
    """Run a piece of the student's code; return how far it got, and its result or None."""
    try:
        return Attempt(stage="done", what=what), run()
    except NotImplementedError:
        return Attempt(stage="not started", what=what), None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: the cell goes on to its points
        first_line = str(error).strip().split("\n")[0]
        return Attempt(
            stage="raised", what=what, error=f"{type(error).__name__}: {first_line}"
        ), None


def missing(what: str) -> Attempt:
    """Return the attempt for a name that the notebook has not defined."""
    return Attempt(stage="missing", what=what)
