"""Lab 2's checks, on evidence of every kind."""

from typing import Any

import pytest

from trtlab.checks import lab2
from trtlab.checks.diagnosis2 import PATH_IGNORED
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
from trtlab.results import PairedComparison

DONE = Attempt(stage="done", what="build_engine_fp16")
RAISED = Attempt(stage="raised", what="build_engine_fp16", error="RuntimeError: cannot")


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
        "other_engine": good_engine(8),
        "unparsable": Build(attempt=RAISED, asked=Asked(parsed=False)),
        "failed": Build(attempt=RAISED, asked=Asked(parsed=True, built=True)),
    }
    return Fp16EngineEvidence(**{**facts, **changes})


def dynamic_evidence(engine: EngineFacts, **changes: Any) -> DynamicEngineEvidence:
    facts = {"other_model": good_build(), "other_engine": good_engine(8), **changes}
    return DynamicEngineEvidence(attempt=DONE, engine=engine, **facts)


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


@pytest.mark.parametrize(
    ("change", "measured"),
    [
        ({"profile": (1, 4, 32)}, "min 1 / opt 4 / max 32"),
        ({"runs": [RunFacts(batch=8, relative_error=0.7)]}, "they differ by 7.0e-01"),
        ({"size": None, "runs": []}, "there is no x.engine"),
    ],
)
def test_the_function_must_make_that_profile_for_any_model(
    change: dict[str, Any], measured: str
) -> None:
    other = good_engine(**{"runs": [RunFacts(batch=8, relative_error=1e-3)], **change})
    finding = only_failed("2.2", dynamic_evidence(good_engine(1, 5, 32), other_engine=other))
    assert (finding.criterion, finding.max_points) == ("the profile's batches", 1.5)
    assert measured in finding.measured


WRONG_ENGINES = [
    {"size": None},
    {"load_error": "truncated"},
    {"runs": [RunFacts(batch=8, relative_error=0.9)]},
    {"runs": [RunFacts(batch=8)]},  # NaN
    {"runs": [RunFacts(batch=8, problem="the output has shape (8, 3)")]},
    {"runs": []},
]


@pytest.mark.parametrize("change", WRONG_ENGINES)
def test_an_engine_of_another_model_than_was_given_earns_nothing(change: dict[str, Any]) -> None:
    other = EngineFacts(**{**good_engine(8).model_dump(), **change})
    finding = only_failed("2.1", fp16_evidence(other_engine=other))
    assert finding.criterion == "it builds whatever ONNX file it is given"


def test_a_function_that_built_another_model_is_told_so() -> None:
    ignoring = good_build()
    ignoring.path_used = False
    nothing = EngineFacts(file="x.engine")
    finding = only_failed("2.1", fp16_evidence(other_model=ignoring, other_engine=nothing))
    assert (finding.max_points, finding.misconception) == (0.5, PATH_IGNORED)
    changes = {"other_model": ignoring, "other_engine": nothing}
    finding = only_failed("2.2", dynamic_evidence(good_engine(1, 5, 32), **changes))
    assert (finding.max_points, finding.misconception) == (1.5, PATH_IGNORED)


def test_each_batch_earns_its_own_points() -> None:
    runs = [RunFacts(batch=1, relative_error=1e-3), RunFacts(batch=5, problem="refused")]
    runs.append(RunFacts(batch=32, relative_error=1e-3))
    finding = only_failed("2.2", dynamic_evidence(good_engine(runs=runs)))
    assert (finding.criterion, finding.max_points) == ("right answers at batch 5", 0.5)


def speed_evidence(low: float, high: float, **engine: Any) -> SpeedEvidence:
    speedup = PairedComparison(speedup=(low + high) / 2, low=low, high=high, pairs=100)
    facts = [
        SpeedFacts(engine=good_engine(batch, **engine), batch=batch, speedup=speedup)
        for batch in (1, 8)
    ]
    return SpeedEvidence(attempt=DONE, emulated=False, speedups=facts)


def size_evidence(size: int | None, **engine: Any) -> SizeEvidence:
    facts = good_engine(1, size=size, **engine)
    return SizeEvidence(attempt=DONE, emulated=False, engine=facts, fp32_bytes=95_300_000)


@pytest.mark.parametrize(
    ("low", "high", "state", "points"),
    [(2.5, 3, "pass", 12), (1.9, 2.1, "inconclusive", 12), (1.2, 1.4, "fail", 0)],
)
def test_a_speed_up_is_judged_by_its_interval(
    low: float, high: float, state: str, points: float
) -> None:
    verdict = judge("2.3", speed_evidence(low, high))
    assert (verdict.state, verdict.points) == (state, points)


@pytest.mark.parametrize("precisions", [{"FP32": 57}, {"FP16": 50, "INT8": 7}, {"unknown": 57}])
def test_speed_of_an_engine_that_is_not_fp16_earns_nothing(precisions: dict[str, int]) -> None:
    verdict = judge("2.3", speed_evidence(3, 4, precisions=precisions))
    assert verdict.points == 0
    assert verdict.misconceptions == (lab2.FP32_LABELLED,)


def test_speed_and_size_wait_for_a_gpu_on_the_emulation() -> None:
    speeds, sizes = speed_evidence(3, 4), size_evidence(10_000_000)
    speeds.emulated = sizes.emulated = True
    assert judge("2.3", speeds).state == "needs a GPU"
    assert judge("2.4", sizes).state == "needs a GPU"


@pytest.mark.parametrize("emulated", [True, False])
@pytest.mark.parametrize("change", WRONG_ENGINES)
def test_speed_and_size_of_a_wrong_engine_count_for_nothing_wherever_they_are_judged(
    change: dict[str, Any], emulated: bool
) -> None:
    speeds, sizes = speed_evidence(30, 40, **change), size_evidence(**{"size": 1, **change})
    speeds.emulated = sizes.emulated = emulated
    for task, evidence in {"2.3": speeds, "2.4": sizes}.items():
        verdict = judge(task, evidence)
        assert (verdict.state, verdict.points) == ("fail", 0)


def test_a_speed_up_that_could_not_be_measured_earns_nothing() -> None:
    speeds = speed_evidence(3, 4)
    for facts in speeds.speedups:
        facts.problem, facts.speedup = "out of memory", None
    assert judge("2.3", speeds).state == "fail"


@pytest.mark.parametrize(("fp16", "points"), [(48_500_000, 3), (95_000_000, 0)])
def test_the_size_ratio_is_judged_on_a_gpu(fp16: int, points: float) -> None:
    assert judge("2.4", size_evidence(fp16)).points == points


def test_an_engine_is_not_made_smaller_by_int8() -> None:
    verdict = judge("2.4", size_evidence(26_000_000, precisions={"FP16": 5, "INT8": 52}))
    assert verdict.points == 0
