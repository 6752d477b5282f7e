"""A task whose check and collector exist for one test, and findings to build verdicts of."""

import importlib
from collections.abc import Iterator

import pytest

from trtlab.checks import registry
from trtlab.checks.evidence import Attempt, Evidence
from trtlab.checks.findings import expect
from trtlab.checks.tasks import TASKS, Task
from trtlab.checks.verdict import Finding, Verdict
from trtlab.lab import session

DONE = Attempt(stage="done", what="build")


class Count(Evidence):
    """Evidence of a made-up task: a number."""

    number: int


@pytest.fixture
def made_up_task(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Task 1.1 is, for one test, worth 4 points for a number above 2 and even."""
    monkeypatch.setattr(registry, "_CHECKS", {})
    monkeypatch.setattr(session, "_COLLECTORS", {})
    monkeypatch.setitem(TASKS, "1.1", Task("1.1", "A number", "correctness", 4))
    monkeypatch.setattr(importlib, "import_module", lambda name: None)  # the lab's own checks

    @registry.check("1.1")
    def judge(evidence: Count) -> list[Finding]:
        big, even = evidence.number > 2, evidence.number % 2 == 0
        return [
            expect(
                "it is large", big, 3, measured=evidence.number, required="> 2", next_step="add"
            ),
            expect("it is even", even, 1, measured=evidence.number, required="even", next_step="x"),
        ]

    @session.collector("1.1")
    def collect(names: session.Names) -> Count:
        if "number" not in names:
            return Count(attempt=session.missing("number"), number=0)
        attempt, number = session.attempt("number", names["number"])
        return Count(attempt=attempt, number=number or 0)

    return


def finding(**changes: object) -> Finding:
    given: dict[str, object] = {
        "criterion": "the batch is dynamic",
        "state": "fail",
        "points": 0,
        "max_points": 2,
        "measured": "2",
        "required": "a symbol",
        "next_step": "look again",
    }
    return Finding.model_validate(given | changes)


def verdict(*findings: Finding) -> Verdict:
    return Verdict(task="1.1", title="Export", findings=findings)
