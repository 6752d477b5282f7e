"""Lab 6's probes, with their three steps apart: the reference, replayed answers, and faked ones."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure

from labs.steps import contents, lost
from labs.test_lab6 import code, reference, save, text
from sample_results import sample_results
from trtlab.checks.registry import judge
from trtlab.checks.tasks import TASKS
from trtlab.checks.verdict import Verdict
from trtlab.lab.bench import LocalBench
from trtlab.lab.exchange import ExchangeError
from trtlab.lab.probe import OBSERVED, Scene, evidence_of, probe_of, run_probe
from trtlab.lab.probes.lab6 import CHARTS, MAX_PICTURE_BYTES, OWN, chart_pictures
from trtlab.results import Results, write_results

SEED, ANOTHER_SEED = 11, 12


def scene_after(names: Mapping[str, Any], folder: Path, seed: int = SEED) -> Scene:
    """Give, run and carry away what was made of task 6.1, as between a grader and a sandbox."""
    given, sandbox, lab = (folder / name for name in ("given", "sandbox", "06-report"))
    for path in (given, sandbox, lab):
        path.mkdir(parents=True)
    save(lab / "06-report.ipynb", code("task-6-1", 'def f():\n    """Doc."""\n'))
    probe = probe_of("6.1")
    probe.give(given, seed)
    with probe.attend(given, seed):
        run_probe("6.1", names, given, sandbox)
    shutil.copytree(sandbox, folder / "made")
    shutil.rmtree(sandbox)
    return Scene(folder / "nowhere", folder / "made", seed, lab, LocalBench())


def verdict_of(scene: Scene) -> Verdict:
    return judge("6.1", evidence_of("6.1", scene))


def rewrite(scene: Scene, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what the kernel says it observed, as hostile code can."""
    path = scene.made / OBSERVED
    observed = json.loads(path.read_text())
    change(observed)
    path.write_text(json.dumps(observed))


class TestApart:
    @pytest.mark.parametrize("emulated", [True, False])
    def test_the_reference_earns_everything(self, emulated: bool, tmp_path: Path) -> None:
        verdict = verdict_of(scene_after(reference(sample_results(emulated)), tmp_path))
        assert (lost(verdict), verdict.points) == ({}, TASKS["6.1"].points)

    def test_evidence_survives_json(self, tmp_path: Path) -> None:
        before = evidence_of("6.1", scene_after(reference(sample_results()), tmp_path))
        after = type(before).model_validate_json(before.model_dump_json())
        assert judge("6.1", after) == judge("6.1", before)

    def test_a_seed_gives_the_same_results_and_another_gives_others(self, tmp_path: Path) -> None:
        given = {}
        for name, seed in {"one": 1, "same": 1, "other": 2}.items():
            (tmp_path / name).mkdir()
            probe_of("6.1").give(tmp_path / name, seed)
            given[name] = {
                file: Results.model_validate_json(data).runners
                for file, data in contents(tmp_path / name).items()
            }
        assert given["one"] == given["same"] != given["other"]

    def test_the_students_own_charts_are_kept_as_pictures(self, tmp_path: Path) -> None:
        names = reference(sample_results())
        del names["speedup_chart"]
        pictures = chart_pictures(scene_after(names, tmp_path).made)
        assert set(pictures) == {"latency_chart", "throughput_chart", "tradeoff_chart"}
        assert all(1000 < len(data) <= MAX_PICTURE_BYTES for data in pictures.values())


