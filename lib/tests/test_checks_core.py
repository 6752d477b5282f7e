"""Tests of what all checks share: tasks, verdicts, findings, misconceptions, the registry."""

import json
import subprocess
import sys
from collections import Counter

import pytest
from pydantic import ValidationError

from made_up_task import DONE, Count, finding, made_up_task, verdict
from trtlab.checks import misconceptions, registry
from trtlab.checks.evidence import Attempt
from trtlab.checks.findings import expect, expect_interval, needs_gpu
from trtlab.checks.tasks import TASKS, tasks_of
from trtlab.checks.verdict import Finding, State, Verdict

__all__ = ["made_up_task"]  # a fixture


class TestTasks:
    def test_the_criteria_weigh_40_30_15_15(self) -> None:
        points: Counter[str] = Counter()
        for task in TASKS.values():
            points[task.category] += task.points
        assert points == {
            "correctness": 40, "performance": 30, "accuracy": 15, "documentation": 15
        }  # fmt: skip

    def test_a_number_names_its_lab_and_is_its_key(self) -> None:
        for number, task in TASKS.items():
            assert (task.number, task.lab) == (number, int(number[0]))

    def test_the_tasks_of_all_labs_are_all_tasks_in_order(self) -> None:
        assert [t for lab in range(1, 7) for t in tasks_of(lab)] == list(TASKS.values())


