"""Tests of what all notebooks share: check, attempts, hints, predictions, artifacts."""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import onnx
import pytest
from IPython.core.interactiveshell import InteractiveShell

from made_up_task import made_up_task
from sample_results import sample_results
from trtlab.calibration_cache import CalibrationCache
from trtlab.checks.evidence import Attempt
from trtlab.checks.tasks import TASKS
from trtlab.errors import InputError
from trtlab.lab import artifacts, attempts, hints, predictions, session
from trtlab.results import write_results

__all__ = ["made_up_task"]  # a fixture


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was handed to IPython's display, in order."""
    objects: list[Any] = []
    for module in (session, hints, artifacts):
        monkeypatch.setattr(module, "display", objects.append)
    return objects


def raising(error: BaseException) -> Callable[[], object]:
    def run() -> object:
        raise error

    return run


class TestAttempts:
    def test_code_that_returns_is_done_with_its_result(self) -> None:
        assert attempts.attempt("f", lambda: 7) == (Attempt(stage="done", what="f"), 7)

    def test_a_stub_is_not_started(self) -> None:
        attempt, result = attempts.attempt("f", raising(NotImplementedError()))
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
        attempt, result = attempts.attempt("f", raising(error))
        assert (attempt.stage, attempt.error, result) == ("raised", said, None)

    def test_a_message_of_any_length_is_cut(self) -> None:
        attempt, _ = attempts.attempt("f", raising(ValueError("x" * 10**6)))
        assert attempt.error == "ValueError: " + "x" * (2000 - len("ValueError: "))

    @pytest.mark.parametrize("raised", [ValueError("no"), SystemExit(1), RecursionError()])
    def test_an_exception_that_cannot_be_read_is_one_all_the_same(
        self, raised: BaseException
    ) -> None:
        class UnreadableError(Exception):
            def __str__(self) -> str:
                raise raised

        attempt, result = attempts.attempt("f", raising(UnreadableError()))
        assert (attempt.stage, result) == ("raised", None)
        assert attempt.error == "An exception whose message cannot be read"

    def test_a_message_that_no_file_can_hold_is_replaced(self) -> None:
        attempt, _ = attempts.attempt("f", raising(ValueError("half \ud800 of a pair")))
        assert attempt.error == "ValueError: half ? of a pair"
        assert Attempt.model_validate_json(attempt.model_dump_json()) == attempt

    def test_a_student_can_still_interrupt(self) -> None:
        with pytest.raises(KeyboardInterrupt):
            attempts.attempt("f", raising(KeyboardInterrupt()))


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> InteractiveShell:
    made = InteractiveShell()
    monkeypatch.setattr(session, "get_ipython", lambda: made)
    return made