class TestFakes:
    def test_a_report_of_another_seed_is_wrong(self, tmp_path: Path) -> None:
        names = reference(sample_results())
        scene = scene_after(names, tmp_path / "one")
        other = scene_after(names, tmp_path / "two", ANOTHER_SEED)
        shutil.copy(other.made / OBSERVED, scene.made / OBSERVED)
        failed = set(lost(verdict_of(scene)))
        assert len([criterion for criterion in failed if "the results' figures" in criterion]) == 4
        assert {c.function for c in CHARTS} - {"speedup_chart"} <= {f.split(":")[0] for f in failed}

    def test_forged_own_results_do_not_help_a_typed_in_report(self, tmp_path: Path) -> None:
        names = reference(sample_results())
        report = names["make_report"](sample_results())
        names["make_report"] = lambda results: report
        verdict = verdict_of(scene_after(names, tmp_path))
        assert "typed-in-figures" in verdict.misconceptions
        assert verdict.points <= TASKS["6.1"].points - 1

    @pytest.mark.parametrize("change", [lambda cases: [], lambda cases: cases[:1]])
    def test_results_cannot_be_left_out(
        self, change: Callable[[list[Any]], list[Any]], tmp_path: Path
    ) -> None:
        scene = scene_after(reference(sample_results()), tmp_path)
        rewrite(scene, lambda observed: observed.update(cases=change(observed["cases"])))
        with pytest.raises(ExchangeError, match="of 3 results"):
            evidence_of("6.1", scene)

    @pytest.mark.parametrize(
        "figure", [float("nan"), float("inf"), 10**400, "x" * 10_000, [[[]]], {"a": {"b": 1}}]
    )
    def test_figures_of_every_kind_are_only_wrong(self, figure: object, tmp_path: Path) -> None:
        def fake(observed: dict[str, Any]) -> None:
            for case in observed["cases"]:
                case["report"]["throughput"] = case["report"]["memory"] = figure

        scene = scene_after(reference(sample_results()), tmp_path)
        rewrite(scene, fake)
        verdict = verdict_of(scene)
        assert len(lost(verdict)) == 2
        assert all(len(finding.measured) < 1000 for finding in verdict.findings)

    def test_a_chart_of_endless_numbers_is_no_answer(self, tmp_path: Path) -> None:
        def fake(observed: dict[str, Any]) -> None:
            observed["cases"][0]["charts"]["latency_chart"]["values"] = list(range(100_000))

        scene = scene_after(reference(sample_results()), tmp_path)
        rewrite(scene, fake)
        with pytest.raises(ExchangeError, match="values"):
            evidence_of("6.1", scene)

    def test_a_crowded_chart_of_an_honest_student_is_read(self, tmp_path: Path) -> None:
        names = reference(sample_results())
        draw = names["latency_chart"]

        def crowded(results: Results) -> Figure:
            figure = draw(results)
            figure.axes[0].plot(range(20_000))
            return figure

        names["latency_chart"] = crowded
        assert evidence_of("6.1", scene_after(names, tmp_path)).attempt.stage == "done"

    def test_a_figure_that_cannot_be_read_costs_its_own_points_only(self, tmp_path: Path) -> None:
        class Odd(Figure):
            @property
            def axes(self) -> Any:
                raise SystemExit(1)

        names = reference(sample_results()) | {"latency_chart": lambda results: Odd()}
        verdict = verdict_of(scene_after(names, tmp_path))
        assert {criterion.split(":")[0] for criterion in lost(verdict)} == {
            "latency_chart",
            "charts of emulated results carry the badge",
        }
        plt.close("all")


class TestFilesThatAreNoAnswers:
    @pytest.mark.parametrize("name", [OBSERVED, OWN])
    def test_a_missing_cut_oversized_or_linked_file_is_no_answer(
        self, name: str, tmp_path: Path
    ) -> None:
        scene = scene_after(reference(sample_results()), tmp_path)
        file = scene.made / name
        whole = file.read_bytes()
        deep = b"[" * 100_000
        for bad in (whole[:-5], b" " * (5 << 20) + whole, b"[]", b"\x80\x04].", deep):
            file.write_bytes(bad)
            with pytest.raises(ExchangeError, match=name):
                evidence_of("6.1", scene)
        (tmp_path / "elsewhere").write_bytes(whole)
        for replace in (lambda: file.symlink_to(tmp_path / "elsewhere"), lambda: os.mkfifo(file)):
            file.unlink()
            replace()
            with pytest.raises(ExchangeError, match=name):
                evidence_of("6.1", scene)

    def test_pictures_that_are_none_are_left_out(self, tmp_path: Path) -> None:
        made = scene_after(reference(sample_results()), tmp_path).made
        picture = made / "latency_chart.png"
        whole = picture.read_bytes()
        (made / "throughput_chart.png").write_bytes(b"<svg onload='alert(1)'>")
        (made / "tradeoff_chart.png").write_bytes(whole + b" " * MAX_PICTURE_BYTES)
        (made / "speedup_chart.png").unlink()
        (made / "speedup_chart.png").symlink_to(picture)
        assert chart_pictures(made) == {"latency_chart": whole}


class TestAnalysis:
    @pytest.fixture
    def scene(self, tmp_path: Path) -> Scene:
        """The analysis of a student with results of their own."""
        lab = tmp_path / "06-report"
        save(lab / "06-report.ipynb", text("task-6-2", "The times are those of an H200."))
        (tmp_path / "05-benchmark").mkdir()
        write_results(tmp_path / "05-benchmark/results.json", sample_results())
        made = tmp_path / "made"
        made.mkdir()
        run_probe("6.2", {}, tmp_path, made)
        return Scene(tmp_path / "nowhere", made, SEED, lab, LocalBench())

    def test_it_is_read_from_the_lab_s_folder(self, scene: Scene) -> None:
        states = {f.criterion: f.state for f in judge("6.2", evidence_of("6.2", scene)).findings}
        assert states["the text says where its numbers come from"] == "pass"

    def test_a_linked_notebook_is_not_read(self, scene: Scene, tmp_path: Path) -> None:
        (scene.folder / "06-report.ipynb").rename(tmp_path / "of another student.ipynb")
        (scene.folder / "06-report.ipynb").symlink_to(tmp_path / "of another student.ipynb")
        assert judge("6.2", evidence_of("6.2", scene)).points == 0

    @pytest.mark.parametrize(
        "source",
        [
            "# " + 50_000 * " " + "x",
            50_000 * "9",
            "1" + 50_000 * ",1",
            "0." + 50_000 * "1",
            20_000 * "BEGIN MARK SCHEME\n",
            20_000 * "# **",
        ],
    )
    def test_a_text_that_is_made_to_take_long_is_read_at_once(
        self, source: str, scene: Scene
    ) -> None:
        save(scene.folder / "06-report.ipynb", text("task-6-2", source))
        assert judge("6.2", evidence_of("6.2", scene)).points == 0