class TestVerdicts:
    def test_points_add_up_without_the_noise_of_floats(self) -> None:
        parts = [finding(points=0.1, max_points=0.1, state="pass") for _ in range(3)]
        assert (verdict(*parts).points, verdict(*parts).max_points) == (0.3, 0.3)

    @pytest.mark.parametrize(
        ("states", "worst"),
        [
            (["pass", "inconclusive"], "inconclusive"),
            (["inconclusive", "needs a GPU"], "needs a GPU"),
            (["needs a GPU", "fail"], "fail"),
            (["fail", "not started"], "not started"),
            (["pass", "pass"], "pass"),
        ],
    )
    def test_the_state_is_the_worst_in_any_order(self, states: list[State], worst: State) -> None:
        parts = [finding(state=state) for state in states]
        assert verdict(*parts).state == verdict(*reversed(parts)).state == worst

    def test_misconceptions_come_once_each_in_order(self) -> None:
        parts = [finding(misconception=key) for key in ("b", "a", None, "b")]
        assert verdict(*parts).misconceptions == ("b", "a")

    def test_a_verdict_survives_json(self) -> None:
        before = verdict(finding(misconception="a", margin="1x short"), finding(state="pass"))
        assert Verdict.model_validate_json(before.model_dump_json(round_trip=True)) == before

    def test_json_tells_points_and_state_to_readers_without_this_code(self) -> None:
        data = json.loads(verdict(finding(points=1)).model_dump_json())
        assert (data["points"], data["max_points"], data["state"]) == (1, 2, "fail")

    @pytest.mark.parametrize(
        "nonsense",
        [{"points": -1}, {"points": 3}, {"points": float("nan")}, {"state": "ok"}, {"note": "x"}],
    )
    def test_nonsense_is_refused(self, nonsense: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            finding(**nonsense)

    def test_a_finding_cannot_be_changed_afterwards(self) -> None:
        with pytest.raises(ValidationError):
            finding().points = 2  # type: ignore[misc]


class TestFindings:
    def test_what_holds_earns_all_and_names_no_mistake(self) -> None:
        found = expect(
            "c", True, 2, measured=1, required=1, next_step="n", misconception="m"
        )  # fmt: skip
        assert (found.state, found.points, found.misconception, found.next_step) == (
            "pass", 2, None, "",
        )  # fmt: skip

    def test_what_does_not_hold_earns_nothing_and_says_what_to_do(self) -> None:
        found = expect(
            "c", False, 2, measured=1, required=2, next_step="n", misconception="m"
        )  # fmt: skip
        assert (found.state, found.points, found.max_points) == ("fail", 0, 2)
        assert (found.misconception, found.next_step) == ("m", "n")

    @pytest.mark.parametrize(
        ("low", "high", "at_least", "at_most", "state", "points"),
        [
            (2.0, 2.4, 2.0, None, "pass", 3),
            (1.9, 2.4, 2.0, None, "inconclusive", 3),
            (1.9, 2.0, 2.0, None, "inconclusive", 3),
            (1.5, 1.99, 2.0, None, "fail", 0),
            (0.2, 1.0, None, 1.0, "pass", 3),
            (0.2, 1.1, None, 1.0, "inconclusive", 3),
            (1.0, 1.1, None, 1.0, "inconclusive", 3),
            (1.01, 1.1, None, 1.0, "fail", 0),
        ],
    )
    def test_an_interval_gives_three_states_and_the_doubt_to_the_student(
        self,
        low: float,
        high: float,
        at_least: float | None,
        at_most: float | None,
        state: State,
        points: float,
    ) -> None:
        found = expect_interval(
            "c", 3, value=(low + high) / 2, low=low, high=high, at_least=at_least, at_most=at_most,
            unit="x", next_step="n", misconception="m",
        )  # fmt: skip
        assert (found.state, found.points) == (state, points)
        assert (found.misconception, found.next_step) == (
            ("m", "n") if state == "fail" else (None, "")
        )

    @pytest.mark.parametrize(
        ("value", "limits", "margin"),
        [
            (2.5, {"at_least": 2.0}, "0.5x to spare"),
            (1.5, {"at_least": 2.0}, "0.5x short"),
            (0.75, {"at_most": 1.0}, "0.25x to spare"),
            (1.25, {"at_most": 1.0}, "0.25x short"),
        ],
    )
    def test_the_margin_says_on_which_side_the_value_lies(
        self, value: float, limits: dict[str, float], margin: str
    ) -> None:
        found = expect_interval(
            "c", 1, value=value, low=value, high=value, unit="x", next_step="n", **limits
        )
        assert found.margin == margin

    @pytest.mark.parametrize("limits", [{}, {"at_least": 1.0, "at_most": 2.0}])
    def test_an_interval_needs_exactly_one_threshold(self, limits: dict[str, float]) -> None:
        with pytest.raises(ValueError, match="exactly one"):
            expect_interval("c", 1, value=1, low=1, high=1, unit="", next_step="n", **limits)

    def test_time_that_is_emulated_earns_nothing_yet_and_loses_nothing(self) -> None:
        found = needs_gpu("c", 12, required="at least 2x")
        assert (found.state, found.points, found.max_points) == ("needs a GPU", 0, 12)


class TestMisconceptions:
    def test_a_key_is_registered_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(misconceptions, "MISCONCEPTIONS", {})
        assert misconceptions.misconception("key", "Title", "Explanation") == "key"
        assert misconceptions.MISCONCEPTIONS["key"].title == "Title"
        with pytest.raises(ValueError, match="twice"):
            misconceptions.misconception("key", "Other", "Other")


@pytest.mark.usefixtures("made_up_task")
class TestRegistry:
    def test_a_check_is_judged_by_its_evidence(self) -> None:
        judged = registry.judge("1.1", Count(attempt=DONE, number=3))
        assert (judged.points, judged.max_points, judged.title) == (3, 4, "A number")
        assert [f.state for f in judged.findings] == ["pass", "fail"]

    def test_the_evidence_type_is_the_parameter_s(self) -> None:
        assert registry.evidence_type("1.1") is Count
        assert registry.checked_tasks() == ["1.1"]

    def test_a_pre_check_of_documentation_is_not_among_the_graded(self) -> None:
        @registry.check("6.2")
        def pre(evidence: Count) -> list[Finding]:
            return [finding(max_points=5)]

        assert registry.checked_tasks() == ["1.1"]
        assert registry.judge("6.2", Count(attempt=DONE, number=0)).max_points == 5

    def test_a_task_without_a_check_is_answered_with_those_that_have_one(self) -> None:
        with pytest.raises(KeyError, match=r"2\.5 has no check.*1\.1"):
            registry.evidence_type("2.5")

    def test_a_check_for_no_task_is_refused(self) -> None:
        def check(evidence: Count) -> list[Finding]:
            return []

        with pytest.raises(KeyError, match=r"9\.9"):
            registry.check("9.9")(check)

    def test_findings_that_do_not_add_up_to_the_task_are_a_bug(self) -> None:
        @registry.check("1.1")
        def generous(evidence: Count) -> list[Finding]:
            return [finding(max_points=5)]

        with pytest.raises(ValueError, match=r"5.*worth 4"):
            registry.judge("1.1", Count(attempt=DONE, number=3))

    @pytest.mark.parametrize(
        ("attempt", "state", "words"),
        [
            (Attempt(stage="missing", what="build"), "not started", "does not exist"),
            (Attempt(stage="not started", what="build"), "not started", "NotImplementedError"),
            (
                Attempt(stage="raised", what="build", error="ValueError: no"),
                "fail",
                "ValueError: no",
            ),
        ],
    )
    def test_code_that_did_not_finish_is_not_judged(
        self, attempt: Attempt, state: State, words: str
    ) -> None:
        judged = registry.judge("1.1", Count(attempt=attempt, number=4))
        (only,) = judged.findings
        assert (judged.points, judged.max_points, only.state) == (0, 4, state)
        assert words in only.measured
        assert "`build`" in only.measured
        assert only.next_step

    def test_evidence_is_plain_data(self) -> None:
        before = Count(attempt=DONE, number=3)
        assert Count.model_validate_json(before.model_dump_json()) == before
        with pytest.raises(ValidationError):
            Count.model_validate({"attempt": DONE, "number": 3, "points": 99})


def test_looking_a_task_up_needs_no_import_of_its_lab_before() -> None:
    program = (
        "from trtlab.checks import registry\n"
        "assert not registry._CHECKS, 'this must be the first to import a lab'\n"
        "print(registry.evidence_type('6.2').__name__, *registry.checked_tasks())"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    by_check = [number for number, task in TASKS.items() if task.category != "documentation"]
    assert found == ["AnalysisEvidence", *by_check]
