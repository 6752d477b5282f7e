"""Lab 5: its engines on fresh images, the results file, and its pictures."""

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sample_results import sample_results
from trtlab.backend import IS_EMULATED
from trtlab.build import BuildSpec, Precision, ShapeProfile, build_engine
from trtlab.infer import TensorRTInference
from trtlab.lab import artifacts, evaluation, session
from trtlab.lab.bench import LocalBench
from trtlab.lab.fake_model import AsynchronousModel
from trtlab.lab.hints import hints_for
from trtlab.lab.pictures5 import (
    Watched,
    accuracy_figure,
    latency_figure,
    loss_figure,
    speedup_view,
    throughput_figure,
    timeline_figure,
    times_table,
)
from trtlab.lab.session import verdict_on
from trtlab.results import BenchmarkSettings, write_results
from trtlab.workloads import Digits

IMAGES = 40
PROFILE = ShapeProfile(min=1, opt=2, max=4)


def top_classes(model: Any, val_loader: Any, num_samples: int) -> tuple[float, float]:
    """A student's `evaluate_accuracy`, shorter."""
    images, labels = (torch.cat(parts)[:num_samples] for parts in zip(*val_loader, strict=True))
    best = np.argsort(-np.asarray(model(images.numpy())), axis=1) == labels.numpy()[:, None]
    return 100 * best[:, 0].mean(), 100 * best[:, :5].any(axis=1).mean()


def not_written(*_: Any) -> None:
    raise NotImplementedError


@pytest.fixture
def small_course(monkeypatch: pytest.MonkeyPatch, small_net: nn.Module) -> None:
    """The course's workload, with a small network in place of its model."""

    class SmallDigits(Digits):
        def load_model(self) -> nn.Module:
            return small_net

    workload = SmallDigits("resnet50-slim", None)
    monkeypatch.setattr(evaluation, "load_workload", lambda: workload)
    monkeypatch.setattr(evaluation, "_known", {})


SETTINGS = BenchmarkSettings(batch_sizes=(1, 2), iterations=3, warmup=1, pairs=3, throughput_s=0.02)


@pytest.mark.usefixtures("small_course")
def test_fresh_accuracy_agrees_with_counting_image_by_image(
    small_engine: Path, small_net: nn.Module
) -> None:
    measured = evaluation.fresh_accuracy({"fp16": small_engine}, IMAGES)
    dataset = evaluation.load_workload().dataset("validation", IMAGES, evaluation.FRESH_SEED)
    right = {"pytorch-fp32": 0, "tensorrt-fp16": 0}
    with TensorRTInference(small_engine) as engine, torch.inference_mode():
        for index in range(IMAGES):
            image, label = dataset[index]
            batch = image[None].numpy()
            right["pytorch-fp32"] += int(small_net(image[None]).argmax()) == label
            right["tensorrt-fp16"] += int(engine(batch).argmax()) == label
    assert {name: measured[name][0].top1 for name in right} == {
        name: pytest.approx(100 * count / IMAGES) for name, count in right.items()
    }
    assert measured["pytorch-fp32"][1] is None


