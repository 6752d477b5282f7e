"""Lab 6's helpers for the whole course: notebooks as data, the pre-check's card, the checklist."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from labs.test_lab6 import code, folder, save, text
from sample_results import sample_results
from trtlab.calibration_cache import CalibrationCache
from trtlab.checks.notebooks import (
    answer,
    course_definitions,
    definitions,
    notebook_with,
    read_notebook,
)
from trtlab.checks.report6 import figures_of
from trtlab.checks.tasks import TASKS
from trtlab.errors import InputError
from trtlab.lab import by_hand, checklist, predictions, session
from trtlab.lab.made_up_results import made_up_results
from trtlab.lab.pictures6 import show_report, show_speedup_predictions
from trtlab.results import write_results

__all__ = ["folder"]  # a fixture


class TestNotebooks:
    def test_functions_and_classes_are_found_with_what_they_lack(self, tmp_path: Path) -> None:
        path = save(
            tmp_path / "a.ipynb",
            code("1", '%matplotlib inline\n!ls\ndef f():\n    "Doc."\n\nclass C:\n    x = 1'),
            code("2", 'def stub():\n    """Doc."""\n    raise NotImplementedError()'),
            code("3", "def _own(): pass\nvalue = 3"),
            code("4", "def broken(:"),
            text("5", "def no_code(): pass"),
        )
        found = {d.name: (d.documented, d.unwritten) for d in definitions(path)}
        assert found == {"f": (True, False), "C": (False, False), "stub": (True, True)}

    def test_nothing_of_a_student_is_executed(self, tmp_path: Path) -> None:
        path = save(tmp_path / "a.ipynb", code("1", "raise SystemExit\ndef f(): pass"))
        assert [d.name for d in definitions(path)] == ["f"]

    def test_cells_that_are_no_solution_are_the_course_s(self, tmp_path: Path) -> None:
        cell = code("1", "def given(): pass")
        cell.metadata.nbgrader.solution = False
        assert definitions(save(tmp_path / "a.ipynb", cell)) == []

    def test_an_answer_is_found_without_the_mark_scheme(self, tmp_path: Path) -> None:
        source = "Mine.\n=== BEGIN MARK SCHEME ===\n- 1 point\n=== END MARK SCHEME ===\nMore."
        path = save(tmp_path / "a.ipynb", text("task-6-2", source))
        assert answer(path, "task-6-2").split() == ["Mine.", "More."]
        assert answer(path, "task-1-3") == ""

    def test_damaged_notebooks_are_named_and_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / "broken.ipynb").write_text('{"cells": [')
        whole = save(tmp_path / "whole.ipynb", text("task-6-2", "Mine."))
        with pytest.raises(InputError, match=r"broken\.ipynb"):
            read_notebook(tmp_path / "broken.ipynb")
        with pytest.raises(InputError, match="no notebook"):
            read_notebook(tmp_path / "gone.ipynb")
        assert notebook_with(tmp_path, "task-6-2") == whole
        assert notebook_with(tmp_path, "task-9-9") is None

    def test_the_course_is_all_labs_once(self, folder: Path) -> None:
        save(folder.parent / "01-export" / "01-export.ipynb", code("t", "def f(): pass"))
        save(folder.parent / "private" / "notes.ipynb", code("t", "def g(): pass"))
        assert [d.name for d in course_definitions(folder)] == ["f", "make_report"]


class TestPrecheck:
    def test_it_shows_a_card_that_is_no_grade(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shown: list[Any] = []
        monkeypatch.setattr(by_hand, "display", shown.append)
        assert by_hand.precheck("6.1") is None  # type: ignore[func-returns-value]
        (card,) = shown
        bundle = card._repr_mimebundle_()
        for form in ("text/html", "text/plain"):
            assert "Graded by hand" in bundle[form]
            assert TASKS["6.1"].title in bundle[form]

    def test_graded_tasks_are_sent_to_their_check(self) -> None:
        with pytest.raises(InputError, match=r'check\("2\.1"\)'):
            by_hand.precheck("2.1")

    def test_a_task_that_there_is_not_is_named(self) -> None:
        with pytest.raises(InputError, match=r"9\.9"):
            by_hand.precheck("9.9")

    def test_a_check_is_no_way_around(self) -> None:
        with pytest.raises(InputError, match="graded by hand"):
            session.check("6.2")


class TestChecklist:
    def test_an_empty_course_is_all_missing(self, folder: Path) -> None:
        (folder / "06-report.ipynb").unlink()
        states = [item.state for item in checklist.checklist()]
        assert states == ["missing"] * 10 + ["by hand"]

    def test_a_finished_course_is_all_found(
        self, folder: Path, small_onnx: Path, small_engine: Path
    ) -> None:
        course = folder.parent
        for name in ("01-export", "02-build", "03-calibrate", "05-benchmark"):
            (course / name).mkdir()
        (course / "01-export/resnet50_simplified.onnx").write_bytes(small_onnx.read_bytes())
        for place in (
            "02-build/resnet50_fp16.engine",
            "02-build/resnet50_dynamic_fp16.engine",
            "03-calibrate/resnet50_int8.engine",
        ):
            (course / place).write_bytes(small_engine.read_bytes())
        cache = CalibrationCache(8600, "EntropyCalibration2", {"input": 0.02})
        (course / "03-calibrate/resnet50_calib.cache").write_bytes(cache.to_bytes())
        written = 'class TensorRTInference:\n    """Doc."""\n'
        save(course / "04-infer/04-infer.ipynb", code("t", written))
        write_results(course / "05-benchmark/results.json", sample_results())
        (folder / "report.html").write_text("<html></html>")
        items = checklist.checklist()
        assert [i.title for i in items if i.state == "missing"] == []
        assert len([i for i in items if i.state == "found"]) == 10

    def test_an_unusable_file_and_a_stub_are_missing(self, folder: Path) -> None:
        course = folder.parent
        (course / "01-export").mkdir()
        (course / "01-export/resnet50_simplified.onnx").write_bytes(b"half")
        stub = "class TensorRTInference:\n    def infer(self): raise NotImplementedError"
        save(course / "04-infer/04-infer.ipynb", code("t", stub))
        save(folder / "06-report.ipynb", code("t", "def chart(): raise NotImplementedError"))
        (folder / "report.html").write_text("<html></html>")
        states = {item.title: item.state for item in checklist.checklist()}
        assert states["ONNX model exported and simplified"] == "missing"
        assert states["Inference class implemented"] == "missing"
        assert states["Performance report generated"] == "missing"

    def test_results_without_accuracy_say_so(self, folder: Path) -> None:
        results = sample_results()
        results.runners[0].accuracy = None
        (folder.parent / "05-benchmark").mkdir()
        write_results(folder.parent / "05-benchmark/results.json", results)
        items = {item.title: item for item in checklist.checklist()}
        assert items["Latency measured"].state == "found"
        assert items["Accuracy evaluated"].state == "missing"
        assert "4 of 5" in items["Accuracy evaluated"].seen

    def test_it_is_shown_escaped_and_as_text(self) -> None:
        item = checklist.Item("Code <b>documented</b>", "missing", "no docstring: <f>")
        bundle = checklist.Checklist([item])._repr_mimebundle_()
        assert "<b>" not in bundle["text/html"]
        assert "&lt;f&gt;" in bundle["text/html"]
        assert "missing (no docstring: <f>)" in bundle["text/plain"]


class TestMadeUpResults:
    @pytest.mark.parametrize("emulated", [True, False])
    def test_a_seed_gives_the_same_figures_and_another_gives_others(self, emulated: bool) -> None:
        one, again, other = (made_up_results(seed, emulated=emulated) for seed in (1, 1, 2))
        assert figures_of(one) == figures_of(again)
        assert set(figures_of(one).values()) & set(figures_of(other).values()) <= {None}

    def test_mixing_two_figures_up_shows(self) -> None:
        results = made_up_results(1, emulated=False)
        for entry in (entry for runner in results.runners for entry in runner.batches):
            latency = entry.latency
            values = sorted((latency.median_ms, latency.mean_ms, latency.p95_ms, latency.p99_ms))
            assert all(b > 1.05 * a for a, b in pairwise(values))
        for entry in results.comparisons:
            ours, theirs = (results.runner(name) for name in (entry.runner, entry.baseline))
            assert ours is not None
            assert theirs is not None
            a, b = ours.at(entry.batch_size), theirs.at(entry.batch_size)
            assert a is not None
            assert b is not None
            assert entry.speedup.speedup > 1.05 * b.latency.median_ms / a.latency.median_ms

    def test_emulated_ones_carry_the_badge_and_no_speed_up(self) -> None:
        results = made_up_results(1, emulated=True)
        assert results.badge
        assert results.comparisons == []


class TestPictures:
    def test_a_report_is_shown_with_its_units_badge_and_gaps(self) -> None:
        report = {
            "memory": {"<runner>": None},
            "latency": {"a": {1: {"median_ms": 0.5}, 8: {"median_ms": 1234.5}}},
            "speedup": {},
        }
        results = made_up_results(1, emulated=True)
        page = show_report(report, results).data
        assert results.badge
        for words in (
            results.badge,
            "&lt;runner&gt;",
            "–",
            "a, batch 8",
            "1,234",
            "(MiB",
            "nothing",
        ):
            assert words in page

    @pytest.mark.parametrize("odd", [{"x": 3}, {"x": [1]}, {3: {4: "text"}}, {"x": {"y": -0.5}}])
    def test_an_odd_report_is_shown_all_the_same(self, odd: dict[Any, Any]) -> None:
        assert show_report(odd, sample_results()).data

    def test_guesses_stand_beside_paired_speed_ups(self, folder: Path) -> None:
        predictions.predict("INT8 speed-up", 4)
        (axes,) = show_speedup_predictions(sample_results()).axes
        widths = [bar.get_width() for bar in axes.patches]  # type: ignore[attr-defined]
        assert widths == pytest.approx([2.61 / 0.503, 2.61 / 0.42, 4])

    def test_emulated_results_settle_no_guess(self, folder: Path) -> None:
        figure = show_speedup_predictions(sample_results(emulated=True))
        assert isinstance(figure, Figure)
        texts = [text.get_text() for text in [*figure.texts, *figure.axes[0].texts]]
        assert "not measured: emulated" in texts
        assert not figure.axes[0].patches
