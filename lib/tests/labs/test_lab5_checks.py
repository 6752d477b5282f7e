"""Lab 5's checks on evidence of every kind."""

from typing import Any

import numpy as np
import pytest

from trtlab.checks.accuracy5 import _images_needed
from trtlab.checks.evidence import Attempt
from trtlab.checks.evidence5 import (
    AccuracyLossEvidence,
    LatencyEvidence,
    ScoredRun,
    ScoreEvidence,
    ThroughputEvidence,
    ThroughputRun,
    TimedCall,
)
from trtlab.checks.registry import judge
from trtlab.checks.verdict import State, Verdict
from trtlab.lab.probes.lab5 import skewed_times
from trtlab.lab.probes.lab5_accuracy import SQUARE, UNEVEN, known_answers
from trtlab.stats import percentile, tango_interval

DONE = Attempt(stage="done", what="f")


def latency_evidence(scale: float = 1.0, **changes: Any) -> LatencyEvidence:
    """What a right function leaves behind, on a machine that is `scale` times as slow."""
    times = skewed_times(110, np.random.default_rng(0))
    work = [scale * ms for ms in [40.0] * 7 + times]
    calls = [TimedCall(work_ms=ms, waited=True, queued=False, given_input=True) for ms in work]
    timed = np.array(work[7:])
    reported = {
        "mean_ms": timed.mean(),
        "median_ms": np.median(timed),
        "std_ms": timed.std(),
        "p95_ms": np.percentile(timed, 95),
        "p99_ms": np.percentile(timed, 99),
    }
    evidence = LatencyEvidence(
        attempt=DONE, warmup=7, iterations=110, calls=tuple(calls), reported=reported
    )
    return evidence.model_copy(update=changes)


@pytest.mark.parametrize("count", range(101, 121))
@pytest.mark.parametrize("percent", [95, 99])
def test_the_usual_definitions_of_a_percentile_agree_though_there_is_an_outlier(
    count: int, percent: int
) -> None:
    times = skewed_times(count, np.random.default_rng(count))
    for found in (sorted(times), sorted([500.0, *times[1:]])):
        methods: list[Any] = ["lower", "higher", "linear", "nearest"]
        values = [np.percentile(found, percent, method=method) for method in methods]
        assert values == pytest.approx([percentile(found, percent)] * 4)
        assert np.percentile(times, percent) > 1.5 * times[-1]


def lost(verdict: Verdict) -> dict[str, float]:
    return {
        f.criterion: round(f.max_points - f.points, 2)
        for f in verdict.findings
        if f.points < f.max_points
    }


@pytest.mark.parametrize("scale", [0.8, 1.0, 3.0])
def test_latency_passes_on_machines_of_every_speed(scale: float) -> None:
    assert judge("5.1", latency_evidence(scale)).state == "pass"


@pytest.mark.parametrize(
    ("key", "factor", "criterion"),
    [
        ("mean_ms", 2.5, "mean, median and standard deviation"),
        ("median_ms", 1.5, "mean, median and standard deviation"),
        ("std_ms", 1.5, "mean, median and standard deviation"),
        ("p95_ms", 0.5, "p95 and p99"),
        ("p99_ms", 0.5, "p95 and p99"),
    ],
)
def test_every_statistic_is_looked_at(key: str, factor: float, criterion: str) -> None:
    reported = latency_evidence().reported
    wrong = reported | {key: factor * reported[key]}
    assert list(lost(judge("5.1", latency_evidence(reported=wrong)))) == [criterion]


def test_one_call_that_nobody_waited_for_is_enough() -> None:
    calls = list(latency_evidence().calls)
    calls[50] = calls[50].model_copy(update={"waited": False})
    verdict = judge("5.1", latency_evidence(calls=tuple(calls)))
    assert verdict.misconceptions == ("no-synchronise",)


def busy(share: float, excused: bool) -> LatencyEvidence:
    """What a right function leaves behind where each call's end is heard up to 9 ms late."""
    rng = np.random.default_rng(1)
    times = np.array(skewed_times(110, rng))
    late = 9.0 * (rng.uniform(size=110) < share) * rng.uniform(size=110)
    timed = times + late
    calls = [
        TimedCall(
            work_ms=ms,
            waited=True,
            queued=False,
            given_input=True,
            at_most_ms=ms + more + 0.2 if excused else 0.0,
        )
        for ms, more in zip([40.0] * 7 + times.tolist(), [0.0] * 7 + late.tolist(), strict=True)
    ]
    reported = {
        "mean_ms": timed.mean(),
        "median_ms": np.median(timed),
        "std_ms": timed.std(),
        "p95_ms": np.percentile(timed, 95),
        "p99_ms": np.percentile(timed, 99),
    }
    return latency_evidence(calls=tuple(calls), reported=reported)