@pytest.mark.usefixtures("small_course")
def test_an_engine_is_classified_once_and_again_when_its_file_has_changed(
    small_engine: Path, small_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[list[str]] = []
    count_hits = evaluation.count_hits

    def counting(predicts: Any, loader: Any) -> Any:
        runs.append(sorted(predicts))
        return count_hits(predicts, loader)

    monkeypatch.setattr(evaluation, "count_hits", counting)
    engines = {"fp16": small_engine}
    first = evaluation.fresh_accuracy(engines, IMAGES)
    assert evaluation.fresh_accuracy(engines, IMAGES) == first
    assert len(runs) == 1
    changed = tmp_path / "small.engine"
    build_engine(small_onnx, changed, BuildSpec(precision=Precision.FP32, profiles=(PROFILE,)))
    evaluation.fresh_accuracy({"fp16": changed}, IMAGES)
    assert runs[1:] == [["tensorrt-fp16"]]


@pytest.mark.usefixtures("small_course")
def test_the_results_file_has_every_runner_under_the_names_that_lab_6_reads(
    small_engine: Path, small_onnx: Path, tmp_path: Path
) -> None:
    results = evaluation.measure_for_report(
        {"fp16": small_engine, "int8": small_engine}, IMAGES, SETTINGS, onnx=small_onnx
    )
    assert results.complete
    names = {runner.name for runner in results.runners}
    assert {"pytorch-fp32", "tensorrt-fp16", "tensorrt-int8"} <= names
    for runner in results.runners:
        assert [batch.batch_size for batch in runner.batches] == [1, 2]
        assert runner.accuracy is not None
        assert runner.accuracy.images == IMAGES
    engine = results.runner("tensorrt-fp16")
    assert engine is not None
    assert engine.accuracy_change is not None
    assert engine.sizes.engine == small_engine.stat().st_size
    assert engine.sizes.onnx == small_onnx.stat().st_size
    assert any(t.quantity == "accuracy loss" and t.measured is not None for t in results.targets)
    write_results(tmp_path / "results.json", results)


@pytest.mark.usefixtures("small_course")
def test_an_engine_on_a_bench_agrees_with_counting_image_by_image(
    small_engine: Path, small_net: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "BENCH_IMAGES", 16)
    compared = evaluation.compare_with_pytorch(small_engine, LocalBench(), IMAGES, seed=3)
    dataset = evaluation.load_workload().dataset("validation", IMAGES, 3)
    gained = lost = 0
    with TensorRTInference(small_engine) as engine, torch.inference_mode():
        for index in range(IMAGES):
            image, label = dataset[index]
            theirs = int(small_net(image[None]).argmax()) == label
            ours = int(engine(image[None].numpy()).argmax()) == label
            gained, lost = gained + (ours and not theirs), lost + (theirs and not ours)
    assert (compared.change.gained, compared.change.lost) == (gained, lost)
    assert compared.change.images == IMAGES


@pytest.mark.usefixtures("small_course")
def test_pytorch_is_run_once_for_the_same_images(
    small_engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[list[str]] = []
    count_hits = evaluation.count_hits

    def counting(predicts: Any, loader: Any) -> Any:
        runs.append(sorted(predicts))
        return count_hits(predicts, loader)

    monkeypatch.setattr(evaluation, "count_hits", counting)
    for seed in (1, 1, 2):
        evaluation.compare_with_pytorch(small_engine, LocalBench(), IMAGES, seed)
    assert runs == [["engine", "pytorch-fp32"], ["engine"], ["engine", "pytorch-fp32"]]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of lab 5, current, in an empty course."""
    folder = tmp_path / "05-benchmark"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(session, "IMAGES", IMAGES)
    return folder


@pytest.mark.usefixtures("small_course")
def test_the_check_of_an_engine_needs_the_students_own_function(
    lab: Path, small_engine: Path
) -> None:
    (lab.parent / "02-build").mkdir()
    shutil.copy(small_engine, lab.parent / "02-build/resnet50_dynamic_fp16.engine")
    assert verdict_on("5.4", {}).state == "not started"
    assert verdict_on("5.4", {"evaluate_accuracy": not_written}).state == "not started"
    verdict = verdict_on("5.4", {"evaluate_accuracy": top_classes})
    assert verdict.points == 6
    assert "your engine" in verdict.findings[0].criterion


@pytest.mark.usefixtures("small_course")
def test_an_engine_that_is_not_one_is_reported_by_its_name(lab: Path) -> None:
    (lab / "resnet50_int8.engine").write_bytes(b"half")
    verdict = verdict_on("5.5", {"evaluate_accuracy": top_classes})
    assert verdict.points == 0
    assert "resnet50_int8.engine" in verdict.findings[0].measured


@pytest.mark.usefixtures("small_course")
def test_without_an_engine_the_provided_one_is_measured(
    lab: Path, small_engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "provided", lambda name: small_engine)
    (lab.parent / "03-calibrate").symlink_to(small_engine.parent)  # nor is a link one
    (lab / "resnet50_int8.engine").symlink_to(small_engine)
    verdict = verdict_on("5.5", {"evaluate_accuracy": top_classes})
    assert verdict.points == 9
    assert "the provided engine" in verdict.findings[0].criterion


# Pictures and hints


def texts(figure: Any) -> str:
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [text.get_text() for text in axes.texts]
        found += [axes.get_title(), axes.get_xlabel(), *axes.get_legend_handles_labels()[1]]
        found += [label.get_text() for label in axes.get_yticklabels()]
    return "\n".join(found)


def test_the_latency_picture_shows_the_reported_figures_and_the_badge() -> None:
    watched = Watched(lambda inputs: time.sleep(1e-3))
    for _ in range(12):
        watched(None)
    statistics = {"mean_ms": 5.0, "median_ms": 4.0, "p95_ms": 12.3, "p99_ms": 45.6, "std_ms": 1.0}
    said = texts(latency_figure({"TensorRT FP16": statistics}, {"TensorRT FP16": watched}, 2))
    assert "p95 12.3 ms" in said
    assert "p99 45.6 ms" in said
    assert ("Emulated on the CPU" in said) is IS_EMULATED


def test_a_table_of_times_carries_the_badge_and_escapes_what_it_shows() -> None:
    forms = times_table({"a <b>": {"mean_ms": 1.25, 8: 2000.0}}, "ms")._repr_mimebundle_()
    assert "a &lt;b&gt;" in forms["text/html"]
    assert "1.25" in forms["text/plain"]
    assert "2,000" in forms["text/plain"]
    assert all(("Emulated on the CPU" in text) is IS_EMULATED for text in forms.values())


def test_the_other_pictures_draw_what_they_are_given() -> None:
    model = AsynchronousModel([2.0])
    model()
    model.synchronize()
    assert "call 1" in texts(timeline_figure(model))
    rates = {"PyTorch FP32": {1: 10.0, 2: 20.0}, "TensorRT INT8": {1: 30.0, 2: 60.0}}
    assert "TensorRT INT8" in texts(throughput_figure(rates))
    assert "97.00" in texts(accuracy_figure({"TensorRT FP16": (97.0, 100.0)}, 200))


@pytest.mark.usefixtures("small_course")
def test_the_loss_picture_shows_the_limit_of_each_precision(small_engine: Path) -> None:
    fresh = evaluation.fresh_accuracy({"fp16": small_engine, "int8": small_engine}, IMAGES)
    said = texts(loss_figure(fresh))
    assert "limit 0.1" in said
    assert "limit 1" in said


def test_guesses_meet_measurements_only_where_time_is_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    emulated = speedup_view(sample_results(emulated=True), batch_size=8, others={})
    assert "needs a GPU" in str(getattr(emulated, "data", ""))
    real = speedup_view(sample_results(emulated=False), batch_size=8, others={"gain": 10.0})
    assert {"FP16 speed-up", "INT8 speed-up", "gain"} <= set(texts(real).split("\n"))


@pytest.mark.parametrize("task", ["5.1", "5.2", "5.3", "5.4", "5.5"])
def test_every_task_has_three_hints(task: str) -> None:
    assert all(len(rung) > 40 for rung in hints_for(task))
