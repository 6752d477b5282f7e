"""Tests of what all checks share: verdicts, the registry, cards, hints, predictions, artifacts."""

import importlib
import json
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from pydantic import ValidationError

from trtlab import feedback
from trtlab.backend import BADGE
from trtlab.calibration_cache import CalibrationCache
from trtlab.checks import misconceptions, registry
from trtlab.checks.evidence import Attempt, Evidence
from trtlab.checks.findings import expect, expect_interval, needs_gpu
from trtlab.checks.tasks import TASKS, Task, tasks_of
from trtlab.checks.verdict import Finding, State, Verdict
from trtlab.errors import InputError
from trtlab.lab import artifacts, hints, predictions, session

DONE = Attempt(stage="done", what="build")
HOSTILE = "<script>alert('x')</script> & \"quotes\""


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

    def test_a_check_for_no_task_is_refused(self) -> None:
        with pytest.raises(KeyError):
            registry.check("9.9")(lambda evidence: [])

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


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Verdict:
    """A verdict with markup wherever a text can come from."""
    key = f"hostile-{HOSTILE}"
    known = misconceptions.Misconception(f"title {HOSTILE}", f"explanation {HOSTILE}")
    monkeypatch.setitem(feedback.MISCONCEPTIONS, key, known)
    words = ("criterion", "measured", "required", "margin", "next_step")
    texts = {word: f"{word} {HOSTILE}" for word in words}
    part = finding(misconception=key, **texts)
    return Verdict(task=HOSTILE, title=f"heading {HOSTILE}", findings=(part,))


class TestCards:
    def test_markup_in_a_students_text_is_shown_and_not_obeyed(self, hostile: Verdict) -> None:
        page = feedback.html_card(hostile)
        assert "<script" not in page
        assert '& "' not in page
        # task, title, criterion, measured, required, margin, next step, misconception twice
        assert page.count("&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;") == 9

    def test_every_tag_is_closed(self, hostile: Verdict) -> None:
        tags = re.findall(r"<(/?)(\w+)[^>]*>", feedback.html_card(hostile))
        opened = Counter(name for slash, name in tags if not slash and name != "br")
        assert opened == Counter(name for slash, name in tags if slash)

    def test_the_text_says_all_that_the_table_says(self, hostile: Verdict) -> None:
        text = feedback.text_card(hostile)
        for word in (
            "heading", "criterion", "measured", "required", "margin", "next_step", "title",
            "explanation",
        ):  # fmt: skip
            assert f"{word} {HOSTILE}" in text
        assert "0 of 2 points" in text
        assert "not yet" in text

    def test_colours_follow_the_theme_and_have_a_fallback_outside_of_jupyterlab(self) -> None:
        page = feedback.html_card(verdict(finding()))
        used = dict(re.findall(r"var\((--jp-[\w-]+)(,[^)]+\)?)?\)", page))
        assert used.keys() == {
            "--jp-border-color1", "--jp-layout-color1", "--jp-layout-color2", "--jp-ui-font-color1",
        }  # fmt: skip
        assert all(used.values()), "a variable without a fallback"

    def test_no_ink_is_fixed_on_a_themed_ground(self) -> None:
        page = feedback.html_card(verdict(finding()))
        without_badge = re.sub(r'<div style="display:inline-block.*?</div>', "", page)
        inks = re.findall(r"[;\"]color:([^;\"]+)", without_badge)
        # State colours are for the dot; they say nothing that the word beside them does not.
        assert [ink for ink in inks if not ink.startswith(("var(", "#d9534f"))] == []

    @pytest.mark.parametrize(
        ("state", "word"),
        [
            ("pass", "passed"),
            ("inconclusive", "passed (inconclusive)"),
            ("needs a GPU", "graded on a GPU"),
            ("fail", "not yet"),
            ("not started", "not started"),
        ],
    )
    def test_a_state_is_a_word_and_not_only_a_colour(self, state: State, word: str) -> None:
        card = verdict(finding(state=state))
        assert word in feedback.html_card(card)
        assert f"\n{word}, 0 of 2 points" in feedback.text_card(card)

    def test_what_is_empty_leaves_no_line(self) -> None:
        plain = verdict(finding(state="pass", points=2, next_step=""))
        assert "next:" not in feedback.text_card(plain)
        assert "misconception" not in feedback.text_card(plain)
        assert "colspan" not in feedback.html_card(plain)

    @pytest.mark.parametrize("emulated", [True, False])
    def test_the_badge_is_on_both_forms_where_time_is_emulated(
        self, emulated: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(feedback, "IS_EMULATED", emulated)
        for text in (
            feedback.html_card(verdict(finding())),
            feedback.text_card(verdict(finding())),
        ):
            assert (BADGE in text) is emulated

    def test_a_card_offers_html_and_text(self) -> None:
        bundle = feedback.Card(verdict(finding()))._repr_mimebundle_()
        assert bundle.keys() == {"text/html", "text/plain"}
        assert bundle["text/html"].startswith('<div class="trtlab-card"')


def raising(error: BaseException) -> Callable[[], object]:
    def run() -> object:
        raise error

    return run


class TestAttempts:
    def test_code_that_returns_is_done_with_its_result(self) -> None:
        assert session.attempt("f", lambda: 7) == (Attempt(stage="done", what="f"), 7)

    def test_a_stub_is_not_started(self) -> None:
        attempt, result = session.attempt("f", raising(NotImplementedError()))
        assert (attempt.stage, result) == ("not started", None)

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (ValueError("first line\nsecond line"), "ValueError: first line"),
            (SystemExit(3), "SystemExit: 3"),
            (AssertionError(), "AssertionError: "),
        ],
    )
    def test_an_exception_is_named_by_its_first_line(self, error: BaseException, said: str) -> None:
        attempt, result = session.attempt("f", raising(error))
        assert (attempt.stage, attempt.error, result) == ("raised", said, None)

    def test_a_student_can_still_interrupt(self) -> None:
        with pytest.raises(KeyboardInterrupt):
            session.attempt("f", raising(KeyboardInterrupt()))


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> InteractiveShell:
    made = InteractiveShell()
    monkeypatch.setattr(session, "get_ipython", lambda: made)
    return made


