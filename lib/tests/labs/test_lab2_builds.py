"""Lab 2: recordings of build functions, looks into engines, and the pictures made of both."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from trtlab.backend import IS_EMULATED, trt
from trtlab.backend.compat import explicit_batch_flags
from trtlab.checks.diagnosis2 import WRONG_TENSOR, why_no_engine
from trtlab.checks.evidence2 import Build, EngineFacts
from trtlab.lab import recording
from trtlab.lab.bench import LocalBench
from trtlab.lab.hints import hints_for
from trtlab.lab.onnx_facts import Runner, onnx_runner
from trtlab.lab.pictures2 import show_build, show_layers, show_profile, show_speedups
from trtlab.lab.pictures2_roofline import show_roofline
from trtlab.lab.predictions import predict
from trtlab.lab.probes.lab2_engines import engine_facts
from trtlab.lab.recording import small_model
from trtlab.lab.session import verdict_on
from trtlab.results import PairedComparison

LOGGER = trt.Logger(trt.Logger.INTERNAL_ERROR)

SHAPES = ((1, 3, 224, 224), (2, 3, 224, 224), (4, 3, 224, 224))


def build_well(onnx_path: str, engine_path: str, tensor: str = "input") -> Any:
    builder = trt.Builder(LOGGER)
    network = builder.create_network(explicit_batch_flags(trt))
    parser = trt.OnnxParser(network, LOGGER)
    if not parser.parse_from_file(onnx_path):
        return None
    config = builder.create_builder_config()
    config.set_flag(trt.BuilderFlag.FP16)
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1 << 30)
    profile = builder.create_optimization_profile()
    profile.set_shape(tensor, *SHAPES)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is not None:
        Path(engine_path).write_bytes(plan)
    return plan


def call_build(
    function: recording.BuildFunction, *, parsable: bool = True, fail: bool = False
) -> Build:
    """Call a build function as the probe does, on a small model."""
    model = small_model(parsable=parsable).SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.engine"
        return recording.call_build(function, "build", model, path, fail=fail)


def test_a_recording_tells_what_was_asked_of_the_builder() -> None:
    build = call_build(build_well)
    asked = build.asked
    assert (asked.explicit_batch, asked.parsed, asked.built) == (True, True, True)
    assert [(s.tensor, s.min, s.opt, s.max) for s in asked.shapes] == [("input", *SHAPES)]
    assert asked.profiles_added == 1
    assert "FP16" in asked.flags
    assert "INT8" not in asked.flags
    assert asked.workspace_bytes == 1 << 30
    assert asked.layers == 5
    assert build.made_engine
    assert build.path_used
    assert build.file_size


def test_a_recording_leaves_tensorrt_and_the_folder_as_they_were() -> None:
    before = (Path.cwd(), trt.Builder.create_network, trt.OnnxParser.parse_from_file)
    call_build(build_well)
    call_build(lambda onnx, engine: 1 / 0)
    assert before == (Path.cwd(), trt.Builder.create_network, trt.OnnxParser.parse_from_file)


def test_failures_are_provoked_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    noisy = trt.Logger(trt.Logger.WARNING)

    def build(onnx_path: str, engine_path: str) -> None:
        network = trt.Builder(noisy).create_network(explicit_batch_flags(trt))
        print("hello", trt.OnnxParser(network, noisy).parse_from_file(onnx_path))

    assert call_build(build, parsable=False).asked.parsed is False
    assert capfd.readouterr() == ("", "")


def test_a_build_that_is_made_to_fail_ends_as_tensorrt_ends_it() -> None:
    build = call_build(build_well, fail=True)
    assert build.asked.built
    assert not build.made_engine
    assert build.stopped


def test_a_profile_for_another_tensor_is_recognised() -> None:
    build = call_build(lambda o, e: build_well(o, e, tensor="data"))
    problem = why_no_engine(build)
    assert problem is not None
    assert WRONG_TENSOR in problem


def test_a_function_that_builds_another_file_does_not_get_to_build_it(small_onnx: Path) -> None:
    build = call_build(lambda o, e: build_well(str(small_onnx), e))
    assert build.path_used is False
    assert not build.made_engine


@pytest.mark.gpu
@pytest.mark.skipif(IS_EMULATED, reason="needs real TensorRT")
def test_real_tensorrt_can_be_recorded_too() -> None:
    built = call_build(build_well)
    assert built.made_engine
    assert built.asked.workspace_bytes == 1 << 30
    assert [shapes.tensor for shapes in built.asked.shapes] == ["input"]
    unparsable = call_build(build_well, parsable=False)
    assert unparsable.asked.parsed is False
    assert unparsable.asked.parser_errors
    assert unparsable.stopped
    assert call_build(build_well, fail=True).stopped
    other_tensor = call_build(lambda o, e: build_well(o, e, tensor="data"))
    assert other_tensor.asked.built
    assert not other_tensor.made_engine


@pytest.mark.parametrize("task", ["2.1", "2.2"])
def test_a_missing_function_and_one_not_started_are_told_apart(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_started(onnx_path: str, engine_path: str) -> None:
        raise NotImplementedError

    monkeypatch.chdir(tmp_path)
    name = {"2.1": "build_engine_fp16", "2.2": "build_engine_dynamic"}[task]
    assert "does not exist" in verdict_on(task, {}).findings[0].measured
    assert "NotImplementedError" in verdict_on(task, {name: not_started}).findings[0].measured


# Engines


@pytest.fixture
def look(small_onnx: Path, small_engine: Path, tmp_path: Path) -> Callable[..., EngineFacts]:
    """Look at a copy of a small model's engine, for batches 1 to 4, as the probe does."""
    images = np.random.default_rng(0).standard_normal((8, 3, 224, 224), np.float32)
    path = tmp_path / "x.engine"
    path.write_bytes(small_engine.read_bytes())

    own = onnx_runner(small_onnx)

    def look_at(*batches: int, reference: Runner = own) -> EngineFacts:
        return engine_facts(LocalBench(), path, batches, images, reference)

    return look_at


