"""Lab 5's probes, with their three steps apart: right answers, replayed ones, and faked ones."""

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from torch import nn

from labs.harness import solution_path
from labs.steps import contents, lost
from trtlab.checks.registry import judge
from trtlab.checks.verdict import Verdict
from trtlab.errors import CourseFault, ModelError
from trtlab.lab import artifacts, evaluation
from trtlab.lab.bench import LocalBench
from trtlab.lab.exchange import ExchangeError
from trtlab.lab.probe import OBSERVED, Scene, evidence_of, probe_of, run_probe
from trtlab.lab.probes.lab5 import TRIES
from trtlab.workloads import Digits

POINTS = {"5.1": 2, "5.2": 1, "5.3": 1, "5.4": 6, "5.5": 9}
MEASURED = ("5.1", "5.2", "5.3")  # what is only the student's function
SEED, ANOTHER_SEED, IMAGES = 11, 12, 24


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    """What the solution notebook defines in its graded cells."""
    names = {"time": time, "np": np, "torch": torch, "synchronize": lambda: None}
    for cell in nbformat.read(solution_path(5), as_version=4).cells:
        if cell.id in ("task-5-1", "task-5-2", "task-5-3"):
            exec(cell.source, names)
    return names


@pytest.fixture(autouse=True)
def small_course(monkeypatch: pytest.MonkeyPatch, small_net: nn.Module, small_engine: Path) -> None:
    """The course's workload with a small network, whose engine is the provided one."""

    class SmallDigits(Digits):
        def load_model(self) -> nn.Module:
            return small_net

    workload = SmallDigits("resnet50-slim", None)
    monkeypatch.setattr(evaluation, "load_workload", lambda: workload)
    monkeypatch.setattr(evaluation, "_known", {})
    monkeypatch.setattr(artifacts, "provided", lambda name: small_engine)


def scene_after(task: str, names: Mapping[str, Any], folder: Path, seed: int = SEED) -> Scene:
    """Give, run and carry away what was made, as between a grader and a sandbox."""
    given, sandbox, lab = (folder / name for name in ("given", "sandbox", "05-benchmark"))
    for path in (given, sandbox, lab):
        path.mkdir(parents=True)
    probe = probe_of(task)
    probe.give(given, seed)
    with probe.attend(given, seed):
        run_probe(task, names, given, sandbox)
    shutil.copytree(sandbox, folder / "made")
    shutil.rmtree(sandbox)
    return Scene(given, folder / "made", seed, lab, LocalBench(), IMAGES)


def verdict_of(task: str, scene: Scene) -> Verdict:
    return judge(task, evidence_of(task, scene))