@pytest.mark.usefixtures("made_up_task")
class TestCheck:
    def test_its_value_is_the_points_as_a_float(self, shell: InteractiveShell) -> None:
        shell.user_ns["number"] = lambda: 3
        with capture_output() as captured:
            value = session.check("1.1")
        assert (value, type(value)) == (3.0, float)
        (card,) = captured.outputs
        assert "3 of 4 points" in card.data["text/plain"]

    def test_a_students_noise_does_not_reach_stderr(self, shell: InteractiveShell) -> None:
        def noisy() -> int:
            print("to stderr", file=sys.stderr)
            warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
            return 4

        shell.user_ns["number"] = noisy
        with capture_output() as captured:
            assert session.check("1.1") == 4.0
        assert captured.stderr == ""

    def test_a_name_that_is_not_there_is_no_exception(self, shell: InteractiveShell) -> None:
        with capture_output() as captured:
            assert session.check("1.1") == 0.0
        assert "does not exist" in captured.outputs[0].data["text/plain"]

    def test_a_student_may_give_the_number_that_is_meant_only(
        self, shell: InteractiveShell
    ) -> None:
        with pytest.raises(InputError, match=r"'7\.1'.*1\.1"):
            session.check("7.1")

    def test_documentation_has_no_check(self, shell: InteractiveShell) -> None:
        with pytest.raises(InputError, match="graded by hand"):
            session.check("6.1")


class TestHints:
    @pytest.mark.parametrize(
        "number", [n for n, t in TASKS.items() if t.category != "documentation"]
    )
    def test_every_task_with_a_check_has_three_different_rungs(self, number: str) -> None:
        rungs = hints.hints_for(number)
        assert len(set(rungs)) == 3
        assert all(len(rung) > 40 for rung in rungs)

    @pytest.mark.parametrize(
        "number", [n for n, t in TASKS.items() if t.category != "documentation"]
    )
    def test_the_first_rung_is_an_idea_and_holds_no_block_of_code(self, number: str) -> None:
        assert "```" not in hints.hints_for(number)[0]

    def test_they_come_one_after_the_other_and_then_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hints, "_taken", {})
        shown = []
        for _ in range(4):
            with capture_output() as captured:
                hints.hint("6.1")
            shown.append(captured.outputs[0].data["text/markdown"])
        for text, rung, name in zip(shown, hints.hints_for("6.1"), hints.RUNGS, strict=False):
            assert rung in text
            assert name in text
        assert shown[3] == shown[0]
        assert "(2 more)" in shown[0]
        assert "more)" not in shown[2].split("\n")[0]

    @pytest.mark.parametrize("number", ["7.1", "", "6.10"])
    def test_a_task_that_does_not_exist_is_named(self, number: str) -> None:
        with pytest.raises(InputError, match="There is no task"):
            hints.hint(number)


@pytest.fixture
def lab_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "03-calibrate"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