@pytest.mark.usefixtures("made_up_task", "shell")
class TestCheck:
    def test_its_value_is_the_points_as_a_float(
        self, shell: InteractiveShell, displayed: list[Any]
    ) -> None:
        shell.user_ns["number"] = lambda: 3
        value = session.check("1.1")
        assert (value, type(value)) == (3.0, float)
        (card,) = displayed
        assert "3 of 4 points" in card._repr_mimebundle_()["text/plain"]

    def test_a_students_noise_does_not_reach_stderr(
        self,
        shell: InteractiveShell,
        displayed: list[Any],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def noisy() -> int:
            print("to stderr", file=sys.stderr)
            warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
            return 4

        shell.user_ns["number"] = noisy
        assert session.check("1.1") == 4.0
        assert capsys.readouterr().err == ""

    def test_a_name_that_is_not_there_is_no_exception(self, displayed: list[Any]) -> None:
        assert session.check("1.1") == 0.0
        assert "does not exist" in displayed[0]._repr_mimebundle_()["text/plain"]

    def test_an_unknown_task_is_answered_with_those_that_exist(self) -> None:
        with pytest.raises(InputError, match=r"'7\.1'.*1\.1"):
            session.check("7.1")

    def test_documentation_has_no_check(self) -> None:
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
        self, monkeypatch: pytest.MonkeyPatch, displayed: list[Any]
    ) -> None:
        monkeypatch.setattr(hints, "_taken", {})
        for _ in range(4):
            hints.hint("6.1")
        shown = [markdown.data for markdown in displayed]
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
        monkeypatch.setattr(artifacts, "provided_folder", lambda: tmp_path / "provided")
        return made

    def test_every_deliverable_can_be_provided(self) -> None:
        assert artifacts._MAKERS.keys() == artifacts.MADE_IN.keys()

    def test_it_is_provided_once_and_says_so(
        self, lab_folder: Path, makes: list[str], displayed: list[Any]
    ) -> None:
        for _ in range(2):
            path = artifacts.artifact("resnet50_fp16.engine")
            assert path.read_text() == "provided"
        assert makes == ["resnet50_fp16.engine"]
        assert ["provided" in repr(note) for note in displayed] == [True, True]

    def test_your_own_of_an_earlier_lab_comes_first(
        self, lab_folder: Path, makes: list[str], displayed: list[Any], small_onnx: Path
    ) -> None:
        own = lab_folder.parent / "01-export" / "resnet50_simplified.onnx"
        own.parent.mkdir()
        own.write_bytes(small_onnx.read_bytes())
        assert artifacts.artifact(own.name).resolve() == own
        assert "your own" in repr(displayed[0])
        assert makes == []

    @pytest.mark.usefixtures("displayed")
    def test_a_graph_with_a_fixed_batch_is_not_used(
        self, lab_folder: Path, makes: list[str], small_onnx: Path
    ) -> None:
        model = onnx.load(small_onnx)
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
        onnx.save(model, lab_folder / "resnet50_simplified.onnx")
        assert artifacts.artifact("resnet50_simplified.onnx").read_text() == "provided"

    @pytest.mark.parametrize("name", sorted(set(artifacts.MADE_IN) - {"resnet50_fp32.engine"}))
    @pytest.mark.usefixtures("displayed")
    def test_a_damaged_one_of_yours_is_not_used(
        self, lab_folder: Path, makes: list[str], name: str
    ) -> None:
        (lab_folder / name).write_bytes(b"half a file")
        assert artifacts.artifact(name).read_text() == "provided"
        assert makes == [name]

    @pytest.mark.usefixtures("makes", "displayed")
    def test_a_usable_calibration_cache_is(self, lab_folder: Path) -> None:
        cache = CalibrationCache(8600, "EntropyCalibration2", {"input": 0.02})
        (lab_folder / "resnet50_calib.cache").write_bytes(cache.to_bytes())
        assert artifacts.artifact("resnet50_calib.cache") == Path("resnet50_calib.cache")

    @pytest.mark.usefixtures("makes", "displayed")
    @pytest.mark.parametrize("complete", [True, False])
    def test_results_are_used_if_the_benchmark_ran_to_its_end(
        self, lab_folder: Path, complete: bool
    ) -> None:
        results = sample_results().model_copy(update={"complete": complete})
        write_results(lab_folder / "results.json", results)
        own = artifacts.artifact("results.json") == Path("results.json")
        assert own is complete

    @pytest.mark.usefixtures("makes", "displayed")
    def test_the_fp32_engine_is_never_a_students(self, lab_folder: Path) -> None:
        (lab_folder / "resnet50_fp32.engine").write_text("mine")
        assert artifacts.artifact("resnet50_fp32.engine").read_text() == "provided"

    @pytest.mark.parametrize("find", [artifacts.artifact, artifacts.provided])
    def test_an_unknown_name_is_answered_with_those_that_exist(
        self, find: Callable[[str], Path]
    ) -> None:
        with pytest.raises(InputError, match=r"resnet50\.onnx.*resnet50_simplified\.onnx"):
            find("resnet50.onnx")
