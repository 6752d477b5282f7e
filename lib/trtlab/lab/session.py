"""`check("2.2")`: collect evidence from the notebook's own objects, judge it, show the card.

The cell's value is the points as a float, which is what nbgrader reads; the card is displayed
beside it, and nothing goes to stderr, which nbgrader would score with zero.
"""

import secrets
import tempfile
import warnings
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from IPython.core.getipython import get_ipython
from IPython.display import display

from trtlab.backend import IS_EMULATED
from trtlab.checks.registry import judge
from trtlab.checks.tasks import TASKS
from trtlab.checks.verdict import Verdict
from trtlab.errors import InputError
from trtlab.feedback import Card
from trtlab.lab.bench import LocalBench
from trtlab.lab.probe import Names, Scene, evidence_of, probe_of, run_probe

IMAGES = 200 if IS_EMULATED else 2000
"""For accuracy; a student waits for it, the grader may take more."""


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
    found = probe_of(task)
    seed = secrets.randbits(31)
    lab = Path.cwd()  # the student's code may go elsewhere
    # The student's code may print to stderr or warn, which must not cost the cell its points.
    with (
        tempfile.TemporaryDirectory(prefix="trtlab-") as name,
        redirect_stderr(StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        given, made = Path(name) / "given", Path(name) / "made"
        given.mkdir()
        found.give(given, seed)
        with found.attend(given, seed):
            run_probe(task, names, given, made)
        evidence = evidence_of(task, Scene(given, made, seed, lab, LocalBench(), IMAGES))
    return judge(task, evidence)