@pytest.mark.parametrize("drawing", ["quick", "as long as the mean lies above the median", "slow"])
def test_a_new_input_for_each_call_is_named_however_long_it_takes_to_draw(drawing: str) -> None:
    right = latency_evidence()
    apart = right.reported["mean_ms"] - right.reported["median_ms"]
    lift = {"quick": 0.9 * apart, "slow": 3 * apart}.get(drawing, apart)
    calls = [call.model_copy(update={"given_input": False}) for call in right.calls]
    lifted = {key: ms + lift * (key != "std_ms") for key, ms in right.reported.items()}
    verdict = judge("5.1", right.model_copy(update={"calls": tuple(calls), "reported": lifted}))
    assert "input-in-the-stopwatch" in verdict.misconceptions


def test_a_mean_under_the_medians_name_is_that_though_inputs_are_made_beside_it() -> None:
    right = latency_evidence()
    calls = [call.model_copy(update={"given_input": False}) for call in right.calls]
    mixed = right.reported | {"median_ms": right.reported["mean_ms"]}
    verdict = judge("5.1", right.model_copy(update={"calls": tuple(calls), "reported": mixed}))
    assert verdict.misconceptions == ("mean-for-median",)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_a_busy_machine_costs_nothing_where_the_device_saw_the_silence(share: float) -> None:
    assert judge("5.1", busy(share, excused=True)).points == 2


def test_time_that_the_device_did_not_see_pass_is_the_functions_own() -> None:
    assert judge("5.1", busy(1.0, excused=False)).points < 2


@pytest.mark.parametrize(
    "figures",
    [
        {"mean_ms": 30.0},
        {"median_ms": 30.0},
        {"std_ms": 60.0},
        {"p95_ms": 2.0},
        {"p99_ms": 90.0},
        {"mean_ms": 0.01},
    ],
)
def test_no_figure_is_excused_that_no_stopwatch_can_have_shown(figures: dict[str, float]) -> None:
    evidence = busy(0.5, excused=True)
    wrong = evidence.model_copy(update={"reported": {**evidence.reported, **figures}})
    assert judge("5.1", wrong).points < 2


@pytest.mark.parametrize("lift_ms", [0.0, 0.15, 0.4])
@pytest.mark.parametrize("seed", range(20))
def test_a_wrong_percentile_is_explained_though_every_call_takes_a_little_longer(
    seed: int, lift_ms: float
) -> None:
    """The way to a device beyond a socket and back, on a busy machine."""
    rng = np.random.default_rng(seed)
    times = np.array(skewed_times(110, rng))
    calls = [
        TimedCall(work_ms=ms, waited=True, queued=False, given_input=True)
        for ms in [40.0] * 7 + times.tolist()
    ]
    timed = times + lift_ms + rng.uniform(0.0, 0.05, len(times))
    right = {"mean_ms": timed.mean(), "median_ms": np.median(timed), "std_ms": timed.std()}
    wrong = {
        "percentile-unsorted": (timed[int(0.95 * 110)], timed[int(0.99 * 110)]),
        "percentile-of-a-fraction": tuple(np.percentile(timed, [0.95, 0.99])),
    }
    for misconception, (p95, p99) in wrong.items():
        reported = {**right, "p95_ms": p95, "p99_ms": p99}
        verdict = judge("5.1", latency_evidence(calls=tuple(calls), reported=reported))
        assert misconception in verdict.misconceptions


def throughput_run(**changes: Any) -> ThroughputRun:
    run = ThroughputRun(
        batch_size=8,
        duration_s=1.0,
        images_per_call=8,
        calls=100,
        busy_s=0.98,
        span_s=1.0,
        elapsed_s=1.0,
        inputs=1,
        reported=800.0,
    )
    return run.model_copy(update=changes)


