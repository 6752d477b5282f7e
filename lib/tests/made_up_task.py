"""A task whose check and probe exist for one test, and findings to build verdicts of."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from trtlab.checks import registry
from trtlab.checks.evidence import Attempt, Evidence
from trtlab.checks.findings import expect
from trtlab.checks.tasks import TASKS, Task
from trtlab.checks.verdict import Finding, Verdict
from trtlab.lab import probe
from trtlab.lab.attempts import attempt, missing

DONE = Attempt(stage="done", what="build")


class Count(Evidence):
    """Evidence of a made-up task: a number."""

    number: int


class CountObserved(probe.Observed):
    """What the made-up task's probe sees: what the student's function `number` returned."""

    number: int = 0


@pytest.fixture
def made_up_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Task 1.1 is, for one test, worth 4 points for a number above 2 and even."""
    monkeypatch.setattr(registry, "_CHECKS", {})
    monkeypatch.setattr(probe, "_PROBES", {})
    monkeypatch.setitem(TASKS, "1.1", Task("1.1", "A number", "correctness", 4))
    # Nothing real registers itself meanwhile.
    silent = SimpleNamespace(import_module=lambda name: None)
    monkeypatch.setattr(registry, "importlib", silent)
    monkeypatch.setattr(probe, "importlib", silent)

    @registry.check("1.1")
    def judge(evidence: Count) -> list[Finding]:
        big, even = evidence.number > 2, evidence.number % 2 == 0
        return [
            expect(
                "it is large", big, 3, measured=evidence.number, required="> 2", next_step="add"
            ),
            expect("it is even", even, 1, measured=evidence.number, required="even", next_step="x"),
        ]

    @probe.probe("1.1")
    class CountProbe(probe.Probe[CountObserved]):
        observed = CountObserved

        def run(self, names: probe.Names, given: Path, made: Path) -> CountObserved:
            if "number" not in names:
                return CountObserved(attempt=missing("number"))
            got, number = attempt("number", names["number"])
            return CountObserved(attempt=got, number=number or 0)

        def evidence(self, observed: CountObserved, scene: probe.Scene) -> Count:
            return Count(attempt=observed.attempt, number=observed.number)


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