def test_an_engine_is_compared_with_its_model(look: Callable[..., EngineFacts]) -> None:
    facts = look(1, 4)
    assert facts.problem == ""
    assert facts.profile == (1, 2, 4)
    assert set(facts.precisions) == {"FP16"}
    assert [run.batch for run in facts.runs] == [1, 4]
    assert all(0 < (run.relative_error or 0) < 0.01 for run in facts.runs)


def test_an_engine_that_may_be_of_any_batch_is_run_at_the_one_it_is_tuned_for(
    look: Callable[..., EngineFacts],
) -> None:
    assert [run.batch for run in look().runs] == [2]


def test_a_batch_outside_the_profile_is_a_problem_and_no_crash(
    look: Callable[..., EngineFacts],
) -> None:
    inside, outside = look(4, 5).runs
    assert inside.relative_error is not None
    assert "profile" in outside.problem


def test_an_engine_of_another_model_is_found_out(
    look: Callable[..., EngineFacts], small_onnx: Path
) -> None:
    right = onnx_runner(small_onnx)
    assert "they differ by" in look(1, reference=lambda images: right(images) + 1).problem
    assert "shape" in look(1, reference=lambda images: right(images)[:, :3]).problem


@pytest.mark.parametrize("what", ["empty", "truncated", "absent", "a link", "a folder"])
def test_what_is_no_engine_is_told_and_not_run(
    look: Callable[..., EngineFacts], tmp_path: Path, what: str
) -> None:
    path = tmp_path / "x.engine"
    plan = path.read_bytes()
    path.unlink()
    if what == "empty":
        path.write_bytes(b"")
    elif what == "truncated":
        path.write_bytes(plan[:1000])
    elif what == "a link":
        (tmp_path / "good.engine").write_bytes(plan)
        path.symlink_to("good.engine")
    elif what == "a folder":
        path.mkdir()
    facts = look(1, 4)
    assert facts.problem
    assert (facts.size is None) == (what in ("absent", "a link", "a folder"))
    assert facts.profile is None
    assert [bool(run.problem) for run in facts.runs] == [True, True]


# Pictures and hints


def texts(figure: Any) -> str:
    return "\n".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_the_picture_of_a_build_shows_what_the_function_asked_for() -> None:
    drawn = texts(show_build(build_well))
    assert "input\n1/2/4" in drawn
    assert "workspace 1 GiB" in drawn
    assert "5 layers" in drawn


def test_the_picture_of_an_unwritten_build_shows_no_results() -> None:
    def build_engine_fp16(onnx_path: str, engine_path: str) -> None:
        raise NotImplementedError

    figure = show_build(build_engine_fp16)
    assert "not written yet" in figure.axes[0].get_title(loc="left")
    assert "GiB" not in texts(figure)


def test_the_picture_of_layers_counts_nodes_and_layers(
    small_onnx: Path, small_engine: Path
) -> None:
    drawn = texts(show_layers(small_onnx, small_engine))
    assert "7 ONNX nodes" in drawn
    assert "Conv + Relu, FP16" in drawn


def test_the_picture_of_a_profile_names_its_bounds(small_engine: Path) -> None:
    figure = show_profile(small_engine)
    assert "batches 1 to 4" in figure.axes[0].get_title(loc="left")
    assert "tuned for 2" in texts(figure)


@pytest.mark.skipif(not IS_EMULATED, reason="tells what the emulation says")
def test_pictures_of_speed_say_that_they_need_a_gpu(
    small_onnx: Path, small_engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "needs a GPU" in texts(show_speedups({1: None, 8: None}))
    roofline = show_roofline(small_onnx, small_engine)
    assert "needs a GPU" in roofline.axes[0].get_title(loc="left")


def test_the_guess_stands_beside_the_speedup_at_batch_1_and_each_batch_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    predict("FP16 speed-up", 4)
    measured = {
        batch: PairedComparison(speedup=ratio, low=ratio, high=ratio, pairs=5)
        for batch, ratio in ((8, 2.8), (1, 5.6))
    }
    figure = show_speedups(measured)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "at batch 8",
        "FP16 speed-up",
    ]
    assert texts(figure).count("4x guessed") == 1


@pytest.mark.parametrize("task", ["2.1", "2.2", "2.3", "2.4"])
def test_every_checked_task_has_three_different_hints(task: str) -> None:
    assert len(set(hints_for(task))) == 3


def test_the_broken_model_is_valid_onnx_with_one_unknown_operator() -> None:
    good, bad = recording.small_model(), recording.small_model(parsable=False)
    onnx.checker.check_model(good, full_check=True)
    onnx.checker.check_model(bad)  # so that a check before the parser does not find it
    pairs = zip(good.graph.node, bad.graph.node, strict=True)
    differing = [new.op_type for old, new in pairs if old.op_type != new.op_type]
    assert differing == ["NoSuchOperator"]