@pytest.mark.parametrize(
    ("changes", "points", "misconception"),
    [
        ({}, 1.0, None),
        ({"reported": 700.0}, 1.0, None),
        ({"reported": 100.0}, 0.6, "calls-for-images"),
        ({"unfinished": 40}, 0.6, "queued-counted"),
        ({"inputs": 100, "busy_s": 0.2}, 0.6, "input-in-the-stopwatch"),
        ({"inputs": 100}, 1.0, None),  # made before the clock was started
        ({"elapsed_s": 3.0}, 0.7, "past-the-duration"),
        ({"elapsed_s": 0.1}, 0.7, "past-the-duration"),
        ({"images_per_call": 1}, 0.3, "batch-size-ignored"),
        ({"images_per_call": None}, 0.7, "batch-size-ignored"),
    ],
)
def test_throughput_is_judged_part_by_part(
    changes: dict[str, Any], points: float, misconception: str | None
) -> None:
    runs = (throughput_run(), throughput_run(**changes))
    verdict = judge("5.2", ThroughputEvidence(attempt=DONE, runs=runs))
    assert verdict.points == pytest.approx(points)
    assert verdict.misconceptions == ((misconception,) if misconception else ())


@pytest.mark.parametrize("seed", range(20))
def test_the_known_answers_tell_right_accuracies_from_wrong_ones(seed: int) -> None:
    """Else a mistake would hide: the averages, limits and axes must all give other figures."""
    run = known_answers(seed)[UNEVEN]
    ends, limit = np.cumsum(run.batch_sizes), run.num_samples
    assert ends[2] < limit < ends[3]
    top1 = np.argmax(run.logits, axis=1) == run.labels
    averaged = np.mean([part.mean() for part in np.split(top1[:limit], ends[:3])])
    for value in (averaged, top1[: ends[3]].mean(), top1.mean()):
        assert abs(100 * (float(value) - top1[:limit].mean())) > 0.06
    assert abs(100 * (averaged - top1[: ends[3]].mean())) > 0.06


def scored(name: str, reported: tuple[float, float] | None) -> ScoredRun:
    problem = "" if reported else "it raised ValueError: shapes"
    return known_answers(0)[name].model_copy(update={"reported": reported, "problem": problem})


def test_a_wrong_axis_is_named_though_uneven_batches_raise() -> None:
    square = known_answers(0)[SQUARE]
    logits, labels = np.array(square.logits), np.array(square.labels)
    parts = [slice(0, 10), slice(10, 20)]
    wrong = 100 * np.mean([(logits[p].argmax(axis=0) == labels[p]).mean() for p in parts])
    evidence = ScoreEvidence(
        attempt=DONE,
        square=scored(SQUARE, (float(wrong), 100.0)),
        uneven=scored(UNEVEN, None),
    )
    assert "wrong-axis" in judge("5.3", evidence).misconceptions


def loss_evidence(gained: int, wrong: int, images: int, **changes: Any) -> AccuracyLossEvidence:
    low, high = tango_interval(gained, wrong, images)
    evidence = AccuracyLossEvidence(
        attempt=DONE,
        images=images,
        baseline_top1=96.0,
        top1=96.0 + 100 * (gained - wrong) / images,
        loss=100 * (wrong - gained) / images,
        loss_low=-100 * high,
        loss_high=-100 * low,
        gained=gained,
        lost=wrong,
    )
    return evidence.model_copy(update=changes)


@pytest.mark.parametrize(
    ("task", "gained", "wrong", "images", "state", "points"),
    [
        ("5.4", 0, 0, 1000, "inconclusive", 6),
        ("5.4", 0, 0, 3900, "pass", 6),
        ("5.4", 0, 0, 3800, "inconclusive", 6),
        ("5.4", 0, 30, 1000, "fail", 1),
        ("5.5", 0, 0, 1000, "pass", 9),
        ("5.5", 3, 9, 1000, "inconclusive", 9),
        ("5.5", 0, 60, 1000, "fail", 1),
    ],
)
def test_a_loss_is_judged_by_its_interval(
    task: str, gained: int, wrong: int, images: int, state: State, points: float
) -> None:
    verdict = judge(task, loss_evidence(gained, wrong, images))
    assert (verdict.state, verdict.points) == (state, points)


def test_an_inconclusive_loss_says_how_many_images_it_would_take() -> None:
    (_, loss) = judge("5.4", loss_evidence(0, 0, 1000)).findings
    assert "3,900" in loss.next_step
    for limit in (0.1, 1.0):
        needed = _images_needed(limit)
        assert 100 * tango_interval(0, 0, needed)[1] <= limit
        assert 100 * tango_interval(0, 0, needed - 100)[1] > limit


def test_an_engine_that_cannot_be_measured_gets_nothing() -> None:
    verdict = judge("5.4", loss_evidence(0, 0, 1000, problem="There is no engine x.engine."))
    assert (verdict.points, verdict.state) == (0, "fail")
