"""Lab 6: its pre-checks on evidence of every kind, its probes on functions of every kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from labs.harness import solution_path
from sample_results import sample_results
from trtlab.checks.analysis6 import QUESTIONS, answers, mentions_tail, own_figures, says_where
from trtlab.checks.evidence import Attempt
from trtlab.checks.evidence6 import AnalysisEvidence
from trtlab.checks.registry import judge
from trtlab.checks.report6 import figures_of, found, same
from trtlab.checks.tasks import TASKS
from trtlab.checks.verdict import Verdict
from trtlab.lab.made_up_results import made_up_results
from trtlab.lab.probes import lab6
from trtlab.lab.probes.lab6 import plain
from trtlab.lab.session import verdict_on
from trtlab.results import Results, write_results

CHARTS = ("latency_chart", "throughput_chart", "speedup_chart", "tradeoff_chart")


def reference(results: Results) -> dict[str, Any]:
    """The names that the solution notebook defines."""
    notebook = nbformat.read(solution_path(6), as_version=4)
    names: dict[str, Any] = {"plt": plt, "GREEN": "green", "GREY": "grey", "results": results}
    for cell in notebook.cells:
        if cell.id in ("task-6-1-report", "task-6-1"):
            exec(cell.source, names)
    return names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of lab 6, current, with a documented function in its notebook."""
    here = tmp_path / "06-report"
    here.mkdir()
    save(here / "06-report.ipynb", code("task-6-1", 'def make_report(results):\n    """Doc."""\n'))
    monkeypatch.chdir(here)
    return here


@pytest.fixture
def results_file(folder: Path) -> Path:
    """The student's results, in the folder of lab 5."""
    path = folder.parent / "05-benchmark/results.json"
    path.parent.mkdir()
    write_results(path, sample_results())
    return path


def code(grade_id: str, source: str) -> nbformat.NotebookNode:
    about = {"grade_id": grade_id, "solution": True, "grade": False}
    return new_code_cell(source, metadata={"nbgrader": about})


def text(grade_id: str, source: str) -> nbformat.NotebookNode:
    about = {"grade_id": grade_id, "solution": True, "grade": True}
    return new_markdown_cell(source, metadata={"nbgrader": about})


def save(path: Path, *cells: nbformat.NotebookNode) -> Path:
    path.parent.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=list(cells)), path)
    return path


def lost(verdict: Verdict) -> dict[str, float]:
    return {
        finding.criterion.split(":")[0]: finding.max_points - finding.points
        for finding in verdict.findings
        if finding.points < finding.max_points
    }


