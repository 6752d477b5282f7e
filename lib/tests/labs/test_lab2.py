"""Lab 2: its checks on evidence of every kind, and its collectors on functions of every kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from trtlab.backend import IS_EMULATED, trt
from trtlab.backend.compat import explicit_batch_flags
from trtlab.build import BuildSpec, ShapeProfile, build_engine
from trtlab.checks import lab2
from trtlab.checks.diagnosis2 import PATH_IGNORED, WRONG_TENSOR
from trtlab.checks.evidence import Attempt, Evidence
from trtlab.checks.evidence2 import (
    Asked,
    Build,
    DynamicEngineEvidence,
    EngineFacts,
    Fp16EngineEvidence,
    RequestedShapes,
    RunFacts,
    SizeEvidence,
    SpeedEvidence,
    SpeedFacts,
)
from trtlab.checks.registry import judge
from trtlab.checks.verdict import Finding, Verdict
from trtlab.lab import collect2, recording
from trtlab.lab.hints import hints_for
from trtlab.lab.pictures2 import show_build, show_layers, show_profile, show_speedups
from trtlab.lab.pictures2_roofline import show_roofline
from trtlab.lab.recording import call_build
from trtlab.lab.session import verdict_on
from trtlab.results import PairedComparison

DONE = Attempt(stage="done", what="build_engine_fp16")
RAISED = Attempt(stage="raised", what="build_engine_fp16", error="RuntimeError: cannot")
LOGGER = trt.Logger(trt.Logger.INTERNAL_ERROR)


def good_build() -> Build:
    shapes = RequestedShapes(tensor="input", min=(1, 3), opt=(8, 3), max=(32, 3))
    asked = Asked(
        parsed=True, built=True, shapes=[shapes], profiles_added=1, workspace_bytes=2 << 30
    )
    return Build(
        attempt=DONE, asked=asked, made_engine=True, returned="a value", file_size=9, path_used=True
    )


def good_engine(*batches: int, **changes: Any) -> EngineFacts:
    facts: dict[str, Any] = {
        "file": "x.engine",
        "size": 1000,
        "returned": "the file",
        "precisions": {"FP16": 55, "FP32": 2},
        "profile": (1, 8, 32),
        "runs": [RunFacts(batch=batch, relative_error=1e-3) for batch in batches],
    }
    return EngineFacts(**{**facts, **changes})


def fp16_evidence(**changes: Any) -> Fp16EngineEvidence:
    facts: dict[str, Any] = {
        "attempt": DONE,
        "engine": good_engine(1),
        "other_model": good_build(),
        "unparsable": Build(attempt=RAISED, asked=Asked(parsed=False)),
        "failed": Build(attempt=RAISED, asked=Asked(parsed=True, built=True)),
    }
    return Fp16EngineEvidence(**{**facts, **changes})


def dynamic_evidence(engine: EngineFacts) -> DynamicEngineEvidence:
    return DynamicEngineEvidence(attempt=DONE, engine=engine, other_model=good_build())


def failed(verdict: Verdict) -> list[Finding]:
    return [finding for finding in verdict.findings if finding.points < finding.max_points]


def only_failed(task: str, evidence: Evidence) -> Finding:
    """Return the one finding that lost points; evidence goes through JSON, as in the grader."""
    again = type(evidence).model_validate_json(evidence.model_dump_json())
    (finding,) = failed(judge(task, again))
    assert finding.next_step
    return finding


# Checks, on evidence made by hand


def test_good_evidence_earns_all_points() -> None:
    assert judge("2.1", fp16_evidence()).points == 5
    assert judge("2.2", dynamic_evidence(good_engine(1, 5, 32))).points == 5


@pytest.mark.parametrize(
    ("precisions", "likely"),
    [
        ({"FP32": 57}, lab2.FP32_LABELLED),
        ({"TF32": 50, "FP16": 7}, lab2.FP32_LABELLED),
        ({"unknown": 57}, lab2.NAMES_ONLY),
        ({"FP16": 50, "INT8": 7}, lab2.FP32_LABELLED),
    ],
)
def test_precision_is_what_the_inspector_says(precisions: dict[str, int], likely: str) -> None:
    engine = good_engine(1, precisions=precisions)
    finding = only_failed("2.1", fp16_evidence(engine=engine))
    assert finding.max_points == 1
    assert finding.misconception == likely


@pytest.mark.parametrize(
    "run",
    [
        RunFacts(batch=1, relative_error=0.06),
        RunFacts(batch=1, relative_error=None),  # NaN
        RunFacts(batch=1, problem="the output has shape (1, 9), not (1, 10)"),
    ],
)
def test_wrong_answers_and_nan_earn_nothing(run: RunFacts) -> None:
    finding = only_failed("2.1", fp16_evidence(engine=good_engine(runs=[run])))
    assert (finding.points, finding.max_points) == (0, 1)


@pytest.mark.parametrize("returned", ["not called", "nothing", "no plan", "another plan"])
def test_the_function_must_return_what_it_wrote(returned: str) -> None:
    finding = only_failed("2.1", fp16_evidence(engine=good_engine(1, returned=returned)))
    assert finding.max_points == 1


def test_a_file_left_by_a_failed_build_is_named_for_what_it_is() -> None:
    left = Build(attempt=RAISED, asked=Asked(parsed=True, built=True), file_size=0)
    finding = only_failed("2.1", fp16_evidence(failed=left))
    assert finding.misconception == lab2.WRITTEN_BEFORE_CHECKED
    assert "a file of 0 bytes" in finding.measured


def test_going_on_after_a_parse_error_is_a_failure_even_if_the_build_then_raises() -> None:
    went_on = Build(attempt=RAISED, asked=Asked(parsed=False, built=True))
    finding = only_failed("2.1", fp16_evidence(unparsable=went_on))
    assert finding.misconception == lab2.ERRORS_IGNORED


def test_a_check_of_the_file_before_the_parser_is_as_good() -> None:
    assert judge("2.1", fp16_evidence(unparsable=Build(attempt=RAISED))).points == 5


def test_a_function_that_returns_at_once_has_stopped_at_nothing() -> None:
    nothing = Build(attempt=DONE)
    verdict = judge("2.1", fp16_evidence(unparsable=nothing, failed=nothing))
    assert [finding.max_points for finding in failed(verdict)] == [0.5, 0.5]


def test_a_workspace_that_cannot_be_observed_costs_nothing() -> None:
    build = good_build()
    build.asked.workspace_bytes = None
    assert judge("2.1", fp16_evidence(other_model=build)).points == 5


@pytest.mark.parametrize(
    ("profile", "likely"),
    [
        ((1, 8, 16), lab2.PROFILE_TOO_SMALL),
        ((8, 8, 8), lab2.PROFILE_STATIC),
        ((1, 32, 32), lab2.WRONG_OPT),
        ((1, 8, 64), None),
    ],
)
def test_the_profile_must_be_exactly_the_one_asked_for(
    profile: tuple[int, int, int], likely: str | None
) -> None:
    finding = only_failed("2.2", dynamic_evidence(good_engine(1, 5, 32, profile=profile)))
    assert finding.max_points == 1.5
    assert finding.misconception == likely


def test_each_batch_earns_its_own_points() -> None:
    runs = [RunFacts(batch=1, relative_error=1e-3), RunFacts(batch=5, problem="refused")]
    runs.append(RunFacts(batch=32, relative_error=1e-3))
    finding = only_failed("2.2", dynamic_evidence(good_engine(runs=runs)))
    assert (finding.criterion, finding.max_points) == ("right answers at batch 5", 0.5)


def speed_evidence(low: float, high: float, **changes: Any) -> SpeedEvidence:
    speedup = PairedComparison(speedup=(low + high) / 2, low=low, high=high, pairs=100)
    files = {1: "resnet50_fp16.engine", 8: "resnet50_dynamic_fp16.engine"}
    facts = [
        SpeedFacts(**{"file": file, "batch": batch, "speedup": speedup, **changes})
        for batch, file in files.items()
    ]
    return SpeedEvidence(attempt=DONE, emulated=False, speedups=facts)


@pytest.mark.parametrize(
    ("low", "high", "state", "points"),
    [(2.5, 3, "pass", 12), (1.9, 2.1, "inconclusive", 12), (1.2, 1.4, "fail", 0)],
)
def test_a_speed_up_is_judged_by_its_interval(
    low: float, high: float, state: str, points: float
) -> None:
    verdict = judge("2.3", speed_evidence(low, high))
    assert (verdict.state, verdict.points) == (state, points)


def test_speed_of_an_engine_that_is_not_fp16_earns_nothing() -> None:
    verdict = judge("2.3", speed_evidence(3, 4, is_fp16=False))
    assert verdict.points == 0
    assert verdict.misconceptions == (lab2.FP32_LABELLED,)


def test_speed_and_size_wait_for_a_gpu_on_the_emulation() -> None:
    speeds = speed_evidence(3, 4, speedup=None)
    speeds.emulated = True
    assert judge("2.3", speeds).state == "needs a GPU"
    sizes = SizeEvidence(attempt=DONE, emulated=True, file="x", fp16_bytes=1, fp32_bytes=9)
    assert judge("2.4", sizes).state == "needs a GPU"


def test_without_an_engine_speed_and_size_fail_wherever_they_are_judged() -> None:
    for emulated in (True, False):
        speeds = speed_evidence(3, 4, speedup=None, problem="there is no engine")
        speeds.emulated = emulated
        assert judge("2.3", speeds).state == "fail"
        sizes = SizeEvidence(
            attempt=DONE, emulated=emulated, file="x", fp16_bytes=None, fp32_bytes=9
        )
        assert judge("2.4", sizes).state == "fail"


@pytest.mark.parametrize(("fp16", "points"), [(48_500_000, 3), (95_000_000, 0)])
def test_the_size_ratio_is_judged_on_a_gpu(fp16: int, points: float) -> None:
    evidence = SizeEvidence(
        attempt=DONE, emulated=False, file="x", fp16_bytes=fp16, fp32_bytes=95_300_000
    )
    assert judge("2.4", evidence).points == points


# Collectors, on functions

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


def test_a_recording_tells_what_was_asked_of_the_builder() -> None:
    build = call_build(build_well, "build_well")
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
    call_build(build_well, "build_well")
    call_build(lambda onnx, engine: 1 / 0, "broken")
    assert before == (Path.cwd(), trt.Builder.create_network, trt.OnnxParser.parse_from_file)


def test_failures_are_provoked_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    noisy = trt.Logger(trt.Logger.WARNING)

    def build(onnx_path: str, engine_path: str) -> None:
        network = trt.Builder(noisy).create_network(explicit_batch_flags(trt))
        print("hello", trt.OnnxParser(network, noisy).parse_from_file(onnx_path))

    assert call_build(build, "build", parsable=False).asked.parsed is False
    assert capfd.readouterr() == ("", "")


def test_a_build_that_is_made_to_fail_ends_as_tensorrt_ends_it() -> None:
    build = call_build(build_well, "build_well", fail=True)
    assert build.asked.built
    assert not build.made_engine
    assert build.stopped


def test_a_profile_for_another_tensor_is_recognised() -> None:
    build = call_build(lambda o, e: build_well(o, e, tensor="data"), "build")
    engine = EngineFacts(file="x.engine", runs=[RunFacts(batch=1, problem="no file")])
    verdict = judge("2.1", fp16_evidence(engine=engine, other_model=build))
    assert WRONG_TENSOR in verdict.misconceptions


def test_a_function_that_builds_another_file_does_not_get_to_build_it(small_onnx: Path) -> None:
    build = call_build(lambda o, e: build_well(str(small_onnx), e), "build")
    assert build.path_used is False
    assert not build.made_engine
    assert PATH_IGNORED in judge("2.1", fp16_evidence(other_model=build)).misconceptions


@pytest.mark.gpu
@pytest.mark.skipif(IS_EMULATED, reason="needs real TensorRT")
def test_real_tensorrt_can_be_recorded_too() -> None:
    built = call_build(build_well, "build_well")
    assert built.made_engine
    assert built.asked.workspace_bytes == 1 << 30
    assert [shapes.tensor for shapes in built.asked.shapes] == ["input"]
    unparsable = call_build(build_well, "build_well", parsable=False)
    assert unparsable.asked.parsed is False
    assert unparsable.asked.parser_errors
    assert unparsable.stopped
    assert call_build(build_well, "build_well", fail=True).stopped
    other_tensor = call_build(lambda o, e: build_well(o, e, tensor="data"), "build")
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


@pytest.fixture
def engine_in_folder(
    small_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., EngineFacts]:
    """Build an engine of a small model for batches 1 to 4 and look at it as the check does."""
    monkeypatch.chdir(tmp_path)
    spec = BuildSpec(profiles=(ShapeProfile(min=1, opt=2, max=4),))
    build_engine(small_onnx, "x.engine", spec)

    def look(batches: tuple[int, ...] = (1, 4), **names: Any) -> EngineFacts:
        names = {"ONNX": str(small_onnx), **names}
        return collect2._engine_facts(names, "x.engine", "engine", batches)

    return look


def test_an_engine_is_compared_with_its_onnx_file_on_fresh_images(
    engine_in_folder: Callable[..., EngineFacts],
) -> None:
    facts = engine_in_folder(engine=Path("x.engine").read_bytes())
    assert facts.returned == "the file"
    assert facts.profile == (1, 2, 4)
    assert set(facts.precisions) == {"FP16"}
    assert all(0 < (run.relative_error or 0) < 0.01 for run in facts.runs)


def test_a_batch_outside_the_profile_is_a_problem_and_no_crash(
    engine_in_folder: Callable[..., EngineFacts],
) -> None:
    inside, outside = engine_in_folder(batches=(4, 5)).runs
    assert inside.relative_error is not None
    assert "profile" in outside.problem


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "nothing"), (b"other", "another plan"), ("x.engine", "no plan")],
)
def test_what_was_returned_is_held_against_the_file(
    engine_in_folder: Callable[..., EngineFacts], value: Any, expected: str
) -> None:
    assert engine_in_folder(engine=value).returned == expected


def test_a_damaged_engine_is_told_by_its_load_error(
    engine_in_folder: Callable[..., EngineFacts],
) -> None:
    Path("x.engine").write_bytes(b"")
    facts = engine_in_folder()
    assert "empty" in facts.load_error
    assert facts.profile is None
    assert all(run.problem for run in facts.runs)


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