def rewrite(scene: Scene, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what the kernel says it observed, as hostile code can."""
    path = scene.made / OBSERVED
    observed = json.loads(path.read_text())
    change(observed)
    path.write_text(json.dumps(observed))


class TestApart:
    @pytest.mark.parametrize("task", POINTS)
    def test_the_reference_earns_everything(
        self, task: str, reference: dict[str, Any], tmp_path: Path
    ) -> None:
        verdict = verdict_of(task, scene_after(task, reference, tmp_path))
        assert (lost(verdict), verdict.points) == ({}, POINTS[task])

    @pytest.mark.parametrize("task", POINTS)
    def test_evidence_is_plain_data(
        self, task: str, reference: dict[str, Any], tmp_path: Path
    ) -> None:
        evidence = evidence_of(task, scene_after(task, reference, tmp_path))
        json.dumps(evidence.model_dump(mode="json"), allow_nan=False)

    @pytest.mark.parametrize("task", POINTS)
    def test_a_seed_gives_the_same_inputs_and_another_gives_others(
        self, task: str, tmp_path: Path
    ) -> None:
        given = {}
        for name, seed in {"one": 1, "same": 1, "other": 2}.items():
            (tmp_path / name).mkdir()
            probe_of(task).give(tmp_path / name, seed)
            given[name] = contents(tmp_path / name)
        assert given["one"] == given["same"] != given["other"]

    @pytest.mark.parametrize("task", MEASURED)
    def test_the_seed_and_what_devices_do_are_not_given(self, task: str, tmp_path: Path) -> None:
        probe_of(task).give(tmp_path, 123_456_789)
        text = "".join(path.read_text() for path in tmp_path.iterdir())
        assert "123456789" not in text
        assert "work" not in text


class TestTheStopwatchIsOutside:
    def test_figures_of_another_seed_are_none_of_these_devices(
        self, reference: dict[str, Any], tmp_path: Path
    ) -> None:
        scene = scene_after("5.1", reference, tmp_path / "one")
        other = scene_after("5.1", reference, tmp_path / "two", ANOTHER_SEED)
        shutil.copy(other.made / OBSERVED, scene.made / OBSERVED)
        assert "p95 and p99" in lost(verdict_of("5.1", scene))

    @pytest.mark.parametrize("factor", [0.5, 0.75, 1.25, 2.0])
    def test_figures_that_were_made_better_are_wrong(
        self, factor: float, reference: dict[str, Any], tmp_path: Path
    ) -> None:
        def faster(observed: dict[str, Any]) -> None:
            for reply in observed["tries"]:
                for key in reply["reported"]:
                    reply["reported"][key] *= factor

        scene = scene_after("5.1", reference, tmp_path)
        rewrite(scene, faster)
        assert {"mean, median and standard deviation", "p95 and p99"} <= set(
            lost(verdict_of("5.1", scene))
        )

    def test_a_kernel_with_a_clock_of_its_own_deceives_itself(
        self, reference: dict[str, Any], tmp_path: Path
    ) -> None:
        class HalfTime:
            def perf_counter(self) -> float:
                return time.perf_counter() / 2

        names = dict(reference)
        cells = nbformat.read(solution_path(5), as_version=4).cells
        exec(next(cell.source for cell in cells if cell.id == "task-5-1"), names)
        names["time"] = HalfTime()
        verdict = verdict_of("5.1", scene_after("5.1", names, tmp_path))
        assert "mean, median and standard deviation" in lost(verdict)

    def test_a_rate_without_the_calls_is_none(
        self, reference: dict[str, Any], tmp_path: Path
    ) -> None:
        names = {"benchmark_throughput": lambda *_, **__: 5000.0}
        assert verdict_of("5.2", scene_after("5.2", names, tmp_path)).points == 0

    @pytest.mark.parametrize(("task", "key"), [("5.1", "tries"), ("5.2", "runs")])
    def test_tries_cannot_be_left_out_or_added(
        self, task: str, key: str, reference: dict[str, Any], tmp_path: Path
    ) -> None:
        scene = scene_after(task, reference, tmp_path)
        for change in (lambda tries: tries[:1], lambda tries: 2 * tries, lambda tries: []):
            shutil.copytree(scene.made, tmp_path / "kept")
            rewrite(scene, lambda observed, c=change: observed.update({key: c(observed[key])}))
            with pytest.raises(ExchangeError, match="devices"):
                evidence_of(task, scene)
            shutil.rmtree(scene.made)
            (tmp_path / "kept").rename(scene.made)

    def test_the_log_cannot_come_from_the_kernel(
        self, reference: dict[str, Any], tmp_path: Path
    ) -> None:
        scene = scene_after("5.1", {"benchmark_latency": lambda *_, **__: {}}, tmp_path / "one")
        good = scene_after("5.1", reference, tmp_path / "two")
        for path in good.given.iterdir():
            shutil.copy(path, scene.made)
        shutil.copy(good.made / OBSERVED, scene.made / OBSERVED)
        assert verdict_of("5.1", scene).points == 0

    def test_a_function_that_raises_uses_one_device_and_is_told(self, tmp_path: Path) -> None:
        used = []

        def raising(model: Any, *_: Any, **__: Any) -> None:
            used.append(model)
            raise ZeroDivisionError("division by zero")

        scene = scene_after("5.1", {"benchmark_latency": raising}, tmp_path)
        assert "ZeroDivisionError" in verdict_of("5.1", scene).findings[0].measured
        assert len(used) == 1 < TRIES


class TestScores:
    def test_scores_of_another_seed_earn_nothing_for_their_values(
        self, reference: dict[str, Any], tmp_path: Path
    ) -> None:
        scene = scene_after("5.3", reference, tmp_path / "one")
        other = scene_after("5.3", reference, tmp_path / "two", ANOTHER_SEED)
        shutil.copy(other.made / OBSERVED, scene.made / OBSERVED)
        assert {"top-1, in percent", "top-5, in percent"} <= set(lost(verdict_of("5.3", scene)))

    @pytest.mark.parametrize("reported", [[1e300, -1e300], [100.0, 100.0], [0.0, 0.0]])
    def test_made_up_scores_are_wrong(
        self, reported: list[float], reference: dict[str, Any], tmp_path: Path
    ) -> None:
        def fake(observed: dict[str, Any]) -> None:
            observed["square"]["reported"] = observed["uneven"]["reported"] = reported

        scene = scene_after("5.3", reference, tmp_path)
        rewrite(scene, fake)
        assert {"top-1, in percent", "top-5, in percent"} <= set(lost(verdict_of("5.3", scene)))

    def test_an_uneven_run_that_was_left_out_is_no_answer(
        self, reference: dict[str, Any], tmp_path: Path
    ) -> None:
        scene = scene_after("5.3", reference, tmp_path)
        rewrite(scene, lambda observed: observed.update(uneven=None))
        with pytest.raises(ExchangeError, match="uneven"):
            evidence_of("5.3", scene)


class TestEngines:
    @pytest.mark.parametrize("task", ["5.4", "5.5"])
    def test_what_the_kernel_says_of_accuracy_decides_nothing(
        self, task: str, reference: dict[str, Any], tmp_path: Path
    ) -> None:
        scene = scene_after(task, reference, tmp_path)
        name = {"5.4": "resnet50_dynamic_fp16.engine", "5.5": "resnet50_int8.engine"}[task]
        (scene.folder / name).write_bytes(b"no engine")
        verdict = verdict_of(task, scene)
        assert verdict.points == 0
        assert name in verdict.findings[0].measured

    @pytest.mark.parametrize("task", ["5.4", "5.5"])
    def test_a_provided_engine_that_fails_is_nobodys_fault(
        self,
        task: str,
        reference: dict[str, Any],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        (tmp_path / "broken.engine").write_bytes(b"no engine")
        monkeypatch.setattr(artifacts, "provided", lambda name: tmp_path / "broken.engine")
        scene = scene_after(task, reference, tmp_path)
        with pytest.raises(CourseFault, match=r"The provided resnet50_.*\.engine"):
            evidence_of(task, scene)

    def test_a_model_that_is_not_there_is_nobodys_fault(
        self,
        reference: dict[str, Any],
        small_engine: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def gone(self: Digits) -> nn.Module:
            raise ModelError("there are no weights")

        scene = scene_after("5.5", reference, tmp_path)
        shutil.copyfile(small_engine, scene.folder / "resnet50_int8.engine")
        monkeypatch.setattr(type(evaluation.load_workload()), "load_model", gone)
        with pytest.raises(CourseFault, match="The trained model"):
            evidence_of("5.5", scene)

    def test_an_engine_that_answers_nan_is_measured_at_nothing(
        self,
        reference: dict[str, Any],
        small_engine: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def nan(self: LocalBench, engine: Path, images: np.ndarray, batch: int) -> np.ndarray:
            return np.full((len(images), 10), np.nan, np.float32)

        scene = scene_after("5.4", reference, tmp_path)
        shutil.copyfile(small_engine, scene.folder / "resnet50_dynamic_fp16.engine")
        monkeypatch.setattr(LocalBench, "run_engine", nan)
        verdict = verdict_of("5.4", scene)
        assert verdict.points == 0
        assert "NaN" in verdict.findings[0].measured

    @pytest.mark.parametrize("shape", [(10,), (1, 10), (0, 10), (3, 3, 3)])
    def test_an_engine_that_answers_in_another_shape_is_measured_at_nothing(
        self,
        shape: tuple[int, ...],
        reference: dict[str, Any],
        small_engine: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        scene = scene_after("5.5", reference, tmp_path)
        shutil.copyfile(small_engine, scene.folder / "resnet50_int8.engine")
        monkeypatch.setattr(LocalBench, "run_engine", lambda *_: np.zeros(shape, np.bool_))
        assert verdict_of("5.5", scene).points == 0

    def test_labels_are_given_to_nobody(self, reference: dict[str, Any], tmp_path: Path) -> None:
        asked: list[Any] = []

        class Watching(LocalBench):
            def run_engine(self, engine: Path, images: Any, batch: int) -> Any:
                asked.append((engine, images.shape, batch))
                return super().run_engine(engine, images, batch)

        before = scene_after("5.4", reference, tmp_path)
        scene = Scene(before.given, before.made, SEED, before.folder, Watching(), IMAGES)
        evidence_of("5.4", scene)
        assert [shape for _, shape, _ in asked] == [(IMAGES, 3, 224, 224)]


class TestFilesThatAreNoAnswers:
    @pytest.mark.parametrize("task", POINTS)
    def test_a_missing_cut_oversized_or_linked_file_is_no_answer(
        self, task: str, reference: dict[str, Any], tmp_path: Path
    ) -> None:
        scene = scene_after(task, reference, tmp_path)
        file = scene.made / OBSERVED
        whole = file.read_bytes()
        for bad in (whole[:-5], b" " * (5 << 20) + whole, b"[]", b"\x80\x04]."):  # a pickle
            file.write_bytes(bad)
            with pytest.raises(ExchangeError, match=r"observed\.json"):
                evidence_of(task, scene)
        (tmp_path / "elsewhere").write_bytes(whole)
        for replace in (lambda: file.symlink_to(tmp_path / "elsewhere"), lambda: os.mkfifo(file)):
            file.unlink()
            replace()
            with pytest.raises(ExchangeError, match=r"observed\.json"):
                evidence_of(task, scene)

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", '"a"', "[1]"])
    def test_what_is_no_finite_number_is_no_answer(
        self, number: str, reference: dict[str, Any], tmp_path: Path
    ) -> None:
        scene = scene_after("5.2", reference, tmp_path)
        text = (scene.made / OBSERVED).read_text()
        first = json.loads(text)["runs"][0]["reported"]
        (scene.made / OBSERVED).write_text(text.replace(json.dumps(first), number, 1))
        with pytest.raises(ExchangeError, match="reported"):
            evidence_of("5.2", scene)
