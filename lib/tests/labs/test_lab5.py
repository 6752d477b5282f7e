"""Lab 5: its fake models, its checks on evidence of every kind, and its probes on functions."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

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
from trtlab.lab.fake_model import (
    AsynchronousModel,
    LocalDevice,
    LookupClassifier,
    StoppedError,
    numbered_loader,
)
from trtlab.lab.probes.lab5 import skewed_times
from trtlab.lab.probes.lab5_accuracy import SQUARE, UNEVEN, known_answers
from trtlab.lab.session import verdict_on
from trtlab.stats import percentile, tango_interval

DONE = Attempt(stage="done", what="f")


# The fake models


def test_a_call_returns_before_its_work_is_done_and_synchronize_waits_for_it() -> None:
    model = AsynchronousModel([20.0])
    start = time.perf_counter()
    model("input")
    returned = time.perf_counter() - start
    model.synchronize()
    assert returned < 0.015
    assert time.perf_counter() - start >= 0.020
    (call,) = model.device.calls
    assert call.waited
    assert not call.queued
    assert call.work_s >= 0.020


def test_work_is_done_one_piece_after_the_other() -> None:
    device = LocalDevice([5.0, 10.0], slow_first_ms=[20.0])
    for _ in range(3):
        device.call()
    assert [round(1e3 * call.work_s) for call in device.calls] == [20, 5, 10]
    assert [call.queued for call in device.calls] == [False, True, True]
    starts, ends = [c.started for c in device.calls], [c.done for c in device.calls]
    assert starts[1:] == ends[:-1]
    device.synchronize()
    assert [call.waited for call in device.calls] == [False, False, True]
    assert time.perf_counter() >= ends[-1]


def test_a_full_queue_makes_the_next_call_wait() -> None:
    device = LocalDevice([10.0], depth=2)
    start = time.perf_counter()
    for _ in range(3):
        device.call()
    assert time.perf_counter() - start >= 0.010


def test_a_loop_without_end_is_stopped() -> None:
    device = LocalDevice([1.0], depth=1, limit_s=0.05)

    def run() -> None:
        while True:
            device.call()

    with pytest.raises(StoppedError, match=r"0\.05 s"):
        run()
    assert device.stopped


def test_a_device_is_told_which_input_it_gets_and_of_how_many_images() -> None:
    model, known = AsynchronousModel([0.1]), np.zeros((4, 3, 8, 8))
    for inputs in (known, None, known, np.zeros((4, 3, 8, 8))):
        model(inputs)
    assert [call.token for call in model.device.calls] == [0, 1, 0, 2]
    assert [call.images for call in model.device.calls] == [4, 0, 4, 4]


def test_a_lookup_classifier_answers_by_number_and_wrongly_in_train_mode() -> None:
    logits = np.eye(6, 4, dtype=np.float32)
    ((images, _),) = numbered_loader([0] * 6, [6])
    model = LookupClassifier(logits).eval()
    np.testing.assert_array_equal(model(images.numpy()), logits)
    assert isinstance(model(images), torch.Tensor)
    assert not np.array_equal(model.train()(images.numpy()), logits)
    assert model.calls_in_train_mode == 1


# Right solutions of other kinds


def summary(times: list[float], p95: float, p99: float) -> dict[str, Any]:
    return {
        "mean_ms": sum(times) / len(times),
        "median_ms": float(np.median(times)),
        "p95_ms": p95,
        "p99_ms": p99,
        "std_ms": float(np.std(times, ddof=1)),
    }


def trtexec_latency(model, input_data, num_iterations, warmup, synchronize):  # type: ignore[no-untyped-def]
    for _ in range(warmup):
        model(input_data)
        synchronize()
    times = []
    for _ in range(num_iterations):
        synchronize()
        start = time.perf_counter_ns()
        model(input_data)
        synchronize()
        times.append((time.perf_counter_ns() - start) / 1e6)
    ordered = sorted(times)
    return summary(times, percentile(ordered, 95), percentile(ordered, 99))


def tensor_latency(model, input_data, num_iterations, warmup, synchronize):  # type: ignore[no-untyped-def]
    for _ in range(warmup):
        model(input_data)
    synchronize()
    times = torch.zeros(num_iterations)
    for index in range(num_iterations):
        start = time.perf_counter()
        model(input_data)
        synchronize()
        times[index] = (time.perf_counter() - start) * 1000
    p95, p99 = torch.quantile(times, torch.tensor([0.95, 0.99]))
    return summary(times.tolist(), p95, p99)


def throughput_waiting_at_the_end(model, batch_size, duration_sec, synchronize):  # type: ignore[no-untyped-def]
    inputs = [np.zeros((batch_size, 3, 224, 224), np.float32) for _ in range(4)]
    calls = 0
    start = time.perf_counter()
    while time.perf_counter() - start < duration_sec:
        model(inputs[calls % 4])
        calls += 1
    synchronize()
    return calls * batch_size / (time.perf_counter() - start)


def accuracy_in_torch(model, val_loader, num_samples):  # type: ignore[no-untyped-def]
    if isinstance(model, nn.Module):
        model = model.eval()
    hits = []
    for images, labels in val_loader:
        best = torch.as_tensor(model(images.numpy())).topk(5, dim=1).indices
        hits.append(best == labels[:, None])
    found = torch.cat(hits)[:num_samples].float()
    return 100 * found[:, 0].mean(), 100 * found.sum(dim=1).mean()


@pytest.mark.parametrize(
    ("task", "function"),
    [
        ("5.1", trtexec_latency),
        ("5.1", tensor_latency),
        ("5.2", throughput_waiting_at_the_end),
        ("5.3", accuracy_in_torch),
    ],
)
def test_right_solutions_of_another_kind_get_all_points(
    task: str, function: Callable[..., Any]
) -> None:
    verdict = verdict_on(task, {NAMES[task]: function})
    assert verdict.state == "pass", verdict


NAMES = {"5.1": "benchmark_latency", "5.2": "benchmark_throughput", "5.3": "evaluate_accuracy"}


# What is missing, raises, or returns something else


def not_written(*_: Any, **__: Any) -> None:
    raise NotImplementedError


def broken(*_: Any, **__: Any) -> None:
    raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize("task", NAMES)
@pytest.mark.parametrize(
    ("names", "state", "said"),
    [
        ([], "not started", "does not exist"),
        ([not_written], "not started", "NotImplementedError"),
        ([broken], "fail", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_function_that_does_not_run_gets_nothing_and_hears_why(
    task: str, names: list[Any], state: State, said: str
) -> None:
    verdict = verdict_on(task, dict(zip([NAMES[task]], names, strict=False)))
    assert (verdict.points, verdict.state) == (0, state)
    assert said in verdict.findings[0].measured


@pytest.mark.parametrize("result", [None, 3.0, {}, {"mean_ms": "2"}, {"mean_ms": float("nan")}])
def test_a_latency_that_is_no_dict_of_numbers_is_described(result: Any) -> None:
    def function(model, *_, **__):  # type: ignore[no-untyped-def]
        model()
        return result

    verdict = verdict_on("5.1", {"benchmark_latency": function})
    assert verdict.points == 0
    assert "returned" in verdict.findings[0].measured or "mean_ms" in verdict.findings[0].measured


def test_a_latency_of_no_call_is_described() -> None:
    result = dict.fromkeys(("mean_ms", "median_ms", "p95_ms", "p99_ms", "std_ms"), 1.0)
    verdict = verdict_on("5.1", {"benchmark_latency": lambda *_, **__: result})
    assert verdict.points == 0
    assert "never called" in verdict.findings[0].measured


@pytest.mark.parametrize("result", [None, "many", float("inf")])
def test_a_throughput_that_is_no_number_earns_nothing_for_its_value(result: Any) -> None:
    verdict = verdict_on("5.2", {"benchmark_throughput": lambda *_, **__: result})
    assert verdict.points == 0
    assert "no number" in verdict.findings[0].measured


@pytest.mark.parametrize("result", [None, 97.0, (97.0,), ("97", "99"), (float("nan"), 1.0)])
def test_an_accuracy_that_is_not_two_numbers_is_described(result: Any) -> None:
    verdict = verdict_on("5.3", {"evaluate_accuracy": lambda *_: result})
    assert verdict.points == pytest.approx(0.1)  # it never called the module in train mode
    assert "not two numbers" in verdict.findings[0].measured


# The checks on synthetic evidence


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