class TestPredictions:
    def test_the_first_guess_stands(self, lab_folder: Path) -> None:
        assert "2.5" in predictions.predict("FP16 speed-up", 2.5)
        assert "stands: 2.5" in predictions.predict("FP16 speed-up", 9)
        assert predictions.read_predictions() == {"FP16 speed-up": 2.5}

    def test_guesses_of_other_labs_are_found(self, lab_folder: Path) -> None:
        other = lab_folder.parent / "02-build"
        other.mkdir()
        (other / predictions.FILE).write_text('{"FP16 speed-up": 3.0}')
        predictions.predict("INT8 speed-up", 5)
        assert predictions.read_predictions() == {"FP16 speed-up": 3.0, "INT8 speed-up": 5.0}

    @pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "3", None, True])
    def test_what_is_no_positive_number_is_no_guess(self, lab_folder: Path, value: object) -> None:
        with pytest.raises(InputError, match="positive number"):
            predictions.predict("x", value)  # type: ignore[arg-type]
        assert predictions.read_predictions() == {}

    @pytest.mark.parametrize("value", [np.float32(2.5), np.int64(3), np.float64(0.5)])
    def test_a_number_of_numpy_is_one(self, lab_folder: Path, value: float) -> None:
        predictions.predict("x", value)
        assert predictions.read_predictions() == {"x": float(value)}

    @pytest.mark.parametrize("content", ["{", "[1, 2]", "null"])
    def test_a_damaged_file_is_named(self, lab_folder: Path, content: str) -> None:
        (lab_folder / predictions.FILE).write_text(content)
        with pytest.raises(InputError, match=predictions.FILE):
            predictions.read_predictions()

    def test_a_guess_is_drawn_beside_its_result(self, lab_folder: Path) -> None:
        predictions.predict("a", 4)
        figure = predictions.show_predictions({"a": 3, "b": 2}, unit="x")
        widths = sorted(bar.get_width() for bar in figure.axes[0].patches)
        assert widths == [2, 3, 4]
        texts = [text.get_text().strip() for text in figure.axes[0].texts]
        assert texts == ["3x measured", "4x guessed", "2x measured", "no guess"]
        assert plt.get_fignums() == [], "the picture must not be left open in pyplot"


class TestArtifacts:
    @pytest.fixture
    def makes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Provided files are text, and the list says which were made."""
        made: list[str] = []

        def maker(name: str) -> Callable[[Path], None]:
            def make(folder: Path) -> None:
                made.append(name)
                folder.mkdir(exist_ok=True)
                (folder / name).write_text("provided")

            return make

        monkeypatch.setattr(artifacts, "_MAKERS", {name: maker(name) for name in artifacts.MADE_IN})
        monkeypatch.setattr(artifacts, "_provided_folder", lambda: tmp_path / "provided")
        return made

    def test_every_deliverable_can_be_provided(self) -> None:
        assert artifacts._MAKERS.keys() == artifacts.MADE_IN.keys()

    def test_it_is_provided_once_and_says_so(self, lab_folder: Path, makes: list[str]) -> None:
        for _ in range(2):
            with capture_output() as captured:
                path = artifacts.artifact("resnet50_fp16.engine")
            assert path.read_text() == "provided"
            assert "provided" in repr(captured.outputs[0])
        assert makes == ["resnet50_fp16.engine"]

    def test_your_own_of_an_earlier_lab_comes_first(
        self, lab_folder: Path, makes: list[str], small_onnx: Path
    ) -> None:
        own = lab_folder.parent / "01-export" / "resnet50_simplified.onnx"
        own.parent.mkdir()
        own.write_bytes(small_onnx.read_bytes())
        with capture_output() as captured:
            path = artifacts.artifact(own.name)
        assert path.resolve() == own
        assert "your own" in repr(captured.outputs[0])
        assert makes == []

    @pytest.mark.parametrize("name", sorted(set(artifacts.MADE_IN) - {"resnet50_fp32.engine"}))
    def test_a_damaged_one_of_yours_is_not_used(
        self, lab_folder: Path, makes: list[str], name: str
    ) -> None:
        (lab_folder / name).write_bytes(b"half a file")
        with capture_output():
            assert artifacts.artifact(name).read_text() == "provided"
        assert makes == [name]

    def test_a_usable_calibration_cache_is(self, lab_folder: Path, makes: list[str]) -> None:
        cache = CalibrationCache(8600, "EntropyCalibration2", {"input": 0.02})
        (lab_folder / "resnet50_calib.cache").write_bytes(cache.to_bytes())
        with capture_output():
            assert artifacts.artifact("resnet50_calib.cache") == Path("resnet50_calib.cache")

    def test_the_fp32_engine_is_never_a_students(self, lab_folder: Path, makes: list[str]) -> None:
        (lab_folder / "resnet50_fp32.engine").write_text("mine")
        with capture_output():
            assert artifacts.artifact("resnet50_fp32.engine").read_text() == "provided"

    @pytest.mark.parametrize("find", [artifacts.artifact, artifacts.provided])
    def test_an_unknown_name_is_answered_with_those_that_exist(
        self, find: Callable[[str], Path]
    ) -> None:
        with pytest.raises(InputError, match=r"resnet50\.onnx.*resnet50_simplified\.onnx"):
            find("resnet50.onnx")
