"""Checks by task number: `@check("2.2")` on a pure function from evidence to findings.

    @check("2.2")
    def dynamic_engine(evidence: DynamicEngineEvidence) -> list[Finding]: ...

    verdict = judge("2.2", evidence)

A function is only called when the student's code ran to its end; what to say before that is the
same for all tasks and said here. The checks of a lab register themselves when `trtlab.checks.labN`
is imported, and looking a task up imports it.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from trtlab.checks.evidence import Attempt, Evidence
from trtlab.checks.tasks import TASKS
from trtlab.checks.verdict import Finding, Verdict

E = TypeVar("E", bound=Evidence)
Check = Callable[[E], Sequence[Finding]]


@dataclass(frozen=True)
class _Entry:
    evidence: type[Evidence]
    check: Callable[[Any], Sequence[Finding]]


_CHECKS: dict[str, _Entry] = {}


def check(task: str) -> Callable[[Check[E]], Check[E]]:
    """Register the check of a task; its parameter's annotation is the type of its evidence."""

    def register(function: Check[E]) -> Check[E]:
        (parameter,) = [name for name in function.__annotations__ if name != "return"]
        _CHECKS[TASKS[task].number] = _Entry(function.__annotations__[parameter], function)
        return function

    return register


def import_checks() -> None:
    """Import the checks of every lab, so that all misconceptions that they name are registered."""
    for lab in sorted({task.lab for task in TASKS.values()}):
        _import_checks_of(lab)


def checked_tasks() -> list[str]:
    """Return the numbers of all tasks that a check grades; pre-checks of documentation do not."""
    import_checks()
    return sorted(task for task in _CHECKS if TASKS[task].category != "documentation")


def evidence_type(task: str) -> type[Evidence]:
    """Return the type of evidence that a task's check reads.

    Raises:
        KeyError: if there is no such task, or no check for it.
    """
    return _entry(task).evidence


def judge(task: str, evidence: Evidence) -> Verdict:
    """Return the verdict on a task.

    Raises:
        KeyError: if there is no such task, or no check for it.
        ValueError: if the findings do not add up to the task's points, which is a bug in a check.
    """
    about = TASKS[task]
    if evidence.attempt.stage == "done":
        findings = tuple(_entry(task).check(evidence))
    else:
        findings = (_unfinished(evidence.attempt, about.points),)
    verdict = Verdict(task=task, title=about.title, findings=findings)
    if verdict.max_points != about.points:
        raise ValueError(
            f"check {task} gives {verdict.max_points} points, but the task is worth {about.points}"
        )
    return verdict


def _entry(task: str) -> _Entry:
    """Return what is registered for a task, whether or not anything has imported its lab."""
    _import_checks_of(TASKS[task].lab)
    if task not in _CHECKS:
        raise KeyError(f"task {task} has no check; those that have one are {', '.join(_CHECKS)}")
    return _CHECKS[task]


def _import_checks_of(lab: int) -> None:
    importlib.import_module(f"trtlab.checks.lab{lab}")
    importlib.import_module("trtlab.checks.explanations")  # of several labs


def _unfinished(attempt: Attempt, points: float) -> Finding:
    """Return the finding on code that is missing, not written yet, or raised."""
    measured, next_step = {
        "missing": (
            f"`{attempt.what}` does not exist in this notebook",
            "Run the cell above that defines it, then this one again.",
        ),
        "not started": (
            f"`{attempt.what}` still raises NotImplementedError",
            "Replace the line that raises it with your solution. The first hint gives the idea.",
        ),
        "raised": (
            f"`{attempt.what}` raised {attempt.error}",
            "Read the message: it names what was wrong. Call your code in a cell of its own to see "
            "the whole traceback.",
        ),
    }[attempt.stage]
    return Finding(
        criterion="the code runs to its end",
        state="fail" if attempt.stage == "raised" else "not started",
        points=0,
        max_points=points,
        measured=measured,
        required="no exception",
        next_step=next_step,
    )