@pytest.mark.usefixtures("folder")
class TestReport:
    @pytest.mark.parametrize("emulated", [True, False])
    def test_the_reference_earns_everything_on_both_backends(self, emulated: bool) -> None:
        verdict = verdict_on("6.1", reference(sample_results(emulated)))
        assert (lost(verdict), verdict.points) == ({}, TASKS["6.1"].points)

    def test_partly_measured_results_are_reported_too(self) -> None:
        results = made_up_results(5, emulated=False)
        results.runners[-1].accuracy = results.runners[-1].accuracy_change = None
        results.runners[-1].batches.pop(0)
        results.comparisons = [c for c in results.comparisons if c.batch_size != 4]
        assert lost(verdict_on("6.1", reference(results))) == {}

    @pytest.mark.parametrize("name", ["results", "make_report"])
    def test_a_name_that_is_missing_is_named(self, name: str) -> None:
        names = reference(sample_results())
        del names[name]
        (finding,) = verdict_on("6.1", names).findings
        assert f"`{name}` does not exist" in finding.measured

    @pytest.mark.parametrize(
        ("make_report", "said"),
        [
            (lambda results: [1], "must return a dict, and returned list"),
            (lambda results: {"speedup": results.comparisons[0]}, "IndexError"),
            (lambda results: 1 / 0, "ZeroDivisionError: division by zero, on your results"),
        ],
    )
    def test_a_function_that_breaks_is_told_on_which_results(
        self, make_report: Callable[[Results], object], said: str
    ) -> None:
        names = reference(sample_results()) | {"make_report": make_report}
        (finding,) = verdict_on("6.1", names).findings
        assert (finding.state, finding.points) == ("fail", 0)
        assert said in finding.measured

    def test_it_breaks_on_results_that_the_student_does_not_have(self) -> None:
        def needs_speedups(results: Results) -> dict[str, Any]:
            return {"speedup": results.comparisons[0]}

        names = reference(sample_results()) | {"make_report": needs_speedups}
        (finding,) = verdict_on("6.1", names).findings
        assert "made-up results of an emulation" in finding.measured

    def test_charts_that_are_not_written_yet_cost_nothing_else(self) -> None:
        def stub(results: Results) -> Figure:
            raise NotImplementedError

        names = reference(sample_results()) | {"latency_chart": stub}
        del names["speedup_chart"]
        verdict = verdict_on("6.1", names)
        assert lost(verdict) == {
            "latency_chart": 0.5,
            "speedup_chart": 0.5,
            "charts of emulated results carry the badge": 0.25,
        }
        states = {f.criterion.split(":")[0]: f.state for f in verdict.findings}
        assert states["latency_chart"] == states["speedup_chart"] == "not started"

    @pytest.mark.parametrize("chart", CHARTS)
    def test_an_empty_figure_is_no_chart(self, chart: str) -> None:
        names = reference(sample_results()) | {chart: lambda results: plt.figure()}
        assert lost(verdict_on("6.1", names)) == {
            chart: 0.5,
            "charts of emulated results carry the badge": 0.25,
        }

    def test_a_chart_that_raises_is_told_why(self) -> None:
        names = reference(sample_results()) | {"latency_chart": lambda results: [][1]}
        (finding,) = [
            f for f in verdict_on("6.1", names).findings if f.criterion.startswith("latency_chart")
        ]
        assert "IndexError: list index out of range on your results" in finding.measured

    def test_figures_are_neither_shown_nor_left_open(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        names = reference(sample_results())
        draw = names["latency_chart"]
        names["latency_chart"] = lambda results: print("drawing") or draw(results)
        open_before = plt.get_fignums()
        verdict_on("6.1", names)
        assert plt.get_fignums() == open_before
        assert capsys.readouterr().out == ""

    def test_a_typed_in_chart_is_recognised(self) -> None:
        names = reference(sample_results())
        names["throughput_chart"] = lambda results, draw=names["throughput_chart"]: draw(
            sample_results()
        )
        verdict = verdict_on("6.1", names)
        assert lost(verdict)["throughput_chart"] == 0.5
        assert "typed-in-figures" in verdict.misconceptions

    def test_docstrings_are_looked_for_in_all_labs(self, folder: Path) -> None:
        save(folder.parent / "02-build" / "02-build.ipynb", code("t", "def bare(): return 1"))
        verdict = verdict_on("6.1", reference(sample_results()))
        assert lost(verdict) == {"functions and classes have docstrings, in all notebooks": 0.25}
        assert "bare (02-build.ipynb)" in verdict.findings[-1].measured


class TestFigures:
    def test_every_figure_of_the_results_has_its_place(self) -> None:
        results = sample_results()
        figures = figures_of(results)
        # five runners: size, memory, three of accuracy; three batches of six figures; three
        # TensorRT runners with a speed-up at three batches
        assert len(figures) == 5 * (2 + 3 + 3 * 6) + 3 * 3
        int8 = results.runners[4]
        assert figures["model_sizes", "tensorrt-int8"] == 26_100_000 / 1_048_576
        assert figures["model_sizes", "pytorch-fp32"] == 102_230_000 / 1_048_576
        assert figures["latency", "tensorrt-int8", "8", "p99_ms"] == int8.batches[1].latency.p99_ms
        assert figures["accuracy", "pytorch-fp32", "change"] is None
        assert figures["speedup", "tensorrt-int8", "1"] == pytest.approx(2.61 / 0.42)

    def test_emulated_results_have_no_speed_up_and_no_memory(self) -> None:
        figures = figures_of(sample_results(emulated=True))
        assert not [place for place in figures if place[0] == "speedup"]
        assert figures["memory", "tensorrt-int8"] is None

    @pytest.mark.parametrize(
        ("said", "measured", "equal"),
        [
            (0.5034, 0.5034, True),
            (0.5, 0.5034, True),
            (0.51, 0.5034, False),
            (77_900, 77_903, True),
            (77_000, 77_903, False),
            (None, None, True),
            (0, None, False),
            (None, 0.5, False),
            ("0.5", 0.5, False),
            (True, 1.0, False),
            ("nan", 1.0, False),
        ],
    )
    def test_rounding_is_allowed_and_inventing_is_not(
        self, said: object, measured: float | None, equal: bool
    ) -> None:
        assert same(said, measured) is equal

    def test_a_report_is_read_whatever_its_keys_are(self) -> None:
        report = plain({"latency": {"a": {np.int64(8): {"median_ms": np.float32(1.5)}}}})
        assert found(report, ("latency", "a", "8", "median_ms")) == 1.5
        assert found(report, ("latency", "a", "4", "median_ms")) is None
        assert found(report, ("latency", "a", "8", "median_ms", "x")) is None

    def test_what_json_cannot_hold_is_no_figure(self) -> None:
        assert plain({"a": float("nan"), "b": np.float64("inf"), "c": object}) == {
            "a": "nan",
            "b": "inf",
            "c": "a type",
        }


def analysis(answer: str, results: Results) -> Verdict:
    done = Attempt(stage="done", what="the analysis")
    evidence = AnalysisEvidence(attempt=done, text=answer, source="x.ipynb", results=results)
    return judge("6.2", evidence)


class TestAnalysis:
    GOOD = "On an H200, the figures are these.\n\n" + "\n".join(
        f"### {heading}\nThe p99 is 0.58 ms, its interval is small. " + 30 * "reason "
        for heading in QUESTIONS
    )

    def test_six_answers_with_their_care_earn_everything(self) -> None:
        assert analysis(self.GOOD, sample_results()).points == TASKS["6.2"].points

    @pytest.mark.parametrize("heading", QUESTIONS)
    def test_a_missing_heading_costs_its_answer(self, heading: str) -> None:
        shorter = self.GOOD.replace(f"### {heading}", "")
        assert analysis(shorter, sample_results()).points <= TASKS["6.2"].points - 0.5

    def test_nothing_written_is_not_started(self) -> None:
        verdict = analysis("", sample_results())
        assert (verdict.state, verdict.points) == ("not started", 0)
        assert "Batch size" in verdict.findings[0].required

    @pytest.mark.parametrize("form", ["# {}", "###### {} ##", "**{}**", "**{}:**", "### My {}!"])
    def test_headings_may_be_written_in_several_ways(self, form: str) -> None:
        written_answer = "\n".join(f"{form.format(name.upper())}\ntext" for name in QUESTIONS)
        assert [part.strip() for part in answers(written_answer).values()] == ["text"] * 6

    def test_another_heading_ends_an_answer(self) -> None:
        assert answers("# INT8\nyes\n# Appendix\nno")["INT8"].strip() == "yes"

    @pytest.mark.parametrize(
        ("quoted", "own"),
        [
            ("0.503 ms", True),
            ("0.50 ms", True),
            ("0.49 ms", False),
            ("97.00 %", True),
            ("383 images/s", True),
            ("1,988 images/s", True),
            ("1,990 images/s", True),
            ("2,000 images/s", False),
            ("batch 32", False),
            ("4x", False),
            ("-0.77 points", True),
            ("H200", False),
        ],
    )
    def test_own_figures_are_told_from_other_numbers(self, quoted: str, own: bool) -> None:
        assert bool(own_figures(f"It takes {quoted} here.", sample_results())) is own

    @pytest.mark.parametrize(
        ("quoted", "state"),
        [("", "fail"), ("0.503, 0.92", "inconclusive"), ("0.503, 0.92, 2.78, 97.00, 46.3", "pass")],
    )
    def test_figures_of_another_run_are_a_hint_and_cost_nothing(
        self, quoted: str, state: str
    ) -> None:
        verdict = analysis(f"{self.GOOD.replace('0.58', 'low')} {quoted}", sample_results())
        (finding,) = [f for f in verdict.findings if "own figures" in f.criterion]
        assert (finding.state, verdict.points) == (state, TASKS["6.2"].points)

    def test_the_same_figure_counts_once(self) -> None:
        assert own_figures("0.503 and 0.503 again, 0.92.", sample_results()) == ["0.503", "0.92"]

    def test_the_machine_is_named(self) -> None:
        assert says_where("On an H200", sample_results())
        assert not says_where("On my NVIDIA GPU", sample_results())
        assert says_where("The times are emulated.", sample_results(emulated=True))
        assert not says_where("On an H200", sample_results(emulated=True))

    @pytest.mark.parametrize("tail", ["p99", "p95", "the 99th percentile", "99 % of", "the tail"])
    def test_a_tail_has_several_names(self, tail: str) -> None:
        assert mentions_tail(f"It is {tail} that counts")

    @pytest.mark.parametrize("no_tail", ["0.99 ms", "the median of 1995 calls", "details"])
    def test_not_every_99_is_a_tail(self, no_tail: str) -> None:
        assert not mentions_tail(no_tail)

    @pytest.mark.usefixtures("results_file")
    def test_the_answer_is_read_from_the_saved_notebook(self, folder: Path) -> None:
        save(folder / "renamed by a student.ipynb", text("task-6-2", self.GOOD))
        verdict = verdict_on("6.2", {})
        assert verdict.points == TASKS["6.2"].points

    @pytest.mark.usefixtures("results_file")
    @pytest.mark.parametrize("source", ["YOUR ANSWER HERE", " \n"])
    def test_the_placeholder_is_no_answer(self, folder: Path, source: str) -> None:
        save(folder / "06-report.ipynb", text("task-6-2", source))
        verdict = verdict_on("6.2", {})
        assert verdict.state == "not started"
        assert "06-report.ipynb" in verdict.findings[0].measured

    @pytest.mark.parametrize("damage", [lambda text: text[:100], lambda text: "[]"])
    def test_provided_results_stand_in_for_unusable_ones(
        self,
        folder: Path,
        results_file: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        damage: Callable[[str], str],
    ) -> None:
        results_file.write_text(damage(results_file.read_text()))
        write_results(tmp_path / "provided.json", sample_results(emulated=True))
        monkeypatch.setattr(lab6, "provided", lambda name: tmp_path / "provided.json")
        save(folder / "06-report.ipynb", text("task-6-2", "All times are emulated."))
        states = {f.criterion: f.state for f in verdict_on("6.2", {}).findings}
        assert states["the text says where its numbers come from"] == "pass"
